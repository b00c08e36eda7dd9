"""Files of predictions as tables of plain columns. What was assumed on the way is said.

Text files keep their cells as text, so that an id such as ``007`` stays one; other formats keep their types. No file is ever
run: pickles go through :mod:`evaluator.auditing.pickles`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evaluator.auditing.columns import shown
from evaluator.auditing.names import SAMPLE, SUBJECT, SUBJECT_STAND_INS, normal
from evaluator.auditing.options import Source
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

_TEXT = {".csv": None, ".tsv": "\t", ".tab": "\t", ".txt": None}
FORMATS = ".csv, .tsv, .txt (also .gz), .parquet, .feather, .json, .jsonl, .xlsx, .pkl"


class Loaded(NamedTuple):
    """A table with what was assumed when it was read."""

    frame: pd.DataFrame
    name: str
    notes: tuple[str, ...]


def load(table: Any, source: Source) -> Loaded:
    """Read a table and join a second one to it.

    Parameters
    ----------
    table
        Path, DataFrame or Arrow table.
    source
        How to read it.

    Raises
    ------
    UserError
        If a file cannot be read, is empty, or the two tables do not fit together.
    """
    loaded = _read(table, source)
    if source.join is not None:
        loaded = _join(loaded, _read(source.join, Source(encoding=source.encoding)), source.on)
    if loaded.frame.empty:
        raise UserError(f"table {loaded.name!r} must have at least one row below its header, got none.")
    return loaded


def _read(table: Any, source: Source) -> Loaded:
    if isinstance(table, str | Path):
        path = Path(table)
        if not path.is_file():
            raise UserError(f"table {str(path)!r} does not exist or is not a file.")
        frame, notes = _read_file(path, source)
        name = path.name.removesuffix(".gz")
        loaded = Loaded(frame, name.removesuffix(Path(name).suffix), notes)
    else:
        frame = table if hasattr(table, "iloc") else _from_arrow(table)
        loaded = Loaded(_with_index(frame), "table", ())
    return loaded._replace(frame=_named(loaded.frame, loaded.name))


def _from_arrow(table: Any) -> pd.DataFrame:
    if not hasattr(table, "to_pandas"):
        raise UserError(f"table must be a path, a DataFrame or an Arrow table, got {type(table).__name__}.")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep an index that has a name: it often holds the ids."""
    return (
        frame.reset_index()
        if any(name is not None for name in frame.index.names)
        else frame.reset_index(drop=True)
    )


