"""A publisher's folder on this machine: its files, its tables, and messages that say where to get what is missing."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from shards.adapter import Access
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_KIND = {
    "open": "it can be downloaded by anyone",
    "registration": "it needs a registration",
    "request": "it is given on request",
    "credentialed": "it needs credentialed access (training and a signed agreement)",
}


@dataclass(frozen=True)
class RawFolder:
    """Where a publisher's files were unpacked.

    Attributes
    ----------
    path
        The folder.
    dataset
        Name of the dataset.
    access
        How to get it.
    """

    path: Path
    dataset: str
    access: Access

    def refusal(self, text: str) -> UserError:
        """Build the error for a folder that is not what the publisher ships; says where to get it."""
        kind = _KIND.get(self.access.kind)
        how = f" Get {self.dataset} from {self.access.page}" + (f": {kind}." if kind else ".")
        return UserError(text + how)

    def find(self, *names: str) -> Path | None:
        """Return the first of several files or folders that is there; None if none is."""
        return next((self.path / name for name in names if (self.path / name).exists()), None)

    def need(self, *names: str) -> Path:
        """Return the first of several files or folders that is there.

        Raises
        ------
        UserError
            If none is.
        """
        found = self.find(*names)
        if found is None:
            raise self.refusal(f"{self.path} lacks {' or '.join(names)}.")
        return found

    def match(self, pattern: str) -> Path:
        """Return the one file whose path below the folder matches a glob (several: the last by name).

        Raises
        ------
        UserError
            If none does.
        """
        found = sorted(self._glob(pattern))
        if not found:
            raise self.refusal(f"{self.path} has no file that matches {pattern}.")
        return found[-1]

    def table(
        self,
        *names: str | Path,
        columns: Sequence[str],
        sheet: str | int = 0,
        separator: str = ",",
        positions: Sequence[str] = (),
    ) -> pd.DataFrame:
        """Read the first of several tables that is there (CSV, gzipped CSV, TAB or Excel) as texts.

        Parameters
        ----------
        names
            Below the folder.
        columns
            Columns that it must have; others are kept too.
        sheet
            Of an Excel file.
        separator
            Between the values of a CSV file.
        positions
            Names for the columns of a CSV file by their place, where its header holds separators and cannot be
            split; the header must then begin with `columns`.

        Returns
        -------
        DataFrame
            Stripped texts, None for empty cells.

        Raises
        ------
        UserError
            If it is missing, cannot be read, has rows longer than its header, or lacks a column.
        """
        path = self.need(*map(str, names))
        try:
            raw, header = _read_table(path, sheet, separator, positions)
        except (ValueError, KeyError, OSError, EOFError, BadZipFile, zlib.error, Warning) as error:
            raise self.refusal(f"{path} cannot be read as a table: {error}.") from error
        found = header[: len(columns)] if positions else header
        missing = [name for name in columns if name not in found]
        if missing:
            raise self.refusal(
                f"{path} lacks the column {missing[0]!r}; expected {', '.join(columns)}, found "
                f"{', '.join(header)}."
            )
        texts = raw.apply(lambda column: column.str.strip())
        table: pd.DataFrame = texts.astype(object).where(texts.notna() & (texts != ""), None)
        return table

    def files(self, *patterns: str) -> list[Path]:
        """Return all files whose path below the folder matches a glob, sorted."""
        return sorted(path for pattern in patterns for path in self._glob(pattern) if path.is_file())

    def _glob(self, pattern: str) -> Iterator[Path]:
        return (path for path in self.path.glob(pattern) if not is_litter(path.relative_to(self.path)))

    def relative(self, path: str | Path) -> str:
        """Return a path from the folder on, as it is shown to people."""
        path = Path(path)
        return str(path.relative_to(self.path)) if path.is_relative_to(self.path) else path.name

    def strays(self, listed: Iterable[str | None], *patterns: str) -> pd.DataFrame:
        """List files that no row names: manifest rows that say so, so that they are counted and named.

        Parameters
        ----------
        listed
            Paths that the rows name.
        patterns
            Globs of all files that should be listed.
        """
        import pandas as pd

        known = {str(path) for path in listed if path is not None}
        # Only what is not listed is asked whether it is a file: on a network each question takes a millisecond.
        others = (path for pattern in patterns for path in self._glob(pattern) if str(path) not in known)
        found = sorted(path for path in others if path.is_file())
        return pd.DataFrame(
            {
                "sample_id": [None] * len(found),
                "_source": [self.relative(path) for path in found],
                "_reject": ["not_listed"] * len(found),
                "_detail": ["the file is on disk, but no row of the publisher's table names it"] * len(found),
            },
            dtype=object,
        )


def is_litter(path: Path) -> bool:
    """Return whether a path is a system's own: hidden, as the ``._NAME`` that a Mac puts beside every file, or ``__MACOSX``."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _has_tabs(path: Path) -> bool:
    """Return whether a table is one of tabs, as Dataverse hands out what was uploaded with commas."""
    if path.suffix.lower() not in (".tab", ".tsv"):
        return False
    with path.open("rb") as file:
        return b"\t" in file.readline()


def _read_table(
    path: Path, sheet: str | int, separator: str, positions: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return a table's texts and its own header; a row with more values than the header has names is an error."""
    import pandas as pd

    if path.suffix.lower() in (".xlsx", ".xlsm"):
        raw = pd.read_excel(path, sheet_name=sheet, dtype=str, keep_default_na=False)
        header = [str(name).strip() for name in raw.columns]
    else:
        options: dict[str, Any] = {
            "sep": "\t" if _has_tabs(path) else separator,
            "dtype": str,
            "keep_default_na": False,
            "encoding": "utf-8-sig",
            "skipinitialspace": True,  # or quotes after a comma and a blank would belong to the value
        }
        header = [str(name).strip() for name in pd.read_csv(path, nrows=0, **options).columns]
        if positions:
            options |= {"names": list(positions), "header": 0, "usecols": range(len(positions))}
        with warnings.catch_warnings():
            # Otherwise the first values of longer rows would become an index, and all others move to the left.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            raw = pd.read_csv(path, index_col=False, **options)
    raw.columns = list(positions) if positions else header
    return raw, header
