"""The adapter ``table``: card, manifest and pixels of a user's own images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shards.adapter import Access, Facts, Pixels, UnreadableSample, Volume
from shards.card import DatasetCard, Structure
from shards.datasets._published import VOLUMES_PER_SHARD
from shards.datasets.table.coco import CocoFile
from shards.datasets.table.fields import TableOptions
from shards.datasets.table.masks import Labels, read_annotations, read_label_map, read_structures
from shards.datasets.table.meaning import read_attribute, read_prompts
from shards.datasets.table.pixels import Found, Reading, is_picture, read_file, stack
from shards.datasets.table.rows import HIDDEN, described, image_cells, manifest_values, unused_annotations
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


class Table(TableOptions):
    """A table with one row per image; see :class:`~shards.datasets.table.fields.TableOptions`."""

    name: ClassVar[str] = "table"
    summary: ClassVar[str] = "your own images and volumes, described by a CSV, TSV, Excel or Parquet file"

    facts: ClassVar[Facts] = Facts(
        "classification, segmentation or both",
        "yours",
        "yours",
        None,
        (),
        Access("yours", "", "Nothing: it is yours. Give the table, and the columns that say what is in it."),
    )

    @property
    def most_per_shard(self) -> int:  # type: ignore[override]  # depends on the table
        """Samples that a shard holds at most: few where the table names volumes or stacks."""
        columns = self.columns()
        files = [part for parts in image_cells(self, columns) for part in parts]
        large = len(files) > len(columns) or any(not is_picture(file) for file in files)
        return VOLUMES_PER_SHARD if large else super().most_per_shard

    def card(self) -> DatasetCard:
        """Describe the dataset; classes and kinds are read from the table where they are not given."""
        columns = self.columns()
        targets = tuple(one.target for one in described(self, columns)[0])
        coco = self.coco()
        structures = self._structures(coco)
        if not targets and not structures:
            raise UserError(
                "dataset 'table' needs something to predict: name columns in 'targets' or 'families', or give masks: a "
                "'mask' column and its 'structures', a mask column per structure, or 'annotations'."
            )
        attributes = tuple(
            read_attribute(columns, name, options, self.unknown)[0]
            for name, options in self.attribute_options.items()
        )
        window, normalise = self.shown
        return DatasetCard(
            name=self.dataset_name,
            version="1",
            modality=self.modality,
            licence=self.licence,
            source=self.source,
            targets=targets,
            structures=structures,
            attributes=attributes,
            prompts=read_prompts(self.prompts, targets),
            subject="sample" if self.subject == "sample" else "patient",
            window=window if isinstance(window, tuple) else None,
            normalise=normalise,
            notes=() if coco is None else _notes(unused_annotations(self, columns, coco), coco.path.name),
        )

    def manifest(self) -> pd.DataFrame:
        """List the samples; no image is opened."""
        import pandas as pd

        return pd.DataFrame(manifest_values(self), dtype=object)

    def read(self, row: Mapping[str, Any]) -> Pixels | Volume:
        """Read one sample's images and, if it has them, their masks."""
        try:
            return self._read(row)
        except UnreadableSample as error:
            if self.pseudonyms:
                raise UnreadableSample(error.reason, HIDDEN) from None
            if error.reason in ("missing_image", "missing_mask") and "\\" in error.detail:
                advice = "paths of the table must be written with / instead of \\, and start from images_root"
                raise UnreadableSample(error.reason, f"{error.detail}; {advice}") from error
            raise

    def _read(self, row: Mapping[str, Any]) -> Pixels | Volume:
        if not row["_images"]:
            raise UnreadableSample("missing_image", f"the row names no image in column {self.image!r}")
        window, normalise = self.shown
        how = Reading(self.plane, window, normalise, self.array, self.burned_in == "allow")
        found = [read_file(Path(path), how) for path in row["_images"]]
        spacing = _spacing([row[f"_spacing_{place}"] for place, _ in enumerate(self.spacing_columns)])
        labels = [self._labels(one, mask) for one, mask in zip(found, row["_masks"], strict=True)]
        if len(found) == 1:
            return _sample(found[0], labels[0], spacing)
        image = stack(found, f"sample {row['sample_id']}")
        masks = [one for one in labels if one is not None]
        if not masks:
            return _sample(image, None, spacing)
        mask = np.stack([one.mask for one in masks])
        return _sample(image, Labels(mask, any(one.resized for one in masks)), spacing)

    def _labels(self, found: Found, mask: Any) -> Labels | None:
        """Return the mask that a manifest row gives of one image."""
        if mask is None:
            return None
        how = Reading(self.plane, None, None, self.mask_array or self.array, False)
        if isinstance(mask, dict):
            return read_annotations(mask, found, self.overlaps)
        coding = self.coding(None)
        if coding is not None:
            return read_structures(mask, found, how, coding, texts=self.mask_format == "rle")
        if isinstance(mask, list):  # an empty cell, which the user says means an empty mask
            return Labels(np.zeros(found.shape, np.uint8), False)
        codes = {value: value for structure in self._structures(None) for value in structure.values}
        return read_label_map(Path(mask), found, how, codes, others=self.other_values == "background")

    def _structures(self, coco: CocoFile | None) -> tuple[Structure, ...]:
        if self.annotations is not None and (self.mask is not None or self.structures):
            raise UserError("'annotations' hold the masks; leave out 'mask' and 'structures'.")
        if self.mask_format == "rle" and not isinstance(self.mask, dict):
            raise UserError(
                "mask_format: rle needs a column per structure, e.g. mask: {lesion: EncodedPixels}."
            )
        coding = self.coding(coco)
        if coding is not None:
            if self.structures:
                raise UserError(
                    "'structures' are grey values of a label map; with a mask column per structure leave them out."
                )
            return coding.structures
        if bool(self.structures) != (self.mask is not None):
            raise UserError(
                "'mask' (the column with label maps) and 'structures' (their grey values, e.g. {lesion: 255}) must be given "
                "together."
            )
        made = tuple(
            Structure(name, (values,) if isinstance(values, int) else values)
            for name, values in self.structures.items()
        )
        for structure in made:
            if not structure.values or any(not 0 < value < 256 for value in structure.values):
                raise UserError(
                    f"structure {structure.name!r} must have grey values from 1 to 255, got {list(structure.values)}."
                )
        return made


def _notes(unused: int, name: str) -> tuple[str, ...]:
    return (
        (f"{name} lists {unused} images that no row of the table names; they were left out.",)
        if unused
        else ()
    )


def _sample(found: Found, labels: Labels | None, spacing: Sequence[float] | None) -> Pixels | Volume:
    """Put an image, its mask and the table's size of a pixel together; the file's own size wins."""
    mask, resized = (None, False) if labels is None else labels
    if found.volume:
        size = found.spacing_mm
        if size is None and spacing is not None and len(spacing) == 3:
            size = tuple(spacing)
        three = None if size is None else (size[0], size[1], size[2])
        return Volume(found.image, three, found.orientation, mask, resized)
    size = found.spacing_mm or (None if spacing is None else (spacing[-min(2, len(spacing))], spacing[-1]))
    two = None if size is None else (size[0], size[1])
    return Pixels(found.image, mask, two, found.encoded, resized)


def _spacing(texts: list[str | None]) -> list[float] | None:
    if not texts or any(text is None for text in texts):
        return None
    try:
        sizes = [float(text or "") for text in texts]
    except ValueError:
        sizes = [math.nan]
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        raise UnreadableSample(
            "bad_spacing", f"the size of a pixel must be a positive number of mm, got {texts}"
        )
    return sizes
