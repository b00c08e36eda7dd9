"""Files as people have them: formats, separators, encodings, sheets, and pickles that must not run."""

import gzip
import os
import pickle

import numpy as np
import pandas as pd
import pytest

from evaluator.auditing.options import Source
from evaluator.auditing.reading import load
from shards.errors import UserError
from tests.evaluator.audited import audited, overall, table


def read(path, **how):
    return load(path, Source(**how))


@pytest.mark.parametrize("kind", ["csv", "tsv", "csv.gz", "parquet", "feather", "json", "jsonl", "xlsx"])
def test_every_format_gives_the_same_table(kind, tmp_path):
    frame, path = table(20), tmp_path / f"t.{kind}"
    writers = {
        "csv": lambda: frame.to_csv(path, index=False),
        "tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        "csv.gz": lambda: path.write_bytes(gzip.compress(frame.to_csv(index=False).encode())),
        "parquet": lambda: frame.to_parquet(path),
        "feather": lambda: frame.to_feather(path),
        "json": lambda: frame.to_json(path, orient="records"),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "xlsx": lambda: frame.to_excel(path, index=False),
    }
    writers[kind]()
    loaded = read(path)
    assert loaded.name == "t"
    assert loaded.frame.columns.tolist() == frame.columns.tolist()
    np.testing.assert_allclose(loaded.frame["score"].astype(float), frame["score"])
    assert loaded.frame["patient_id"].tolist() == frame["patient_id"].tolist()


def test_ids_with_leading_zeros_stay_different(tmp_path):
    (tmp_path / "t.csv").write_text("patient,score\n007,0.1\n7,0.2\n")
    assert read(tmp_path / "t.csv").frame["patient"].tolist() == ["007", "7"]


def test_semicolons_and_decimal_commas_are_read_and_said(tmp_path):
    frame = table(60)
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    loaded = read(tmp_path / "t.csv")
    np.testing.assert_allclose(loaded.frame["score"].astype(float), frame["score"])
    assert any("semicolons" in note for note in loaded.notes)
    assert any("decimal commas" in note and "score" in note for note in loaded.notes)


def test_another_encoding_is_an_error_with_the_option_that_mends_it(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("Patient,Geschlecht\nMüller,männlich\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"not UTF-8 text .line 2.*--encoding latin-1"):
        read(path)
    assert read(path, encoding="latin-1").frame["Geschlecht"].tolist() == ["männlich"]
    path.write_bytes("Patient,Geschlecht\nMüller,männlich\n".encode("utf-16"))
    assert read(path).frame["Patient"].tolist() == ["Müller"]
    with pytest.raises(UserError, match="must be a text encoding"):
        read(path, encoding="klingon")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfpatient,score\n1,0.5\n")
    assert read(tmp_path / "t.csv").frame.columns.tolist() == ["patient", "score"]


def test_several_sheets_are_an_error_that_names_them(tmp_path):
    path = tmp_path / "t.xlsx"
    with pd.ExcelWriter(path) as book:
        table(5).to_excel(book, sheet_name="test", index=False)
        table(7).to_excel(book, sheet_name="train", index=False)
    with pytest.raises(UserError, match="2 sheets: test, train"):
        read(path)
    assert len(read(path, sheet="train").frame) == 7
    with pytest.raises(UserError, match="did you mean 'train'"):
        read(path, sheet="trian")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"patient,score\n", "at least one row"),
        ("t.csv", b"a,a\n1,2\n", "occurs more than once"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "not a regular table"),
        ("t.parquet", b"nonsense", "cannot be read as parquet"),
        ("t.json", b"{nonsense", "cannot be read as json"),
        ("t.xlsx", b"nonsense", "not an Excel file"),
        ("t.csv.gz", b"nonsense", "not a whole gzip file"),
        ("t.docx", b"nonsense", "must end in one of"),
        ("t.pkl", b"nonsense", "is not read"),
    ],
)
def test_what_is_no_table_is_a_message(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read(tmp_path / name)


def test_a_file_that_does_not_exist_is_a_message(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read(tmp_path / "t.csv")


def test_named_index_becomes_a_column():
    frame = table(20).set_index("patient_id")
    assert "patient_id" in load(frame, Source()).frame.columns


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


@pytest.mark.parametrize("protocol", range(6))
def test_fairmedfms_predictions_are_read_and_joined_with_attributes(protocol, tmp_path):
    frame = table()
    logits = np.random.default_rng(0).normal(size=(len(frame), 2)).astype("float32")
    logits[:, 1] += 2 * frame["label"]
    content = {"epoch": 3, "logits": logits, "label": frame["label"].to_numpy()}
    path = tmp_path / "predictions.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    frame[["patient_id", "sex"]].to_csv(tmp_path / "people.csv", index=False)
    result = audited(path, join=tmp_path / "people.csv", on="order")
    score = 1 / (1 + np.exp(logits[:, 0].astype(float) - logits[:, 1]))
    row = overall(result, "brier")
    assert row["value"] == pytest.approx(((score - frame["label"]) ** 2).mean(), abs=1e-6)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_asks_for_code_is_refused_and_nothing_runs(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "predictions.pkl"
    path.write_bytes(pickle.dumps({"logits": Evil(), "label": [0, 1]}, protocol=protocol))
    with pytest.raises(UserError, match=r"a pickle can run code.*asks for posix\.system"):
        read(path)
    assert not (tmp_path / "evil").exists()


def test_a_pickle_with_a_forged_kind_of_array_is_refused(tmp_path):
    content = {"logits": np.array([1.0, 2.0]), "label": np.array([0, 1])}
    honest = pickle.dumps(content, protocol=2)
    for forged in (
        honest.replace(b"f8", b"O8"),
        honest.replace(b"f8", b"V8"),
        honest.replace(b"K\x02\x85", b"K\x09\x85"),
    ):
        assert forged != honest
        (tmp_path / "p.pkl").write_bytes(forged)
        with pytest.raises(UserError, match="is not read"):
            read(tmp_path / "p.pkl")


@pytest.mark.parametrize(
    "content",
    [
        {"logits": np.array([object()], dtype=object), "label": np.array([1])},
        {"logits": pd.DataFrame({"a": [1]}), "label": np.array([1])},
        {"logits": np.zeros((3, 2)), "label": np.zeros(2)},
        {"scores": np.zeros(2)},
        {"logits": np.zeros(2, dtype=[("a", "f8")]), "label": np.zeros(2)},
        {"logits": "text", "label": {"a": 1}},
        [1, 2, 3],
    ],
)
def test_a_pickle_of_anything_else_is_a_message(content, tmp_path):
    path = tmp_path / "p.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError):
        read(path)
