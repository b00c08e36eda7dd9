"""``spider``: lumbar spine MRI with vertebrae, discs and spinal canal (van der Graaf et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from shards.adapter import Access, Facts
from shards.card import Attribute, DatasetCard, Structure
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import joined, kept, words, years
from shards.datasets._published import AGE, SEX, Scans

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder
    from shards.formats.volume_file import Plane

_TABLE = "overview.csv"
_COLUMNS = ("new_file_name", "subset", "sex", "birth_date")
#: Names that a column with the day of the scan may have; the release at hand when this was written has none.
_STUDY_DATES = ("study_date", "StudyDate", "AcquisitionDate", "SeriesDate")
_SERIES = {"t1": "T1", "t2": "T2", "t2_space": "T2 SPACE"}
#: Vertebrae and discs are counted from below; 101-125 are vertebrae that are cut off by the edge of the image.
_VERTEBRAE, _PARTIAL, _DISCS = range(1, 26), range(101, 126), range(201, 226)
_DAYS_PER_YEAR = 365.2425


class Spider(Scans):
    """The publisher's folder: ``images``, ``masks`` and ``overview.csv``."""

    name: ClassVar[str] = "spider"
    summary: ClassVar[str] = (
        "447 lumbar spine MRI series of 218 patients: vertebrae, discs, spinal canal; sex"
    )
    facts: ClassVar[Facts] = Facts(
        "segmentation",
        "lumbar spine MRI",
        "CC BY 4.0",
        447,
        ("sex", "series", "subset"),
        Access(
            "open",
            "https://spider.grand-challenge.org",
            "Download the files of the Zenodo record and unpack images.zip and masks.zip in one folder.",
            files=("zenodo:10159290",),
            expected=("overview.csv", "images", "masks"),
        ),
    )
    source: ClassVar[str] = "doi:10.5281/zenodo.10159290"
    structures: ClassVar[tuple[Structure, ...]] = (
        *(Structure(f"vertebra_{number}", (number,)) for number in range(1, 8)),
        Structure("spinal_canal", (100,)),
        *(Structure(f"disc_{number}", (200 + number,)) for number in range(1, 8)),
        Structure("vertebrae", tuple(_VERTEBRAE)),
        Structure("discs", tuple(_DISCS)),
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX, Attribute("series"), Attribute("subset"))
    published: ClassVar[tuple[str, ...]] = ("birth_date",)
    notes: ClassVar[tuple[str, ...]] = (
        "Vertebrae and discs are counted from below: vertebra_1 is L5, disc_1 is L5/S1. The fifteen classes of papers are "
        "vertebra_1 to 7, disc_1 to 7 and spinal_canal; labels above (and 101-125, vertebrae cut off by the edge) are kept in "
        "the label maps.",
        "The T1, T2 and T2 SPACE series of a patient are samples of one subject.",
        "There is an age only where a release gives it, or the day of the scan beside the date of birth.",
        "Attribute subset is the publisher's training or validation part; its test part is not public: splits are drawn anew.",
        "FairMedFM wrote the first patient's sex for all: its published figures by sex are void.",
    )
    shown: ClassVar[str | None] = "mri"
    plane: ClassVar[Plane] = "sagittal"
    mask_codes: ClassVar[Mapping[int, int]] = {
        value: value for value in (*_VERTEBRAE, 100, *_PARTIAL, *_DISCS)
    }
    landmarks: ClassVar[tuple[str, ...]] = (_TABLE,)

    def card(self) -> DatasetCard:
        """Describe the dataset; ages are there or not, as the overview is."""
        raw, card = self.folder(), super().card()
        if _tells_age(raw.table(_TABLE, columns=_COLUMNS)):
            return replace(card, attributes=(*card.attributes, AGE))
        return card

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Join the series on disk with their own rows of the overview, by name."""
        import pandas as pd

        facts = raw.table(_TABLE, columns=_COLUMNS)
        facts["name"] = [
            None if name is None else name.removesuffix(".mha") for name in facts["new_file_name"]
        ]
        raw.need("images")
        raw.need("masks")
        names = {path.stem for path in raw.files("images/*.mha")} | set(facts["name"].dropna())
        facts = joined(pd.DataFrame({"name": sorted(names)}, dtype=object), facts, "name", what=_TABLE)
        parts = [str(name).split("_", 1) for name in facts["name"]]
        return pd.DataFrame(
            {
                "sample_id": facts["name"],
                "subject_id": [patient for patient, *_ in parts],
                "series": [_SERIES.get(rest[0].lower(), rest[0]) if rest else None for _, *rest in parts],
                "sex": words(facts["sex"], SEX_CODES),
                "age": _ages(facts),
                "subset": kept(facts["subset"]),
                "birth_date": facts["birth_date"],
                "_image": [str(raw.path / "images" / f"{name}.mha") for name in facts["name"]],
                "_mask": [str(raw.path / "masks" / f"{name}.mha") for name in facts["name"]],
            },
            dtype=object,
        )


def _tells_age(facts: pd.DataFrame) -> bool:
    return any(name in facts.columns for name in ("age", *_STUDY_DATES))


def _ages(facts: pd.DataFrame) -> pd.Series[float]:
    """Return the ages at the scan in years where both days are known, or where there is a column of ages."""
    import pandas as pd

    if "age" in facts.columns:
        return years(facts["age"])
    unknown = pd.Series([None] * len(facts), index=facts.index, dtype=object)
    scanned = next((facts[name] for name in _STUDY_DATES if name in facts.columns), unknown)
    born, then = (_days(column) for column in (facts["birth_date"], scanned))
    ages = (then - born).dt.days / _DAYS_PER_YEAR
    return ages.where((ages >= 0) & (ages <= 120))


def _days(column: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """Read days written as 19600131 or 1960-01-31; others are not known."""
    import pandas as pd

    plain = column.map(lambda text: None if text is None else text.removesuffix(".0").replace("-", "")[:8])
    return pd.to_datetime(plain, format="%Y%m%d", errors="coerce")
