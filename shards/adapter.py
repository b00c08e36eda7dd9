"""What a dataset adapter provides: a card, a manifest, and the pixels of a manifest row.

A manifest is a pandas table with one row per sample: ``sample_id``, ``subject_id``, optionally ``split`` (the publisher's),
one column per target (class name, null where unknown), one per attribute (raw value, null where unknown), and whatever
columns the adapter's own :meth:`Adapter.read` needs, their names starting with ``_`` (``_image``, ``_mask``, ...): those are
not written to the index. Making the manifest touches no image. What the adapter knows to be unfit stays in the manifest too,
with its reason in ``_reject`` and a sentence in ``_detail``: it is counted and named like a sample that cannot be read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shards.card import DatasetCard
from shards.errors import FairRayError

if TYPE_CHECKING:
    import pandas as pd


class UnreadableSample(FairRayError):
    """A sample that cannot be converted; the conversion goes on and records it in ``rejected.parquet``.

    Parameters
    ----------
    reason
        Short key, e.g. ``"decode_error"``, ``"missing_image"``, ``"mask_shape_mismatch"``.
    detail
        One sentence for people: what was expected and found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[UnreadableSample], tuple[str, str]]:
        """Keep both arguments when the error crosses a process border."""
        return type(self), (self.reason, self.detail)


@dataclass(frozen=True)
class Pixels:
    """What one manifest row looks like.

    Attributes
    ----------
    image
        ``[H, W, 3]`` or ``[H, W]``, uint8 or uint16.
    mask
        ``[H, W]`` uint8 label map, of the image's height and width; None when the dataset has no structures or this
        sample has no mask.
    spacing_mm
        (row, column) pixel size in mm; None when unknown.
    encoded
        The publisher's own JPEG bytes when they hold exactly `image`; stored as they are if no resizing is needed, so that
        nothing is lost and nothing grows.
    mask_resized
        Whether the publisher's mask had another size and was brought to the image's.
    derived
        Values of the card's derived attributes.
    """

    image: NDArray[np.uint8] | NDArray[np.uint16]
    mask: NDArray[np.uint8] | None = None
    spacing_mm: tuple[float, float] | None = None
    encoded: bytes | None = None
    mask_resized: bool = False
    derived: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Volume:
    """What one manifest row looks like when it is a stack of slices.

    Attributes
    ----------
    image
        ``[D, H, W]`` uint8, int16, uint16 or float32 intensities as the publisher means them (CT: Hounsfield units).
    spacing_mm
        (slice, row, column) size of a voxel in mm; None when unknown.
    orientation
        One letter per axis of `image`, the direction in which it runs: ``"SPL"`` is axial slices from feet to head, rows
        toward the back, columns toward the patient's left. None when unknown.
    mask
        ``[D, H, W]`` uint8 label map in the same frame; None when there is none.
    mask_resized
        Whether the publisher's mask had another size and was brought to the image's.
    """

    image: NDArray[np.uint8] | NDArray[np.int16] | NDArray[np.uint16] | NDArray[np.float32]
    spacing_mm: tuple[float, float, float] | None = None
    orientation: str | None = None
    mask: NDArray[np.uint8] | None = None
    mask_resized: bool = False


@dataclass(frozen=True)
class Access:
    """How one gets a dataset.

    Attributes
    ----------
    kind
        ``"open"`` (download), ``"registration"``, ``"request"``, ``"credentialed"`` (training and agreement), ``"generated"``
        or ``"yours"``.
    page
        Where to get it.
    steps
        What to do there, for people.
    files
        What can be fetched without asking anybody: addresses, or records of archives with checksums
        (``"zenodo:10159290"``, ``"figshare:12991592"``, ``"dataverse:doi:10.7910/DVN/DBW86T"``).
    expected
        Files and folders, below the raw folder, that show that it is there.
    """

    kind: Literal["open", "registration", "request", "credentialed", "generated", "yours"]
    page: str
    steps: str
    files: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What is known of a dataset before its raw folder is at hand; for listings.

    Attributes
    ----------
    task, modality, licence
        As on the card that a conversion writes.
    samples
        Samples that the publisher's release has; None where it depends.
    attributes
        Names of the attributes.
    access
        How to get it.
    """

    task: str
    modality: str
    licence: str
    samples: int | None
    attributes: tuple[str, ...]
    access: Access


class Adapter(BaseModel, ABC):
    """A dataset's raw layout, as frozen options plus three answers. Picklable: conversion runs in several processes.

    Subclasses declare their options as pydantic fields (unknown options are errors) and set :attr:`name`,
    :attr:`summary` and :attr:`facts`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    #: One line for ``fairray datasets ls``.
    summary: ClassVar[str]
    facts: ClassVar[Facts]
    #: Samples that a shard holds at most, whatever is asked for. A shard is written whole or not at all, by one process: of
    #: volumes, as many as of images would be tens of gigabytes.
    most_per_shard: ClassVar[int] = 1_000_000

    @abstractmethod
    def card(self) -> DatasetCard:
        """Describe the dataset."""

    @abstractmethod
    def manifest(self) -> pd.DataFrame:
        """List the samples (see the module's text).

        Raises
        ------
        UserError
            If the raw folder is not what the publisher ships: names the file or column, what was expected and found.
        """

    @abstractmethod
    def read(self, row: Mapping[str, Any]) -> Pixels | Volume:
        """Read one sample of the manifest.

        Raises
        ------
        UnreadableSample
            If its files are absent, damaged or contradict each other.
        """
