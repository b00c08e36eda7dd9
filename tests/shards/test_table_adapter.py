import math

import numpy as np
import pandas as pd
import pytest

from shards.card import Attribute, PromptSet, Target
from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

LENIENT = ConvertOptions(workers=1, max_rejected=0.9)


@pytest.fixture
def table(tmp_path):
    """Make an adapter of a table given as columns; no image is needed for its card and manifest."""

    def make(columns, *, name="my_table.csv", **options):
        path = tmp_path / name
        count = len(next(iter(columns.values())))
        columns = {
            "image": [f"{n}.png" for n in range(count)],
            "who": [f"w{n}" for n in range(count)],
        } | columns
        frame = pd.DataFrame(columns)
        if path.suffix == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
        return make_adapter("table", {"table": path, "subject": "who", "targets": ["y"]} | options)

    return make


def values(adapter, name):
    return [None if pd.isna(value) else value for value in adapter.manifest()[name]]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_all_kinds_of_tables_say_the_same(table, name):
    adapter = table({"y": [1, 0, 1], "age": [30.0, None, 41.5], "sex": ["f", "m", None]}, name=name)
    adapter = adapter.model_copy(update={"attributes": ("age", "sex")})
    assert adapter.card().targets == (Target("y", ("0", "1"), "1"),)
    assert adapter.card().attributes == (Attribute("age", "number"), Attribute("sex", "category"))
    assert values(adapter, "y") == ["1", "0", "1"]
    assert [None if v is None else float(v) for v in values(adapter, "age")] == [30.0, None, 41.5]
    assert values(adapter, "sex") == ["f", "m", None]
    assert adapter.card().name == "t"


def test_unknown_is_null_and_never_a_class_or_group(table):
    raw = ["yes", "Unknown", "no", "N/A", "", " nan ", "yes", "NULL", "#N/A", "<NA>"]
    adapter = table({"y": raw, "sex": raw}, attributes=["sex"])
    assert adapter.card().targets[0].classes == ("no", "yes")
    assert (
        values(adapter, "y")
        == values(adapter, "sex")
        == ["yes", None, "no", None, None, None, "yes", None, None, None]
    )


def test_what_is_unknown_can_be_said(table):
    adapter = table({"y": ["a", "b", "-1", "", "NA"]}, unknown_values=["-1"])
    assert adapter.card().targets[0].classes == ("NA", "a", "b")
    assert values(adapter, "y") == ["a", "b", None, None, "NA"]


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (["0", "1"], "1"),
        (["No", "Yes"], "Yes"),
        (["malignant", "benign"], "malignant"),
        (["TRUE", "FALSE"], "TRUE"),
    ],
)
def test_the_positive_class_is_taken_where_it_says_so(table, classes, positive):
    assert table({"y": classes}).card().targets[0].positive == positive


def test_an_unclear_positive_class_must_be_said(table):
    with pytest.raises(UserError, match=r"target 'y' has the classes 'cat' and 'dog'.*positive: 'dog'"):
        table({"y": ["cat", "dog"]}).card()
    said = table({"y": ["cat", "dog"]}, targets={"y": {"positive": "cat"}})
    assert said.card().targets[0] == Target("y", ("cat", "dog"), "cat")
    with pytest.raises(UserError, match="unknown positive class of target 'y' 'cats'; did you mean 'cat'"):
        table({"y": ["cat", "dog"]}, targets={"y": {"positive": "cats"}}).card()


def test_many_classes_are_sorted_as_people_do(table):
    target = table({"y": ["10", "9", "2", "b", "a"]}).card().targets[0]
    assert target == Target("y", ("2", "9", "10", "a", "b"), None)


def test_one_class_only_is_refused(table):
    with pytest.raises(UserError, match="must have two or more different classes, got yes"):
        table({"y": ["yes", "yes"]}).card()


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["12.5", "40"], "number"),
        (["0", "1", "1"], "category"),
        (["3", "1.5"], "number"),
        (["12", "old"], "category"),
        (["inf", "12"], "category"),
        (["", ""], "category"),
    ],
)
def test_kinds_of_attributes_are_told_from_their_values(table, cells, kind):
    adapter = table({"y": [f"{n % 2}" for n in range(len(cells))], "a": cells}, attributes=["a"])
    assert adapter.card().attributes[0].kind == kind


