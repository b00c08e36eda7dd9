"""The base of the adapters of published datasets: what they declare, and everything that is the same for all.

An adapter declares its card as class variables and turns the publisher's tables into rows. It writes no loop over files, no
message about missing ones and no reading of pixels unless the publisher's format is its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from shards.adapter import Adapter, Pixels, Volume
from shards.card import Attribute, DatasetCard, GroupPreset, PromptSet, Structure, Target
from shards.datasets._raw_folder import RawFolder, is_litter
from shards.errors import UserError
from shards.images import read_image
from shards.masks import load_mask, recode
from shards.windows import Showing, showing

if TYPE_CHECKING:
    import pandas as pd

    from shards.formats.volume_file import Plane

SEX = Attribute("sex")
AGE = Attribute("age", "number", "years")
BMI = Attribute("bmi", "number", "kg/m2")
#: Classes of the World Health Organization.
BMI_CLASSES = GroupPreset(
    "who", "bmi", "bmi", ("underweight", "normal", "overweight", "obese"), bins=(18.5, 25.0, 30.0)
)
#: On the card of every dataset with structures.
SEGMENTERS_NOTE = (
    "Segmenters of medical images (MedSAM, SAM-Med2D, SAM-Med3D, SegVol, LVM-Med) were trained on collections of public sets: "
    "whether on this one is not known unless their lists say so."
)
#: What publishers pack their files in.
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
#: What :attr:`~shards.adapter.Adapter.most_per_shard` is for scans: one to three gigabytes of CT.
VOLUMES_PER_SHARD = 16


def age_groups(
    name: str, edge: int, *, closed: Literal["left", "right"] = "left", column: str = "age", note: str = ""
) -> GroupPreset:
    """Return a paper's two groups of ages; an edge closed on the left makes who is exactly as old one of the old.

    Examples
    --------
    >>> age_groups("ours", 75).labels, age_groups("theirs", 75, closed="right").labels
    (('<75', '75+'), ('<=75', '>75'))
    """
    labels = (f"<{edge}", f"{edge}+") if closed == "left" else (f"<={edge}", f">{edge}")
    return GroupPreset(name, "age", column, labels, bins=(float(edge),), closed=closed, note=note)


#: FairMedFM's ages.
FAIRMEDFM_AGES = (
    age_groups("fairmedfm", 60, note="As the data loaders of FairMedFM group: 60 is old."),
    age_groups(
        "fairmedfm_notebook", 60, closed="right", note="As the notebooks of FairMedFM group: 60 is young."
    ),
)
#: MEDFAIR's ages, but for datasets of the old.
MEDFAIR_AGES = age_groups(
    "medfair", 60, closed="right", note="As the notebooks of MEDFAIR group: 60 is young."
)


class Published(Adapter):
    """A publisher's folder.

    Subclasses set the class variables, :meth:`rows`, and where needed :meth:`read`.

    Attributes
    ----------
    raw
        The folder in which the publisher's files were unpacked, or the one that holds it.
    """

    #: What is on the card; see :class:`shards.card.DatasetCard`.
    version: ClassVar[str] = "1"
    source: ClassVar[str]
    targets: ClassVar[tuple[Target, ...]] = ()
    structures: ClassVar[tuple[Structure, ...]] = ()
    attributes: ClassVar[tuple[Attribute, ...]] = ()
    published: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[tuple[PromptSet, ...]] = ()
    presets: ClassVar[tuple[GroupPreset, ...]] = ()
    subject: ClassVar[str] = "patient"
    notes: ClassVar[tuple[str, ...]] = ()
    #: Name of the way to show intensities of more than 8 bits (see :mod:`shards.windows`).
    shown: ClassVar[str | None] = None
    #: Publisher's label -> stored label.
    mask_codes: ClassVar[Mapping[int, int]] = {}
    #: Globs of the files that the publisher's table should list: others are counted as ``not_listed``.
    listed: ClassVar[tuple[str, ...]] = ()
    #: Files or folders (globs); any of them shows that a folder is the publisher's.
    landmarks: ClassVar[tuple[str, ...]]

    raw: Path = Field(description="the publisher's folder")

    @abstractmethod
    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the publisher's tables into manifest rows (see :mod:`shards.adapter`).

        ``_image`` (and ``_mask``) hold absolute paths as texts. ``_source`` is made of ``_image`` where it is not given.
        """

    @classmethod
    def all_notes(cls) -> tuple[str, ...]:
        """Return the notes that are on every card of this dataset."""
        return (*cls.notes, SEGMENTERS_NOTE) if cls.structures else cls.notes

    def card(self) -> DatasetCard:
        """Describe the dataset as declared."""
        window, normalise = self._showing()
        return DatasetCard(
            name=self.name,
            version=self.version,
            modality=self.facts.modality,
            licence=self.facts.licence,
            source=self.source,
            targets=self.targets,
            structures=self.structures,
            attributes=self.attributes,
            prompts=self.prompts,
            subject=self.subject,
            window=window,
            normalise=normalise,
            published=self.published,
            presets=self.presets,
            notes=self.all_notes(),
        )

    def _showing(self) -> Showing:
        return Showing(None, None) if self.shown is None else showing(self.shown)

    def manifest(self) -> pd.DataFrame:
        """List the samples, and the files that no table lists; no image is opened."""
        import pandas as pd

        raw = self.folder()
        rows = self.rows(raw).reset_index(drop=True)
        rows = rows.astype(object).where(rows.notna(), None)  # pandas makes NaN of None in columns of texts
        if "_source" not in rows.columns:
            rows["_source"] = [None if path is None else raw.relative(path) for path in rows["_image"]]
        strays = raw.strays(rows["_image"], *self.listed)
        if len(strays):
            rows = pd.concat([rows, strays], ignore_index=True)
        return rows.astype(object).where(rows.notna(), None)

    def read(self, row: Mapping[str, Any]) -> Pixels | Volume:
        """Read the image and, if the row has one, its mask."""
        return self.read_picture(row)

    def read_picture(self, row: Mapping[str, Any]) -> Pixels:
        """Read an image file of two dimensions and, if the row has one, its mask."""
        image, mask = Path(row["_image"]), row.get("_mask")
        pixels, encoded = read_image(image)
        if mask is None:
            return Pixels(pixels, encoded=encoded)
        fitted = load_mask(Path(mask), (pixels.shape[0], pixels.shape[1]), {0, *self.mask_codes})
        return Pixels(
            pixels,
            recode(fitted.mask, self.mask_codes, Path(mask).name),
            encoded=encoded,
            mask_resized=fitted.resized,
        )

    def folder(self) -> RawFolder:
        """Return the publisher's folder: `raw`, or the first in it, or in a folder in it, that is.

        Raises
        ------
        UserError
            If none has the landmarks.
        """
        root = self.raw.expanduser().absolute()
        for folder in _nearest_first(root):
            if any(next(folder.glob(pattern), None) is not None for pattern in self.landmarks):
                return RawFolder(folder, self.name, self.facts.access)
        raise RawFolder(root, self.name, self.facts.access).refusal(
            f"{root} {self._instead(root)}. Give the folder in which the publisher's files were unpacked as 'raw'."
        )

    def _instead(self, root: Path) -> str:
        """Say what there is where the publisher's folder should be."""
        if not root.is_dir():
            return "is a file, not a folder" if root.exists() else "does not exist"
        packed = sorted(path.name for path in root.iterdir() if path.name.endswith(_ARCHIVES))
        archives = f"; it holds {packed[0]}, which is to be unpacked" if packed else ""
        return f"has none of {', '.join(self.landmarks)}{archives}"


