"""Which formula a metric is told by where none is named: the default one, never one that was asked for beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evaluator.metrics.thresholds import FALLBACK, chooses_on_measured_rows, group_rule
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from evaluator.measure import MeasureSettings

_DECISIONS = ("decisions:given", "class:argmax")
TUNED = "tuned on the rows measured"


def default_convention(known: Sequence[str], rule: str) -> str:
    """Return the convention that an unqualified metric has.

    Parameters
    ----------
    known
        Conventions under which it was computed, in the order of the tables; at least one.
    rule
        The rule of decisions in the settings.

    Examples
    --------
    >>> default_convention(["test:f1:legacy", "fixed:0.5"], "fixed:0.5")
    'fixed:0.5'
    >>> default_convention(["ece:fixed15", "ece:range10"], "fixed:0.5")
    'ece:fixed15'
    """
    plain = [name for name in known if not _aside(name)]
    wanted = (name for name in (rule, *_DECISIONS, FALLBACK) if name in plain)
    return next(wanted, (plain or list(known))[0])


def _aside(convention: str) -> bool:
    """Say whether a convention is a derived one, one of peers' that misleads, or one threshold for each group."""
    from evaluator.metrics.conventions import is_legacy

    if "|" in convention or group_rule(convention) is not None:
        return True
    try:
        return is_legacy(convention)
    except UserError:  # not one that can be asked for
        return False


def is_tuned(convention: str) -> bool:
    """Say whether a convention's threshold was chosen on the rows that are measured."""
    return chooses_on_measured_rows(convention.partition("|")[0])


def tuned_rules(settings: MeasureSettings) -> tuple[str, ...]:
    """Return the rules asked for whose thresholds are chosen on the rows measured."""
    return tuple(rule for rule in settings.tokens("threshold") if is_tuned(rule))


def of_default(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Return a metric's rows under its default convention."""
    if not len(rows):
        return rows
    known = list(dict.fromkeys(rows["convention"].astype(str)))
    return rows[rows["convention"] == default_convention(known, rule)]