def test_kind_and_unit_can_be_said(table):
    adapter = table({"y": ["0", "1"], "a": ["1", "2"]}, attributes={"a": {"kind": "number", "unit": "years"}})
    assert adapter.card().attributes[0] == Attribute("a", "number", "years")


def test_a_number_that_is_none_is_refused_by_name(raw, tmp_path):
    for number in range(4):
        raw.add(f"{number}")
    raw.rows[2]["age"] = "about 40"
    with pytest.raises(
        UserError, match="attribute 'age' of sample 'images/2' must be a finite number, got 'about 40'"
    ):
        convert(raw.adapter(attributes={"age": {"kind": "number"}}), tmp_path / "out", LENIENT)


@pytest.mark.parametrize(
    ("options", "column", "near"),
    [
        ({"image": "images"}, "images", "image"),
        ({"subject": "whom"}, "whom", "who"),
        ({"targets": ["label_y"]}, "label_y", None),
        ({"attributes": ["Sexe"]}, "Sexe", "sex"),
        ({"sample_id": "imag"}, "imag", "image"),
        ({"split": "whoo"}, "whoo", "who"),
        ({"spacing_mm": "sexx"}, "sexx", "sex"),
    ],
)
def test_a_missing_column_is_named_with_its_neighbour(table, options, column, near):
    adapter = table({"y": ["0", "1"], "sex": ["f", "m"]}, **options)
    question = f"; did you mean '{near}'" if near else ""
    with pytest.raises(UserError, match=f"unknown column in my_table.csv '{column}'{question}"):
        (adapter.card(), adapter.manifest())


def test_capitals_in_column_names_do_not_matter(table):
    adapter = table({"Y": ["0", "1"], "Sex": ["f", "m"]}, attributes=["sex"])
    assert adapter.card().attributes[0].name == "sex"
    assert values(adapter, "sex") == ["f", "m"]


def test_every_sample_its_own_subject_must_be_said(table):
    adapter = table({"y": ["0", "1"]}, subject="sample")
    assert values(adapter, "subject_id") == values(adapter, "sample_id") == ["0", "1"]
    assert adapter.card().subject == "sample"
    with pytest.raises(UserError, match="subject: required"):
        make_adapter("table", {"table": "t.csv", "targets": ["y"]})
    with pytest.raises(UserError, match="has a column 'sample'"):
        table({"y": ["0", "1"], "sample": ["a", "a"]}, subject="sample").manifest()


def test_mask_and_structures_belong_together(table):
    with pytest.raises(UserError, match="must be given together"):
        table({"y": ["0", "1"]}, structures={"cup": 1}).card()
    with pytest.raises(UserError, match="grey values from 1 to 255, got"):
        table({"y": ["0", "1"]}, mask="image", structures={"cup": [1, 256]}).card()
    card = table({"y": ["0", "1"]}, targets=[], mask="image", structures={"cup": 1, "disc": [1, 2]}).card()
    assert card.task == "segmentation"
    assert [(s.name, s.values) for s in card.structures] == [("cup", (1,)), ("disc", (1, 2))]


def test_something_must_be_predicted(table):
    with pytest.raises(UserError, match="needs something to predict"):
        table({"y": ["0", "1"]}, targets=[]).card()


def test_prompts_are_versioned_by_their_texts(table):
    texts = {"templates": ["a photo of {}"], "names": {"1": ["disease", "illness"], "0": "health"}}
    (prompts,) = table({"y": ["0", "1"]}, prompts={"y": texts}).card().prompts
    assert prompts == PromptSet(
        "y", prompts.version, ("a photo of {}",), (("health",), ("disease", "illness"))
    )
    (other,) = table({"y": ["0", "1"]}, prompts={"y": texts | {"templates": ["{}"]}}).card().prompts
    assert other.version != prompts.version
    (named,) = table({"y": ["0", "1"]}, prompts={"y": texts | {"version": "mine-2"}}).card().prompts
    assert named.version == "mine-2"


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"z": {"templates": ["{}"], "names": {}}}, "unknown target in prompts 'z'"),
        ({"y": {"templates": ["no place"], "names": {}}}, "must hold {} once"),
        ({"y": {"templates": ["{}"], "names": {"1": "a"}}}, "each of its classes 0, 1; got 1"),
    ],
)
def test_wrong_prompts_are_refused(table, prompts, message):
    with pytest.raises(UserError, match=message):
        table({"y": ["0", "1"]}, prompts=prompts).card()


