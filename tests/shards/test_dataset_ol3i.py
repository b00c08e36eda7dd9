"""OL3I: Hounsfield units clipped by a recorded window and never wrapped, the publisher's split of the chosen horizon."""

import h5py
import numpy as np
import pandas as pd
import pytest
from replicas import replica
from replicas.ol3i import PEOPLE, SHAPE, label, name_of, part, sex, units

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.datasets.ol3i import OFFSET
from shards.errors import UserError
from shards.images import decode

ONE = ConvertOptions(workers=1, max_rejected=0.5)
ABSENT = {"": None, "0": "absent", "1": "present"}


@pytest.fixture
def raw(tmp_path):
    replica("ol3i")(tmp_path / "OL3I")
    return tmp_path / "OL3I"


def adapter(root, **options):
    return make_adapter("ol3i", {"raw": root, **options})


def converted(root, out="out", **options):
    return convert(adapter(root, **options), root.parent / out, ONE)


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def edit(root, change):
    path = root / "clinical_data.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def test_labels_attributes_and_the_publishers_split(raw):
    rows = by_id(converted(raw))
    assert len(rows) == len(PEOPLE)
    for person in PEOPLE:
        row = rows[name_of(person)]
        assert row["ischemic_heart_disease_1y"] == ABSENT[label(person, "1y")]
        assert row["ischemic_heart_disease_5y"] == ABSENT[label(person, "5y")]
        assert row["split"] == part(person, "1y")
        assert row["sex"] == sex(person)
        assert row["age"] == 30 + person * 7 % 60
        assert row["bmi"] == (None if person == 4 else 18 + person % 20 + 0.5)
        assert row["smoker"] == ("no", "yes")[person % 2]
        assert row["source"] == f"l3_slices.h5/{name_of(person)}"


def test_the_split_for_five_years_is_used_where_it_is_asked_for(raw):
    dataset = converted(raw, horizon="5y")
    rows = by_id(dataset)
    given = [person for person in PEOPLE if part(person, "5y")]
    assert len(given) < len(PEOPLE)
    assert all(rows[name_of(person)]["split"] == part(person, "5y") for person in given)
    assert dataset.card.targets[0].name == "ischemic_heart_disease_5y"
    assert "set_5y" in dataset.card.notes[-1]


def test_units_outside_the_window_are_clipped_never_wrapped(raw):
    dataset = converted(raw)
    read = {s.sample_id: s.image for shard in dataset.shards for s in dataset.read(shard.name, masks=False)}
    for person in PEOPLE:
        shown = read[name_of(person)]
        expected = np.rint((np.clip(units(person).astype(float), -1000, 1000) + 1000) / 2000 * 255)
        assert shown.shape == (*SHAPE, 3)
        assert np.abs(shown - expected[:, :, None]).max() <= 1
        assert (shown[units(person) == -3024] == 0).all()
        assert (shown[units(person) == 3071] == 255).all()
    assert (units(0) == -3024).any()


def test_stored_pixels_are_the_units_themselves_plus_an_offset(raw):
    dataset = converted(raw)
    assert dataset.card.window == (-1000.0 + OFFSET, 1000.0 + OFFSET)
    row = by_id(dataset)[name_of(3)]
    assert row["image_name"] == "image.png"
    data = (dataset.path / "shards" / row["shard"]).read_bytes()
    stored = decode(data[row["image_offset"] :][: row["image_size"]])
    assert stored.dtype == np.uint16
    assert np.array_equal(stored.astype(int) - OFFSET, units(3))
    assert row["depth"] == 1


def test_the_whole_range_of_16_bits_with_a_sign_survives(raw):
    extremes = np.array([[-32768, -1001], [1001, 32767]], np.int16)
    with h5py.File(raw / "l3_slices.h5", "r+") as file:
        del file[name_of(0)]
        file[name_of(0)] = extremes
    pixels = adapter(raw).read(adapter(raw).manifest().iloc[0].to_dict())
    assert np.array_equal(pixels.image.astype(int) - OFFSET, extremes)


def test_slices_stored_as_fractions_are_rounded(raw):
    with h5py.File(raw / "l3_slices.h5", "r+") as file:
        del file[name_of(0)]
        file[name_of(0)] = units(0)[None].astype(np.float64) + 0.25
    pixels = adapter(raw).read(adapter(raw).manifest().iloc[0].to_dict())
    assert np.array_equal(pixels.image.astype(int) - OFFSET, units(0))


def test_bad_slices_and_rows_cost_their_people_only(raw):
    with h5py.File(raw / "l3_slices.h5", "r+") as file:
        for person in range(6):
            del file[name_of(person)]
        file[name_of(1)] = np.zeros(SHAPE, np.uint8)
        file[name_of(2)] = np.full(SHAPE, np.nan)
        file[name_of(3)] = np.full(SHAPE, 40_000, np.int32)
        file[name_of(4)] = np.zeros((3, *SHAPE), np.int16)
        file[name_of(5)] = np.zeros((0, 4), np.int16)
        file["stranger"] = units(0)

    def change(table):
        table.loc[6, "label_1y"] = "2"
        return pd.concat([table, table.iloc[[7]]])

    edit(raw, change)
    dataset = converted(raw)
    found = sorted((row["sample_id"], row["reason"]) for row in dataset.rejected.to_pylist())
    assert found == sorted(
        [
            (name_of(0), "missing_image"),
            (name_of(1), "unsupported_pixels"),
            (name_of(2), "nan_pixels"),
            (name_of(3), "unsupported_pixels"),
            (name_of(4), "unsupported_pixels"),
            (name_of(5), "unsupported_pixels"),
            (name_of(6), "unknown_label"),
            (name_of(7), "duplicate_id"),
            (name_of(7), "duplicate_id"),
            ("stranger", "not_listed"),
        ]
    )


def test_wrong_files_tables_and_sets_are_told(raw):
    edit(raw, lambda table: table.assign(set_1y=table["set_1y"].str.replace("val", "dev")))
    with pytest.raises(UserError, match=r"column 'set_1y' has values.*'dev'; expected train"):
        adapter(raw).manifest()
    edit(raw, lambda table: table.rename(columns={"set_1y": "split"}))
    with pytest.raises(UserError, match=r"lacks the column 'set_1y'.*found anon_id, age.*stanfordaimi"):
        adapter(raw).manifest()
    edit(raw, lambda table: table.rename(columns={"split": "set_1y"}))
    data = (raw / "l3_slices.h5").read_bytes()
    (raw / "l3_slices.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"l3_slices\.h5 is not the publisher's file.*cut off"):
        adapter(raw).manifest()
    (raw / "l3_slices.h5").unlink()
    with pytest.raises(UserError, match=r"lacks l3_slices\.h5.*registration"):
        adapter(raw).manifest()
    with pytest.raises(UserError, match=r"'horizon'.*ol3i|ol3i.*horizon"):
        adapter(raw, horizon="2y")
