"""What a dataset adapter provides: a card, a manifest, and the pixels of a manifest row.

A manifest is a pandas table with one row per sample: ``sample_id``, ``subject_id``, optionally ``split`` (the publisher's),
one column per target (class name, null where unknown), one per attribute (raw value, null where unknown), and whatever
columns the adapter's own :meth:`Adapter.read` needs, their names starting with ``_`` (``_image``, ``_mask``, ...): those are
not written to the index. Making the manifest touches no image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

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
    """

    image: NDArray[np.uint8] | NDArray[np.uint16]
    mask: NDArray[np.uint8] | None = None
    spacing_mm: tuple[float, float] | None = None
    encoded: bytes | None = None
    mask_resized: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of a dataset before its raw folder is at hand; for listings.

    Attributes
    ----------
    task, modality, licence
        As on the card that a conversion writes.
    """

    task: str
    modality: str
    licence: str


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
    def read(self, row: Mapping[str, Any]) -> Pixels:
        """Read one sample of the manifest.

        Raises
        ------
        UnreadableSample
            If its files are absent, damaged or contradict each other.
        """
