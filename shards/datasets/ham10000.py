"""``ham10000``: dermoscopic images of pigmented skin lesions (Tschandl et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from shards.adapter import Adapter, Facts, Pixels
from shards.card import Attribute, DatasetCard, PromptSet, Structure, Target
from shards.errors import UserError
from shards.images import read_image
from shards.masks import load_mask

if TYPE_CHECKING:
    import pandas as pd

_METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata")
_IMAGES = ("HAM10000_images", "HAM10000_images_part_1", "HAM10000_images_part_2")
_MASKS = "HAM10000_segmentations_lesion_tschandl"
_COLUMNS = ("lesion_id", "image_id", "dx", "age", "sex", "localization")
_UNKNOWN = ("", "unknown", "nan", "NaN", "NA")
_PAGE = "Get it from doi.org/10.7910/DVN/DBW86T (licence CC BY-NC 4.0)."

#: The publisher's codes and what they stand for.
DIAGNOSES: Mapping[str, tuple[str, ...]] = {
    "akiec": ("actinic keratosis or Bowen's disease", "intraepithelial carcinoma"),
    "bcc": ("basal cell carcinoma",),
    "bkl": ("benign keratosis", "seborrheic keratosis or solar lentigo"),
    "df": ("dermatofibroma",),
    "mel": ("melanoma",),
    "nv": ("melanocytic nevus", "mole"),
    "vasc": ("vascular skin lesion", "angioma or pyogenic granuloma"),
}
_MALIGNANT = frozenset({"akiec", "bcc", "mel"})
_MALIGNANT_FAIRMEDFM = frozenset({"akiec", "mel"})
_BINARY = ("benign", "malignant")


class Ham10000(Adapter):
    """The publisher's folder: metadata, images (in one folder or two parts) and, if there, lesion masks.

    Attributes
    ----------
    raw
        The folder ``HAM10000``, or the one that holds it.
    """

    name: ClassVar[str] = "ham10000"
    summary: ClassVar[str] = (
        "10,015 dermoscopic images: 7 diagnoses, malignant or benign, lesion masks; sex, age"
    )

    facts: ClassVar[Facts] = Facts("classification+segmentation", "dermoscopy", "CC BY-NC 4.0")

    raw: Path

    def card(self) -> DatasetCard:
        """Describe the dataset."""
        folder = self._folder()
        attributes = [Attribute("sex"), Attribute("age", "number", "years"), Attribute("localization")]
        if "dataset" in self._metadata().columns:
            attributes.append(Attribute("source_dataset"))
        notes = [
            "A subject is a lesion: the publisher gives no patient id, and one patient can have several lesions. Clustering "
            "by lesion is a lower bound of the true clustering, so intervals may be too narrow.",
            "Target malignant counts akiec, bcc and mel; malignant_fairmedfm counts akiec and mel only, as FairMedFM and "
            "MEDFAIR do.",
        ]
        masks = (folder / _MASKS).is_dir()
        if not masks:
            notes.append(f"Converted without lesion masks: there was no folder {_MASKS}.")
        return DatasetCard(
            name="ham10000",
            version="1",
            modality="dermoscopy",
            licence="CC BY-NC 4.0",
            source="doi:10.7910/DVN/DBW86T",
            targets=(
                Target("dx", tuple(DIAGNOSES)),
                Target("malignant", _BINARY, positive="malignant"),
                Target("malignant_fairmedfm", _BINARY, positive="malignant"),
            ),
            structures=(Structure("lesion", (255,)),) if masks else (),
            attributes=tuple(attributes),
            prompts=_PROMPTS,
            subject="lesion",
            notes=tuple(notes),
        )

    def manifest(self) -> pd.DataFrame:
        """List the samples; no image is opened."""
        raw = self._metadata()
        folder = self._folder()
        places = _images(folder)
        masks = folder / _MASKS
        has_masks = masks.is_dir()
        table = raw[["image_id", "lesion_id", "dx", "sex", "age", "localization"]].rename(
            columns={"image_id": "sample_id", "lesion_id": "subject_id"}
        )
        known = table["dx"].isin(list(DIAGNOSES))
        for name, positive in (("malignant", _MALIGNANT), ("malignant_fairmedfm", _MALIGNANT_FAIRMEDFM)):
            table[name] = [
                _BINARY[dx in positive] if ok else None for dx, ok in zip(table["dx"], known, strict=True)
            ]
        if "dataset" in raw.columns:
            table["source_dataset"] = raw["dataset"]
        images = [places.get(name, folder / _IMAGES[0] / f"{name}.jpg") for name in table["sample_id"]]
        table["_image"] = [str(path) for path in images]
        table["_source"] = [str(path.relative_to(folder)) for path in images]
        table["_mask"] = [
            str(masks / f"{name}_segmentation.png") if has_masks else None for name in table["sample_id"]
        ]
        return table

    def read(self, row: Mapping[str, Any]) -> Pixels:
        """Read one image and its lesion mask."""
        image, encoded = read_image(Path(row["_image"]))
        if row["_mask"] is None:
            return Pixels(image, encoded=encoded)
        fitted = load_mask(Path(row["_mask"]), (image.shape[0], image.shape[1]), (0, 255))
        return Pixels(image, fitted.mask, encoded=encoded, mask_resized=fitted.resized)

    def _folder(self) -> Path:
        root = self.raw.expanduser().absolute()
        for folder in (root, root / "HAM10000"):
            if any((folder / name).is_file() for name in _METADATA):
                return folder
        raise UserError(
            f"{root} holds neither {_METADATA[0]} nor a folder HAM10000 with it. Give the folder in which the publisher's "
            f"files were unpacked as 'raw'. {_PAGE}"
        )

    def _metadata(self) -> pd.DataFrame:
        import pandas as pd

        path = next(self._folder() / name for name in _METADATA if (self._folder() / name).is_file())
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=list(_UNKNOWN))
        missing = [name for name in _COLUMNS if name not in table.columns]
        if missing:
            raise UserError(
                f"{path} lacks the column {missing[0]!r}; expected {', '.join(_COLUMNS)}, found {', '.join(table.columns)}. "
                f"{_PAGE}"
            )
        return table


def _images(folder: Path) -> dict[str, Path]:
    """Return the path of every image by its id, wherever the publisher's archives were unpacked."""
    folders = [folder / name for name in _IMAGES if (folder / name).is_dir()]
    if not folders:
        raise UserError(f"{folder} has none of the image folders {', '.join(_IMAGES)}. {_PAGE}")
    return {path.stem: path for part in folders for path in sorted(part.glob("*.jpg"))}


_BENIGN_NAMES = (("benign lesion",), ("malignant lesion",))
_PROMPTS = (
    PromptSet("malignant", "fairmedfm-1", ("a photo of a {}",), _BENIGN_NAMES),
    PromptSet("malignant_fairmedfm", "fairmedfm-1", ("a photo of a {}",), _BENIGN_NAMES),
    PromptSet(
        "dx",
        "fairray-1",
        ("a dermoscopy image of {}", "a dermoscopic photo of {}", "a skin lesion, {}"),
        tuple(DIAGNOSES.values()),
    ),
)
