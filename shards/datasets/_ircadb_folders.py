"""The two layouts of 3D-IRCADb-01 on disk: which one a folder has, the publisher's patients, and what their headers say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from shards.adapter import UnreadableSample
from shards.datasets._coding import SEX, joined, words
from shards.datasets._raw_folder import RawFolder

if TYPE_CHECKING:
    import pandas as pd

TABLE, COLUMNS = "overview.csv", ("name", "sex")
RELEASE, SCAN, MASKS = "3Dircadb1", "PATIENT_DICOM", "MASKS_DICOM"
#: Where nnU-Net's folders may be.
NNUNET = ("Dataset003_3D-IRCADb", ".")
LAYOUTS = (
    f"Two layouts were looked for: the publisher's ({RELEASE}.1 to {RELEASE}.20, each with the folders {SCAN} and {MASKS}), "
    f"and nnU-Net's ({NNUNET[0]}/imagesTr and labelsTr, with {TABLE})."
)
_PATIENT = re.compile(rf"{RELEASE}\.(\d+)")
_PATIENTS = range(1, 21)
#: The ten women among the twenty, by the table on the publisher's page.
_WOMEN = frozenset({1, 2, 8, 10, 12, 14, 15, 18, 19, 20})


def is_publishers(raw: RawFolder) -> bool:
    """Tell the publisher's layout from nnU-Net's.

    Raises
    ------
    UserError
        If a folder has both.
    """
    patients = [path for path in raw.path.glob(f"{RELEASE}.*") if _PATIENT.fullmatch(path.name)]
    scans = raw.find(*(f"{folder}/imagesTr" for folder in NNUNET))
    if patients and scans is not None:
        raise raw.refusal(
            f"{raw.path} has {raw.relative(scans)} (nnU-Net's layout) and {patients[0].name} (the publisher's): give a folder "
            "with one of them."
        )
    return bool(patients)


def inner(folder: Path) -> Path:
    """Return a folder, or the one of its own name in it: some programs unpack an archive into a folder of its name."""
    return folder / folder.name if (folder / folder.name).is_dir() else folder


def patients_of(raw: RawFolder) -> dict[str, Path]:
    """Return the folders of all twenty patients by name, also of those that are not there."""
    there = {int(match[1]) for path in raw.path.glob("*") if (match := _PATIENT.fullmatch(path.name))}
    names = [f"{RELEASE}.{number}" for number in sorted(there | set(_PATIENTS))]
    return {name: inner(raw.path / name) for name in names}


def still_packed(root: Path) -> list[Path]:
    """Return the archives in a folder, or in a patient's folder in it, that are not unpacked where they lie."""
    patients = [inner(path) for path in sorted(root.glob(f"{RELEASE}.*")) if path.is_dir()]
    whole = [] if patients else [root / f"{RELEASE}.zip"]
    parts = [folder / f"{part}.zip" for folder in patients for part in (SCAN, MASKS)]
    archives = [*whole, *sorted(root.glob(f"{RELEASE}.*.zip")), *parts]
    return [path for path in archives if path.is_file() and not path.with_suffix("").is_dir()]


def unpack_first(packed: list[Path], root: Path) -> str:
    """Return what to do with archives that are not unpacked."""
    return (
        f"{packed[0].relative_to(root)} in {root} is still packed ({len(packed)} archives are): unpack each where it lies. "
        f"What is read are the folders {SCAN} and {MASKS} of each patient."
    )


def lacking(name: str, folder: Path) -> tuple[str, str] | None:
    """Return the reason and the sentence for a patient without scan or masks."""
    for part, reason in ((".", "missing_image"), (SCAN, "missing_image"), (MASKS, "missing_mask")):
        if not (folder / part).is_dir():
            return reason, f"folder {Path(name) / part} does not exist"
    return None


def headers_of(patients: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Return what one file of each patient's scan says of how it was made and of whom; nothing where it cannot be read."""
    return {name: _header(inner(folder / SCAN)) for name, folder in patients.items()}


def _header(folder: Path) -> dict[str, str]:
    from shards.formats.dicom import is_dicom, kept_tags

    file = next((path for path in sorted(folder.glob("*")) if path.is_file() and is_dicom(path)), None)
    try:
        return {} if file is None else kept_tags(file)
    except UnreadableSample:  # reading the scan tells what is wrong with it
        return {}


def sexes_of(raw: RawFolder, names: list[str], headers: list[str | None]) -> dict[str, list[str | None]]:
    """Return the columns ``sex`` and ``sex_source``: ``overview.csv`` where it tells, else the header, else the page.

    Raises
    ------
    UserError
        For an unknown code, and for a table that names nobody's folder.
    """
    import pandas as pd

    table = words(_told(raw, names), SEX)
    header = words(pd.Series(headers, name="PatientSex", dtype=object), SEX)
    sexes: list[str | None] = []
    sources: list[str | None] = []
    for name, *found in zip(names, table, header, strict=True):
        number = int(name.removeprefix(f"{RELEASE}."))
        page = ("female" if number in _WOMEN else "male") if number in _PATIENTS else None
        said = dict(zip((TABLE, "DICOM header", "publisher's page"), (*found, page), strict=True))
        source = next((source for source, sex in said.items() if sex is not None), None)
        sex = None if source is None else said[source]
        sexes.append(sex)
        sources.append(source if page in (None, sex) else f"{source} (publisher's page: {page})")
    return {"sex": sexes, "sex_source": sources}


def _told(raw: RawFolder, names: list[str]) -> pd.Series[str]:
    """Return the sexes of the user's table beside the patients, None without one."""
    import pandas as pd

    rows = pd.DataFrame({"name": names}, dtype=object)
    if raw.find(TABLE) is None:
        return pd.Series([None] * len(names), name="sex", dtype=object)
    table = raw.table(TABLE, columns=COLUMNS)
    strange = [name for name in table["name"] if name is not None and name not in names]
    if strange:
        raise raw.refusal(
            f"{TABLE} in {raw.path} names {strange[0]!r}; expected names of folders, as {names[0]}."
        )
    told: pd.Series[str] = joined(rows, table[list(COLUMNS)], "name", what=TABLE)["sex"]
    return told
