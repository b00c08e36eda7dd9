"""COCO's JSON of annotations: which regions belong to which image of the table.

Rules: a region marked ``iscrowd`` belongs to its category like any other; regions of one structure are united; a category that
no structure names is background. What does not fit is told: annotations of an image that the file does not list become rejected
rows; listed images that no row of the table names are counted in a note on the dataset's card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from shards.errors import UserError, unknown_name


@dataclass(frozen=True)
class CocoImage:
    """One image's annotations.

    Attributes
    ----------
    file
        Its ``file_name``.
    size
        (height, width) as the file says; None where it does not.
    regions
        (category, segmentation) of each annotation.
    wrong
        What is wrong with them; None if nothing is.
    """

    file: str
    size: tuple[int, int] | None
    regions: tuple[tuple[str, Any], ...]
    wrong: str | None = None


@dataclass(frozen=True)
class CocoFile:
    """A file of annotations.

    Attributes
    ----------
    path
        The file.
    categories
        Names of the categories, in the file's order.
    images
        By ``file_name``.
    lost
        Ids of images that annotations name and the file does not list, with the number of annotations.
    """

    path: Path
    categories: tuple[str, ...]
    images: Mapping[str, CocoImage]
    lost: Mapping[str, int]

    def match(self, sources: Sequence[str | None]) -> list[str | None]:
        """Return the ``file_name`` that belongs to each image of the table, by its path or else by its name.

        Raises
        ------
        UserError
            If none belongs to any.
        """
        by_name: dict[str, list[str]] = {}
        for file in self.images:
            by_name.setdefault(PurePosixPath(file).name, []).append(file)
        found: list[str | None] = []
        for source in sources:
            if source is None or source in self.images:
                found.append(source)
                continue
            alike = by_name.get(PurePosixPath(source).name, [])
            found.append(alike[0] if len(alike) == 1 else None)
        if self.images and sources and all(file is None for file in found):
            raise UserError(
                f"no image of the table is in {self.path}: the table has e.g. {next((s for s in sources if s), None)!r}, the "
                f"annotations {next(iter(self.images))!r}. Image paths must end in the file_name of the annotations."
            )
        return found


def read_coco(path: Path) -> CocoFile:
    """Read a file of annotations.

    Raises
    ------
    UserError
        If it is missing, no JSON, or lacks what COCO's files have.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        names = {category["id"]: str(category["name"]) for category in value["categories"]}
        listed = {image["id"]: image for image in value["images"]}
        files = [str(image["file_name"]) for image in value["images"]]
        annotations = [(a["image_id"], a["category_id"], a.get("segmentation")) for a in value["annotations"]]
        hash(tuple((image, category) for image, category, _ in annotations))  # ids must be numbers or texts
    except OSError as error:
        raise UserError(f"the annotations {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"the annotations {path} must be COCO's JSON with 'images' (id, file_name, height, width), 'categories' (id, name) "
            f"and 'annotations' (image_id, category_id, segmentation); found {type(error).__name__}: {error}."
        ) from error
    twice = sorted({file for file in files if files.count(file) > 1}) if len(set(files)) < len(files) else []
    if twice or len(listed) < len(files):
        raise UserError(
            f"the annotations {path} list an image twice, e.g. {(twice or files)[0]!r}; each must be there once."
        )
    regions: dict[Any, list[tuple[str, Any]]] = {key: [] for key in listed}
    wrong: dict[Any, str] = {}
    lost: dict[str, int] = {}
    for image, category, segmentation in annotations:
        if image not in listed:
            lost[str(image)] = lost.get(str(image), 0) + 1
        elif category not in names:
            wrong[image] = (
                f"an annotation is of category {category}; expected one of {', '.join(map(str, names))}"
            )
        else:
            regions[image].append((names[category], segmentation))
    images = {
        str(image["file_name"]): CocoImage(
            str(image["file_name"]), _size(image), tuple(regions[key]), wrong.get(key)
        )
        for key, image in listed.items()
    }
    return CocoFile(path, tuple(dict.fromkeys(names.values())), images, lost)


def chosen_categories(
    found: CocoFile, named: Mapping[str, tuple[str, ...] | str]
) -> dict[str, tuple[str, ...]]:
    """Return the categories of each structure: those that the user named, or each category as a structure of its own.

    Raises
    ------
    UserError
        For a category that the file does not have.
    """
    chosen = {name: (value,) if isinstance(value, str) else value for name, value in named.items()}
    for categories in chosen.values():
        for category in categories:
            if category not in found.categories:
                raise unknown_name(f"category in {found.path.name}", category, found.categories)
    return chosen or {name: (name,) for name in found.categories}


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
