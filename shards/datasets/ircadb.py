"""``ircadb``: abdominal CT of twenty people with liver and neighbouring structures (3D-IRCADb-01)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from shards.adapter import Access, Facts
from shards.card import Attribute, Structure
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import words
from shards.datasets._published import SEX, Scans

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder
    from shards.formats.volume_file import Plane

_TABLE = "overview.csv"
_COLUMNS = ("name", "sex")
_FOLDERS = ("Dataset003_3D-IRCADb", ".")
#: The labels of the files; those above 255 become 2 to 10, in their order, as FairMedFM stores them.
_SMALL = (1, 17, 33, 65, 97, 129, 193)
_LARGE = (257, 321, 385, 449, 451, 453, 465, 481, 513)
_CODES = {**{value: value for value in _SMALL}, **{value: 2 + place for place, value in enumerate(_LARGE)}}


class Ircadb(Scans):
    """``overview.csv`` beside the scans in the layout of nnU-Net."""

    name: ClassVar[str] = "ircadb"
    summary: ClassVar[str] = "20 abdominal CTs: 16 labels of liver and neighbouring structures; sex"
    facts: ClassVar[Facts] = Facts(
        "segmentation",
        "abdominal CT",
        "as the page states (research)",
        20,
        ("sex",),
        Access(
            "open",
            "https://www.ircad.fr/research/data-sets/liver-segmentation-3d-ircadb-01",
            "Download the 20 patients and bring scans and labels to the layout of nnU-Net (Dataset003_3D-IRCADb/imagesTr and "
            "labelsTr, one .nii.gz per patient); list them with their sexes in overview.csv (columns name, sex).",
            expected=(_TABLE, "Dataset003_3D-IRCADb/imagesTr", "Dataset003_3D-IRCADb/labelsTr"),
        ),
    )
    source: ClassVar[str] = "https://www.ircad.fr/research/data-sets/liver-segmentation-3d-ircadb-01"
    structures: ClassVar[tuple[Structure, ...]] = tuple(
        Structure(f"label_{label}", (stored,)) for label, stored in _CODES.items()
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX,)
    notes: ClassVar[tuple[str, ...]] = (
        "Twenty patients are too few to compare groups: report, do not rank.",
        "Structures have the numbers of the label files, as no list of names is published with them; numbers above 255 are "
        "stored as 2 to 10.",
    )
    shown: ClassVar[str | None] = "ct-liver"
    plane: ClassVar[Plane] = "axial"
    mask_codes: ClassVar[Mapping[int, int]] = _CODES
    landmarks: ClassVar[tuple[str, ...]] = (_TABLE,)
    listed: ClassVar[tuple[str, ...]] = tuple(f"{folder}/imagesTr/*.nii.gz" for folder in _FOLDERS)

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Find each patient's scan and labels."""
        import pandas as pd

        facts = raw.table(_TABLE, columns=_COLUMNS)
        images = raw.need(*(f"{folder}/imagesTr" for folder in _FOLDERS))
        labels = raw.need(*(f"{folder}/labelsTr" for folder in _FOLDERS))
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
