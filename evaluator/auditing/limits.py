"""Limits that a pipeline declares: ``adjusted_gap(auc, sex) > 0.05`` is violated where it is true.

Grammar (nothing is evaluated as code)::

    limit      = both { "or" both }
    both       = comparison { "and" comparison }
    comparison = "(" limit ")" | side operator side          operator: > >= < <=
    side       = number | function "(" argument { "," argument } ")"

Functions read the tables: ``adjusted_gap``, ``raw_gap``, ``p`` and ``detectable`` (both corrected for all tests) of
(metric, attribute); ``worst`` of (metric, attribute); ``value`` of (metric) or (metric, attribute, group). A metric may name
its convention, a gap its kind: ``accuracy@fixed:0.5``, ``equalized_odds@eqodds:max``. Without one the default convention counts
(:mod:`evaluator.auditing.defaults`), whatever other formulas were asked for, and the max-min gap, or the first kind of what has
no such gap. Arguments with a comma, a bracket or a quote stand in quotes.

A limit is judged for every model, target and structure by itself. What is undefined is unknown: a limit that stays unknown
counts as violated, because a gate must not open on a number that nobody knows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from evaluator.auditing.defaults import TUNED, is_tuned, of_default
from evaluator.metrics.thresholds import FALLBACK
from evaluator.report.grid import why
from evaluator.report.words import metric_words
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

_GAPS = {"adjusted_gap": "adjusted", "raw_gap": "raw", "p": "p_adjusted", "detectable": "detectable_adjusted"}
_FUNCTIONS = {**dict.fromkeys(_GAPS, (2,)), "worst": (2,), "value": (1, 3)}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
}  # fmt: skip
_QUOTED = r"'[^']*'|\"[^\"]*\""
_TOKEN = re.compile(
    rf"\s*(?:(?P<call>[A-Za-z_]\w*)\s*\((?P<args>(?:{_QUOTED}|[^()'\"])*)\)|(?P<number>\d*\.?\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<operator>>=|<=|>|<)|(?P<word>and\b|or\b)|(?P<bracket>[()]))"
)
RESULT_KEYS = [
    "dataset",
    "model",
    "usage",
    "mitigation",
    "seed",
    "split",
    "target",
    "structure",
    "prompt",
    "task",
]


class Call(NamedTuple):
    """A number of the tables: a function and its arguments."""

    function: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(self.arguments)})"


class Comparison(NamedTuple):
    """Two sides and what is between them."""

    left: Call | float
    operator: str
    right: Call | float


class Joined(NamedTuple):
    """Limits joined by ``and`` or ``or``."""

    word: str
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Limit:
    """A limit as it was written, and what it means."""

    text: str
    rule: Comparison | Joined

    def calls(self) -> Iterator[Call]:
        """Return every number that the limit reads."""
        yield from _calls(self.rule)


@dataclass(frozen=True)
class Verdict:
    """What a limit came to for one result.

    Attributes
    ----------
    limit, result
        The limit's text, and what it was judged for.
    violated
        True also where it cannot be judged.
    sentence
        The numbers, in words.
    """

    limit: str
    result: str
    violated: bool
    sentence: str


def parse_limit(text: str) -> Limit:
    """Read a limit.

    Raises
    ------
    UserError
        If it does not follow the grammar; names where.

    Examples
    --------
    >>> str(next(parse_limit("adjusted_gap(auc, sex*age) > 0.05").calls()))
    'adjusted_gap(auc, sex*age)'
    """
    tokens = list(_tokens(text))
    rule, rest = _either(text, tokens)
    if rest:
        raise _wrong(text, f"nothing more after it, got {rest[0][1]!r}")
    return Limit(text, rule)


def _tokens(text: str) -> Iterator[tuple[str, Any]]:
    place = 0
    while place < len(text.rstrip()):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _wrong(text, f"a function, a number or an operator at {text[place:].strip()[:20]!r}")
        place = match.end()
        kind = str(match.lastgroup) if match["call"] is None else "call"
        yield kind, _call(text, match["call"], match["args"]) if kind == "call" else match[kind]


def _call(text: str, function: str, inside: str) -> Call:
    if function not in _FUNCTIONS:
        raise unknown_name("function", function, _FUNCTIONS, hint=f"(--fail-if {text!r})")
    parts = re.findall(rf"\s*((?:{_QUOTED}|[^,'\"])*)(?:,|$)", inside)
    given = [part.strip().strip("'\"").strip() for part in (parts[:-1] if inside.strip() else [])]
    if len(given) not in _FUNCTIONS[function] or "" in given:
        raise _wrong(
            text,
            f"{' or '.join(map(str, _FUNCTIONS[function]))} names in {function}(...), got {inside.strip()!r}",
        )
    arguments = tuple(
        "*".join(p.strip() for p in a.split("*")) if place == 1 else a for place, a in enumerate(given)
    )
    return Call(function, arguments)


def _wrong(text: str, expected: str) -> UserError:
    return UserError(
        f'--fail-if {text!r} must have {expected}. Example: "adjusted_gap(auc,sex)>0.05 and p(auc,sex)<0.05".'
    )


def _either(text: str, tokens: Sequence[tuple[str, Any]]) -> tuple[Any, Sequence[tuple[str, Any]]]:
    return _chain(text, tokens, "or", lambda t, rest: _chain(t, rest, "and", _comparison))


def _chain(
    text: str, tokens: Sequence[tuple[str, Any]], word: str, part: Callable[..., Any]
) -> tuple[Any, Any]:
    first, rest = part(text, tokens)
    parts = [first]
    while rest and rest[0] == ("word", word):
        more, rest = part(text, rest[1:])
        parts.append(more)
    return (first if len(parts) == 1 else Joined(word, tuple(parts))), rest


def _comparison(text: str, tokens: Sequence[tuple[str, Any]]) -> tuple[Any, Sequence[tuple[str, Any]]]:
    if tokens and tokens[0] == ("bracket", "("):
        inner, rest = _either(text, tokens[1:])
        if not rest or rest[0] != ("bracket", ")"):
            raise _wrong(text, "a closing bracket")
        return inner, rest[1:]
    if len(tokens) < 3 or tokens[1][0] != "operator":
        raise _wrong(text, "comparisons such as adjusted_gap(auc,sex)>0.05")
    left, right = (_side(text, token) for token in (tokens[0], tokens[2]))
    if not isinstance(left, Call) and not isinstance(right, Call):
        raise _wrong(text, "a function on one side")
    return Comparison(left, tokens[1][1], right), tokens[3:]


def _side(text: str, token: tuple[str, Any]) -> Call | float:
    if token[0] == "call":
        call: Call = token[1]
        return call
    if token[0] == "number":
        return float(token[1])
    raise _wrong(text, f"a function or a number instead of {token[1]!r}")


def _calls(rule: Any) -> Iterator[Call]:
    if isinstance(rule, Joined):
        for part in rule.parts:
            yield from _calls(part)
    else:
        yield from (side for side in (rule.left, rule.right) if isinstance(side, Call))


def judge_limits(
    limits: Sequence[Limit], metrics: pd.DataFrame, gaps: pd.DataFrame, *, threshold: str = FALLBACK
) -> tuple[Verdict, ...]:
    """Judge every limit for every result.

    Parameters
    ----------
    limits
        What :func:`parse_limit` gave.
    metrics, gaps
        The measured tables.
    threshold
        The rule of decisions in the settings: what metrics of decisions mean where they name no convention.

    Raises
    ------
    UserError
        If a limit names a metric, attribute or group that no result has.
    """
    verdicts = []
    for limit in limits:
        for call in limit.calls():
            _check_names(limit, call, gaps if call.function in _GAPS else metrics)
        for name, mine, between in _results(metrics, gaps):
            state, told = _judge(limit.rule, mine, between, threshold)
            sentence = "; ".join(dict.fromkeys(told))
            if state is None:
                sentence = f"cannot be judged, which counts as violated: {sentence}"
            verdicts.append(Verdict(limit.text, name, state is not False, sentence))
    return tuple(verdicts)


def _check_names(limit: Limit, call: Call, table: pd.DataFrame) -> None:
    metric, _, variant = call.arguments[0].partition("@")
    rows = table[table["metric"] != "threshold"]
    hint = f"(--fail-if {limit.text!r})"
    if metric not in set(rows["metric"]):
        raise unknown_name("metric", metric, set(rows["metric"]), hint=hint)
    rows = rows[rows["metric"] == metric]
    variants = _variants(rows)
    if variant and variant not in variants:
        raise unknown_name(f"convention of {metric}:", variant, variants, hint=hint)
    if len(call.arguments) > 1:
        if call.arguments[1] not in set(rows["attribute"]):
            raise unknown_name("attribute", call.arguments[1], set(rows["attribute"]) - {"all"}, hint=hint)
        rows = rows[rows["attribute"] == call.arguments[1]]
    if len(call.arguments) > 2 and call.arguments[2] not in set(rows["group"]):
        raise unknown_name(f"group of {call.arguments[1]}:", call.arguments[2], set(rows["group"]), hint=hint)


def _variants(rows: pd.DataFrame) -> set[str]:
    return {str(name) for column in ("convention", "kind") if column in rows for name in rows[column]}


def _results(metrics: pd.DataFrame, gaps: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    filled, between = (frame.assign(**{key: frame[key].astype(object).where(frame[key].notna(), "") for key in RESULT_KEYS})
                       for frame in (metrics, gaps))  # fmt: skip
    of = dict(iter(between.groupby(RESULT_KEYS, sort=False)))
    for key, rows in filled.groupby(RESULT_KEYS, sort=False):
        named = dict(zip(RESULT_KEYS, key, strict=True))
        shown = [
            str(named[name])
            for name in ("model", "usage", "mitigation", "target", "structure", "prompt")
            if named[name] != ""
        ]
        yield ", ".join(shown) or "the table", rows, of.get(key, between.iloc[:0])


def _judge(
    rule: Any, metrics: pd.DataFrame, gaps: pd.DataFrame, threshold: str
) -> tuple[bool | None, list[str]]:
    """Return whether a rule holds (None: unknown) and the numbers it rests on."""
    if isinstance(rule, Joined):
        found = [_judge(part, metrics, gaps, threshold) for part in rule.parts]
        states, told = [state for state, _ in found], [text for _, texts in found for text in texts]
        decisive = rule.word == "or"
        if decisive in states:
            return decisive, told
        return None if None in states else not decisive, told
    sides = [_number(side, metrics, gaps, threshold) for side in (rule.left, rule.right)]
    told = [text for _, text in sides if text]
    left, right = sides[0][0], sides[1][0]
    if left is None or right is None:
        return None, told
    return _COMPARE[rule.operator](left, right), told


def _number(
    side: Call | float, metrics: pd.DataFrame, gaps: pd.DataFrame, threshold: str
) -> tuple[float | None, str]:
    if not isinstance(side, Call):
        return side, ""
    row = _row(side, metrics, gaps, threshold)
    value = None if row is None else row[_GAPS.get(side.function, "value")]
    if value is not None and math.isfinite(value):
        where = f" ({row['group']})" if row is not None and side.function == "worst" else ""
        tuned = f" (threshold {TUNED}: optimistic)" if row is not None and is_tuned(row["convention"]) else ""
        return float(value), f"{side} is {float(value):.4g}{where}{tuned}"
    reason = "not measured here" if row is None else (why(row) or "not defined")
    return None, f"{side} is undefined ({reason})"


def _row(call: Call, metrics: pd.DataFrame, gaps: pd.DataFrame, threshold: str) -> Mapping[str, Any] | None:
    metric, _, variant = call.arguments[0].partition("@")
    table = gaps if call.function in _GAPS else metrics
    rows = table[table["metric"] == metric]
    rows = _of_kind(rows, variant) if call.function in _GAPS else rows
    named = rows[rows["convention"] == variant]
    rows = named if len(named) else of_default(rows, threshold)
    rows = rows[rows["attribute"] == (call.arguments[1] if len(call.arguments) > 1 else "all")]
    if call.function == "worst":
        return _worst(rows, lower=metric_words(metric).better == "lower")
    if call.function == "value":
        rows = rows[rows["group"] == (call.arguments[2] if len(call.arguments) > 2 else "all")]
    return {str(name): value for name, value in rows.iloc[0].items()} if len(rows) else None


def _of_kind(gaps: pd.DataFrame, variant: str) -> pd.DataFrame:
    """Return the gaps of one kind: the one that is named, else max-min, else the first."""
    kinds = gaps["kind"].tolist()
    wanted = next((kind for kind in (variant, "max-min", *kinds[:1]) if kind in kinds), "")
    return gaps[gaps["kind"] == wanted]


def _worst(rows: pd.DataFrame, *, lower: bool) -> Mapping[str, Any] | None:
    """Return the group that fares worst of those that are known and have a value."""
    known = rows[(rows["group"] != "unknown") & (rows["status"] == "ok")]
    if not len(rows):
        return None
    if not len(known):
        return {str(name): value for name, value in rows.iloc[0].items()} | {"value": None}
    place = known["value"].idxmax() if lower else known["value"].idxmin()
    return {str(name): value for name, value in known[known.index == place].iloc[0].items()}