def _nearest_first(root: Path) -> Iterator[Path]:
    """Yield a folder and what is in it, two levels deep: an archive is unpacked into a folder, and often holds one itself."""
    level = [root]
    for _ in range(3):
        yield from level
        inner = (path for folder in level for path in sorted(folder.glob("*")))
        level = [path for path in inner if not is_litter(Path(path.name)) and path.is_dir()]


class Scans(Published):
    """A publisher's folder of volumes, one file each, with label maps in the same frames.

    Attributes
    ----------
    window
        Another way to show the intensities than the adapter's: a name of :mod:`shards.windows`, or (low, high). The stored
        intensities are the publisher's all the same.
    """

    #: What the slices show.
    plane: ClassVar[Plane]
    most_per_shard: ClassVar[int] = VOLUMES_PER_SHARD

    window: str | tuple[float, float] | None = Field(
        default=None, description="how to show intensities: a name (ct-lung, mri, ...) or [low, high]"
    )

    def read(self, row: Mapping[str, Any]) -> Pixels | Volume:
        """Read the volume and, if the row has one, its label map."""
        from shards.formats.volume_file import load_volume

        mask = row.get("_mask")
        return load_volume(
            Path(row["_image"]), self.plane, None if mask is None else Path(mask), self.mask_codes
        )

    def _showing(self) -> Showing:
        if self.window is None:
            return super()._showing()
        if isinstance(self.window, str):
            return showing(self.window)
        if not self.window[0] < self.window[1]:
            raise UserError(
                f"window of {self.name!r} must be (low, high) with low < high, got {self.window}."
            )
        return Showing(self.window, None)
