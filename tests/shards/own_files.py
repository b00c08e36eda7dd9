"""A user's table with files of any kind, and what a conversion made of it."""

import numpy as np
import pandas as pd
import SimpleITK as sitk
from PIL import Image

from shards.convert import ConvertOptions
from shards.datasets import make_adapter

LENIENT = ConvertOptions(workers=1, max_rejected=0.95)
CT = (np.arange(4 * 6 * 5).reshape(4, 6, 5) * 10 - 500).astype(np.int16)


class Own:
    """Makes an adapter of rows; the table and the files lie in ``folder``."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, rows, **options):
        self.folder.mkdir(exist_ok=True)
        rows = [{"who": f"w{n}", "y": str(n % 2), **row} for n, row in enumerate(rows)]
        pd.DataFrame(rows).to_csv(self.folder / "t.csv", index=False)
        given = {"table": self.folder / "t.csv", "subject": "who"}
        given |= {"targets": {"y": {"classes": ["0", "1"]}}}
        return make_adapter("table", given | options)

    def nifti(self, name, array, *, spacing=(0.5, 0.25, 2.0), direction=None, origin=(0.0, 0.0, 0.0)):
        self.folder.mkdir(exist_ok=True)
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        if direction is not None:
            image.SetDirection(direction)
        sitk.WriteImage(image, str(self.folder / name))
        return name

    def picture(self, name, array):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(self.folder / name)
        return name


def reasons(dataset):
    return {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}


def rows_of(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def stored(dataset):
    return {s.sample_id: s for shard in dataset.shards for s in dataset.read(shard.name, masks=True)}


def read(adapter, place=0):
    return adapter.read(adapter.manifest().iloc[place].to_dict())
