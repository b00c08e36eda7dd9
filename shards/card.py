"""The description of a dataset: what its samples, targets, structures and attributes are.

A card is written to ``dataset.json`` by the conversion and read back by everything above. It holds no sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Target:
    """One thing to predict for a sample.

    Attributes
    ----------
    name
        Column of ``index.parquet`` that holds the true class name (null where unknown).
    classes
        Class names in the order of every score list.
    positive
        The class of interest of a two-class target; None for more classes.
    family
        Name that the targets of one multi-label question share (``"findings"``): a sample can have several at once, and
        their metrics are averaged. None for a question of its own.
    """

    name: str
    classes: tuple[str, ...]
    positive: str | None = None
    family: str | None = None


@dataclass(frozen=True)
class Structure:
    """One named region of a segmentation target.

    Attributes
    ----------
    name
        Name in tables, e.g. ``"cup"``.
    values
        Pixel values of the stored label map that belong to it (several for unions such as disc = rim + cup).
    """

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Attribute:
    """A property of the subject, kept raw; groups are formed when measuring.

    Attributes
    ----------
    name
        Column of ``index.parquet``.
    kind
        ``"category"`` (string column) or ``"number"`` (float column).
    unit
        Unit of a number, e.g. ``"years"``.
    derived
        Whether it is estimated from the image and not recorded by anybody.
    """

    name: str
    kind: Literal["category", "number"] = "category"
    unit: str | None = None
    derived: bool = False


@dataclass(frozen=True)
class PromptSet:
    """Texts for zero-shot classification of one target; versioned, because prompts change results.

    Attributes
    ----------
    target
        The target they are for.
    version
        Name of this set of texts, e.g. ``"fairmedfm-1"``.
    templates
        Texts with one ``{}`` each; a class's text embedding is the mean over templates and names.
    names
        For each class of the target, in its order, the phrases that stand for it.
    """

    target: str
    version: str
    templates: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class GroupPreset:
    """How a paper forms the groups of one attribute: applied by name when measuring, never when converting.

    Attributes
    ----------
    name
        Whose groups these are: ``"fairmedfm"``, ``"medfair"``, ``"fairseg"``, ...
    attribute
        Attribute of the tables.
    column
        Column of ``index.parquet`` that is read: the attribute, or one of the card's ``published``.
    labels
        Names of the groups, in their order.
    bins
        Rising edges of a number; one less than `labels`.
    closed
        Which of its two edges a bin holds: ``"left"`` puts 60 into ``60+``, ``"right"`` into ``<=60``.
    values
        Of a category: the values of each group; one tuple per label.
    otherwise
        Label of every other known value; None makes them unknown.
    note
        What a reader must know, e.g. that a published grouping counts unknown values as a group.
    """

    name: str
    attribute: str
    column: str
    labels: tuple[str, ...]
    bins: tuple[float, ...] = ()
    closed: Literal["left", "right"] = "left"
    values: tuple[tuple[str, ...], ...] = ()
    otherwise: str | None = None
    note: str = ""


@dataclass(frozen=True)
class DatasetCard:
    """All that is known of a dataset before its samples.

    Attributes
    ----------
    name, version
        Kebab-case name and the version of the layout that was converted.
    modality
        E.g. ``"dermoscopy"``, ``"chest X-ray"``.
    licence, source
        Licence of the data, and where it comes from (page, DOI).
    targets, structures, attributes, prompts
        What a sample has.
    subject
        What a ``subject_id`` stands for (``"patient"``, ``"lesion"``, ...): the statistical unit.
    window
        (low, high) intensities that map to 0-255 when 16-bit pixels are shown to an 8-bit model; None for 8-bit data.
    normalise
        (low, high) percentiles of each volume's own intensities that map to 0-255, for scans without a unit (MRI);
        None where there is a `window`, or nothing to map.
    published
        Columns of ``index.parquet`` that are neither target nor attribute: codes and values as the publisher wrote them.
    presets
        The papers' groups.
    notes
        What a reader of results must know of this data, one sentence each.
    """

    name: str
    version: str
    modality: str
    licence: str
    source: str
    targets: tuple[Target, ...] = ()
    structures: tuple[Structure, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    prompts: tuple[PromptSet, ...] = ()
    subject: str = "patient"
    window: tuple[float, float] | None = None
    normalise: tuple[float, float] | None = None
    published: tuple[str, ...] = ()
    presets: tuple[GroupPreset, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def task(self) -> str:
        """``"classification"``, ``"segmentation"`` or both joined by ``+``."""
        kinds = [("classification", self.targets), ("segmentation", self.structures)]
        return "+".join(kind for kind, has in kinds if has)

    def target(self, name: str) -> Target:
        """Return the target of that name (KeyError when there is none)."""
        return {t.name: t for t in self.targets}[name]

    def to_json(self) -> dict[str, Any]:
        """Return the card as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> DatasetCard:
        """Build a card from what :meth:`to_json` gave."""
        return cls(
            **{k: value[k] for k in ("name", "version", "modality", "licence", "source", "subject")},
            targets=tuple(
                Target(t["name"], tuple(t["classes"]), t["positive"], t["family"]) for t in value["targets"]
            ),
            structures=tuple(Structure(s["name"], tuple(s["values"])) for s in value["structures"]),
            attributes=tuple(Attribute(**a) for a in value["attributes"]),
            prompts=tuple(
                PromptSet(
                    p["target"], p["version"], tuple(p["templates"]), tuple(tuple(n) for n in p["names"])
                )
                for p in value["prompts"]
            ),
            window=_pair(value["window"]),
            normalise=_pair(value["normalise"]),
            published=tuple(value["published"]),
            presets=tuple(_preset(preset) for preset in value["presets"]),
            notes=tuple(value["notes"]),
        )


def _pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))


def _preset(value: Mapping[str, Any]) -> GroupPreset:
    lists = {name: tuple(value[name]) for name in ("labels", "bins")}
    return GroupPreset(**{**value, **lists, "values": tuple(tuple(group) for group in value["values"])})
