"""Makes manifest rows of a user's table: ids, subjects, values, and which files and regions belong to each sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from shards.datasets._columns import Column, Columns
from shards.datasets.table import meaning
from shards.datasets.table.coco import CocoFile, chosen_categories
from shards.datasets.table.fields import TableOptions
from shards.datasets.table.samples import (
    Cells,
    Sample,
    complete_masks,
    from_root,
    join_rows,
    mask_parts,
    refuse_doubles,
    split_cells,
    without_ending,
)
from shards.datasets.table.spelling import alike, number
from shards.errors import UserError
from shards.pseudonyms import load_key, pseudonym

#: Stands for what is not told of a sample whose ids are replaced: the text may name a file called after a patient.
HIDDEN = "not told, because ids are replaced (pseudonyms)"


def described(options: TableOptions, columns: Columns) -> tuple[list[meaning.Described], list[str | None]]:
    """Return all targets with their values, and per row which label no family knows."""
    found = [
        meaning.read_target(columns, name, one, options.unknown)
        for name, one in options.target_options.items()
    ]
    wrong: list[str | None] = [None] * len(columns)
    for name, family in options.families.items():
        targets, strange = meaning.read_family(columns, name, family, options.unknown)
        found += targets
        wrong = [one or other for one, other in zip(wrong, strange, strict=True)]
    return found, wrong


def manifest_values(options: TableOptions) -> dict[str, list[Any]]:
    """Return the manifest's columns."""
    columns, coco = options.columns(), options.coco()
    samples, names = _samples(options, columns)
    if options.join_rows:
        if options.sample_id is None:
            raise UserError(
                "join_rows joins the rows of one sample id; name the column with these ids as 'sample_id'."
            )
        samples = join_rows(samples, None if options.order is None else options.known(columns, options.order))
    else:
        refuse_doubles(samples)
    structures = len(options.mask) if isinstance(options.mask, dict) else None
    if options.mask is not None:
        for sample in samples:
            complete_masks(sample, structures, empty=options.no_mask == "empty")
    root = options.root
    sources = [[from_root(image, PurePosixPath(root)) for image in sample.images] for sample in samples]
    values: dict[str, list[Any]] = {name: [sample.values[name] for sample in samples] for name in names}
    values["_images"] = [[str(root / image) for image in sample.images] for sample in samples]
    values["_source"] = [_shown_source(source) for source in sources]
    values["_masks"] = [[_placed(options, mask) for mask in sample.masks] for sample in samples]
    for place in range(len(options.spacing_columns)):
        values[f"_spacing_{place}"] = [sample.spacing[place] for sample in samples]
    values["_reject"] = [sample.reject for sample in samples]
    values["_detail"] = [sample.detail for sample in samples]
    if coco is not None:
        _annotate(options, coco, values, sources)
    return _hidden(options, values) if options.pseudonyms else values


def unused_annotations(options: TableOptions, columns: Columns, coco: CocoFile) -> int:
    """Return how many images the annotations list that no row of the table names."""
    root = PurePosixPath(options.root)
    named = [from_root(image, root) for parts in image_cells(options, columns) for image in parts]
    return len(set(coco.images) - set(coco.match(named)))


def image_cells(options: TableOptions, columns: Columns) -> list[list[str]]:
    """Return the images of each row, as the table names them."""
    names = (options.image,) if isinstance(options.image, str) else options.image
    cells = zip(*(options.known(columns, name) for name in names), strict=True)
    return [split_cells(row, options.separator) for row in cells]


def _samples(options: TableOptions, columns: Columns) -> tuple[list[Sample], list[str]]:
    """Return one sample per row of the table, and the names of their values."""
    images = image_cells(options, columns)
    values, wrong = _values(options, columns, images)
    masks = _mask_cells(options, columns, images)
    spacing = [options.known(columns, name) for name in options.spacing_columns]
    samples = []
    for place, parts in enumerate(images):
        mask = masks[place]
        sample = Sample(
            {name: column[place] for name, column in values.items()},
            parts,
            [None] * len(parts) if mask is None else mask,
            [column[place] for column in spacing],
        )
        if mask is None:
            sample.unfit("missing_mask", f"the row has another number of masks than of images ({len(parts)})")
        if wrong[place] is not None:
            sample.unfit("unknown_label", wrong[place] or "")
        samples.append(sample)
    return samples, list(values)


def _values(
    options: TableOptions, columns: Columns, images: list[list[str]]
) -> tuple[dict[str, Column], list[str | None]]:
    """Return ids, subjects, splits, targets and attributes of each row, and what is wrong with it."""
    targets, wrong = described(options, columns)
    ids = _default_ids(options, images) if options.sample_id is None else columns.get(options.sample_id)
    values: dict[str, Column] = {"sample_id": ids, "subject_id": _subjects(options, columns, ids)}
    if options.split is not None:
        values["split"] = [meaning.read_split(text) for text in options.known(columns, options.split)]
    attributes = [
        (name, meaning.read_attribute(columns, name, one, options.unknown)[1])
        for name, one in options.attribute_options.items()
    ]
    for name, column in [*((one.target.name, one.values) for one in targets), *attributes]:
        if name in values:
            raise UserError(
                f"column {name!r} cannot be a target or attribute as well; copy it under another name."
            )
        values[name] = column
    return values, wrong


