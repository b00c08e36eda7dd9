"""``nih-cxr14``: ChestX-ray14 of the NIH Clinical Center (Wang et al. 2017)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from shards.adapter import Access, Facts
from shards.card import Attribute, DatasetCard, GroupPreset, PromptSet, Target
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import kept, words, years
from shards.datasets._cxr import (
    AGE_PRESETS,
    FINDING_CLASSES,
    NO_FINDING,
    column,
    finding_prompts,
    finding_target,
    health_prompts,
)
from shards.datasets._published import AGE, SEX, Published

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_TABLE = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_COLUMNS = (
    *("Image Index", "Finding Labels", "Follow-up #", "Patient ID"),
    *("Patient Age", "Patient Gender", "View Position"),
)
#: The last columns by their place: ``OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]`` holds commas.
_RADIOGRAPH = ("radiograph_width", "radiograph_height", "radiograph_spacing_x", "radiograph_spacing_y")
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
_IMAGES = ("images/*.png", "images_*/images/*.png", "images_*/*.png")
FINDINGS = (
    *(
        "Atelectasis",
        "Cardiomegaly",
        "Effusion",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pneumonia",
        "Pneumothorax",
    ),
    *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
)
#: Words for labels that do not read well by themselves.
PHRASES = {"Effusion": "Pleural Effusion"}
_HEALTHY = "No Finding"


#: The publisher's direct links to the archives of images, in their order.
_BOX = "https://nihcc.box.com/shared/static"
_ARCHIVES = (
    *(
        "vfk49d74nhbxq3nqjg0900w5nvkorp5c",
        "i28rlmbvmfjbl8p2n3ril0pptcmcu9d1",
        "f1t00wrtdk94satdfb9olcolqx20z2jp",
    ),
    *(
        "0aowwzs5lhjrceb3qp67ahp0rd1l1etg",
        "v5e3goj22zr6h8tzualxfsqlqaygfbsn",
        "asi7ikud9jwnkrnkj99jnpfkjdes7l6l",
    ),
    *(
        "jn1b4mw4n6lnh74ovmcjb8y48h8xj07n",
        "tvpxmn7qyrgl0w8wfh9kqfjskv6nmm1j",
        "upyy3ml7qdumlgk2rfcvlb9k6gvqq2pj",
    ),
    *(
        "l6nilvfa9cg3s28tqv1qc1olm3gnz54p",
        "hhq8fkdgvcari67vfhs7ppg2w6ni4jze",
        "ioqwiy20ihqwyr8pf4c24eazhh281pbu",
    ),
)


class NihCxr14(Published):
    """The publisher's folder: the table, images in ``images`` or in ``images_001`` ... ``images_012``, lists of the split."""

    name: ClassVar[str] = "nih-cxr14"
    summary: ClassVar[str] = "112,120 chest X-rays: no finding and 14 findings; sex, age, view"
    facts: ClassVar[Facts] = Facts(
        "classification",
        "chest X-ray",
        "no restriction, with attribution to the NIH Clinical Center",
        112_120,
        ("sex", "age", "view"),
        Access(
            "open",
            "https://nihcc.app.box.com/v/ChestXray-NIHCC",
            "Download Data_Entry_2017_v2020.csv, train_val_list.txt and test_list.txt from the page, beside the images; "
            "without 'datasets fetch', the twelve archives of images too, and unpack them there.",
            files=tuple(
                f"{_BOX}/{name}.gz#images_{n:03d}.tar.gz" for n, name in enumerate(_ARCHIVES, start=1)
            ),
            expected=("Data_Entry_2017*.csv", *_LISTS, "images*"),
        ),
    )
    source: ClassVar[str] = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
    targets: ClassVar[tuple[Target, ...]] = (NO_FINDING, *map(finding_target, FINDINGS))
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX, AGE, Attribute("view"))
    published: ClassVar[tuple[str, ...]] = ("finding_labels", "follow_up", "age_raw", *_RADIOGRAPH)
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        *health_prompts(healthy=False),
        *(prompts for label in FINDINGS for prompts in finding_prompts(label, PHRASES.get(label))),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = AGE_PRESETS
    notes: ClassVar[tuple[str, ...]] = (
        "Labels are read from reports by a program; a label that an image lacks counts as absent.",
        "Ages above 120 years, which the release of 2017 has, are unknown; column age_raw holds what the table says.",
        "Columns radiograph_* describe the radiograph before the publisher made it 1024 x 1024, which changed its proportions.",
        "RAD-DINO was trained on several public sets of chest X-rays: see its list. MedMAE and C2L perhaps on this one.",
    )
    landmarks: ClassVar[tuple[str, ...]] = _TABLE
    listed: ClassVar[tuple[str, ...]] = _IMAGES

    def card(self) -> DatasetCard:
        """Describe the dataset, and whose split it has."""
        card = super().card()
        note = f"Converted without the publisher's split: {' and '.join(_LISTS)} were not both there."
        if _given_split(self.folder()) is not None:
            note = "Test is the publisher's list of images; val is drawn by patient from the publisher's other list."
        return replace(card, notes=(*card.notes, note))

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the table into rows."""
        facts = self.table(raw)
        found = [frozenset(text.split("|")) if text else None for text in facts["Finding Labels"]]
        misfits: list[Any] = [None if labels is None else _misfit(labels) for labels in found]
        rejects: list[Any] = [None if misfit is None else "unknown_label" for misfit in misfits]
        rows = facts[list(_RADIOGRAPH)].assign(
            sample_id=facts["Image Index"].str.removesuffix(".png"),
            subject_id=facts["Patient ID"],
            sex=words(facts["Patient Gender"], SEX_CODES),
            age=years(facts["Patient Age"], unknown=_impossible(facts["Patient Age"])),
            view=kept(facts["View Position"]),
            finding_labels=facts["Finding Labels"],
            follow_up=facts["Follow-up #"],
            age_raw=facts["Patient Age"],
            _reject=rejects,
            _detail=misfits,
            _image=self.images(raw, facts),
        )
        for label in (_HEALTHY, *FINDINGS):
            rows[column(label)] = [None if seen is None else FINDING_CLASSES[label in seen] for seen in found]
        splits = _given_split(raw)
        if splits is not None:
            rows["split"] = facts["Image Index"].map(splits)
        return rows

    @staticmethod
    def table(raw: RawFolder) -> pd.DataFrame:
        """Read the publisher's table; its last columns are found by their place."""
        return raw.table(*_TABLE, columns=_COLUMNS, positions=(*_COLUMNS, *_RADIOGRAPH))

    @staticmethod
    def images(raw: RawFolder, facts: pd.DataFrame) -> list[Any]:
        """Return where each image is, or should be."""
        places = {path.name: str(path) for path in raw.files(*_IMAGES)}
        return [
            None if name is None else places.get(name, f"{raw.path}/images/{name}")
            for name in facts["Image Index"]
        ]


