"""``candi``: brain MRI of children and adolescents with hand-drawn structures (CANDI Share, Kennedy et al. 2012)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from shards.adapter import Access, Facts
from shards.card import Attribute, Structure
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import joined, kept, words, years
from shards.datasets._published import AGE, SEX, Scans

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder
    from shards.formats.volume_file import Plane

_IMAGE, _MASK, _TABLE = "_procimg.nii.gz", "_seg.nii.gz", "_Basic_Demographics.csv"
_COLUMNS = ("Subject", "Gender", "Age", "Handedness")
#: Beginning of the names of files and subjects -> diagnosis.
_DIAGNOSES = {
    "BPDwithoutPsy": "bipolar disorder without psychosis",
    "BPDwithPsy": "bipolar disorder with psychosis",
    "HC": "healthy control",
    "SS": "schizophrenia spectrum",
}
#: Some copies of the archive shorten them.
_SHORT = {"BPDwoPsy": "BPDwithoutPsy", "BPDwPsy": "BPDwithPsy"}
#: FreeSurfer's number on the left and on the right.
_PAIRS = {
    "cerebral_white_matter": (2, 41),
    "cerebral_cortex": (3, 42),
    "lateral_ventricle": (4, 43),
    "inferior_lateral_ventricle": (5, 44),
    "cerebellum_white_matter": (7, 46),
    "cerebellum_cortex": (8, 47),
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "hippocampus": (17, 53),
    "amygdala": (18, 54),
    "accumbens": (26, 58),
    "ventral_diencephalon": (28, 60),
    "vessel": (30, 62),
}
_MIDDLE = {"third_ventricle": 14, "fourth_ventricle": 15, "brain_stem": 16, "cerebrospinal_fluid": 24}


class Candi(Scans):
    """The publisher's folder: one of files per subject, and a table of demographics per diagnosis."""

    name: ClassVar[str] = "candi"
    summary: ClassVar[str] = "103 brain MRIs of young people: 34 structures; sex, age, handedness, diagnosis"
    facts: ClassVar[Facts] = Facts(
        "segmentation",
        "brain MRI",
        "non-commercial, as the page states",
        103,
        ("sex", "age", "handedness", "diagnosis"),
        Access(
            "registration",
            "https://www.nitrc.org/projects/candi_share",
            "Register with NITRC, download the archives of all four groups (SchizBull 2008) and unpack them in one folder.",
            expected=(
                *(f"{group}{_TABLE}" for group in _DIAGNOSES),
                *(f"{group}_*/*{_IMAGE}" for group in ("HC", "SS", "BPD*")),
                f"*_*/*{_MASK}",
            ),
        ),
    )
    source: ClassVar[str] = "https://www.nitrc.org/projects/candi_share"
    structures: ClassVar[tuple[Structure, ...]] = (
        *(
            Structure(f"{side}_{name}", (pair[place],))
            for place, side in enumerate(("left", "right"))
            for name, pair in _PAIRS.items()
        ),
        *(Structure(name, (value,)) for name, value in _MIDDLE.items()),
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (
        SEX,
        AGE,
        Attribute("handedness"),
        Attribute("diagnosis"),
    )
    notes: ClassVar[tuple[str, ...]] = (
        "Subjects are children and adolescents: a cut at 60 years leaves one group.",
        "Slices are coronal, as the scans were made and drawn on; FairMedFM cut one axis and counted along another, so it has "
        "half of the slices.",
    )
    shown: ClassVar[str | None] = "mri"
    plane: ClassVar[Plane] = "coronal"
    mask_codes: ClassVar[Mapping[int, int]] = {
        value: value for value in sorted({*(v for pair in _PAIRS.values() for v in pair), *_MIDDLE.values()})
    }
    landmarks: ClassVar[tuple[str, ...]] = (f"*{_TABLE}", f"*/*{_TABLE}")

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Join the subjects' folders with the four tables of demographics."""
        import pandas as pd

        facts = _demographics(raw)
        images = {_subject(path.name.removesuffix(_IMAGE)): path for path in raw.files(f"**/*{_IMAGE}")}
        names = sorted({*images, *facts["name"]})
        facts = joined(
            pd.DataFrame({"name": names}, dtype=object), facts, "name", what="the tables of demographics"
        )
        places = [images.get(name, raw.path / name / f"{name}{_IMAGE}") for name in names]
        return pd.DataFrame(
            {
                "sample_id": facts["name"],
                "subject_id": facts["name"],
                "sex": words(facts["Gender"], SEX_CODES),
                "age": years(facts["Age"]),
                "handedness": kept(facts["Handedness"]),
                "diagnosis": [_DIAGNOSES.get(name.split("_")[0]) for name in names],
                "_image": [str(path) for path in places],
                "_mask": [str(path.with_name(path.name.replace(_IMAGE, _MASK))) for path in places],
            },
            dtype=object,
        )


def _demographics(raw: RawFolder) -> pd.DataFrame:
    """Read the tables of all groups as one; each must be there."""
    import pandas as pd

    found = {path.name.removesuffix(_TABLE): path for path in raw.files(f"*{_TABLE}", f"*/*{_TABLE}")}
    missing = [f"{group}{_TABLE}" for group in _DIAGNOSES if group not in found]
    if missing:
        raise raw.refusal(f"{raw.path} lacks {missing[0]}; expected one for each of {', '.join(_DIAGNOSES)}.")
    tables = [raw.table(found[group].relative_to(raw.path), columns=_COLUMNS) for group in _DIAGNOSES]
    table = pd.concat(tables, ignore_index=True)
    table = table[table["Subject"].notna()]
    return table.assign(name=[_subject(name) for name in table["Subject"]])


def _subject(name: str) -> str:
    """Return a subject's name with its diagnosis as the tables spell it."""
    group, _, number = Path(name).name.partition("_")
    return f"{_SHORT.get(group, group)}_{number}"