def _mask_cells(
    options: TableOptions, columns: Columns, images: list[list[str]]
) -> list[list[str | Cells | None] | None]:
    """Return each row's masks, one per image; None where their number is another one."""
    if options.mask is None:
        return [[None] * len(parts) for parts in images]
    if not isinstance(options.mask, dict):
        names = (options.mask,) if isinstance(options.mask, str) else options.mask
        cells = list(zip(*(options.known(columns, name) for name in names), strict=True))
        found: list[list[str | Cells | None] | None] = []
        for row, parts in zip(cells, images, strict=True):
            one = mask_parts(row, options.separator, len(parts))
            found.append(None if one is None else [*one])
        return found
    by_structure = [options.known(columns, name) for name in options.mask.values()]
    rows: list[list[str | Cells | None] | None] = []
    for place, parts in enumerate(images):
        each = [mask_parts([column[place]], options.separator, len(parts)) for column in by_structure]
        complete = [one for one in each if one is not None]
        if len(complete) < len(each):
            rows.append(None)
            continue
        rows.append([[[cell] if cell else [] for cell in cells] for cells in zip(*complete, strict=True)])
    return rows


def _default_ids(options: TableOptions, images: list[list[str]]) -> Column:
    """Return the default sample ids: the images' paths below the folder of images, without ending."""
    root = options.root
    sources = [from_root(parts[0], PurePosixPath(root)) if parts else None for parts in images]
    outside = [source for source in sources if source is not None and source.startswith("/")]
    if outside:
        raise UserError(
            f"{len(outside)} images lie outside of {root}, the first {outside[0]}; their paths cannot be sample ids, "
            "which must not depend on a machine. Give the folder that holds all images as 'images_root', or a column "
            "with ids as 'sample_id'."
        )
    return [None if source is None else without_ending(source) for source in sources]


def _subjects(options: TableOptions, columns: Columns, ids: Column) -> Column:
    if options.subject != "sample":
        subjects = options.known(columns, options.subject)
        twice = alike(subjects, number)
        if twice is not None:
            raise UserError(
                f"column {options.subject!r} of {options.path.name} has the ids {twice[0]!r} and {twice[1]!r}, which are one "
                "number: if they are one person, who would be in two splits, write the id alike; if not, give ids that differ "
                "in more than zeros."
            )
        return subjects
    if "sample" in columns.values:
        raise UserError(
            f"subject: sample means that every image is of another person, but {options.path.name} has a column "
            "'sample'; rename it if it names the subject."
        )
    # A row without an id is rejected later, for that; it still has to be somebody's.
    return [f"row-{number}" if name in (None, "") else name for number, name in enumerate(ids)]


def _shown_source(sources: Sequence[str]) -> str | None:
    """Return the first image's path for people; of one outside of the folder of images only its name."""
    if not sources:
        return None
    return PurePosixPath(sources[0]).name if sources[0].startswith("/") else sources[0]


def _placed(options: TableOptions, mask: str | Cells | None) -> str | Cells | None:
    """Make the paths of masks absolute."""
    if mask is None or options.mask_format == "rle":
        return mask
    if isinstance(mask, str):
        return str(options.root / mask)
    return [[str(options.root / part) for part in parts] for parts in mask]


def _annotate(
    options: TableOptions, coco: CocoFile, values: dict[str, list[Any]], sources: list[list[str]]
) -> None:
    """Give each image its regions; what of the annotations belongs to no image becomes a rejected row."""
    structures = chosen_categories(coco, options.categories)
    places = {
        category: [place for place, named in enumerate(structures.values()) if category in named]
        for category in coco.categories
    }
    flat = coco.match([source for parts in sources for source in parts])
    matched = iter(flat)
    for sample, parts in enumerate(sources):
        masks: list[dict[str, Any] | None] = []
        for _ in parts:
            file = next(matched)
            image = coco.images.get(file) if file is not None else None
            if image is not None and image.wrong is not None and values["_reject"][sample] is None:
                values["_reject"][sample], values["_detail"][sample] = "bad_annotation", image.wrong
            if image is None:
                masks.append(_regions(structures, None, []) if options.no_mask == "empty" else None)
            else:
                drawn = [
                    (place, json.dumps(s)) for category, s in image.regions for place in places[category]
                ]
                masks.append(_regions(structures, image.size, drawn))
        if len({mask is None for mask in masks}) > 1 and values["_reject"][sample] is None:
            values["_reject"][sample] = "missing_mask"
            values["_detail"][sample] = "the annotations list only some of the sample's images"
        values["_masks"][sample] = masks
    for image_id, count in coco.lost.items():
        detail = f"{coco.path.name} has {count} annotations of image {image_id}, which it does not list"
        _stray(values, None, "annotation_without_image", detail)


def _regions(
    structures: Sequence[str] | dict[str, Any], size: tuple[int, int] | None, drawn: list[tuple[int, str]]
) -> dict[str, Any]:
    return {"structures": list(structures), "size": None if size is None else list(size), "regions": drawn}


def _stray(values: dict[str, list[Any]], source: str | None, reason: str, detail: str) -> None:
    given: dict[str, Any] = {
        "_source": source,
        "_reject": reason,
        "_detail": detail,
        "_images": [],
        "_masks": [],
    }
    for name, column in values.items():
        column.append(given.get(name))


def _hidden(options: TableOptions, values: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Replace ids by keyed hashes, and leave out what may hold them: names of files, and texts about them."""
    given = options.pseudonyms
    path = options.path.with_name(f"{options.path.name}.key") if isinstance(given, bool) else given
    key = load_key(path.expanduser().absolute())
    for name in ("sample_id", "subject_id"):
        values[name] = [None if text in (None, "") else pseudonym(str(text), key) for text in values[name]]
    values["_source"] = [None] * len(values["_source"])
    values["_detail"] = [None if d is None else HIDDEN for d in values["_detail"]]
    return values
