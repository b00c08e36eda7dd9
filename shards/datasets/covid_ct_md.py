"""``covid-ct-md``: chest CT of people with COVID-19, another pneumonia or neither (Afshar et al. 2021)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from shards.adapter import Access, Facts, Volume
from shards.card import Attribute, GroupPreset, PromptSet, Target
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import words, years
from shards.datasets._published import AGE, FAIRMEDFM_AGES, MEDFAIR_AGES, SEX, Scans

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder
    from shards.formats.volume_file import Plane

_TABLES = ("Clinical-data.csv", "Clinical_data.csv")
#: Our name of a column -> headers that releases give it, without blanks, signs and capitals.
_HEADERS = {
    "diagnosis": ("diagnosis",),
    "folder": ("folder", "folderid", "patientid"),
    "sex": ("patientgender", "gender", "patientsex", "sex"),
    "age": ("patientage", "age"),
    "weight": ("weight", "patientweight", "weightkg"),
}
_PARTS = ("COVID-19 Cases", "Cap Cases", "Normal Cases")
_CLASSES = {"normal": "normal", "cap": "CAP", "covid-19": "COVID-19"}
_CASE = re.compile(r"(p|cap|normal)\d+", re.IGNORECASE)
#: Texts in the column of weights that are none; a weight of nothing is none either.
_NO_WEIGHT = re.compile(r"0*(\.0*)?|unknown|nan|n/?a|-", re.IGNORECASE)


class CovidCtMd(Scans):
    """The publisher's folder: ``Clinical-data.csv`` and a folder of DICOM slices for each patient."""

    name: ClassVar[str] = "covid-ct-md"
    summary: ClassVar[str] = "305 chest CTs: COVID-19, other pneumonia or normal; sex, age, weight"
    facts: ClassVar[Facts] = Facts(
        "classification",
        "chest CT",
        "as the record states (research)",
        305,
        ("sex", "age", "weight"),
        Access(
            "open",
            "https://doi.org/10.6084/m9.figshare.12991592",
            "Download the figshare record and unpack the archives of COVID-19, Cap and Normal cases in one folder.",
            files=("figshare:12991592",),
            expected=(_TABLES[0], *_PARTS),
        ),
    )
    source: ClassVar[str] = "doi:10.6084/m9.figshare.12991592"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("pneumonia", ("normal", "pneumonia"), positive="pneumonia"),
        Target("covid19", ("other", "COVID-19"), positive="COVID-19"),
        Target("diagnosis", tuple(_CLASSES.values())),
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX, AGE, Attribute("weight", "number", "kg"))
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        PromptSet(
            "pneumonia", "fairmedfm-1", ("a computed tomography of a {}",), (("normal",), ("pneumonia",))
        ),
        PromptSet(
            "covid19",
            "fairray-1",
            ("a chest CT of {}", "a computed tomography of the lungs with {}"),
            (("no finding", "bacterial pneumonia"), ("COVID-19 pneumonia",)),
        ),
        PromptSet(
            "diagnosis",
            "fairray-1",
            ("a chest CT of {}", "a computed tomography of the lungs with {}"),
            (("no finding",), ("bacterial pneumonia",), ("COVID-19 pneumonia",)),
        ),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = (
        FAIRMEDFM_AGES[0],
        replace(
            FAIRMEDFM_AGES[1],
            note="FairMedFM's notebook puts people of exactly 60 with the young, and turns 100 years into 0.",
        ),
        MEDFAIR_AGES,
    )
    notes: ClassVar[tuple[str, ...]] = (
        "Target pneumonia (COVID-19 or community-acquired, CAP) is FairMedFM's, target covid19 (COVID-19 against all others) "
        "MEDFAIR's.",
        "Slices are ordered by where they lie in the patient, scouts are left out; the publisher's labels of lobes and slices, "
        "which count slices otherwise, are not converted.",
    )
    shown: ClassVar[str | None] = "covid-ct-md"
    plane: ClassVar[Plane] = "axial"
    landmarks: ClassVar[tuple[str, ...]] = (*_TABLES, *_PARTS)

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Find each patient's folder, whatever the capitals of its name."""
        import pandas as pd

        facts = _clinical(raw)
        folders = _folders(raw.path)
        labels = [_class(text) for text in facts["diagnosis"]]
        here = [folders.get(str(name).lower(), raw.path / str(name)) for name in facts["folder"]]
        rows = pd.DataFrame(
            {
                "sample_id": facts["folder"],
                "subject_id": facts["folder"],
                "pneumonia": [{"CAP": "pneumonia", "COVID-19": "pneumonia"}.get(str(x), x) for x in labels],
                "covid19": [{"CAP": "other", "normal": "other"}.get(str(x), x) for x in labels],
                "diagnosis": labels,
                "sex": words(facts["sex"], SEX_CODES),
                "age": years(facts["age"]),
                "weight": [_weight(text) for text in facts["weight"]],
                "_image": [str(path) for path in here],
                "_slices": [_slices(path) for path in here],
            },
            dtype=object,
        )
        listed = {str(name).lower() for name in facts["folder"]}
        return pd.concat(
            [rows, _unlisted(path for name, path in folders.items() if name not in listed)], ignore_index=True
        )

    def read(self, row: Mapping[str, Any]) -> Volume:
        """Read a patient's slices as one volume."""
        from shards.formats.dicom import read_series

        series = read_series(Path(row["_image"]), "axial")
        return Volume(series.image, series.spacing_mm, series.orientation)


