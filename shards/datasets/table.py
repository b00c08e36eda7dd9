"""``table``: anyone's images, described by a CSV, TSV or Parquet file with one row per image."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shards.adapter import Access, Adapter, Facts, Pixels, UnreadableSample
from shards.card import Attribute, DatasetCard, PromptSet, Structure, Target
from shards.datasets._columns import Column, Columns, read_columns
from shards.errors import UserError, unknown_name
from shards.files import digest
from shards.images import read_image
from shards.masks import load_mask

if TYPE_CHECKING:
    import pandas as pd

#: Texts that stand for an unknown value, as an empty cell does, unless the user says otherwise.
UNKNOWN_VALUES = ("unknown", "n/a", "na", "nan", "null", "none")
_POSITIVE = frozenset(
    {"1", "true", "yes", "y", "positive", "pos", "present", "malignant", "diseased", "abnormal"}
)
_NEGATIVE = frozenset({"0", "false", "no", "n", "negative", "neg", "absent", "benign", "healthy", "normal"})
_SPLITS = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TargetOptions(_Options):
    """How one target is coded.

    Attributes
    ----------
    classes
        Class names in their order; by default the column's values, sorted. A row with another value is
        rejected. A class named here is a class even if it is called like an unknown value (``none``).
    positive
        The class of interest of two. By default the one that says so (1, true, yes, positive, present,
        malignant, diseased, abnormal against 0, false, no, negative, absent, benign, healthy, normal);
        otherwise it must be given.
    """

    classes: tuple[str, ...] | None = None
    positive: str | None = None


class AttributeOptions(_Options):
    """What one attribute is.

    Attributes
    ----------
    kind
        By default ``number`` if all values are numbers, unless all are whole and below 10: these are codes, a
        ``category``.
    unit
        Unit of a number.
    """

    kind: Literal["category", "number"] | None = None
    unit: str | None = None


class PromptOptions(_Options):
    """Texts for zero-shot classification of one target.

    Attributes
    ----------
    templates
        Texts with one ``{}`` each.
    names
        For each class, the phrases that stand for it.
    version
        By default made of the texts, so that other texts have another version.
    """

    templates: tuple[str, ...] = Field(min_length=1)
    names: dict[str, tuple[str, ...] | str]
    version: str | None = None


class Table(Adapter):
    """A table with one row per image.

    Attributes
    ----------
    table
        The CSV, TSV or Parquet file.
    dataset
        Name of the dataset; by default that of the file.
    images_root
        Folder that image and mask paths start from; by default that of the table.
    image, mask
        Columns with the paths of images and label maps.
    subject
        Column that says whose image it is; ``sample`` declares that every image is of another person.
    sample_id
        Column with a unique id; by default the image's path below the folder of images, without its ending.
    split
        Column with train, val or test.
    targets
        Columns to predict, or these with their :class:`TargetOptions`.
    attributes
        Columns with properties of the subject, or these with their :class:`AttributeOptions`.
    structures
        The grey values of the label map that belong to each structure.
    other_values
        What another grey value than these and 0 means: the mask is wrong (``reject``) or it is
        ``background``.
    spacing_mm
        Column with the size of a pixel in mm, or two columns: distance of rows, of columns.
    prompts
        By target.
    window
        (low, high) intensities shown as 0 and 255; needed for 16-bit images.
    unknown_values
        Texts that stand for an unknown value, in any capitals; an empty cell always does.
    modality, licence, source
        As in the dataset's card.
    """

    name: ClassVar[str] = "table"
    summary: ClassVar[str] = "your own images, described by a CSV, TSV or Parquet file"

    facts: ClassVar[Facts] = Facts(
        "classification, segmentation or both",
        "yours",
        "yours",
        None,
        (),
        Access("yours", "", "Nothing: it is yours. Give the table, and the columns that say what is in it."),
    )

    table: Path
    dataset: str | None = Field(default=None, pattern="^[a-z0-9][a-z0-9-]*$")
    images_root: Path | None = None
    image: str = "image"
    mask: str | None = None
    subject: str
    sample_id: str | None = None
    split: str | None = None
    targets: tuple[str, ...] | dict[str, TargetOptions] = ()
    attributes: tuple[str, ...] | dict[str, AttributeOptions] = ()
    structures: dict[str, tuple[int, ...] | int] = Field(default_factory=dict)
    other_values: Literal["reject", "background"] = "reject"
    spacing_mm: str | tuple[str, str] | None = None
    prompts: dict[str, PromptOptions] = Field(default_factory=dict)
    window: tuple[float, float] | None = None
    unknown_values: tuple[str, ...] = UNKNOWN_VALUES
    modality: str = "unknown"
    licence: str = "unknown"
    source: str = "unknown"

    def card(self) -> DatasetCard:
        """Describe the dataset; classes and kinds are read from the table where they are not given."""
        columns = read_columns(self._path)
        targets = tuple(
            self._target(columns, name, options) for name, options in self._target_options().items()
        )
        if not targets and not self.structures:
            raise UserError(
                "dataset 'table' needs something to predict: name columns in 'targets', or a 'mask' column and its "
                "'structures'."
            )
        attributes = tuple(self._attribute(columns, name, o) for name, o in self._attribute_options().items())
        return DatasetCard(
            name=self._dataset_name(),
            version="1",
            modality=self.modality,
            licence=self.licence,
            source=self.source,
            targets=targets,
            structures=self._structures(),
            attributes=attributes,
            prompts=self._prompts(targets),
            subject="sample" if self.subject == "sample" else "patient",
            window=self._window(),
        )

    def manifest(self) -> pd.DataFrame:
        """List the samples; no image is opened."""
        import pandas as pd

        columns = read_columns(self._path)
        root = (self.images_root or self._path.parent).expanduser().absolute()
        images = self._known(columns, self.image)
        sources = [None if image is None else _inside(image, root) for image in images]
        ids = self._stems(sources, root) if self.sample_id is None else columns.get(self.sample_id)
        values: dict[str, list[Any]] = {
            "sample_id": list(ids),
            "subject_id": list(self._subjects(columns, ids)),
        }
        if self.split is not None:
            values["split"] = [_split(text) for text in self._known(columns, self.split)]
        for name in [*self._target_options(), *self._attribute_options()]:
            if name in values:
                raise UserError(
                    f"column {name!r} cannot be a target or attribute as well; copy it under another name."
                )
            values[name] = list(self._described(columns, name))
        values["_image"] = [None if image is None else str(root / image) for image in images]
        values["_source"] = [
            PurePosixPath(source).name if source is not None and source.startswith("/") else source
            for source in sources
        ]
        if self.mask is not None:
            masks = self._known(columns, self.mask)
            values["_mask"] = [None if mask is None else str(root / mask) for mask in masks]
        for place, name in enumerate(self._spacing_columns()):
            values[f"_spacing_{place}"] = list(self._known(columns, name))
        return pd.DataFrame(values, dtype=object)

    def read(self, row: Mapping[str, Any]) -> Pixels:
        """Read one image and, if it has one, its mask."""
        if row["_image"] is None:
            raise UnreadableSample("missing_image", f"the row names no image in column {self.image!r}")
        image, encoded = read_image(Path(row["_image"]))
        spacing = _spacing([row[f"_spacing_{place}"] for place, _ in enumerate(self._spacing_columns())])
        if row.get("_mask") is None:
            return Pixels(image, spacing_mm=spacing, encoded=encoded)
        named = {0, *(value for structure in self._structures() for value in structure.values)}
        allowed = range(256) if self.other_values == "background" else named
        fitted = load_mask(Path(row["_mask"]), (image.shape[0], image.shape[1]), allowed)
        return Pixels(image, fitted.mask, spacing, encoded, fitted.resized)

    @property
    def _path(self) -> Path:
        return self.table.expanduser().absolute()

    def _known(self, columns: Columns, name: str) -> Column:
        return columns.known(name, {"", *(text.lower() for text in self.unknown_values)})

    def _described(self, columns: Columns, name: str) -> Column:
        """Return a target's or attribute's column; a class that was declared is known, whatever it is called."""
        options = self._target_options().get(name)
        declared = set(options.classes or ()) if options is not None else set()
        pairs = zip(columns.get(name), self._known(columns, name), strict=True)
        return [raw if raw in declared else known for raw, known in pairs]

    def _stems(self, sources: Column, root: Path) -> Column:
        """Return the default sample ids: the images' paths below the folder of images, without ending."""
        outside = [source for source in sources if source is not None and source.startswith("/")]
        if outside:
            raise UserError(
                f"{len(outside)} images lie outside of {root}, the first {outside[0]}; their paths cannot be sample ids, "
                "which must not depend on a machine. Give the folder that holds all images as 'images_root', or a column "
                "with ids as 'sample_id'."
            )
        return [None if source is None else str(PurePosixPath(source).with_suffix("")) for source in sources]

    def _dataset_name(self) -> str:
        return self.dataset or re.sub("[^a-z0-9]+", "-", self.table.stem.lower()).strip("-") or "table"

    def _target_options(self) -> dict[str, TargetOptions]:
        return (
            self.targets
            if isinstance(self.targets, dict)
            else {name: TargetOptions() for name in self.targets}
        )

    def _attribute_options(self) -> dict[str, AttributeOptions]:
        named = self.attributes
        return named if isinstance(named, dict) else {name: AttributeOptions() for name in named}

    def _spacing_columns(self) -> tuple[str, ...]:
        return (self.spacing_mm,) if isinstance(self.spacing_mm, str) else self.spacing_mm or ()

    def _subjects(self, columns: Columns, ids: Column) -> Column:
        if self.subject != "sample":
            return self._known(columns, self.subject)
        if "sample" in columns.values:
            raise UserError(
                f"subject: sample means that every image is of another person, but {self._path.name} has a column "
                "'sample'; rename it if it names the subject."
            )
        # A row without an id is rejected later, for that; it still has to be somebody's.
        return [f"row-{number}" if name in (None, "") else name for number, name in enumerate(ids)]

    def _target(self, columns: Columns, name: str, options: TargetOptions) -> Target:
        found = {text for text in self._known(columns, name) if text is not None}
        classes = options.classes or tuple(sorted(found, key=_numbers_first))
        if len(set(classes)) < 2 or len(set(classes)) < len(classes):
            raise UserError(
                f"target {name!r} must have two or more different classes, got {', '.join(classes) or 'none'}; list them "
                f"as 'classes', or check the column of {self._path.name}."
            )
        if options.positive is not None and options.positive not in classes:
            raise unknown_name(f"positive class of target {name!r}", options.positive, classes)
        if len(classes) > 2:
            return Target(name, classes, None)
        return Target(name, classes, options.positive or _positive(name, classes))

    def _attribute(self, columns: Columns, name: str, options: AttributeOptions) -> Attribute:
        values = [text for text in self._known(columns, name) if text is not None]
        kind = options.kind or ("number" if _are_measurements(values) else "category")
        return Attribute(name, kind, options.unit)

    def _structures(self) -> tuple[Structure, ...]:
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

    def _window(self) -> tuple[float, float] | None:
        if self.window is not None and not self.window[0] < self.window[1]:
            raise UserError(f"window must be (low, high) with low < high, got {self.window}.")
        return self.window

    def _prompts(self, targets: tuple[Target, ...]) -> tuple[PromptSet, ...]:
        by_name = {target.name: target for target in targets}
        made = []
        for name, options in self.prompts.items():
            if name not in by_name:
                raise unknown_name("target in prompts", name, by_name)
            wrong = [template for template in options.templates if template.count("{}") != 1]
            if wrong:
                raise UserError(f"a template must hold {{}} once, for the class; got {wrong[0]!r}.")
            classes = by_name[name].classes
            if set(options.names) != set(classes):
                raise UserError(
                    f"prompts of target {name!r} must have names for each of its classes {', '.join(classes)}; got "
                    f"{', '.join(options.names)}."
                )
            names = tuple(_as_tuple(options.names[label]) for label in classes)
            version = options.version or f"user-{digest([list(options.templates), names])[:8]}"
            made.append(PromptSet(name, version, options.templates, names))
        return tuple(made)


