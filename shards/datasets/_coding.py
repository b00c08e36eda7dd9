"""Words for a publisher's codes: every value is translated, unknown or named in an error, never guessed.

Columns are pandas series of texts, None where a cell is empty.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

#: Texts that stand for an unknown value, in lower case; an empty cell always does.
UNKNOWN = frozenset({"unknown", "unk", "n/a", "na", "nan", "none", "null", "-1", "-1.0", "?"})
SEX: Mapping[str, str] = {
    "f": "female",
    "female": "female",
    "w": "female",
    "m": "male",
    "male": "male",
    "o": "other",
    "other": "other",
}
_UNITS = re.compile(r"(y|yr|yrs|years?|m|months?|w|weeks?|d|days?)?")
_PER_YEAR = {"y": 1.0, "m": 12.0, "w": 52.1775, "d": 365.2425}
#: Nobody is older; larger numbers are days, or a slip.
_OLDEST = 120.0


def words(
    column: pd.Series[str],
    codes: Mapping[str, str],
    *,
    unknown: Collection[str] = (),
    what: str | None = None,
) -> pd.Series[Any]:
    """Translate a column of codes.

    Parameters
    ----------
    column
        Texts; capitals and blanks around them do not matter, and ``1.0`` is ``1``.
    codes
        Code in lower case -> word.
    unknown
        Further texts, in lower case, that stand for an unknown value.
    what
        Name of the column in the message; by default its own.

    Raises
    ------
    UserError
        For a value that is neither a code nor unknown, with all that were seen.

    Examples
    --------
    >>> import pandas as pd
    >>> words(pd.Series(["M", "female", None, "Unknown"], name="Sex"), SEX).tolist()
    ['male', 'female', None, None]
    """
    blank = UNKNOWN | {text.lower() for text in unknown}
    plain = [None if text is None else _plain(text) for text in _cells(column)]
    strange = sorted({text for text in plain if text is not None and text not in codes and text not in blank})
    if strange:
        seen = ", ".join(repr(text) for text in strange[:10]) + (", ..." if len(strange) > 10 else "")
        raise UserError(
            f"column {what or column.name!r} has values that its coding does not know: {seen}; expected "
            f"{', '.join(codes)}, or an unknown value ({', '.join(sorted(unknown) or ['empty'])}). Is this another release?"
        )
    return _like(column, [None if text is None else codes.get(text) for text in plain])


def kept(column: pd.Series[str], *, unknown: Collection[str] = ()) -> pd.Series[Any]:
    """Keep a publisher's own words; None where they say that a value is not known."""
    blank = UNKNOWN | {text.lower() for text in unknown}
    texts = _cells(column)
    return _like(column, [None if text is None or text.lower() in blank else text for text in texts])


def years(column: pd.Series[str], *, unknown: Collection[str] = (), unit: str = "y") -> pd.Series[Any]:
    """Read ages as years.

    Parameters
    ----------
    column
        Texts such as ``58``, ``58.0``, ``058Y``, ``100Y``, ``006M``.
    unknown
        Further texts that stand for an unknown age.
    unit
        Of numbers without one: ``"y"`` or ``"d"``.

    Raises
    ------
    UserError
        For what is no age from 0 to 120 years, with the first that were seen.

    Examples
    --------
    >>> import pandas as pd
    >>> years(pd.Series(["058Y", "100Y", "006M", None])).tolist()
    [58.0, 100.0, 0.5, None]
    """
    blank = UNKNOWN | {text.lower() for text in unknown}
    strange: list[str] = []

    def one(text: str | None) -> float | None:
        if text is None or text.lower() in blank:
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.lower())
        known = match is not None and _UNITS.fullmatch(match[2]) is not None
        age = float(match[1]) / _PER_YEAR[(match[2] or unit)[0]] if match is not None and known else -1.0
        if not 0.0 <= age <= _OLDEST:
            strange.append(text)
        return age

    found = _like(column, [one(text) for text in _cells(column)])
    if strange:
        raise UserError(
            f"column {column.name!r} has {len(strange)} values that are no age of 0 to {_OLDEST:g} years, the first "
            f"{', '.join(repr(text) for text in strange[:5])}. Is this another release?"
        )
    return found


def joined(
    rows: pd.DataFrame, facts: pd.DataFrame, key: str, *, other: str | None = None, what: str
) -> pd.DataFrame:
    """Add the columns of a table that has one row per key; rows without a partner get None.

    Parameters
    ----------
    rows
        Samples.
    facts
        What is known by key.
    key, other
        Column of `rows`, and of `facts` if it is called otherwise there.
    what
        Name of the second table, for messages.

    Raises
    ------
    UserError
        If `facts` has two rows for one key.
    """
    other = other or key
    twice = facts[other][facts[other].duplicated() & facts[other].notna()].unique().tolist()
    if twice:
        raise UserError(
            f"{what} has several rows for {len(twice)} values of {other!r}, the first {', '.join(map(repr, twice[:3]))}; "
            "expected one each, or it is unknown which one holds."
        )
    added = facts[facts[other].notna()].rename(columns={other: key})
    clash = [name for name in added.columns if name != key and name in rows.columns]
    merged = rows.merge(added.drop(columns=clash), on=key, how="left")
    merged.index = rows.index
    return merged.astype(object).where(merged.notna(), None)


def _plain(text: str) -> str:
    """Return a code as it is looked up: lower case, and without the ``.0`` that a spreadsheet adds."""
    lower = text.strip().lower()
    return lower[:-2] if re.fullmatch(r"-?\d+\.0", lower) else lower


def _cells(column: pd.Series[Any]) -> list[str | None]:
    """Return a column's stripped texts with None for every kind of missing one."""
    return [text.strip() if isinstance(text, str) else None for text in column]


def _like(column: pd.Series[Any], values: list[Any]) -> pd.Series[Any]:
    """Return values as a column of objects, so that None stays None, with another's index and name."""
    import pandas as pd

    return pd.Series(values, index=column.index, name=column.name, dtype=object)