def _clinical(raw: RawFolder) -> pd.DataFrame:
    """Read the table of patients, its columns under our names; rows without a folder are empty ones."""
    table = raw.table(*_TABLES, columns=())
    plain = {re.sub(r"[^a-z0-9]", "", str(name).lower()): name for name in table.columns}
    found = {
        ours: next((plain[name] for name in names if name in plain), None) for ours, names in _HEADERS.items()
    }
    missing = [ours for ours, theirs in found.items() if theirs is None]
    if missing:
        raise raw.refusal(
            f"{raw.need(*_TABLES)} has no column for {missing[0]!r}; expected Diagnosis, Folder, Patient Gender, Patient Age "
            f"and Weight, found {', '.join(map(str, table.columns))}."
        )
    renamed = table[list(found.values())].set_axis(list(found), axis=1)
    return renamed[renamed.notna().any(axis=1)].reset_index(drop=True)


def _folders(root: Path) -> dict[str, Path]:
    """Return the patients' folders, one or two below the root (archives may be unpacked into folders of their names)."""
    inner = [path for pattern in ("*", "*/*", "*/*/*") for path in sorted(root.glob(pattern))]
    cases = [path for path in inner if _CASE.fullmatch(path.name) and path.is_dir()]
    return {path.name.lower(): path for path in cases}


def _class(text: str | None) -> str | None:
    return None if text is None else _CLASSES.get(text.lower(), text)


def _weight(text: str | None) -> str | None:
    """Return kilograms as a number's text; what is neither a number nor unknown stays and is refused by name."""
    if text is None or _NO_WEIGHT.fullmatch(text):
        return None
    return re.sub(r"\s*kg$", "", text, flags=re.IGNORECASE)


def _slices(folder: Path) -> str | None:
    """Describe the files in a folder: a change of any of them makes its shard be written anew."""
    if not folder.is_dir():
        return None
    states = [path.stat() for path in folder.iterdir()]
    newest = max((state.st_mtime_ns for state in states), default=0)
    return f"{len(states)} files of {sum(state.st_size for state in states)} bytes, the newest of {newest}"


def _unlisted(folders: Iterable[Path]) -> pd.DataFrame:
    import pandas as pd

    found = [str(path) for path in folders]
    return pd.DataFrame(
        {
            "_image": found,
            "_reject": ["not_listed"] * len(found),
            "_detail": ["the folder is on disk, but no row of the publisher's table names it"] * len(found),
        },
        dtype=object,
    )