def _as_tuple(names: tuple[str, ...] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _inside(image: str, root: Path) -> str:
    """Return an image's path from the folder of images; an absolute path stays one if it is not below it."""
    path = PurePosixPath(image)
    return str(path.relative_to(root)) if path.is_absolute() and path.is_relative_to(root) else image


def _split(text: str | None) -> str | None:
    return None if text is None else _SPLITS.get(text.lower(), text.lower())


def _numbers_first(text: str) -> tuple[bool, int, str]:
    whole = text.isascii() and text.isdigit()
    return (not whole, int(text) if whole else 0, text)


def _positive(name: str, classes: tuple[str, ...]) -> str:
    first, second = classes
    for one, other in ((first, second), (second, first)):
        if one.lower() in _POSITIVE and other.lower() in _NEGATIVE:
            return one
    raise UserError(
        f"target {name!r} has the classes {first!r} and {second!r}, and it is not clear which is the finding; say so: "
        f"targets: {{{name}: {{positive: {second!r}}}}}."
    )


def _are_measurements(values: list[str]) -> bool:
    """Tell numbers that measure something from codes: not all are whole and below 10."""
    try:
        numbers = [float(text) for text in values]
    except ValueError:
        return False
    codes = all(number.is_integer() and 0 <= number < 10 for number in numbers if math.isfinite(number))
    return bool(numbers) and all(map(math.isfinite, numbers)) and not codes


def _spacing(texts: list[str | None]) -> tuple[float, float] | None:
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
    return sizes[0], sizes[-1]
