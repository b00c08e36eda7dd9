"""Columns of a table as it came, read as values or as numbers, with everything that could not be read named."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.auditing.names import is_unknown
from evaluator.metrics.metric import Array

if TYPE_CHECKING:
    import pandas as pd


class Coded(NamedTuple):
    """A column read as values.

    Attributes
    ----------
    codes
        ``[n]`` index into `values`, -1 where not known.
    values
        The different values as text, numbers in rising order, then texts in alphabetical order.
    unknown
        Spellings that were read as not known, with their counts; an empty cell is ``""``.
    """

    codes: NDArray[np.int64]
    values: tuple[str, ...]
    unknown: Mapping[str, int]

    def texts(self) -> NDArray[Any]:
        """``[n]`` the values themselves, None where not known."""
        return np.array([*self.values, None], dtype=object)[self.codes]


def coded(column: pd.Series[Any]) -> Coded:
    """Read a column as values; whole numbers lose their ``.0`` (also as texts), texts their surrounding blanks."""
    import pandas as pd

    raw, uniques = pd.factorize(column if is_plain(column) else column.map(str, na_action="ignore"))
    texts = _whole_numbers([_text(value) for value in uniques])
    known = sorted({text for text in texts if text is not None}, key=_order)
    place = {text: code for code, text in enumerate(known)}
    lookup = np.array([*(-1 if text is None else place[text] for text in texts), -1], np.int64)
    counts = np.bincount(raw[raw >= 0], minlength=len(uniques))
    unknown = {"": int((raw < 0).sum())} if (raw < 0).any() else {}
    for value, text, count in zip(uniques, texts, counts.tolist(), strict=True):
        if text is None:
            spelled = str(value).strip()
            unknown[spelled] = unknown.get(spelled, 0) + count
    return Coded(lookup[raw], tuple(known), unknown)


def _text(value: Any) -> str | None:
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            return None if math.isnan(value) else str(value)
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    text = str(value).strip()
    return None if is_unknown(text) else text


_WHOLE = re.compile(r"(-?\d+)\.0+")


def _whole_numbers(texts: list[str | None]) -> list[str | None]:
    """Drop the ``.0`` that whole numbers get where some cells are empty, if all values are whole numbers."""
    if not all(text is None or re.fullmatch(r"-?\d+(\.0+)?", text) for text in texts):
        return texts
    return [None if text is None else _WHOLE.sub(r"\1", text) for text in texts]


def like_values(text: str, values: Sequence[str]) -> str:
    """Return a value that a user named, spelled as in `values`: ``1.0`` is ``1`` where whole numbers stand.

    Examples
    --------
    >>> like_values("1.0", ["0", "1"]), like_values("1.0", ["1.0", "1.5"])
    ('1', '1.0')
    """
    whole = _WHOLE.fullmatch(text.strip())
    return whole[1] if whole and text not in values and whole[1] in values else text


def _order(text: str) -> tuple[int, float, str]:
    try:
        number = float(text)
    except ValueError:
        return 1, 0.0, text
    return (0, number, text) if math.isfinite(number) else (1, 0.0, text)


class Numbers(NamedTuple):
    """A column read as numbers.

    Attributes
    ----------
    values
        ``[n]`` float64, NaN where not known or not readable.
    strangers
        Up to three different texts that are neither a number nor a spelling of not known.
    """

    values: Array
    strangers: tuple[str, ...]


def numbers(column: pd.Series[Any]) -> Numbers:
    """Read a column as numbers."""
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_numeric_dtype(column) or is_bool_dtype(column):
        return Numbers(column.to_numpy(np.float64, na_value=np.nan), ())
    if not is_plain(column):
        return Numbers(np.full(len(column), np.nan), tuple(str(v)[:40] for v in column.dropna().head(1)))
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    odd = column[np.isnan(values)].dropna().unique()
    strangers = [str(value) for value in odd if not is_unknown(str(value))]
    return Numbers(values, tuple(strangers[:3]))


class Ages(NamedTuple):
    """A column of ages such as ``058Y`` (DICOM), read as years.

    Attributes
    ----------
    values
        ``[n]`` years, NaN where not known.
    example
        The first spelling that was read so.
    """

    values: Array
    example: str


_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_AGE = re.compile(r"(\d{1,4})\s*([YMWD])", re.IGNORECASE)


def ages(column: pd.Series[Any]) -> Ages | None:
    """Read a column of ages with a unit (plain numbers among them are years); None where there is anything else, or no unit."""
    values = coded(column)
    read = {text: _years(text) for text in values.values}
    units = [text for text in read if _AGE.fullmatch(text)]
    if not units or any(math.isnan(years) for years in read.values()):
        return None
    return Ages(np.array([*read.values(), math.nan])[values.codes], units[0])


def _years(text: str) -> float:
    unit = _AGE.fullmatch(text)
    if unit:
        return int(unit[1]) * _YEARS[unit[2].upper()]
    try:
        return float(text)
    except ValueError:
        return math.nan


def is_number(column: pd.Series[Any]) -> bool:
    """Return whether a column holds numbers, at least one, and nothing else but spellings of not known."""
    read = numbers(column)
    return not read.strangers and bool(np.isfinite(read.values).any())


def is_list(column: pd.Series[Any]) -> bool:
    """Return whether a column holds lists of numbers: real ones, or texts such as ``[0.2, 0.8]``."""
    known = column.dropna()
    if known.empty:
        return False
    first = known.iloc[0]
    return first.strip().startswith("[") if isinstance(first, str) else hasattr(first, "__len__")


def is_plain(column: pd.Series[Any]) -> bool:
    """Return whether no cell holds a list."""
    if column.dtype != object:
        return True
    return not any(hasattr(value, "__len__") and not isinstance(value, str) for value in column.tolist())


def shown(values: Sequence[str], limit: int = 8) -> str:
    """Join values for a message, the first few of many.

    Examples
    --------
    >>> shown(["a", "b", "c"], 2)
    'a, b, ... (3 in all)'
    """
    return ", ".join(values[:limit]) + (f", ... ({len(values)} in all)" if len(values) > limit else "")
