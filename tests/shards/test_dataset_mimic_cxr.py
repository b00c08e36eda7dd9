import gzip

import pandas as pd
import pytest
from replicas import mimic_cxr as made
from replicas import replica
from replicas._cxr import LABELS
from replicas.grouping import count_groups

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.verify import verify

ONE = ConvertOptions(workers=1)
TABLES = "mimic-cxr-2.0.0-{}.csv.gz"


@pytest.fixture
def options(tmp_path):
    return replica("mimic-cxr")(tmp_path / "raw")


def converted(options, tmp_path, convert_options=ONE, **given):
    return convert(make_adapter("mimic-cxr", {**options, **given}), tmp_path / "out", convert_options)


def first_by_person(dataset):
    rows = sorted(dataset.index.to_pylist(), key=lambda row: row["study_id"], reverse=True)
    return {row["subject_id"]: row for row in rows}


def edit(path, change):
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def refusal(options):
    with pytest.raises(UserError) as caught:
        make_adapter("mimic-cxr", options).manifest()
    return str(caught.value)


def test_every_image_is_a_sample_of_its_patient_in_the_publishers_split(options, tmp_path):
    dataset = converted(options, tmp_path)
    metadata = pd.read_csv(options["raw"] / TABLES.format("metadata"), dtype=str)
    rows = {row["sample_id"]: row for row in dataset.index.to_pylist()}
    assert set(rows) == set(metadata["dicom_id"])
    assert dataset.rejected.num_rows == 0
    assert len({row["subject_id"] for row in rows.values()}) == len(made.PEOPLE) < len(rows)
    given = pd.read_csv(options["raw"] / TABLES.format("split"), dtype=str).set_index("dicom_id")["split"]
    words = {"train": "train", "validate": "val", "test": "test"}
    assert {name: row["split"] for name, row in rows.items()} == given.map(words).to_dict()
    for split in ("train", "val", "test"):
        mine = [row for row in rows.values() if row["split"] == split]
        assert {"absent", "present"} <= {row["no_finding"] for row in mine}
        assert {"female", "male"} <= {row["sex"] for row in mine}
    assert verify(dataset, None) == ()


