"""BRSET: releases told apart by their columns, patients with several photographs, ages with slips, codes never guessed."""

import pandas as pd
import pytest
from replicas import replica
from replicas.brset import (
    COLUMNS,
    FINDINGS,
    FLAGGED,
    NEVER_PUBLISHED,
    PATIENTS,
    age,
    grade,
    photographs,
    sex,
)
from replicas.grouping import count_groups

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.datasets.brset import GRADES
from shards.errors import UserError

ONE = ConvertOptions(workers=1, max_rejected=0.5)
RELEASES = ("1.0.0", "1.0.1", "renamed")


@pytest.fixture
def raw(tmp_path):
    """Make the folder of a release."""

    def make(release="1.0.1"):
        replica("brset")(tmp_path / release, release=release)
        return tmp_path / release

    return make


def adapter(root):
    return make_adapter("brset", {"raw": root})


def converted(root, out="out"):
    return convert(adapter(root), root.parent / out, ONE)


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def edit(root, change):
    path = next(root.glob("labels*.csv"))
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def with_cell(row, column, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_gives_the_same_labels_and_people(raw, release):
    dataset = converted(raw(release))
    rows = by_id(dataset)
    assert [row["reason"] for row in dataset.rejected.to_pylist()] == ["missing_image"]
    assert set(rows) == {name for name, _, _ in photographs()} - {NEVER_PUBLISHED}
    for name, patient, _ in photographs():
        if name == NEVER_PUBLISHED:
            continue
        row, years = rows[name], age(patient)
        assert row["subject_id"] == str(100 + patient)
        assert row["sex"] == {"1": "male", "2": "female"}[sex(patient)]
        assert row["dr_icdr"] == row["dr_sdrg"].removesuffix(" background") == GRADES[grade(patient)]
        assert row["retinopathy"] == ("normal", "retinopathy")[grade(patient) > 0]
        assert row["camera"] == ("Canon CR", "NIKON NF5050")[patient % 2]
        assert row["diabetes"] == ("no", "yes")[grade(patient) > 0]
        assert row["nationality"] == "Brazil"
        assert (None if row["age"] is None else int(row["age"])) == (int(float(years)) if years else None)
        for place, finding in enumerate(FINDINGS[1:]):
            assert row[finding] == ("absent", "present")[(patient + place) % 9 == 4]


def test_the_card_says_which_release_it_was(raw):
    assert [adapter(raw(release)).card().version for release in RELEASES] == [
        "1.0.0",
        "1.0.1",
        "unknown release",
    ]


def test_eyes_are_known_where_the_release_documents_its_codes_and_else_never_guessed(raw):
    for release in ("1.0.0", "1.0.1"):
        rows = by_id(converted(raw(release), f"out-{release}"))
        assert {(row["eye_raw"], row["eye"]) for row in rows.values()} == {("1", "right"), ("2", "left")}
    dataset = converted(raw("renamed"), "out-renamed")
    assert {(row["eye_raw"], row["eye"]) for row in by_id(dataset).values()} == {("1", None), ("2", None)}
    assert any("not known here" in note for note in dataset.card.notes)


def test_slips_in_ages_of_the_first_release_are_mended_and_kept_as_published(raw):
    rows = by_id(converted(raw("1.0.0")))
    found = {row["age_raw"]: row["age"] for row in rows.values()}
    assert found["6O"] == 60.0
    assert found[age(4, "1.0.0")] == float(age(4, "1.0.0").replace(",", "."))
    assert "," in age(4, "1.0.0")
    assert found[None] is None


def test_a_patient_never_crosses_splits_and_all_parts_have_both_classes_and_sexes(raw):
    frame = converted(raw()).index.to_pandas()
    assert frame["subject_id"].nunique() == PATIENTS < len(frame)
    assert (frame.groupby("subject_id")["split"].nunique() == 1).all()
    for split in ("train", "val", "test"):
        part = frame[frame["split"] == split]
        assert set(part["sex"]) == {"female", "male"}
        assert set(part["retinopathy"]) == {"normal", "retinopathy"}


def test_flag_and_grade_are_kept_apart_where_they_differ(raw):
    dataset = converted(raw())
    row = by_id(dataset)[FLAGGED]
    assert (row["retinopathy"], row["dr_icdr"]) == ("normal", GRADES[0])
    assert row["diabetic_retinopathy"] == "present"
    families = {t.name: t.family for t in dataset.card.targets}
    assert {name for name, family in families.items() if family == "findings"} == set(FINDINGS)


def test_both_ages_of_sixty_and_unknown_age_as_its_own_row(raw):
    dataset = converted(raw())
    ages = [row["age"] for row in by_id(dataset).values()]
    old, exactly = sum(a is not None and a >= 60 for a in ages), ages.count(60.0)
    assert exactly > 0
    assert count_groups(dataset, "fairmedfm", "age") == {
        "60+": old,
        "<60": len(ages) - old - ages.count(None),
        "unknown": ages.count(None),
    }
    assert count_groups(dataset, "fairmedfm_notebook", "age")[">60"] == old - exactly


def test_what_is_wrong_with_one_row_costs_that_row(raw):
    root = raw()
    edit(root, with_cell(0, "DR_ICDR", "5"))
    edit(root, with_cell(2, "image_id", "img00004"))
    edit(root, with_cell(5, "amd", "2"))
    edit(root, with_cell(6, "DR_ICDR", ""))
    photos = root / "fundus_photos"
    (photos / "img00008.jpg").write_bytes((photos / "img00008.jpg").read_bytes()[:200])
    dataset = converted(root)
    found = sorted((row["sample_id"] or row["source"], row["reason"]) for row in dataset.rejected.to_pylist())
    assert found == [
        ("fundus_photos/img00003.jpg", "not_listed"),
        ("img00001", "unknown_label"),
        ("img00004", "duplicate_id"),
        ("img00004", "duplicate_id"),
        ("img00006", "unknown_label"),
        ("img00008", "decode_error"),
        (NEVER_PUBLISHED, "missing_image"),
    ]
    kept = by_id(dataset)["img00007"]
    assert kept["retinopathy"] is kept["dr_icdr"] is None


def test_a_sex_that_is_neither_code_is_refused_with_the_question_of_the_release(raw):
    root = raw()
    edit(root, lambda table: table.assign(patient_sex=[str(int(x) - 1) for x in table["patient_sex"]]))
    with pytest.raises(
        UserError, match=r"column 'patient_sex' has values.*'0'; expected 1, 2.*another release"
    ):
        adapter(root).manifest()


def test_missing_columns_and_tables_are_named_with_the_page(raw, tmp_path):
    root = raw()
    edit(root, lambda table: table.rename(columns={"DR_ICDR": "severity"}))
    with pytest.raises(UserError, match=r"no column for 'DR_ICDR'.*found.*severity.*physionet.org"):
        adapter(root).manifest()
    next(root.glob("labels*.csv")).unlink()
    with pytest.raises(UserError, match=r"lacks labels_brset.csv or labels.csv"):
        adapter(root).manifest()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has none of labels_brset.csv, fundus_photos.*credentialed"):
        adapter(tmp_path / "empty").manifest()


def test_an_age_that_nobody_has_is_refused(raw):
    root = raw()
    edit(root, with_cell(0, "patient_age", "611"))
    with pytest.raises(UserError, match=r"1 values that are no age.*'611'"):
        adapter(root).manifest()


def test_the_publishers_table_has_34_columns():
    assert len(COLUMNS) == 34
