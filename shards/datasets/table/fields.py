"""The options of ``table``, and what follows from them before any row is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from shards.adapter import Adapter
from shards.datasets._columns import Column, Columns, read_columns
from shards.datasets.table.coco import CocoFile, chosen_categories, read_coco
from shards.datasets.table.options import (
    UNKNOWN_VALUES,
    AttributeOptions,
    FamilyOptions,
    PromptOptions,
    TargetOptions,
    Text,
)
from shards.datasets.table.regions import Coding, Overlaps
from shards.errors import UserError
from shards.windows import showing

Window = tuple[float, float] | Literal["file"] | None
#: One name needs no brackets.
_NAMES = BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)


class TableOptions(Adapter):
    """A table with one row per image.

    Attributes
    ----------
    table, sheet
        The CSV, TSV, Excel or Parquet file; of an Excel file the sheet (its name, or place from 0).
    dataset
        Name of the dataset; by default that of the file.
    images_root
        Folder that image and mask paths start from; by default that of the table.
    image, separator
        Column with the paths of images; or several columns, or with a `separator` several paths in a cell: these are stored as
        a stack. PNG, JPEG, TIFF, BMP, DICOM; NIfTI, MHA, MHD, NRRD; NPZ, NPY; folders with a DICOM series.
    join_rows, order
        Rows of one sample id make one sample: their images a stack, in the table's order or that of the numbers in column
        `order`; of rows with the same image the regions are united.
    array, mask_array
        Name of the array in NPZ files of images and of masks.
    plane, window, normalise
        What slices of volumes show; the (low, high) intensities, or percentiles of each image, that become 0 and 255. A window
        can be named (see :mod:`shards.windows`); ``file`` takes a DICOM image's own. More than 8 bits need one of both.
    burned_in
        Whether DICOM files that say that texts are burned into their pixels are rejected.
    subject
        Column that says whose image it is; ``sample`` declares that every image is of another person.
    sample_id
        Column with a unique id; by default the image's path below the folder of images, without its ending.
    pseudonyms
        Replace sample and subject ids by keyed hashes: the file of the key, made if it is not there; ``true`` for TABLE.key.
    split
        Column with train, val or test.
    targets, families
        Columns to predict, or these with their :class:`TargetOptions`; multi-label questions by name (:class:`FamilyOptions`).
    attributes
        Columns with properties of the subject, or these with their :class:`AttributeOptions`.
    mask
        Column with label maps; or a column per structure, with files or run lengths (`mask_format`).
    mask_format
        ``file`` or ``rle`` (Kaggle's run lengths, or JSON of COCO's).
    structures, other_values
        The grey values of the label map that belong to each structure. What another value than these and 0 means: the mask is
        wrong (``reject``) or it is ``background``.
    annotations, categories
        COCO's JSON file instead of a mask column; the categories of each structure, by default each its own.
    overlaps
        Of structures with masks of their own: see :class:`~shards.datasets.table.regions.Coding`.
    no_mask
        What an empty cell of a mask, or an image that COCO's file does not list, means: ``unknown`` or ``empty``.
    spacing_mm
        Column with the size of a pixel in mm, or two columns (distance of rows, of columns), or three (of slices first), for
        files that do not say it themselves.
    prompts
        By target.
    unknown_values
        Texts that stand for an unknown value, in any capitals; an empty cell always does.
    modality, licence, source
        As in the dataset's card.
    """

    table: Path
    sheet: str | int = 0
    dataset: str | None = Field(default=None, pattern="^[a-z0-9][a-z0-9-]*$")
    images_root: Path | None = None
    image: str | tuple[str, ...] = "image"
    separator: str | None = Field(default=None, min_length=1)
    join_rows: bool = False
    order: str | None = None
    array: str | None = None
    mask_array: str | None = None
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    window: tuple[float, float] | str | None = None
    normalise: tuple[float, float] | None = None
    burned_in: Literal["reject", "allow"] = "reject"
    mask: str | tuple[str, ...] | dict[str, str] | None = None
    mask_format: Literal["file", "rle"] = "file"
    annotations: Path | None = None
    categories: dict[str, tuple[str, ...] | str] = Field(default_factory=dict)
    overlaps: Overlaps = "keep"
    no_mask: Literal["unknown", "empty"] = "unknown"
    subject: str
    sample_id: str | None = None
    pseudonyms: bool | Path = False
    split: str | None = None
    targets: Annotated[tuple[str, ...] | dict[str, TargetOptions], _NAMES] = ()
    families: dict[str, FamilyOptions] = Field(default_factory=dict)
    attributes: Annotated[tuple[str, ...] | dict[str, AttributeOptions], _NAMES] = ()
    structures: dict[str, tuple[int, ...] | int] = Field(default_factory=dict)
    other_values: Literal["reject", "background"] = "reject"
    spacing_mm: str | tuple[str, ...] | None = None
    prompts: dict[str, PromptOptions] = Field(default_factory=dict)
    unknown_values: tuple[Text, ...] = UNKNOWN_VALUES
    modality: str = "unknown"
    licence: str = "unknown"
    source: str = "unknown"

    @property
    def path(self) -> Path:
        """The table's absolute path."""
        return self.table.expanduser().absolute()

    @property
    def root(self) -> Path:
        """The folder that paths start from."""
        return (self.images_root or self.path.parent).expanduser().absolute()

    @property
    def dataset_name(self) -> str:
        """Name of the dataset."""
        return self.dataset or re.sub("[^a-z0-9]+", "-", self.table.stem.lower()).strip("-") or "table"

    @property
    def unknown(self) -> set[str]:
        """Texts, in lower case, that stand for an unknown value."""
        return {"", *(text.lower() for text in self.unknown_values)}

    @property
    def target_options(self) -> dict[str, TargetOptions]:
        """How each target is coded."""
        named = self.targets
        return named if isinstance(named, dict) else {name: TargetOptions() for name in named}

    @property
    def attribute_options(self) -> dict[str, AttributeOptions]:
        """What each attribute is."""
        named = self.attributes
        return named if isinstance(named, dict) else {name: AttributeOptions() for name in named}

    @property
    def spacing_columns(self) -> tuple[str, ...]:
        """Columns of the size of a pixel."""
        return (self.spacing_mm,) if isinstance(self.spacing_mm, str) else self.spacing_mm or ()

    @property
    def shown(self) -> tuple[Window, tuple[float, float] | None]:
        """Window and percentiles that intensities are shown with (UserError if they are none)."""
        if self.window is not None and self.normalise is not None:
            raise UserError(
                "window and normalise cannot be given both; a window is for intensities with a unit."
            )
        if self.normalise is not None and not 0 <= self.normalise[0] < self.normalise[1] <= 100:
            raise UserError(f"normalise must be (low, high) percentiles from 0 to 100, got {self.normalise}.")
        if self.window == "file":
            return "file", None
        if isinstance(self.window, str):
            return showing(self.window)
        if self.window is not None and not self.window[0] < self.window[1]:
            raise UserError(f"window must be (low, high) with low < high, got {self.window}.")
        return self.window, self.normalise

    def columns(self) -> Columns:
        """Read the table."""
        return read_columns(self.path, self.sheet)

    def known(self, columns: Columns, name: str) -> Column:
        """Return a column with None for what is unknown."""
        return columns.known(name, self.unknown)

    def coco(self) -> CocoFile | None:
        """Read the file of annotations; None where there is none."""
        return None if self.annotations is None else read_coco(self.annotations.expanduser().absolute())

    def coding(self, coco: CocoFile | None) -> Coding | None:
        """Return how structures with masks of their own are stored; None where masks are label maps, or there are none."""
        if isinstance(self.mask, dict):
            return Coding(tuple(self.mask), self.overlaps)
        return (
            None if coco is None else Coding(tuple(chosen_categories(coco, self.categories)), self.overlaps)
        )