def test_without_its_split_table_splits_are_drawn_by_patient(options, tmp_path):
    (options["raw"] / TABLES.format("split")).unlink()
    dataset = converted(options, tmp_path)
    splits = {}
    for row in dataset.index.to_pylist():
        splits.setdefault(row["subject_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert set().union(*splits.values()) == {"train", "val", "test"}


def test_age_is_that_of_each_study_and_the_anchor_age_is_kept(options, tmp_path):
    rows = converted(options, tmp_path).index.to_pylist()
    ages = {row["study_id"]: (row["age"], row["anchor_age"]) for row in rows}
    for number in (3, 6):
        anchor = made.anchor_age(number)
        at_first = anchor + number % 2  # the anchor year is the year of the first study, or the one before
        assert ages[made.study(number, 0)] == (at_first, anchor)
        assert ages[made.study(number, 1)] == (at_first + 3, anchor)


def test_patients_whom_mimic_iv_lacks_stay_with_unknown_attributes(options, tmp_path):
    rows = first_by_person(converted(options, tmp_path))
    for number in made.NOT_IN_MIMIC_IV:
        row = rows[made.person(number)]
        names = ("sex", "age", "anchor_age", "race", "insurance", "language", "marital_status", "race_raw")
        assert {row[name] for name in names} == {None}
        assert row["no_finding"] is not None


def test_studies_without_labels_have_no_class_and_all_others_have_one(options, tmp_path):
    rows = converted(options, tmp_path).index.to_pylist()
    for row in rows:
        labelled = row["study_id"] != made.study(made.NO_LABELS, 0)
        for target in ("no_finding", "healthy_fairmedfm", "fracture"):
            known = row[target] is not None
            uncertain = target == "fracture" and row["fracture_code"] == "-1.0"
            assert known == (labelled and not uncertain)
    healthy = [row for row in rows if row["no_finding_code"] == "1.0"]
    assert len(healthy) == sum(row["healthy_fairmedfm"] == "healthy" for row in rows)
    assert {row["no_finding"] for row in healthy} == {"present"}
    assert sum(row["healthy_fairmedfm"] == "diseased" for row in rows) > 10


def test_race_is_a_group_of_all_admissions_and_multiple_where_they_conflict(options, tmp_path):
    rows = first_by_person(converted(options, tmp_path))
    found = {number: rows[made.person(number)] for number in made.PEOPLE}
    expected = {
        1: "black",
        2: "white",
        3: "white",
        5: "multiple",
        6: "white",
        7: "multiple",
        8: "white",
        9: None,
        made.NO_ADMISSION: None,
        10: "native",
        12: "pacific",
        13: "white",
        15: "hispanic",
        16: "asian",
        18: "other",
        22: None,
        37: "hispanic",
    }
    assert {number: found[number]["race"] for number in expected} == expected
    assert found[3]["race_admissions"] == "WHITE | WHITE - RUSSIAN"
    assert (found[5]["race_admissions"], found[5]["race_raw"]) == ("WHITE | BLACK/CAPE VERDEAN", "WHITE")
    assert (found[9]["race_admissions"], found[9]["race_raw"]) == ("PATIENT DECLINED TO ANSWER",) * 2
    assert found[made.NO_ADMISSION]["race_admissions"] is None


#: The words of admissions.csv for a race, by the group that they belong to.
WORDS = {
    "white": (
        *(
            "WHITE",
            "WHITE - OTHER EUROPEAN",
            "WHITE - RUSSIAN",
            "WHITE - EASTERN EUROPEAN",
            "WHITE - BRAZILIAN",
        ),
        "PORTUGUESE",
    ),
    "black": ("BLACK/AFRICAN AMERICAN", "BLACK/CAPE VERDEAN", "BLACK/CARIBBEAN ISLAND", "BLACK/AFRICAN"),
    "asian": (
        *("ASIAN", "ASIAN - CHINESE", "ASIAN - SOUTH EAST ASIAN", "ASIAN - ASIAN INDIAN", "ASIAN - KOREAN"),
    ),
    "hispanic": (
        *("HISPANIC OR LATINO", "HISPANIC/LATINO - PUERTO RICAN", "HISPANIC/LATINO - DOMINICAN"),
        *("HISPANIC/LATINO - GUATEMALAN", "HISPANIC/LATINO - SALVADORAN", "HISPANIC/LATINO - COLUMBIAN"),
        *("HISPANIC/LATINO - HONDURAN", "HISPANIC/LATINO - CUBAN", "HISPANIC/LATINO - MEXICAN"),
        *("HISPANIC/LATINO - CENTRAL AMERICAN", "SOUTH AMERICAN"),
    ),
    "native": ("AMERICAN INDIAN/ALASKA NATIVE",),
    "pacific": ("NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER",),
    "other": ("OTHER",),
    "multiple": ("MULTIPLE RACE/ETHNICITY",),
    None: ("UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER"),
}


def test_all_thirty_three_words_for_a_race_have_a_group_and_white_is_what_contains_it(options):
    groups = {word: group for group, words in WORDS.items() for word in words}
    assert len(groups) == 33
    stays = options["mimic_iv"] / "hosp" / "admissions.csv.gz"
    edit(
        stays,
        lambda table: (
            table.drop_duplicates("subject_id").head(33).assign(race=list(groups)).sort_values("subject_id")
        ),
    )
    adapter = make_adapter("mimic-cxr", options)
    rows = adapter.manifest().drop_duplicates("subject_id")
    found = {
        said: group for said, group in zip(rows["race_raw"], rows["race"], strict=True) if said is not None
    }
    assert found == {word: groups[word] for word in found}
    assert len(found) > 30  # of two patients there is no image
    preset = next(p for p in adapter.card().presets if (p.name, p.attribute) == ("fairmedfm", "race"))
    white = dict(zip(preset.labels, preset.values, strict=False))["white"]
    assert set(white) == {word for word in groups if "WHITE" in word}


def test_the_papers_race_groups_take_the_first_admission_and_count_unknown_as_non_white(options, tmp_path):
    dataset = converted(options, tmp_path)
    firsts = {
        made.person(n): made.ADMISSIONS.get(n, (made.RACES[n % len(made.RACES)],))[:1]
        for n in made.PEOPLE
        if n not in made.NOT_IN_MIMIC_IV
    }
    said = [firsts.get(row["subject_id"], ()) for row in dataset.index.to_pylist()]
    white = sum("WHITE" in word for words in said for word in words)
    none = sum(not words for words in said)
    assert count_groups(dataset, "fairmedfm", "race") == {
        "white": white,
        "non-white": len(said) - white - none,
        "unknown": none,
    }
    assert ("UNKNOWN",) in said
    assert ("PATIENT DECLINED TO ANSWER",) in said


def test_the_papers_age_groups_use_the_anchor_age(options, tmp_path):
    dataset = converted(options, tmp_path)
    ages = [age for age in dataset.index["anchor_age"].to_pylist() if age is not None]
    unknown = dataset.index.num_rows - len(ages)
    assert ages.count(60.0) >= 2
    for name, young, labels in (
        ("fairmedfm", sum(age < 60 for age in ages), ("<60", "60+")),
        ("fairmedfm_notebook", sum(age <= 60 for age in ages), ("<=60", ">60")),
    ):
        counted = dict(zip(labels, (young, len(ages) - young), strict=True)) | {"unknown": unknown}
        assert count_groups(dataset, name, "age") == counted


def test_social_facts_are_unknown_or_multiple_where_admissions_say_so(options, tmp_path):
    rows = first_by_person(converted(options, tmp_path))
    assert rows[made.person(5)]["insurance"] == "multiple"
    assert rows[made.person(3)]["insurance"] == "Medicare"
    assert rows[made.person(3)]["language"] is None
    assert rows[made.person(1)]["language"] == "ENGLISH"
    assert rows[made.person(2)]["marital_status"] is None
    assert rows[made.person(made.NO_VIEW)]["view"] is None
    assert rows[made.person(1)]["view"] == "AP"


def test_unpacked_tables_and_tables_of_mimic_iv_beside_the_images_are_read(options, tmp_path):
    raw, hospital = options["raw"], options["mimic_iv"] / "hosp"
    for path in (*raw.glob("*.csv.gz"), *hospital.glob("*.csv.gz")):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    beside = make_adapter("mimic-cxr", {"raw": raw.parent}).manifest()
    assert len(beside) > len(made.PEOPLE)
    assert beside["sex"].notna().any()


def test_uncertain_labels_count_as_asked(options, tmp_path):
    rows = converted(options, tmp_path, uncertain="gloria").index.to_pylist()
    for name, expected in (("edema", "present"), ("cardiomegaly", "absent"), ("fracture", None)):
        assert {row[name] for row in rows if row[f"{name}_code"] == "-1.0"} == {expected}


def test_missing_tables_are_named_with_where_to_get_them(options):
    (options["mimic_iv"] / "hosp" / "admissions.csv.gz").unlink()
    text = refusal(options)
    assert "hosp/admissions.csv" in text
    assert "physionet.org" in text
    assert "credentialed" in text
    (options["raw"] / TABLES.format("chexpert")).unlink()
    assert "lacks mimic-cxr-2.0.0-chexpert.csv or mimic-cxr-2.0.0-chexpert.csv.gz" in refusal(options)


def test_renamed_columns_cut_files_and_two_rows_per_id_are_named(options):
    people = options["mimic_iv"] / "hosp" / "patients.csv.gz"
    edit(people, lambda table: pd.concat([table, table.iloc[:1].assign(gender="F")]))
    assert (
        f"patients.csv has several rows for 1 values of 'subject_id', the first {made.person(1)!r}"
        in refusal(options)
    )
    edit(people, lambda table: table.rename(columns={"anchor_age": "age"}))
    assert "patients.csv.gz lacks the column 'anchor_age'" in refusal(options)
    people.write_bytes(people.read_bytes()[:-40])
    assert "patients.csv.gz cannot be read as a table" in refusal(options)


def test_words_and_dates_of_another_release_are_named(options):
    stays = options["mimic_iv"] / "hosp" / "admissions.csv.gz"
    edit(stays, lambda table: table.assign(race=table["race"].replace("OTHER", "MARTIAN")))
    assert "column 'race' has values that its coding does not know: 'martian'" in refusal(options)
    edit(options["raw"] / TABLES.format("metadata"), lambda table: table.assign(StudyDate="2180-05-06"))
    assert "column 'StudyDate' of mimic-cxr-2.0.0-metadata.csv has '2180-05-06'" in refusal(options)


def test_bad_rows_and_files_are_rejected_one_by_one(options, tmp_path):
    metadata = options["raw"] / TABLES.format("metadata")
    images = pd.read_csv(metadata, dtype=str).set_index("subject_id")["dicom_id"]
    one, two, three, five = (images[made.person(number)] for number in (1, 2, 5, 7))
    places = {path.stem: path for path in options["raw"].glob("files/*/*/*/*.jpg")}
    places[one].unlink()
    places[two].write_bytes(places[two].read_bytes()[:-150])
    places[three].with_name("stray.jpg").write_bytes(places[three].read_bytes())
    labels = options["raw"] / TABLES.format("chexpert")

    def spoil(table):
        table.loc[table["study_id"] == made.study(5, 0), "Pneumonia"] = "3"
        return table

    edit(labels, spoil)
    edit(metadata, lambda table: pd.concat([table, table[table["dicom_id"] == five]]))
    dataset = converted(options, tmp_path, ConvertOptions(workers=1, max_rejected=0.5))
    assert sorted((row["sample_id"] or "", row["reason"]) for row in dataset.rejected.to_pylist()) == sorted(
        [
            ("", "not_listed"),
            (one, "missing_image"),
            (two, "decode_error"),
            (three, "unknown_label"),
            (five, "duplicate_id"),
            (five, "duplicate_id"),
        ]
    )


def test_without_its_table_splits_are_drawn_and_the_card_says_so(options):
    adapter = make_adapter("mimic-cxr", options)
    assert "Splits are the publisher's." in adapter.card().notes
    (options["raw"] / TABLES.format("split")).unlink()
    assert "split" not in adapter.manifest().columns
    assert any(note.startswith("Converted without the publisher's split") for note in adapter.card().notes)


def test_the_card_says_what_a_reader_must_know(options):
    card = make_adapter("mimic-cxr", options).card()
    text = " ".join(card.notes)
    for words in ("RAD-DINO", "anchor_age", "multiple", "Images of studies that its table lacks", "(-1)"):
        assert words in text
    assert {t.name for t in card.targets if t.family == "findings"} == {
        label.lower().replace(" ", "_") for label in LABELS[1:]
    }
    chest = [p for p in card.prompts if p.target == "pneumonia" and p.version == "sourget-1"]
    assert (chest[0].templates, chest[0].names) == (("Chest {}",), (("No findings",), ("Pneumonia",)))
