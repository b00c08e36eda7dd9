"""``ircadb``: abdominal CT of twenty people with liver and neighbouring structures (3D-IRCADb-01)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from shards.adapter import Access, Facts, Pixels, Volume
from shards.card import Attribute, DatasetCard, Structure
from shards.datasets import _ircadb_folders as folders
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import words, years
from shards.datasets._ircadb import STRUCTURES, paint, structure_of
from shards.datasets._ircadb_folders import MASKS, NNUNET, RELEASE, SCAN
from shards.datasets._published import AGE, SEX, Scans
from shards.datasets._raw_folder import is_litter
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder
    from shards.formats.volume_file import Plane

#: The labels of nnU-Net's files; those above 255 become 2 to 10, in their order, as FairMedFM stores them.
_SMALL = (1, 17, 33, 65, 97, 129, 193)
_LARGE = (257, 321, 385, 449, 451, 453, 465, 481, 513)
_CODES = {**{value: value for value in _SMALL}, **{value: 2 + place for place, value in enumerate(_LARGE)}}


class Ircadb(Scans):
    """The publisher's folders of patients, or ``overview.csv`` and the scans in the layout of nnU-Net.

    Attributes
    ----------
    leave_out
        Folders of masks, by name, that are not converted; the card notes them.
    """

    name: ClassVar[str] = "ircadb"
    summary: ClassVar[str] = "20 abdominal CTs: liver, its vessels and tumours, neighbouring organs; sex"
    facts: ClassVar[Facts] = Facts(
        "segmentation",
        "abdominal CT",
        "CC BY-NC-ND 4.0",
        20,
        ("sex",),
        Access(
            "open",
            "https://www.ircad.fr/research/data-sets/liver-segmentation-3d-ircadb-01",
            f"Download {RELEASE}.zip, or the archives of all patients, and unpack it; then unpack {SCAN}.zip and {MASKS}.zip "
            "in each patient's folder (the other two archives there are not read).",
            expected=tuple(f"{RELEASE}.{number}/{part}" for number in (1, 20) for part in (SCAN, MASKS)),
        ),
    )
    source: ClassVar[str] = "https://www.ircad.fr/research/data-sets/liver-segmentation-3d-ircadb-01"
    structures: ClassVar[tuple[Structure, ...]] = STRUCTURES
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX,)
    published: ClassVar[tuple[str, ...]] = ("sex_source", "drawn")
    notes: ClassVar[tuple[str, ...]] = (
        "Twenty patients are too few to compare groups: report, do not rank.",
        "Patients differ in what is drawn: column drawn has the names of the publisher's folders. A structure that is not "
        "drawn has no voxels, which does not say that it is absent.",
        "Structures body (the publisher's skin) and liver hold all that lies in them. Where two others overlap, the later one "
        "of the list holds: organs, vessels, cysts, tumours, stones and metal. Numbered tumours are one structure.",
        "liver_tumour is what the publisher names so. other_tumour (patient 7) lies outside of the liver, and metastasectomy "
        "(patient 14) is what an operation left: the publisher counts no tumour of the liver in these two.",
        "M3D-Seg, the collection that SegVol was made with, lists 3D-IRCADb.",
    )
    shown: ClassVar[str | None] = "ct-liver"
    plane: ClassVar[Plane] = "axial"
    mask_codes: ClassVar[Mapping[int, int]] = _CODES
    landmarks: ClassVar[tuple[str, ...]] = (
        *(f"{place}{SCAN}*" for place in (f"{RELEASE}.*/", f"{RELEASE}.*/{RELEASE}.*/")),
        *(f"{folder}/imagesTr" for folder in NNUNET),
    )
    listed: ClassVar[tuple[str, ...]] = tuple(f"{folder}/imagesTr/*.nii.gz" for folder in NNUNET)

    leave_out: tuple[str, ...] = Field(default=(), description="folders of masks that are not converted")

    def folder(self) -> RawFolder:
        """Return the folder, whichever of the two layouts it has."""
        try:
            return super().folder()
        except UserError as error:
            root = self.raw.expanduser().absolute()
            packed = [path for place in (root, *root.glob("*/")) for path in folders.still_packed(place)]
            advice = folders.unpack_first(packed, root) if packed else folders.LAYOUTS
            raise UserError(f"{error} {advice}") from error

    def card(self) -> DatasetCard:
        """Describe the dataset: structures are those of the layout, and there is an age where the scans tell it."""
        raw, card = self.folder(), super().card()
        if not folders.is_publishers(raw):
            return _nnunets_card(card)
        headers = folders.headers_of(folders.patients_of(raw))
        if any("PatientAge" in header for header in headers.values()):
            card = replace(card, attributes=(*card.attributes, AGE))
        asked = f"Masks that were left out as asked for: {', '.join(self.leave_out)}."
        return replace(card, notes=(*card.notes, asked)) if self.leave_out else card

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Find each patient's scan and masks."""
        import pandas as pd

        if not folders.is_publishers(raw):
            return _nnunets_rows(raw)
        packed = folders.still_packed(raw.path)
        if packed:
            raise raw.refusal(folders.unpack_first(packed, raw.path))
        patients = folders.patients_of(raw)
        headers = folders.headers_of(patients).values()
        unfit = [folders.lacking(*patient) or (None, None) for patient in patients.items()]
        drawn = [self._drawn(raw, folder) for folder in patients.values()]
        ages = pd.Series([header.get("PatientAge") for header in headers], name="PatientAge", dtype=object)
        return pd.DataFrame(
            {
                "sample_id": list(patients),
                "subject_id": list(patients),
                **folders.sexes_of(raw, list(patients), [header.get("PatientSex") for header in headers]),
                "age": years(ages),
                "drawn": [" ".join(path.name for path in paths) or None for paths in drawn],
                "_image": [str(folders.inner(folder / SCAN)) for folder in patients.values()],
                "_masks": [[str(path) for path in paths] for paths in drawn],
                "_reject": [reason for reason, _ in unfit],
                "_detail": [detail for _, detail in unfit],
            },
            dtype=object,
        )

    def _drawn(self, raw: RawFolder, patient: Path) -> list[Path]:
        """Return a patient's folders of masks; one that the coding does not know is refused, not dropped."""
        here = folders.inner(patient / MASKS)
        found = [path for path in sorted(here.glob("*")) if path.is_dir() and not is_litter(Path(path.name))]
        found = [path for path in found if path.name not in self.leave_out]
        unknown = [path.name for path in found if structure_of(path.name) is None]
        if unknown:
            raise raw.refusal(
                f"{here} has the folder {unknown[0]!r}, which the coding of structures does not know. Is this another release? "
                f"-o leave_out=[{','.join(unknown)}] converts the rest."
            )
        return found

    def read(self, row: Mapping[str, Any]) -> Pixels | Volume:
        """Read a patient's slices, and what is drawn on them as one label map, turned as the slices are."""
        if row.get("_masks") is None:
            return super().read(row)
        from shards.formats.dicom import order_series
        from shards.formats.dicom_masks import read_slice_masks

        stack = order_series(Path(row["_image"]))
        paths = [Path(path) for path in row["_masks"]]
        masks = ((str(structure_of(path.name)), read_slice_masks(path, stack.slices)) for path in paths)
        labels = paint((len(stack.slices), *stack.slices[0].shape), masks)
        image = stack.turned(stack.intensities(), self.plane)
        mask = stack.turned(labels, self.plane).image.astype("uint8", copy=False)
        return Volume(image.image, image.spacing_mm, image.orientation, mask)


