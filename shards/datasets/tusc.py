"""``tusc``: frames of ultrasound clips of thyroid nodules with outlines (Stanford AIMI).

Two layouts are known: the publisher's ``dataset.hdf5`` (36 GB, read frame by frame) with ``metadata.csv``, and the folders
``image`` and ``label`` with ``meta.csv`` in which the authors of FairMedFM pass on 860 of its frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from shards.adapter import Access, Facts, Pixels, UnreadableSample, Volume
from shards.card import Attribute, PromptSet, Structure, Target
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import joined, kept, words, years
from shards.datasets._published import AGE, SEX, Published
from shards.masks import fit_mask, recode

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_ARRAYS = "dataset.hdf5"
_TABLES = ("metadata.csv", "meta.csv")
_TIRADS = tuple(
    f"ti-rads_{name}" for name in ("level", "composition", "echogenicity", "shape", "margin", "echogenicfoci")
)
_SIZES = ("size_x", "size_y", "size_z")
_COLUMNS = ("annot_id", "age", "sex", "location", *_SIZES, *_TIRADS, "histopath_diagnosis")
_HISTOLOGY = {"0": "benign", "0.0": "benign", "1": "malignant", "1.0": "malignant"}


class Tusc(Published):
    """The publisher's array of frames with its table, or folders of frames with it."""

    name: ClassVar[str] = "tusc"
    summary: ClassVar[str] = (
        "frames of ultrasound clips of 192 thyroid nodules: outlines, benign or malignant, TI-RADS; sex, age"
    )
    facts: ClassVar[Facts] = Facts(
        "classification+segmentation",
        "thyroid ultrasound",
        "Stanford University Dataset Research Use Agreement",
        None,
        ("sex", "age", "location"),
        Access(
            "registration",
            "https://stanfordaimi.azurewebsites.net/datasets/a72f2b02-7b53-4c5d-963c-d7253220bfd5",
            "Register, accept the agreement, and download dataset.hdf5 (36 GB) and metadata.csv. The folder TUSC (860 frames) "
            "of FairMedFM's authors is read too.",
            expected=(_ARRAYS, _TABLES[0]),
        ),
    )
    source: ClassVar[str] = "doi:10.71718/7m5n-rh16"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("malignant", ("benign", "malignant"), positive="malignant"),
    )
    structures: ClassVar[tuple[Structure, ...]] = (Structure("thyroid_nodule", (255,)),)
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX, AGE, Attribute("location"))
    published: ClassVar[tuple[str, ...]] = ("annot_id", *_SIZES, *(n.replace("-", "") for n in _TIRADS))
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        PromptSet(
            "malignant",
            "fairray-1",
            ("an ultrasound image of a {}", "a thyroid ultrasound with a {}"),
            (("benign thyroid nodule",), ("malignant thyroid nodule",)),
        ),
    )
    notes: ClassVar[tuple[str, ...]] = (
        "All frames of a clip are one subject; FairMedFM counts them as independent.",
        "A subject is the number in annot_id. The publisher has 192 nodules of 167 patients: where two nodules of a patient "
        "have numbers of their own, they are two subjects here, so intervals may be too narrow.",
        "Target malignant is the tissue diagnosis of the nodule (histopath_diagnosis).",
    )
    mask_codes: ClassVar[Mapping[int, int]] = {255: 255}
    landmarks: ClassVar[tuple[str, ...]] = (_ARRAYS, *_TABLES)

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """List the frames of either layout and add what the table says of their nodules."""
        import pandas as pd

        table = raw.table(*_TABLES, columns=_COLUMNS)
        table = table.rename(columns={name: name.replace("-", "") for name in _TIRADS})
        frames = _of_array(raw) if raw.find(_ARRAYS) is not None else _of_folders(raw)
        tissue: list[Any] = [
            None if text is None else _HISTOLOGY.get(text, text.lower())
            for text in table["histopath_diagnosis"]
        ]
        facts = table.assign(
            sex=words(table["sex"], SEX_CODES),
            age=years(table["age"]),
            location=kept(table["location"]),
            malignant=tissue,
        )
        rows = joined(frames, facts, "annot_id", what=raw.need(*_TABLES).name)
        listed = set(table["annot_id"].dropna())
        strange = [name not in listed for name in rows["annot_id"]]
        rows["_reject"] = ["not_listed" if is_strange else None for is_strange in strange]
        rows["_detail"] = [
            f"no row of the table has the annot_id {name!r}" if is_strange else None
            for name, is_strange in zip(rows["annot_id"], strange, strict=True)
        ]
        rows["subject_id"] = [_number(name) for name in rows["annot_id"]]
        absent = facts[~facts["annot_id"].isin(set(rows["annot_id"]))]
        without = absent.assign(
            sample_id=absent["annot_id"],
            subject_id=absent["annot_id"].map(_number),
            _reject="missing_image",
            _detail="the table has this annot_id, but no frame has",
        )
        return pd.concat([rows, without], ignore_index=True) if len(without) else rows

    def read(self, row: Mapping[str, Any]) -> Pixels | Volume:
        """Read one frame and its outline."""
        if row.get("_frame") is None:
            return super().read(row)
        from shards.formats.hdf5 import read_hdf5

        path, frame = Path(row["_image"]), int(row["_frame"])
        image = read_hdf5(path, "image", frame)
        labels = read_hdf5(path, "mask", frame, missing="missing_mask")
        if image.ndim not in (2, 3):
            raise UnreadableSample("unsupported_pixels", f"frame {frame} has the shape {image.shape}")
        mask = recode(labels, self.mask_codes, f"of frame {frame}")
        fitted = fit_mask(mask, (image.shape[0], image.shape[1]))
        return Pixels(image, fitted.mask, mask_resized=fitted.resized)


