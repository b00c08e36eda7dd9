"""``oct-amd``: SD-OCT volumes of eyes with and without age-related macular degeneration (Duke, Farsiu et al. 2014)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shards.adapter import Access, Facts, UnreadableSample, Volume
from shards.card import Attribute, GroupPreset, PromptSet, Target
from shards.datasets._coding import years
from shards.datasets._published import AGE, VOLUMES_PER_SHARD, Published

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

#: Folders of the two groups -> class; the publisher packs those with AMD into several archives.
_FOLDERS = {"AMD*": "AMD", "Control*": "control"}
_NAME = re.compile(r".*_(AMD|Control)_Subject_\d+", re.IGNORECASE)


class OctAmd(Published):
    """The publisher's folders ``AMD`` (or ``AMD1``, ``AMD2``, ...) and ``Control`` of MATLAB files."""

    name: ClassVar[str] = "oct-amd"
    summary: ClassVar[str] = (
        "384 macular OCT volumes: age-related macular degeneration (269) or not (115); age"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "macular OCT volume",
        "as the page states (research; cite the paper)",
        384,
        ("age",),
        Access(
            "open",
            "https://people.duke.edu/~sf59/RPEDC_Ophth_2013_dataset.htm",
            "Download the archives of AMD and Control subjects and unpack them in folders AMD and Control.",
            expected=("AMD", "Control"),
        ),
    )
    source: ClassVar[str] = "doi:10.1016/j.ophtha.2013.07.013"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("amd", ("control", "AMD"), positive="AMD"),
        Target("control_medfair", ("AMD", "control"), positive="control"),
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (AGE,)
    prompts: ClassVar[tuple[PromptSet, ...]] = tuple(
        PromptSet(name, "fairray-1", ("an OCT scan of {}",), names)
        for name, names in (
            ("amd", (("a healthy retina",), ("age-related macular degeneration",))),
            ("control_medfair", (("age-related macular degeneration",), ("a healthy retina",))),
        )
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = (
        GroupPreset(
            "medfair", "age", "age", ("<75", "75+"), bins=(75.0,), note="The groups of MEDFAIR's paper."
        ),
        GroupPreset(
            "medfair_notebook",
            "age",
            "age",
            ("<=70", ">70"),
            bins=(70.0,),
            closed="right",
            note="MEDFAIR's notebook cuts at 70 and puts people of exactly 70 with the young.",
        ),
    )
    notes: ClassVar[tuple[str, ...]] = (
        "Disease is the positive class of target amd. MEDFAIR codes AMD as 0 and control as 1: target control_medfair.",
        "One eye of each subject; sex, race and the size of a voxel are not published.",
        "Volumes are B-scans from first to last, shown by each volume's own smallest and largest intensity.",
    )
    shown: ClassVar[str | None] = "minmax"
    most_per_shard: ClassVar[int] = VOLUMES_PER_SHARD
    landmarks: ClassVar[tuple[str, ...]] = tuple(f"{folder}/*.mat" for folder in _FOLDERS)

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """List the files; of each, only the number ``Age`` is read."""
        import pandas as pd

        for folder in _FOLDERS:
            raw.match(f"{folder}/*.mat")
        found = [
            (path, label) for folder, label in _FOLDERS.items() for path in raw.files(f"{folder}/**/*.mat")
        ]
        unfit = [_misplaced(path, label) for path, label in found]
        return pd.DataFrame(
            {
                "sample_id": [path.stem for path, _ in found],
                "subject_id": [path.stem for path, _ in found],  # AMD and Control both count from 1001
                "amd": [label for _, label in found],
                "control_medfair": [label for _, label in found],
                "age": years(pd.Series([_age(path) for path, _ in found], name="Age", dtype=object)),
                "_image": [str(path) for path, _ in found],
                "_reject": [None if detail is None else "unknown_label" for detail in unfit],
                "_detail": unfit,
            },
            dtype=object,
        )

    def read(self, row: Mapping[str, Any]) -> Volume:
        """Read a file's B-scans."""
        from shards.formats.matlab import read_mat

        path = Path(row["_image"])
        images = read_mat(path, "images")
        if images.ndim != 3 or images.size == 0 or images.dtype.kind not in "iuf":
            raise UnreadableSample(
                "unsupported_pixels",
                f"'images' of {path.name} has the shape {images.shape} and holds {images.dtype}; expected rows x columns x "
                "B-scans of numbers",
            )
        return Volume(_compact(np.ascontiguousarray(images.transpose(2, 0, 1))))


def _age(path: Path) -> str | None:
    """Return a file's age as a text; None where there is none, or the file is damaged, which :meth:`OctAmd.read` tells."""
    from shards.formats.matlab import mat_names, read_mat

    try:
        name = next((name for name in mat_names(path) if name.lower() == "age"), None)
        value = None if name is None else read_mat(path, name).ravel()
    except UnreadableSample:
        return None
    if value is None or value.size == 0:
        return None
    return str(value[0]).strip() or None


def _misplaced(path: Path, label: str) -> str | None:
    """Say what is wrong if a file's name contradicts its folder."""
    match = _NAME.fullmatch(path.stem)
    if match is None or match[1].lower() == label.lower():
        return None
    return f"file {path.name} is among those of {label}, but its name says {match[1]}"


def _compact(images: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers of 0 to 255 as bytes: MATLAB saves them as doubles, eight times as large."""
    from shards.formats.volume_file import compact

    kept = compact(images)
    if kept.dtype != np.float32 and kept.min() >= 0 and kept.max() <= 255:
        return kept.astype(np.uint8)
    return kept