def _named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Make column names different texts, and categories plain values."""
    import pandas as pd

    columns = [str(column).strip() for column in frame.columns]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise UserError(
            f"table {name!r} must have different column names; {shown(twice)} occurs more than once. Rename one of them."
        )
    plain = {
        place: frame.iloc[:, place].astype(object)
        for place, kind in enumerate(frame.dtypes)
        if isinstance(kind, pd.CategoricalDtype)
    }
    return frame.set_axis(columns, axis=1).assign(
        **{columns[place]: values for place, values in plain.items()}
    )


def _read_file(path: Path, source: Source) -> tuple[pd.DataFrame, tuple[str, ...]]:
    import pandas as pd

    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    kind = suffixes[0] if suffixes[-1:] == [".gz"] else (suffixes or [""])[-1]
    if kind in _TEXT:
        return _read_text(path, _TEXT[kind], source.encoding)
    try:
        if kind in (".parquet", ".pq"):
            return _plain(pd.read_parquet(path)), ()
        if kind in (".feather", ".arrow"):
            return _plain(pd.read_feather(path)), ()
        if kind in (".json", ".jsonl", ".ndjson"):
            return _read_json(_decode(path, source.encoding), lines=kind != ".json"), ()
        if kind in (".xlsx", ".xlsm"):
            return _read_excel(path, source.sheet)
    except (ValueError, OSError, KeyError) as error:
        raise UserError(f"{path} cannot be read as {kind.removeprefix('.')}: {error}") from None
    if kind in (".pkl", ".pickle"):
        from evaluator.auditing.pickles import read_pickle

        return read_pickle(path), (
            "the file was read as FairMedFM's predictions: logits, rows in the order of its test set",
        )
    raise UserError(f"table {str(path)!r} must end in one of {FORMATS}.")


def _read_json(text: str, *, lines: bool) -> pd.DataFrame:
    """Read records, columns, or what pandas calls "split"; values keep their JSON types."""
    import pandas as pd

    content = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
    if isinstance(content, dict) and {"columns", "data"} <= set(content):
        return pd.DataFrame(content["data"], columns=content["columns"])
    if not isinstance(content, list | dict):
        raise ValueError("expected a list of records or a dict of columns")
    return _with_index(pd.DataFrame(content))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    return _with_index(frame)


def _read_excel(path: Path, sheet: str | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    import zipfile

    import pandas as pd

    try:
        book = pd.ExcelFile(path, engine="openpyxl")
    except zipfile.BadZipFile:
        raise UserError(
            f"{path} is not an Excel file of the form .xlsx. Save it again as .xlsx or CSV."
        ) from None
    with book:
        sheets = [str(name) for name in book.sheet_names]
        if sheet is None and len(sheets) > 1:
            raise UserError(f"{path} has {len(sheets)} sheets: {shown(sheets)}. Name one with --sheet.")
        if sheet is not None and sheet not in sheets:
            raise unknown_name("sheet", sheet, sheets)
        frame = pd.read_excel(book, sheet_name=sheet if sheet is not None else sheets[0])
    return frame.dropna(how="all", ignore_index=True), ()


def _read_text(
    path: Path, separator: str | None, encoding: str | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    import pandas as pd

    text = _decode(path, encoding)
    if not text.strip():
        raise UserError(f"{path} is empty: expected a header line and rows below it.")
    notes = []
    found = separator or _separator(text)
    if separator is None and found != ",":
        notes.append(f"columns are separated by {_SEPARATORS[found]}")
    try:
        cells = pd.read_csv(
            io.StringIO(text),
            sep=found,
            header=None,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skip_blank_lines=True,
        )
    except pd.errors.ParserError as error:
        detail = str(error).rpartition("error:")[2].strip()
        raise UserError(
            f"{path} is not a regular table: {detail}. Check separators and quotes there."
        ) from None
    frame = cells.iloc[1:].reset_index(drop=True).set_axis(cells.iloc[0].tolist(), axis=1)
    if found != ",":
        frame, changed = _decimal_points(_named(frame, path.name))
        notes += [f"decimal commas were read as points in {shown(changed)}"] if changed else []
    return frame, tuple(notes)


def _decode(path: Path, encoding: str | None) -> str:
    import gzip

    raw = path.read_bytes()
    if path.suffix.lower() == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise UserError(f"{path} is not a whole gzip file: {error}.") from None
    guessed = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding or guessed)
    except LookupError:
        raise UserError(
            f"--encoding must be a text encoding such as utf-8 or latin-1, got {encoding!r}."
        ) from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path} is not {encoding or 'UTF-8'} text (line {line} holds byte 0x{raw[error.start]:02x}). Save it as UTF-8, or"
            " name its encoding, e.g. --encoding latin-1."
        ) from None


_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def _separator(text: str) -> str:
    """Return what separates the names in the header: the candidate that occurs most often outside quotes."""
    header = next(line for line in text.splitlines() if line.strip())
    counts = {mark: len(next(csv.reader([header], delimiter=mark))) for mark in _SEPARATORS}
    return max(counts, key=lambda mark: counts[mark])


def _decimal_points(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    changed = {}
    for name in frame.columns:
        column = frame[name].str.strip()
        known = column[column != ""]
        comma = known.str.fullmatch(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
        whole = known.str.fullmatch(r"[+-]?\d+")
        if comma.any() and (comma | whole).all():
            changed[name] = column.str.replace(",", ".", regex=False)
    return frame.assign(**changed), list(changed)


def _join(left: Loaded, right: Loaded, on: str | None) -> Loaded:
    """Add the columns of a second table by a shared id, or row by row."""
    mine, other = _join_columns(left, right, on)
    if mine is None or other is None:
        if len(left.frame) != len(right.frame):
            raise UserError(
                f"tables {left.name!r} and {right.name!r} must have the same number of rows to be joined row by row, got"
                f" {len(left.frame)} and {len(right.frame)}. Name a shared column with --on."
            )
        extra = right.frame.drop(columns=[c for c in right.frame.columns if c in left.frame.columns])
        joined = left.frame.join(extra)
        return Loaded(
            joined,
            left.name,
            (*left.notes, *right.notes, f"{right.name!r} was joined row by row, in the order given"),
        )
    import pandas as pd

    keys, known = left.frame[mine].astype(str).str.strip(), right.frame[other].astype(str).str.strip()
    twice = known[known.duplicated()]
    if len(twice):
        raise UserError(
            f"column {other!r} of {right.name!r} must name each row once to be joined; {twice.iloc[0]!r} occurs more than once."
        )
    position = right.frame.set_axis(known).index.get_indexer(pd.Index(keys))
    lost = keys[position < 0]
    if len(lost):
        raise UserError(
            f"{len(lost)} rows of {left.name!r} have no row in {right.name!r}, e.g. {mine} {lost.iloc[0]!r}. Join a table that"
            " has them all, or name another column with --on."
        )
    new = [column for column in right.frame.columns if column != other and column not in left.frame.columns]
    extra = right.frame[new].take(position).reset_index(drop=True)
    note = (
        f"{right.name!r} was joined by {mine}" + (f" = {other}" if other != mine else "") + f": {shown(new)}"
    )
    return Loaded(left.frame.join(extra), left.name, (*left.notes, *right.notes, note))


def _join_columns(left: Loaded, right: Loaded, on: str | None) -> tuple[str | None, str | None]:
    if on == "order":
        return None, None
    if on is not None:
        mine, _, other = on.partition("=")
        other = other or mine
        for name, table in ((mine, left), (other, right)):
            if name not in table.frame.columns:
                raise unknown_name(f"column of {table.name!r}", name, list(table.frame.columns))
        return mine, other
    ids = {*SUBJECT, *SUBJECT_STAND_INS, *SAMPLE}
    shared: Sequence[str] = [c for c in left.frame.columns if c in right.frame.columns and normal(c) in ids]
    if len(shared) != 1:
        candidates = shown(shared) if shared else "none"
        raise UserError(
            f"tables {left.name!r} and {right.name!r} must share one id column to be joined (found: {candidates}). Name it with"
            " --on COLUMN or --on COLUMN=COLUMN_OF_JOIN, or say --on order for row by row."
        )
    return shared[0], shared[0]
