import openpyxl
import pandas as pd
import pytest
from replicas import replica
from replicas.grouping import count_groups
from replicas.papila import ONE_EYED, PATIENTS, age, diagnosis

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.images import decode

ONE = ConvertOptions(workers=1, max_rejected=0.5)
EYES = {"right": "OD", "left": "OS"}


@pytest.fixture
def raw(tmp_path):
    """Make the folder with sheets (three rows of header) or saved again as CSV (one row)."""

    def make(tables="csv"):
        replica("papila")(tmp_path / tables, tables=tables)
        return tmp_path / tables

    return make


def adapter(root):
    return make_adapter("papila", {"raw": root})


def converted(root, out="out", options=ONE):
    return convert(adapter(root), root.parent / out, options)


def rows_of(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def edit(root, eye, change):
    path = root / "ClinicalData" / f"patient_data_{eye.lower()}.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def with_cell(row, column, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize("tables", ["xlsx", "csv"])
def test_both_eyes_of_every_patient_have_their_own_diagnosis(raw, tables):
    dataset = converted(raw(tables))
    rows = rows_of(dataset)
    assert len(rows) == 2 * len(PATIENTS) - 1
    assert dataset.rejected.num_rows == 0
    for patient in PATIENTS:
        for eye, ending in EYES.items():
            if (patient, eye) == (ONE_EYED, "right"):
                assert f"RET{patient:03d}OD" not in rows
                continue
            row, found = rows[f"RET{patient:03d}{ending}"], diagnosis(patient, ending)
            assert row["diagnosis"] == ("healthy", "glaucoma", "suspect")[found]
            assert row["glaucoma"] == ("healthy", "glaucoma", None)[found]
            assert row["sex"] == ("male", "female")[patient % 2]
            assert row["age"] == age(patient)
            assert row["eye"] == eye
            assert row["subject_id"] == f"{patient:03d}"
            assert row["source"] == f"FundusImages/RET{patient:03d}{ending}.jpg"


def test_sheets_and_tables_with_one_row_of_header_are_the_same_dataset(raw):
    one, other = (converted(raw(tables), f"out-{tables}") for tables in ("xlsx", "csv"))
    assert one.fingerprint == other.fingerprint


def test_suspects_are_kept_without_a_binary_label(raw):
    dataset = converted(raw())
    suspects = [row for row in rows_of(dataset).values() if row["diagnosis"] == "suspect"]
    assert len(suspects) == 12
    assert {row["glaucoma"] for row in suspects} == {None}
    assert dataset.card.target("diagnosis").classes == ("healthy", "glaucoma", "suspect")


def test_two_eyes_never_cross_splits_and_the_seed_decides(raw):
    root = raw()
    dataset = converted(root)
    frame = dataset.index.to_pandas()
    assert frame["subject_id"].nunique() == len(PATIENTS) < len(frame)
    assert (frame.groupby("subject_id")["split"].nunique() == 1).all()
    for _, part in frame.groupby("split"):
        assert set(part["sex"]) == {"female", "male"}
        assert {"healthy", "glaucoma"} <= set(part["glaucoma"].dropna())
    splits = frame.set_index("sample_id")["split"].to_dict()
    again = converted(root, "again").index.to_pandas().set_index("sample_id")["split"].to_dict()
    assert again == splits
    seeded = converted(root, "seeded", ConvertOptions(workers=1, seed=3)).index.to_pandas()
    assert seeded.set_index("sample_id")["split"].to_dict() != splits


def test_ages_form_two_groups_and_sixty_is_where_each_paper_puts_it(raw):
    dataset = converted(raw())
    ages = [row["age"] for row in rows_of(dataset).values()]
    exactly = sum(years == 60 for years in ages)
    old = sum(years >= 60 for years in ages)
    assert exactly == 12
    assert min(ages) < 40
    assert max(ages) > 80
    assert count_groups(dataset, "fairmedfm", "age") == {"60+": old, "<60": len(ages) - old}
    for paper in ("fairmedfm_notebook", "medfair"):
        assert count_groups(dataset, paper, "age") == {
            ">60": old - exactly,
            "<=60": len(ages) - old + exactly,
        }


def test_numbers_that_a_spreadsheet_made_of_ids_are_the_same_patients(raw):
    root = raw()
    before = set(rows_of(converted(root)))
    for eye in EYES.values():
        edit(root, eye, lambda table: table.assign(ID=[str(int(text[1:])) for text in table["ID"]]))
    assert set(rows_of(converted(root, "again"))) == before


@pytest.mark.parametrize("above", ["", "PAPILA", "PAPILA/PapilaDB-PAPILA-17f8fa77"])
def test_the_folder_is_found_however_often_its_archive_was_wrapped(raw, tmp_path, above):
    root = raw()
    given = tmp_path / "given"
    (given / above).parent.mkdir(parents=True, exist_ok=True)
    root.rename(given / above)
    images = adapter(given).manifest()["_image"]
    assert len(images) == 2 * len(PATIENTS) - 1
    assert all(path.startswith(str(given / above / "FundusImages")) for path in images)


def test_photographs_are_stored_as_they_are(raw):
    root = raw()
    dataset = converted(root)
    read = {s.sample_id: s.image for shard in dataset.shards for s in dataset.read(shard.name, masks=False)}
    file = (root / "FundusImages" / "RET007OS.jpg").read_bytes()
    assert (read["RET007OS"] == decode(file)).all()
    assert {row["image_name"] for row in rows_of(dataset).values()} == {"image.jpg"}


def test_what_is_wrong_with_one_eye_costs_that_eye(raw):
    root = raw()
    edit(root, "OD", with_cell(0, "Diagnosis", "7"))
    edit(root, "OD", with_cell(1, "ID", "#004"))
    edit(root, "OD", with_cell(3, "Diagnosis", ""))
    photographs = root / "FundusImages"
    (photographs / "RET002OS.jpg").unlink()
    (photographs / "RET003OS.jpg").write_bytes((photographs / "RET003OS.jpg").read_bytes()[:300])
    dataset = converted(root)
    found = sorted((row["sample_id"] or row["source"], row["reason"]) for row in dataset.rejected.to_pylist())
    assert found == [
        ("FundusImages/RET003OD.jpg", "not_listed"),
        ("RET002OD", "unknown_label"),
        ("RET002OS", "missing_image"),
        ("RET003OS", "decode_error"),
        ("RET004OD", "duplicate_id"),
        ("RET004OD", "duplicate_id"),
    ]
    assert rows_of(dataset)["RET005OD"]["diagnosis"] is None


def test_a_patient_without_a_number_is_refused_not_dropped(raw):
    root = raw()
    edit(root, "OS", with_cell(2, "ID", ""))
    with pytest.raises(UserError, match="1 samples of 'papila' have no subject_id"):
        converted(root)


def test_a_sex_that_is_neither_code_is_refused(raw):
    root = raw()
    edit(root, "OD", with_cell(0, "Gender", "2"))
    with pytest.raises(
        UserError, match="column 'Gender' has values that its coding does not know: '2'; expected 0, 1"
    ):
        adapter(root).manifest()


def test_missing_tables_columns_and_folders_are_named_with_the_page(raw, tmp_path):
    root = raw()
    edit(root, "OS", lambda table: table.rename(columns={"Gender": "Sex"}))
    with pytest.raises(UserError, match=r"patient_data_os.csv lacks the column 'Gender'.*ID, Age, Sex"):
        adapter(root).manifest()
    (root / "ClinicalData" / "patient_data_os.csv").unlink()
    with pytest.raises(UserError, match=r"lacks ClinicalData/patient_data_os.csv or .*xlsx.*14798004"):
        adapter(root).manifest()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has none of ClinicalData, FundusImages"):
        adapter(tmp_path / "empty").manifest()


def test_a_sheet_without_the_publishers_columns_is_refused(raw):
    root = raw("xlsx")
    path = root / "ClinicalData" / "patient_data_od.xlsx"
    book = openpyxl.load_workbook(path)
    book.active["D1"] = "Label"
    book.save(path)
    with pytest.raises(UserError, match=r"lacks the column 'Diagnosis'; expected Age, Gender, Diagnosis"):
        adapter(root).manifest()