def _number(annot_id: str | None) -> str | None:
    """Return the number that an ``annot_id`` (``103_``) or a frame's name starts with."""
    found = None if annot_id is None else re.match(r"\d+", annot_id)
    return annot_id if found is None else found[0]


def _of_array(raw: RawFolder) -> pd.DataFrame:
    """List the frames of the publisher's file; no pixel of it is read."""
    import pandas as pd

    from shards.formats.hdf5 import hdf5_arrays, read_hdf5_texts

    path = raw.need(_ARRAYS)
    try:
        names = read_hdf5_texts(path, "annot_id")
        arrays = hdf5_arrays(path)
    except UnreadableSample as error:
        raise raw.refusal(f"{path} is not the publisher's file: {error.detail}.") from error
    for array in ("image", "mask"):
        shape = arrays[array].shape if array in arrays else None
        if shape is None or len(shape) < 3 or shape[0] != len(names):
            found = "no such array" if shape is None else f"the shape {shape}"
            raise raw.refusal(
                f"array {array!r} of {path} must hold {len(names)} frames, as many as 'annot_id', found {found}."
            )
    width = len(str(len(names)))
    return pd.DataFrame(
        {
            "sample_id": [f"{name}{frame:0{width}d}" for frame, name in enumerate(names)],
            "annot_id": names,
            "_image": str(path),
            "_frame": range(len(names)),
            "_source": [f"{_ARRAYS}/image[{frame}]" for frame in range(len(names))],
        },
        dtype=object,
    )


def _of_folders(raw: RawFolder) -> pd.DataFrame:
    """List the frames in ``image`` and ``label``; one without the other becomes a row whose file is missing."""
    import pandas as pd

    for folder in ("image", "label"):
        raw.need(folder)
    names = sorted({path.stem for path in raw.files("image/*.png", "label/*.png")})
    return pd.DataFrame(
        {
            "sample_id": names,
            "annot_id": [f"{name.rpartition('_')[0]}_" for name in names],
            "_image": [f"{raw.path}/image/{name}.png" for name in names],
            "_mask": [f"{raw.path}/label/{name}.png" for name in names],
        },
        dtype=object,
    )
