import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from replicas import chexpert as made
from replicas import replica
from replicas._cxr import LABELS
from replicas.grouping import count_groups

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.verify import verify

ONE = ConvertOptions(workers=1)


@pytest.fixture
def raw(tmp_path):
    return replica("chexpert")(tmp_path / "raw")["raw"]


def converted(raw, tmp_path, options=ONE, **given):
    return convert(make_adapter("chexpert", {"raw": raw, **given}), tmp_path / "out", options)


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def edit(path, change):
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(table).to_csv(path, index=False)


def edit_people(raw, change):
    path = raw / "CHEXPERT DEMO.xlsx"
    change(pd.read_excel(path, dtype=str, keep_default_na=False)).to_excel(path, index=False)


def test_every_image_of_both_tables_becomes_a_sample_of_its_patient(raw, tmp_path):
    dataset = converted(raw, tmp_path)
    rows = by_id(dataset)
    listed = [pd.read_csv(raw / name)["Path"] for name in ("train.csv", "valid.csv")]
    assert set(rows) == {path.split("/", 1)[1][:-4] for path in pd.concat(listed)}
    assert dataset.rejected.num_rows == 0
    row = rows["train/patient00008/study2/view2_lateral"]
    assert row["subject_id"] == "patient00008"
    assert (row["view"], row["projection"]) == ("lateral", None)
    assert rows["train/patient00007/study1/view1_frontal"]["projection"] == "LL"
    assert row["source"] == "train/patient00008/study2/view2_lateral.jpg"
    assert len({row["subject_id"] for row in rows.values()}) == 44 < len(rows)
    assert verify(dataset, None) == ()


