"""``ham10000``: dermoscopic images of pigmented skin lesions (Tschandl et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from shards.adapter import Access, Facts, Pixels
from shards.card import Attribute, DatasetCard, GroupPreset, PromptSet, Structure, Target
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import kept, words, years
from shards.datasets._published import AGE, FAIRMEDFM_AGES, MEDFAIR_AGES, SEX, Published
from shards.skin import ITA, TONE_PRESETS, typology_angle

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")
#: Both parts in one folder, or in ``HAM10000_images_part_1`` and ``_2``; some copies add the size to the name.
_IMAGES = "HAM10000_images*/*.jpg"
_MASKS = "HAM10000_segmentations_lesion_tschandl"
_COLUMNS = ("lesion_id", "image_id", "dx", "age", "sex", "localization")

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
_MALIGNANT = {"malignant": ("akiec", "bcc", "mel"), "malignant_fairmedfm": ("akiec", "mel")}
_BINARY = ("benign", "malignant")
_NAMES = (("benign lesion",), ("malignant lesion",))


class Ham10000(Published):
    """The publisher's folder: metadata, images (in one folder or two parts) and, if there, lesion masks."""

    name: ClassVar[str] = "ham10000"
    summary: ClassVar[str] = (
        "10,015 dermoscopic images: 7 diagnoses, malignant or benign, lesion masks; sex, age"
    )
    facts: ClassVar[Facts] = Facts(
        "classification+segmentation",
        "dermoscopy",
        "CC BY-NC 4.0",
        10_015,
        ("sex", "age", "localization", "ita", "source_dataset"),
        Access(
            "open",
            "https://doi.org/10.7910/DVN/DBW86T",
            "Download the files of the Dataverse record and unpack the archives of images and lesion masks in one folder.",
            files=("dataverse:doi:10.7910/DVN/DBW86T",),
            expected=("HAM10000_metadata*", "HAM10000_images*", _MASKS),
        ),
    )
    source: ClassVar[str] = "doi:10.7910/DVN/DBW86T"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("dx", tuple(DIAGNOSES)),
        *(Target(name, _BINARY, positive="malignant") for name in _MALIGNANT),
    )
    structures: ClassVar[tuple[Structure, ...]] = (Structure("lesion", (255,)),)
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX, AGE, Attribute("localization"), ITA)
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        *(PromptSet(name, "fairmedfm-1", ("a photo of a {}",), _NAMES) for name in _MALIGNANT),
        PromptSet(
            "dx",
            "fairray-1",
            ("a dermoscopy image of {}", "a dermoscopic photo of {}", "a skin lesion, {}"),
            tuple(DIAGNOSES.values()),
        ),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = (
        *TONE_PRESETS,
        *FAIRMEDFM_AGES,
        MEDFAIR_AGES,
        GroupPreset(
            "fairmedfm",
            "sex",
            "sex_raw",
            ("female", "male"),
            values=((), ("male", "M")),
            otherwise="female",
            note="FairMedFM's classification counts whoever is not called male as female, people of unknown sex too.",
        ),
        GroupPreset(
            "fairmedfm_seg",
            "sex",
            "sex_raw",
            ("female", "male"),
            values=(("female", "F"), ()),
            otherwise="male",
            note="FairMedFM's segmentation counts whoever is not called female as male, people of unknown sex too.",
        ),
    )
    published: ClassVar[tuple[str, ...]] = ("dx_type", "sex_raw")
    subject: ClassVar[str] = "lesion"
    notes: ClassVar[tuple[str, ...]] = (
        "A subject is a lesion: the publisher gives no patient id, and one patient can have several lesions. Clustering "
        "by lesion is a lower bound of the true clustering, so intervals may be too narrow.",
        "Target malignant counts akiec, bcc and mel; malignant_fairmedfm counts akiec and mel only, as FairMedFM and "
        "MEDFAIR do.",
        "Attribute ita is the individual typology angle of the skin outside of the lesion, estimated from the image (above 90 "
        "where it has a bluish cast): skin tone is not recorded. Presets kinyanjui and fitzpatrick17k read skin types off it.",
        "Column dx_type says how a diagnosis was confirmed (histo: under the microscope; follow_up, consensus, confocal: "
        "without a biopsy).",
    )
    mask_codes: ClassVar[Mapping[int, int]] = {255: 255}
    landmarks: ClassVar[tuple[str, ...]] = _METADATA
    listed: ClassVar[tuple[str, ...]] = (_IMAGES,)

    def read(self, row: Mapping[str, Any]) -> Pixels:
        """Read image and mask, and estimate the tone of the skin around the lesion."""
        pixels = self.read_picture(row)
        lesion = None if pixels.mask is None else pixels.mask > 0
        return replace(pixels, derived={ITA.name: typology_angle(pixels.image, lesion)})

    def card(self) -> DatasetCard:
        """Describe the dataset; masks and the source of images are there or not, as the publisher's files are."""
        raw, card = self.folder(), super().card()
        if "dataset" in raw.table(*_METADATA, columns=_COLUMNS).columns:
            card = replace(card, attributes=(*card.attributes, Attribute("source_dataset")))
        if raw.find(_MASKS) is None:
            note = f"Converted without lesion masks: there was no folder {_MASKS}."
            card = replace(card, structures=(), notes=(*card.notes, note))
        return card

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the metadata into rows."""
        facts = raw.table(*_METADATA, columns=_COLUMNS)
        home = raw.match(_IMAGES).parent
        places = {path.stem: str(path) for path in raw.files(_IMAGES)}
        rows = facts[["dx"]].assign(
            sample_id=facts["image_id"],
            subject_id=facts["lesion_id"],
            sex=words(facts["sex"], SEX_CODES),
            sex_raw=facts["sex"],
            dx_type=kept(facts["dx_type"]) if "dx_type" in facts.columns else None,
            age=years(facts["age"]),
            localization=kept(facts["localization"]),
            ita=None,
            _image=[places.get(name, str(home / f"{name}.jpg")) for name in facts["image_id"]],
        )
        for name, positive in _MALIGNANT.items():
            rows[name] = [_BINARY[dx in positive] if dx in DIAGNOSES else None for dx in facts["dx"]]
        if "dataset" in facts.columns:
            rows["source_dataset"] = kept(facts["dataset"])
        masks = raw.find(_MASKS)
        rows["_mask"] = [
            None if masks is None else str(masks / f"{name}_segmentation.png") for name in facts["image_id"]
        ]
        return rows
