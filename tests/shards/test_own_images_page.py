"""The examples of docs/own_images.md, run on made-up files with the names that they use."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from dicom_files import write_series
from own_files import CT, Own, reasons, rows_of, stored

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.datasets.table import Table
from shards.preview import preview

PAGE = (Path(__file__).parents[2] / "docs" / "own_images.md").read_text()
EXAMPLES = dict(re.findall(r"```csv (\S+)\n(.*?)```", PAGE, re.S))
OPTIONS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)]
ONE = ConvertOptions(workers=1)


def make(own, name, place):
    """Write one file that a table of the page names; `place` makes it differ from others."""
    if name.endswith("-seg.nii.gz"):
        labels = np.zeros(CT.shape, np.uint8)
        labels[1, 2:4], labels[2, 3] = 1, 2
        own.nifti(name, labels)
    elif name.endswith(".nii.gz"):
        own.nifti(name, CT)
    elif name.endswith((".png",)):
        pixels = np.full((10, 12), 20 * place, np.uint8)
        if "disc" in name or "cup" in name:
            pixels = np.zeros((10, 12), np.uint8)
            pixels[2:8, 2:8] = 255 if "disc" in name else 0
            pixels[4:6, 4:6] = 255
        own.picture(name, pixels)
    else:
        write_series(own.folder / name, CT, series=f"1.2.{place}")


@pytest.fixture
def example(tmp_path):
    """Convert the example whose table is called so."""
    own = Own(tmp_path)

    def run(name):
        (own.folder / name).write_text(EXAMPLES[name])
        frame = pd.read_csv(own.folder / name, dtype=str, keep_default_na=False)
        columns = {"image", "scan", "mask", "series", "file"} | (
            {"disc", "cup"} if name == "eyes.csv" else set()
        )
        columns = [column for column in frame if column in columns]
        files = dict.fromkeys(value for column in columns for value in frame[column] if value)
        for place, file in enumerate(files):
            make(own, file, place)
        (options,) = [options for options in OPTIONS if options["table"] == name]
        given = {**options, "table": own.folder / name}
        if "annotations" in given:
            given["annotations"] = own.folder / given["annotations"]
        adapter = make_adapter("table", given)
        found = preview(adapter, ONE)
        dataset = convert(adapter, tmp_path / "out", ONE)
        assert {split: n for split, n in found.samples.items() if n} == dict(dataset.counts.samples)
        assert found.problems == ()
        assert reasons(dataset) == {}
        return dataset

    return run


def test_every_example_has_a_test():
    assert set(EXAMPLES) == {options["table"] for options in OPTIONS}
    text = Path(__file__).read_text()
    assert all(f'example("{name}")' in text for name in EXAMPLES)


def test_options_of_the_page_are_those_of_the_adapter():
    missing = [name for name in Table.model_fields if f"`{name}`" not in PAGE and f"`{name}:" not in PAGE]
    assert missing == []


def test_scans(example):
    dataset = example("scans.csv")
    rows = rows_of(dataset)
    assert rows["p1"]["depth"] == 4
    assert rows["p3"]["age"] is None
    assert rows["p4"]["mask_name"] is None
    tumour, liver = {s.name: s.values for s in dataset.card.structures}["tumour"], (1, 2)
    assert (
        np.isin(stored(dataset)["p1"].mask, liver).sum()
        > np.isin(stored(dataset)["p1"].mask, tumour).sum()
        > 0
    )


def test_dicom_series(example):
    dataset = example("series.csv")
    assert set(rows_of(dataset)) == {f"P{n}/2.16.840.{n}" for n in range(1, 5)}
    assert rows_of(dataset)["P1/2.16.840.1"]["spacing_mm"] == [2.0, 0.5, 0.25]


def test_stacks(example):
    dataset = example("slices.csv")
    assert {name: row["depth"] for name, row in rows_of(dataset).items()} == {"e1": 2, "e2": 2}
    assert stored(dataset)["e1"].image[:, 0, 0].tolist() == [20, 0]  # by place, not by row


def test_findings(example):
    rows = rows_of(example("findings.csv"))
    assert [rows[n]["Edema"] for n in "1234"] == ["present", "absent", "absent", None]
    assert [rows[n]["tube"] for n in "1234"] == ["absent", None, "present", "absent"]


def test_a_file_per_structure(example):
    dataset = example("eyes.csv")
    values = {s.name: s.values for s in dataset.card.structures}
    eyes = stored(dataset)
    assert np.isin(eyes["1"].mask, values["disc"]).sum() == 36
    assert np.isin(eyes["1"].mask, values["cup"]).sum() == 4
    assert not np.isin(eyes["3"].mask, values["cup"]).any()


def test_run_lengths(example):
    dataset = example("nodules.csv")
    assert {name: int((s.mask > 0).sum()) for name, s in stored(dataset).items()} == {"a": 10, "b": 0, "c": 4}


def test_coco(example, tmp_path):
    square = [[1, 1, 5, 1, 5, 5, 1, 5]]
    value = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 10, "width": 12} for n in (1, 2)],
        "categories": [
            {"id": n, "name": name} for n, name in enumerate(("nucleus", "mitosis", "gland", "dirt"))
        ],
        "annotations": [{"id": n, "image_id": 1, "category_id": n, "segmentation": square} for n in range(4)],
    }
    (tmp_path / "cells.json").write_text(json.dumps(value))
    dataset = example("cells.csv")
    assert [s.name for s in dataset.card.structures] == ["nucleus", "gland"]
    tiles = stored(dataset)
    assert (tiles["tiles/1"].mask == 3).sum() == 16
    assert not tiles["tiles/2"].mask.any()
    assert tiles["tiles/3"].mask is None


def test_pseudonyms(example, tmp_path):
    dataset = example("visits.csv")
    assert all(len(row["subject_id"]) == 32 and row["source"] is None for row in rows_of(dataset).values())
    assert (tmp_path / "visits.csv.key").exists()