def test_valid_is_the_val_split_and_test_is_carved_out_of_train_by_patient(raw, tmp_path):
    rows = by_id(converted(raw, tmp_path))
    splits = {}
    for row in rows.values():
        splits.setdefault(row["subject_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {s for s, found in splits.items() if found == {"val"}} == {f"patient{n:05d}" for n in made.VALID}
    for split in ("train", "val", "test"):
        mine = [row for row in rows.values() if row["split"] == split]
        assert {row["no_finding"] for row in mine} == {"absent", "present"}
        assert {row["sex"] for row in mine} >= {"female", "male"}


def test_sex_and_age_are_those_of_the_image_and_unknown_stays_unknown(raw, tmp_path):
    rows = {row["subject_id"]: row for row in converted(raw, tmp_path).index.to_pylist()}
    assert (rows["patient00001"]["sex"], rows["patient00002"]["sex"]) == ("male", "female")
    unknown = rows[f"patient{made.UNKNOWN_SEX:05d}"]
    assert (unknown["sex"], unknown["age"], unknown["sex_demographics"]) == (None, 0.0, "Unknown")
    differs = rows[f"patient{made.OTHER_SEX:05d}"]
    assert (differs["sex"], differs["sex_demographics"]) == ("male", "Female")
    assert (rows["patient00005"]["age"], rows["patient00005"]["age_demographics"]) == (60.0, "61")


def test_races_that_say_nothing_are_unknown_and_kept_as_written(raw, tmp_path):
    rows = {row["subject_id"]: row for row in converted(raw, tmp_path).index.to_pylist()}
    for number in (4, 6, 8):
        row = rows[f"patient{number:05d}"]
        assert row["race"] is None
        assert row["race_raw"] == made.RACES[number]
    assert rows["patient00007"]["race"] == "White, Hispanic"
    assert {row["ethnicity"] for row in rows.values()} == {
        None,
        "Hispanic/Latino",
        "Non-Hispanic/Non-Latino",
    }
    for number in (made.NOT_IN_THE_SPREADSHEET, made.NO_RACE):
        assert rows[f"patient{number:05d}"]["race"] is rows[f"patient{number:05d}"]["race_raw"] is None


#: Images by race, as the publisher writes it, of the images whose sex, age and race are known.
IMAGES_BY_RACE = {
    "White": 102_402,
    "Other": 28_095,
    "White, non-Hispanic": 22_154,
    "Asian": 20_434,
    "Unknown": 15_186,
    "Black or African American": 9_909,
    "Race and Ethnicity Unknown": 8_716,
    "Other, Hispanic": 3_621,
    "Native Hawaiian or Other Pacific Islander": 2_809,
    "Asian, non-Hispanic": 2_793,
    "Black, non-Hispanic": 2_000,
    "White, Hispanic": 922,
    "Other, non-Hispanic": 566,
    "American Indian or Alaska Native": 457,
    "Patient Refused": 405,
    "Pacific Islander, non-Hispanic": 337,
    "Native American, non-Hispanic": 55,
    "Black, Hispanic": 52,
    "Asian, Hispanic": 37,
    "Native American, Hispanic": 25,
    "White or Caucasian": 13,
    "Pacific Islander, Hispanic": 10,
    "Asian - Historical Conv": 8,
}


def test_the_races_of_the_whole_dataset_are_all_known_and_give_the_papers_sizes(raw, tmp_path):
    words = sorted(IMAGES_BY_RACE)
    edit_people(raw, lambda people: people.assign(PRIMARY_RACE=[*words, *words][: len(people)]))
    rows = make_adapter("chexpert", {"raw": raw}).manifest()
    assert set(rows["race_raw"].dropna()) == set(words)
    silent = {"Unknown", "Race and Ethnicity Unknown", "Patient Refused"}
    assert set(rows["race"].dropna()) == set(words) - silent
    presets = {
        p.name: p for p in make_adapter("chexpert", {"raw": raw}).card().presets if p.attribute == "race"
    }
    white = dict(zip(presets["fairmedfm"].labels, presets["fairmedfm"].values, strict=False))["white"]
    assert sum(IMAGES_BY_RACE.values()) == 221_006
    assert sum(IMAGES_BY_RACE[word] for word in white) == 125_491
    assert presets["fairmedfm"].otherwise == "non-white"
    assert sorted(sum(presets["fairray"].values, ())) == sorted(set(words) - silent)


def test_the_papers_race_groups_count_unknown_as_non_white_and_only_there(raw, tmp_path):
    dataset = converted(raw, tmp_path)
    rows = dataset.index.to_pylist()
    said = [row["race_raw"] for row in rows]
    white = sum(race is not None and "White" in race for race in said)
    none = said.count(None)
    assert count_groups(dataset, "fairmedfm", "race") == {
        "white": white,
        "non-white": len(rows) - white - none,
        "unknown": none,
    }
    silent = [None, "Unknown", "Race and Ethnicity Unknown", "Patient Refused"]
    assert count_groups(dataset, "fairray", "race") == {
        "white": white,
        "asian": said.count("Asian"),
        "black": said.count("Black or African American"),
        "native": said.count("Native American, Hispanic"),
        "other": said.count("Other"),
        "unknown": sum(map(said.count, silent)),
    }
    assert min(white, none, *map(said.count, silent)) > 0


def test_age_sixty_is_old_for_the_papers_loaders_and_young_for_its_notebooks(raw, tmp_path):
    dataset = converted(raw, tmp_path)
    ages = dataset.index["age"].to_pylist()
    assert ages.count(60.0) == 2
    young = sum(age < 60 for age in ages)
    assert count_groups(dataset, "fairmedfm", "age") == {"<60": young, "60+": len(ages) - young}
    assert count_groups(dataset, "fairmedfm_notebook", "age") == {
        "<=60": young + 2,
        ">60": len(ages) - young - 2,
    }


def test_health_is_the_papers_positive_class_and_blank_is_diseased(raw, tmp_path):
    dataset = converted(raw, tmp_path)
    assert dataset.card.target("healthy_fairmedfm").positive == "healthy"
    for row in dataset.index.to_pylist():
        assert row["healthy_fairmedfm"] == ("healthy" if row["no_finding_code"] == "1.0" else "diseased")
        assert row["no_finding"] == ("present" if row["no_finding_code"] == "1.0" else "absent")


UNCERTAIN = {
    "ignore": dict.fromkeys(LABELS[1:]),
    "zero": dict.fromkeys(LABELS[1:], "absent"),
    "one": dict.fromkeys(LABELS[1:], "present"),
    "gloria": {
        **dict.fromkeys(LABELS[1:]),
        **dict.fromkeys(("Atelectasis", "Edema", "Pleural Effusion"), "present"),
        **dict.fromkeys(("Cardiomegaly", "Consolidation"), "absent"),
    },
}


@pytest.mark.parametrize("policy", UNCERTAIN)
def test_uncertain_labels_count_as_the_policy_says_and_their_codes_are_kept(raw, tmp_path, policy):
    dataset = converted(raw, tmp_path, uncertain=policy)
    rows = dataset.index.to_pylist()
    for label in LABELS[1:]:
        name = label.lower().replace(" ", "_")
        expected = {None: "absent", "0.0": "absent", "1.0": "present", "-1.0": UNCERTAIN[policy][label]}
        assert {row[f"{name}_code"] for row in rows} == set(expected)
        assert all(row[name] == expected[row[f"{name}_code"]] for row in rows)
    assert any("-1" in note for note in dataset.card.notes)


def test_uncertain_labels_are_ignored_by_default_and_the_card_says_what_blank_means(raw):
    card = make_adapter("chexpert", {"raw": raw}).card()
    assert any("(-1) are unknown" in note for note in card.notes)
    assert any("empty cell) counts as absent" in note for note in card.notes)
    with pytest.raises(UserError, match="uncertain"):
        make_adapter("chexpert", {"raw": raw, "uncertain": "u-ones"})


def test_thirteen_findings_are_one_family_without_no_finding(raw):
    card = make_adapter("chexpert", {"raw": raw}).card()
    assert [t.name for t in card.targets if t.family == "findings"] == [
        label.lower().replace(" ", "_") for label in LABELS[1:]
    ]
    assert card.target("no_finding").family is card.target("healthy_fairmedfm").family is None
    assert {p.target for p in card.prompts} == {t.name for t in card.targets}
    (first, *_) = [p for p in card.prompts if p.target == "healthy_fairmedfm"]
    assert (first.templates, first.names) == (("a chest X-ray of a {}",), (("diseased",), ("normal",)))


def test_pixels_are_the_publishers_own_jpegs(raw, tmp_path):
    dataset = converted(raw, tmp_path)
    samples = [sample for shard in dataset.shards for sample in dataset.read(shard.name, masks=False)]
    assert {sample.status for sample in samples} == {"ok"}
    assert {sample.image.shape[:2] for sample in samples} == {(40, 48)}
    assert len({np.asarray(sample.image).tobytes() for sample in samples}) > 10


def test_the_full_release_and_a_spreadsheet_beside_the_folder_are_found(raw, tmp_path):
    full = raw.rename(raw.parent / "CheXpert-v1.0")
    for name in ("train.csv", "valid.csv"):
        path = full / name
        path.write_text(path.read_text().replace("CheXpert-v1.0-small/", "CheXpert-v1.0/"))
    (full / "CHEXPERT DEMO.xlsx").rename(full.parent / "CHEXPERT DEMO.xlsx")
    for folder in (full, full.parent):
        assert make_adapter("chexpert", {"raw": folder}).manifest()["race"].notna().any()
    elsewhere = (full.parent / "CHEXPERT DEMO.xlsx").rename(tmp_path / "people.xlsx")
    given = make_adapter("chexpert", {"raw": full, "demographics": elsewhere})
    assert given.manifest()["race"].notna().any()


def test_the_batches_of_the_full_release_give_the_same_samples(raw, tmp_path):
    expected = make_adapter("chexpert", {"raw": raw}).manifest()
    full = raw.rename(tmp_path / "chexpertchestxrays-u20210408")
    tables = full / "CheXpert-v1.0 batch 1 (validate & csv)"
    tables.mkdir()
    for name in ("train.csv", "valid.csv", "valid"):
        (full / name).rename(tables / name)
    for number, patient in enumerate(sorted((full / "train").iterdir())):
        batch = full / f"CheXpert-v1.0 batch {2 + number % 3} (train {1 + number % 3})"
        batch.mkdir(exist_ok=True)
        patient.rename(batch / patient.name)
    (full / "train").rmdir()
    stray = full / "CheXpert-v1.0 batch 2 (train 1)" / "patient00001" / "study1" / "view7_frontal.jpg"
    stray.write_bytes(b"")
    found = make_adapter("chexpert", {"raw": full}).manifest()
    assert list(found["_reject"].dropna()) == ["not_listed"]
    found = found[found["sample_id"].notna()].drop(columns=["_reject", "_detail"])
    assert all(Path(path).is_file() for path in found["_image"])
    places = ["_image", "_source"]
    pd.testing.assert_frame_equal(found.drop(columns=places), expected.drop(columns=places))


def test_a_missing_spreadsheet_is_named_with_the_page_that_has_it(raw):
    (raw / "CHEXPERT DEMO.xlsx").unlink()
    with pytest.raises(UserError, match=r"lacks CHEXPERT DEMO\.xlsx.*stanfordmlgroup.*needs a registration"):
        make_adapter("chexpert", {"raw": raw}).manifest()


def test_a_spreadsheet_cut_off_is_named(raw):
    path = raw / "CHEXPERT DEMO.xlsx"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"CHEXPERT DEMO\.xlsx cannot be read as a table"):
        make_adapter("chexpert", {"raw": raw}).manifest()


def test_a_renamed_column_and_another_release_are_named(raw):
    edit(raw / "valid.csv", lambda table: table.rename(columns={"AP/PA": "View"}))
    with pytest.raises(UserError, match=r"valid\.csv lacks the column 'AP/PA'.*found.*View"):
        make_adapter("chexpert", {"raw": raw}).manifest()
    edit(raw / "valid.csv", lambda table: table.rename(columns={"View": "AP/PA"}))
    edit(raw / "train.csv", lambda table: table.assign(Sex="2"))
    with pytest.raises(UserError, match="column 'Sex' has values that its coding does not know: '2'"):
        make_adapter("chexpert", {"raw": raw}).manifest()


def test_paths_of_another_shape_are_named(raw):
    edit(raw / "train.csv", lambda table: table.assign(Path="view1_frontal.jpg"))
    with pytest.raises(UserError, match=r"column 'Path'.*'view1_frontal\.jpg'; expected paths such as"):
        make_adapter("chexpert", {"raw": raw}).manifest()


def test_two_different_rows_for_one_patient_in_the_spreadsheet_are_refused_and_equal_ones_are_not(raw):
    edit_people(raw, lambda people: pd.concat([people, people.iloc[:3]]))
    assert len(make_adapter("chexpert", {"raw": raw}).manifest())
    edit_people(raw, lambda people: pd.concat([people, people.iloc[:1].assign(PRIMARY_RACE="Other")]))
    with pytest.raises(UserError, match=r"several rows for 1 values of 'PATIENT', the first 'patient00001'"):
        make_adapter("chexpert", {"raw": raw}).manifest()


def test_bad_rows_and_files_are_rejected_one_by_one(raw, tmp_path):
    first = raw / "train" / "patient00001" / "study1" / "view1_frontal.jpg"
    (raw / "train" / "patient00002" / "study1" / "view1_frontal.jpg").unlink()
    cut = raw / "train" / "patient00003" / "study1" / "view1_frontal.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    shutil.copy(first, first.with_name("view9_frontal.jpg"))

    def spoil(table):
        place = table["Path"].str.contains
        table.loc[place("patient00005/"), "Edema"] = "2.0"
        return pd.concat([table, table[place("patient00006/")]])

    edit(raw / "train.csv", spoil)
    dataset = converted(raw, tmp_path, ConvertOptions(workers=1, max_rejected=0.5))
    reasons = {row["source"].split("/", 1)[1]: row for row in dataset.rejected.to_pylist()}
    assert {place: row["reason"] for place, row in reasons.items()} == {
        "patient00001/study1/view9_frontal.jpg": "not_listed",
        "patient00002/study1/view1_frontal.jpg": "missing_image",
        "patient00003/study1/view1_frontal.jpg": "decode_error",
        "patient00005/study1/view1_frontal.jpg": "unknown_label",
        "patient00006/study1/view1_frontal.jpg": "duplicate_id",
    }
    assert dataset.rejected.num_rows == 6
    assert "target 'edema' is '2.0'" in reasons["patient00005/study1/view1_frontal.jpg"]["detail"]
