"""``fitzpatrick17k``: clinical photographs of skin with skin types of two annotators (Groh et al. 2021)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from shards.adapter import Access, Facts
from shards.card import Attribute, GroupPreset, PromptSet, Target
from shards.datasets._coding import words
from shards.datasets._published import Published

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_TABLE = "fitzpatrick17k.csv"
#: Where the images may be.
_FOLDERS = ("images", "data/finalfitz17k", "finalfitz17k", "fitzpatrick17k", "data")
_COLUMNS = (
    *("md5hash", "fitzpatrick_scale", "fitzpatrick_centaur", "label"),
    *("nine_partition_label", "three_partition_label", "qc", "url"),
)
THREE = ("non-neoplastic", "benign", "malignant")
NINE = (
    *("inflammatory", "genodermatoses", "benign dermal", "benign epidermal", "benign melanocyte"),
    *("malignant cutaneous lymphoma", "malignant dermal", "malignant epidermal", "malignant melanoma"),
)
#: The publisher's 114 conditions, spelled as in the table.
CONDITIONS = tuple(
    re.split(
        r",\s+",
        """acanthosis nigricans, acne, acne vulgaris, acquired autoimmune bullous diseaseherpes gestationis,
acrodermatitis enteropathica, actinic keratosis, allergic contact dermatitis, aplasia cutis,
basal cell carcinoma, basal cell carcinoma morpheiform, becker nevus, behcets disease,
calcinosis cutis, cheilitis, congenital nevus, dariers disease, dermatofibroma, dermatomyositis,
disseminated actinic porokeratosis, drug eruption, drug induced pigmentary changes,
dyshidrotic eczema, eczema, ehlers danlos syndrome, epidermal nevus, epidermolysis bullosa,
erythema annulare centrifigum, erythema elevatum diutinum, erythema multiforme, erythema nodosum,
factitial dermatitis, fixed eruptions, folliculitis, fordyce spots, granuloma annulare,
granuloma pyogenic, hailey hailey disease, halo nevus, hidradenitis, ichthyosis vulgaris,
incontinentia pigmenti, juvenile xanthogranuloma, kaposi sarcoma, keloid, keratosis pilaris,
langerhans cell histiocytosis, lentigo maligna, lichen amyloidosis, lichen planus, lichen simplex,
livedo reticularis, lupus erythematosus, lupus subacute, lyme disease, lymphangioma,
malignant melanoma, melanoma, milia, mucinosis, mucous cyst, mycosis fungoides, myiasis,
naevus comedonicus, necrobiosis lipoidica, nematode infection, neurodermatitis, neurofibromatosis,
neurotic excoriations, neutrophilic dermatoses, nevocytic nevus, nevus sebaceous of jadassohn,
papilomatosis confluentes and reticulate, paronychia, pediculosis lids, perioral dermatitis,
photodermatoses, pilar cyst, pilomatricoma, pityriasis lichenoides chronica, pityriasis rosea,
pityriasis rubra pilaris, porokeratosis actinic, porokeratosis of mibelli, porphyria,
port wine stain, prurigo nodularis, psoriasis, pustular psoriasis, pyogenic granuloma, rhinophyma,
rosacea, sarcoidosis, scabies, scleroderma, scleromyxedema, seborrheic dermatitis,
seborrheic keratosis, solid cystic basal cell carcinoma, squamous cell carcinoma, stasis edema,
stevens johnson syndrome, striae, sun damaged skin, superficial spreading melanoma ssm, syringoma,
telangiectases, tick bite, tuberous sclerosis, tungiasis, urticaria, urticaria pigmentosa, vitiligo,
xanthomas, xeroderma pigmentosum""",
    )
)
_TYPES: Mapping[str, str] = {"1": "I", "2": "II", "3": "III", "4": "IV", "5": "V", "6": "VI"}
_BINARY = ("not malignant", "malignant")
_TEMPLATES = ("a photo of {}", "a clinical photo of skin with {}")
_SKIN_TYPES = {"fitzpatrick_scale": "skin_type", "fitzpatrick_centaur": "skin_type_centaur"}


class Fitzpatrick17k(Published):
    """The authors' table and a folder of images ``{md5hash}.jpg``."""

    name: ClassVar[str] = "fitzpatrick17k"
    summary: ClassVar[str] = (
        "16,577 clinical photos of skin: malignant or not, 3 and 9 groups, 114 conditions; skin type twice"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "clinical photograph of skin",
        "CC BY-NC-SA 3.0",
        16_577,
        tuple(_SKIN_TYPES.values()),
        Access(
            "request",
            "https://github.com/mattgroh/fitzpatrick17k",
            "Download fitzpatrick17k.csv, and ask the authors for the images with their form (or download them from "
            "the table's column url); save each as images/{md5hash}.jpg.",
            expected=(_TABLE, "images"),
        ),
    )
    source: ClassVar[str] = "https://github.com/mattgroh/fitzpatrick17k; arXiv:2104.09957"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("malignant", _BINARY, positive="malignant"),
        Target("three_partition", THREE),
        Target("nine_partition", NINE),
        Target("condition", CONDITIONS),
    )
    attributes: ClassVar[tuple[Attribute, ...]] = tuple(map(Attribute, _SKIN_TYPES.values()))
    published: ClassVar[tuple[str, ...]] = ("qc", "url")
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        PromptSet(
            "malignant", "fairray-1", _TEMPLATES, (("a skin condition",), ("a malignant skin lesion",))
        ),
        PromptSet(
            "three_partition",
            "fairray-1",
            _TEMPLATES,
            (("a skin disease that is no tumour",), ("a benign skin lesion",), ("a malignant skin lesion",)),
        ),
        PromptSet("nine_partition", "fairray-1", _TEMPLATES, tuple((name,) for name in NINE)),
        PromptSet("condition", "fairray-1", _TEMPLATES, tuple((name,) for name in CONDITIONS)),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = tuple(
        GroupPreset(
            "medfair",
            name,
            name,
            ("I-III", "IV-VI"),
            values=(("I", "II", "III"), ("IV", "V", "VI")),
            note="MEDFAIR drops photos of unknown skin type before it splits.",
        )
        for name in _SKIN_TYPES.values()
    )
    subject: ClassVar[str] = "image"
    notes: ClassVar[tuple[str, ...]] = (
        "A subject is an image: no patient is published, and there are near duplicates under different names, which may lie in "
        "different splits. Look at the audit's list of look-alikes, and give a list of splits if that matters.",
        "Attribute skin_type is by Scale AI (565 unknown), skin_type_centaur by Centaur Labs (1,073 unknown); they disagree "
        "often. Both were read from photos: estimates, not what a person said.",
        "Column qc holds a dermatologist's verdict on 504 of the photos; 17 are '3 Wrongly labelled'. None is left out.",
    )
    landmarks: ClassVar[tuple[str, ...]] = (_TABLE,)
    listed: ClassVar[tuple[str, ...]] = tuple(f"{folder}/*.jpg" for folder in _FOLDERS)

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the table into rows; a photo that nobody could download is a row without a file."""
        facts = raw.table(_TABLE, columns=_COLUMNS)
        folder = raw.need(*_FOLDERS)
        places = {path.stem: str(path) for path in raw.files(*self.listed)}
        groups = facts["three_partition_label"]
        images: list[Any] = [
            None if x is None else places.get(x, f"{folder}/{x}.jpg") for x in facts["md5hash"]
        ]
        rows = facts[["qc", "url"]].assign(
            sample_id=facts["md5hash"],
            subject_id=facts["md5hash"],
            malignant=[x if x not in THREE else _BINARY[x == "malignant"] for x in groups],
            three_partition=groups,
            nine_partition=facts["nine_partition_label"],
            condition=facts["label"],
            _image=images,
        )
        for theirs, ours in _SKIN_TYPES.items():
            rows[ours] = words(facts[theirs], _TYPES)
        return rows