def test_wrong_tables_are_refused(tmp_path):
    def reason(name, content):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            make_adapter("table", {"table": path, "subject": "s", "targets": ["y"]}).card()
        return str(caught.value)

    assert "does not exist" in reason("none.csv", None)
    assert "must end in .csv, .tsv, .tab, .xlsx, .xlsm or .parquet, got '.ods'" in reason("book.ods", b"PK")
    assert "cannot be read as an Excel file" in reason("book.xlsx", b"PK")
    assert "is empty" in reason("empty.csv", b"")
    assert "two columns called 'a'" in reason("twice.csv", b"a,b,a\n1,2,3\n")
    assert "row 3 of the table" in reason("ragged.csv", b"a,b\n1,2\n1,2,3\n")
    assert "cannot be read as UTF-8" in reason("latin.csv", b"a,b\n\xe9,2\n")
    assert "cannot be read as Parquet" in reason("bad.parquet", b"PAR1 no")


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8-sig", ";"), ("utf-16", "\t"), ("utf-8", "\t"), ("utf-8", ";")]
)
def test_tables_as_excel_writes_them_in_other_places_are_read(tmp_path, encoding, mark):
    lines = ["image;who;y;größe", "1.png;w1;ja;1,5", "2.png;w2;nein;2", "3.png;w2;nein;"]
    (tmp_path / "t.csv").write_bytes("\r\n".join(lines).replace(";", mark).encode(encoding))
    given = {"subject": "who", "targets": {"y": {"positive": "ja"}}, "attributes": ["größe"]}
    adapter = make_adapter("table", {"table": tmp_path / "t.csv", **given})
    assert adapter.card().targets == (Target("y", ("ja", "nein"), "ja"),)
    assert adapter.card().attributes == (Attribute("größe", "number"),)
    assert values(adapter, "größe") == ["1.5", "2", None]


def test_window_must_have_a_width(table):
    with pytest.raises(UserError, match="window must be"):
        table({"y": ["0", "1"]}, window=[5, 5]).card()


