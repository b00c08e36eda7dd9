import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.datasets import make_adapter


class Raw:
    """A raw folder as a user has it: pictures, masks and a table."""

    def __init__(self, folder):
        self.folder = folder
        self.rows = []
        folder.mkdir(parents=True)

    def add(self, name, pixels=None, *, mask=None, data=None, suffix=".png", mask_suffix=".png", **columns):
        number = len(self.rows)
        image = f"images/{name}{suffix}"
        path = self.folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            pixels = picture(number) if pixels is None else pixels
            Image.fromarray(pixels).save(path)
        else:
            path.write_bytes(data)
        row = {"image": image, "person": f"p{number // 2}", "label": "no" if number % 2 else "yes"}
        row |= {"sex": ("female", "male", "unknown")[number % 3], "age": str(20 + number)}
        if mask is not None:
            row["mask"] = f"masks/{name}{mask_suffix}"
            (self.folder / row["mask"]).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(self.folder / row["mask"])
        self.rows.append(row | columns)
        return path

    def adapter(self, **options):
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with (self.folder / "table.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        given = {
            "table": self.folder / "table.csv",
            "dataset": "mine",
            "subject": "person",
            "targets": ["label"],
            "attributes": ["sex", "age"],
        }
        return make_adapter("table", given | options)


def picture(seed, shape=(12, 16, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path / "raw")


@pytest.fixture
def many(tmp_path):
    """Twelve people with two pictures each."""
    raw = Raw(tmp_path / "raw")
    for number in range(24):
        raw.add(f"view-{number:02d}")
    return raw


@pytest.fixture
def files_of():
    """Everything in a folder, by relative path."""

    def read(folder):
        paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    return read


@pytest.fixture
def describe():
    """The parsed dataset.json of a folder."""
    return lambda folder: json.loads((Path(folder) / "dataset.json").read_text())