def _given_split(raw: RawFolder) -> dict[str, str] | None:
    """Return the publisher's split of each image; None where its lists are not both there."""
    if any(raw.find(name) is None for name in _LISTS):
        return None
    splits: dict[str, str] = {}
    for name, split in _LISTS.items():
        images = raw.need(name).read_text().split()
        both = [image for image in images if image in splits]
        if both:
            raise raw.refusal(
                f"{len(both)} images are in both of {' and '.join(_LISTS)}, the first {both[0]}."
            )
        splits |= dict.fromkeys(images, split)
    return splits


def _misfit(labels: frozenset[str]) -> str | None:
    """Say what is wrong with an image's labels, if anything is."""
    unknown = sorted(labels - {_HEALTHY, *FINDINGS})
    if unknown:
        return f"'Finding Labels' has {unknown[0]!r}; expected {_HEALTHY}, {', '.join(FINDINGS)}"
    if _HEALTHY in labels and len(labels) > 1:
        return f"'Finding Labels' has {_HEALTHY} together with {', '.join(sorted(labels - {_HEALTHY}))}"
    return None


def _impossible(ages: pd.Series[str]) -> set[str]:
    """Return the ages in years that nobody has; the release of 2017 has some, such as 411."""
    digits = {text: text.rstrip("Yy") for text in ages.dropna()}
    return {text.lower() for text, number in digits.items() if number.isdigit() and int(number) > 120}