def test_masks_of_another_size_are_fitted_and_counted_or_rejected(raw, tmp_path):
    image = np.zeros((10, 20), np.uint8)
    spot = np.zeros((10, 20), np.uint8)
    spot[4:6, 8:12] = 3
    raw.add("same", image, mask=spot)
    raw.add("large", image, mask=np.kron(spot, np.ones((3, 3), np.uint8)))
    raw.add("other", image, mask=np.zeros((20, 20), np.uint8))
    raw.add("grey", image, mask=spot // 2)
    raw.add("none", image)
    raw.add("gone", image, mask=spot)
    (raw.folder / "masks/gone.png").unlink()
    options = {"mask": "mask", "structures": {"spot": 3}}
    dataset = convert(raw.adapter(**options), tmp_path / "out", LENIENT)
    reasons = {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}
    assert reasons == {
        "images/other": "mask_shape_mismatch",
        "images/grey": "mask_values",
        "images/gone": "missing_mask",
    }
    resized = {row["sample_id"]: row["mask_resized"] for row in dataset.index.to_pylist()}
    assert resized == {"images/same": False, "images/large": True, "images/none": None}
    assert (dataset.counts.masks, dataset.counts.masks_resized) == (2, 1)
    masks = {s.sample_id: s.mask for shard in dataset.shards for s in dataset.read(shard.name, masks=True)}
    assert np.array_equal(masks["images/large"], spot)
    lenient = convert(raw.adapter(**options, other_values="background"), tmp_path / "lenient", LENIENT)
    assert "images/grey" in lenient.index["sample_id"].to_pylist()


def test_spacing_is_read_from_one_or_two_columns(raw, tmp_path):
    for number in range(6):
        raw.add(f"{number}", rows_mm="0.5", columns_mm="0.25")
    raw.rows[0]["rows_mm"] = "unknown"
    raw.rows[1]["rows_mm"] = "-1"
    raw.rows[2]["rows_mm"] = "wide"
    both = convert(raw.adapter(spacing_mm=["rows_mm", "columns_mm"]), tmp_path / "both", LENIENT)
    found = {row["sample_id"]: row["spacing_mm"] for row in both.index.to_pylist()}
    assert found == {"images/0": None} | {f"images/{n}": [0.5, 0.25] for n in (3, 4, 5)}
    assert {row["reason"] for row in both.rejected.to_pylist()} == {"bad_spacing"}
    one = convert(raw.adapter(spacing_mm="columns_mm"), tmp_path / "one", LENIENT)
    assert set(map(tuple, one.index["spacing_mm"].to_pylist())) == {(0.25, 0.25)}


def test_a_row_without_image_is_rejected(raw, tmp_path):
    for number in range(4):
        raw.add(f"{number}", id=f"i{number}")
    raw.rows[1]["image"] = ""
    dataset = convert(raw.adapter(sample_id="id"), tmp_path / "out", LENIENT)
    assert [(row["sample_id"], row["reason"]) for row in dataset.rejected.to_pylist()] == [
        ("i1", "missing_image")
    ]


def test_images_may_lie_elsewhere(raw, tmp_path):
    for number in range(4):
        raw.add(f"{number}")
    (raw.folder / "images").rename(tmp_path / "images")
    dataset = convert(raw.adapter(images_root=tmp_path), tmp_path / "out", LENIENT)
    assert dataset.index.num_rows == 4
    assert dataset.index["source"].to_pylist()[0].startswith("images/")


def test_ages_stay_what_they_were(raw, tmp_path):
    for number, age in enumerate(["0", "0.5", "89.9", "", "41"]):
        raw.add(f"{number}")
        raw.rows[-1]["age"] = age
    dataset = convert(raw.adapter(), tmp_path / "out", LENIENT)
    ages = dict(zip(dataset.index["sample_id"].to_pylist(), dataset.index["age"].to_pylist(), strict=True))
    assert ages == {"images/0": 0.0, "images/1": 0.5, "images/2": 89.9, "images/3": None, "images/4": 41.0}
    assert not any(math.isnan(age) for age in ages.values() if age is not None)


def test_declared_class_is_known_whatever_it_is_called(table):
    raw = ["none", "mild", "severe", "", "unknown"]
    adapter = table({"y": raw}, targets={"y": {"classes": ["none", "mild", "severe"]}})
    assert values(adapter, "y") == ["none", "mild", "severe", None, None]


def test_places_of_this_machine_stay_out_of_ids_and_sources(table, tmp_path):
    images = [str(tmp_path / "scans" / "a.png"), "scans/b.png"]
    adapter = table({"y": ["0", "1"], "image": images})
    assert values(adapter, "sample_id") == ["scans/a", "scans/b"]
    assert values(adapter, "_source") == ["scans/a.png", "scans/b.png"]
    assert adapter.manifest()["_images"].tolist() == [[images[0]], [str(tmp_path / images[1])]]


def test_images_elsewhere_need_ids_or_their_folder(table, tmp_path):
    columns = {"y": ["0", "1"], "image": ["/elsewhere/a/1.png", "/elsewhere/b/1.png"], "id": ["one", "two"]}
    with pytest.raises(UserError, match=r"2 images lie outside of .*'images_root'"):
        table(columns).manifest()
    named = table(columns, sample_id="id")
    assert values(named, "sample_id") == ["one", "two"]
    assert values(named, "_source") == ["1.png", "1.png"]
    assert values(table(columns, images_root="/elsewhere"), "sample_id") == ["a/1", "b/1"]


@pytest.mark.parametrize("cells", [["yes", "Yes", "no"], ["1", "1.0", "0"], ["low", "LOW", "high"]])
def test_one_class_in_two_spellings_is_refused_until_the_classes_are_listed(table, cells):
    with pytest.raises(UserError, match="seem to be one class"):
        table({"y": cells}).card()
    finding, other = cells[0], cells[2]
    given = {"classes": [other, finding], "positive": finding}
    listed = table({"y": [*cells, "else"]}, targets={"y": given})
    assert values(listed, "y") == [finding, finding, other, "else"]


def test_classes_that_are_listed_in_both_spellings_stay_two(table):
    adapter = table({"y": ["a", "A", "a"]}, targets={"y": {"classes": ["a", "A"], "positive": "A"}})
    assert values(adapter, "y") == ["a", "A", "a"]


def test_numbers_of_a_spreadsheet_say_which_is_the_finding(table):
    assert table({"y": ["1.0", "0.0", "1.0"]}).card().targets[0].positive == "1.0"


def test_codes_become_the_words_that_are_given(table):
    adapter = table(
        {"y": ["2", "1", "9", "2"], "sex": ["0", "1", "F", "9"], "age": ["45+", "30", "31", "-1"]},
        targets={"y": {"values": {1: "healthy", 2: "diseased", 9: None}}},
        attributes={
            "sex": {"values": {0: "M", 1: "F", 9: None}},
            "age": {"values": {"45+": None, -1: None}},
        },
    )
    assert adapter.card().targets[0] == Target("y", ("diseased", "healthy"), "diseased")
    assert values(adapter, "y") == ["diseased", "healthy", None, "diseased"]
    assert values(adapter, "sex") == ["M", "F", "F", None]
    assert values(adapter, "age") == [None, "30", "31", None]
    assert adapter.card().attributes[1].kind == "number"


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), ("7", "007"), ("12.0", "0012")])
def test_one_person_with_two_spellings_of_an_id_is_refused(table, one, other):
    with pytest.raises(UserError, match=r"column 'who' of my_table.csv has the ids .* which are one number"):
        table({"y": ["1", "0", "1"], "who": [one, other, "p"]}).manifest()
    kept = table({"y": ["1", "0", "1"], "who": ["p01", "p1", "007"]})
    assert values(kept, "subject_id") == ["p01", "p1", "007"]