def _nnunets_card(card: DatasetCard) -> DatasetCard:
    numbers = (
        "Structures have the numbers of the label files, as no list of names is published with them; numbers above 255 are "
        "stored as 2 to 10."
    )
    return replace(
        card,
        name=f"{card.name}-nnunet",
        structures=tuple(Structure(f"label_{label}", (stored,)) for label, stored in _CODES.items()),
        published=(),
        notes=(card.notes[0], numbers, *card.notes[-2:]),
    )


def _nnunets_rows(raw: RawFolder) -> pd.DataFrame:
    import pandas as pd

    facts = raw.table(folders.TABLE, columns=folders.COLUMNS)
    images = raw.need(*(f"{folder}/imagesTr" for folder in NNUNET))
    labels = raw.need(*(f"{folder}/labelsTr" for folder in NNUNET))
    names = [None if name is None else name.removesuffix(".nii.gz") for name in facts["name"]]
    channels = [images / f"{name}_0000.nii.gz" for name in names]  # nnU-Net numbers channels
    return pd.DataFrame(
        {
            "sample_id": names,
            "subject_id": names,
            "sex": words(facts["sex"], SEX_CODES),
            "_image": [
                str(channel if channel.is_file() else images / f"{name}.nii.gz")
                for name, channel in zip(names, channels, strict=True)
            ],
            "_mask": [str(labels / f"{name}.nii.gz") for name in names],
        },
        dtype=object,
    )