def test_a_group_in_two_spellings_is_refused_until_it_is_said_what_it_is(table):
    columns = {"y": ["1", "0", "1"], "sex": ["F", "f", "m"]}
    with pytest.raises(
        UserError, match="attribute 'sex' has the values 'F' and 'f', which seem to be one group"
    ):
        table(columns, attributes=["sex"]).manifest()
    said = table(columns, attributes={"sex": {"values": {"f": "F"}}})
    assert values(said, "sex") == ["F", "F", "m"]


def test_ages_as_dicom_writes_them_are_years(table):
    adapter = table({"y": ["1", "0", "1", "0"], "age": ["058Y", "006M", "", "100Y"]}, attributes=["age"])
    assert adapter.card().attributes == (Attribute("age", "number"),)
    assert values(adapter, "age") == ["58", "0.5", None, "100"]


def test_what_is_nearly_a_number_is_not_made_a_group_of_each_value(table):
    columns = {"y": ["1", "0", "1", "0"], "age": ["45+", "61", "62", "63"]}
    with pytest.raises(UserError, match="attribute 'age' has 3 numbers and 1 texts, as '45\\+'"):
        table(columns, attributes=["age"]).card()
    said = table(columns, attributes={"age": {"kind": "category"}})
    assert values(said, "age") == columns["age"]


def test_what_is_no_age_is_refused_unless_it_is_unknown_or_of_another_unit(table):
    columns = {"y": ["1", "0", "1"], "age": ["-1", "999", "61"]}
    with pytest.raises(
        UserError, match="attribute 'age' has 2 values that are no age of 0 to 120 years: -1, 999"
    ):
        table(columns, attributes=["age"]).manifest()
    assert values(table(columns, attributes=["age"], unknown_values=[-1, 999]), "age") == [None, None, "61"]
    days = table(
        {"y": ["1", "0"], "age": ["9000", "22000"]}, attributes={"age": {"kind": "number", "unit": "days"}}
    )
    assert values(days, "age") == ["9000", "22000"]


def test_one_target_or_attribute_needs_no_brackets_and_yes_needs_quotes(table):
    adapter = table({"y": ["1", "0"], "sex": ["f", "m"]}, targets="y", attributes="sex")
    assert [one.name for one in (*adapter.card().targets, *adapter.card().attributes)] == ["y", "sex"]
    with pytest.raises(UserError, match="write yes, no, true and false in quotes: YAML"):
        table({"y": ["yes", "no"]}, targets={"y": {"positive": True}})


def test_paths_of_windows_are_told_how_to_be_written(raw, tmp_path):
    raw.add("a")
    raw.add("b")
    raw.rows[0]["image"] = "images\\a.png"
    dataset = convert(raw.adapter(), tmp_path / "out", LENIENT)
    assert "written with / instead of" in dataset.rejected.to_pylist()[0]["detail"]
