"""What a disparity between groups is: a function of their values, beside what chance alone would show.

One definition serves point values, bootstrap replicates and permutations, because each works on arrays with any
number of axes between the parts and the groups. All such functions of finite samples show a disparity where there is
none, so each kind also says how far its result departs from fairness on a scale on which chance can be subtracted
(:attr:`Disparity.departure`), and how to come back (:attr:`Disparity.restore`); :func:`against_chance` does both.

Guarantee: fewer than two groups, a group without a value or a zero below the line give NaN, never a number. Kinds that
mix values with the constant 1 (equity scaling, PSD, SER) refuse percentages, which would change them silently.

The kinds themselves are listed in :mod:`evaluator.metrics.disparity`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from evaluator.metrics.directions import better
from evaluator.metrics.metric import Array
from shards.errors import UserError

Scope = Literal["any", "scores", "areas", "parts"]
Need = Literal["squared_errors", "sizes"]
_TOLERANCE = 1e-9


class GroupValues(NamedTuple):
    """Values of the groups that a kind compares.

    Attributes
    ----------
    values
        ``[P, ..., G]`` values of P metrics (the parts of the kind in their order; P = 1 for kinds of any one metric).
    overall
        ``[P, ...]`` the same metrics over all samples.
    squared_errors
        ``[P, ..., G]`` squared standard errors; only for kinds that :attr:`Disparity.needs` them.
    sizes
        ``[..., G]`` samples of each group; likewise.
    """

    values: Array
    overall: Array
    squared_errors: Array | None = None
    sizes: Array | None = None


Formula = Callable[[GroupValues], Array]


@dataclass(frozen=True)
class Disparity:
    """A kind of disparity.

    Attributes
    ----------
    kind
        Name in the table of gaps, e.g. ``"es:sum"``.
    meaning
        One sentence for a reader, with the source.
    formula
        Group values -> result ``[...]``; call :meth:`compute`, which checks first.
    departure
        Group values -> squared distance from fairness ``[...]``, 0 when fair (a corrected variance may be below).
    restore
        (departure after chance was taken off, group values) -> result.
    fair_value
        Result of a fair model; None where it is the overall value.
    metric
        What the row's metric is called, e.g. ``"equalized_odds"``; None: the compared metric itself.
    parts
        Metrics it is made of, in order, as in the table of metrics; empty: any one metric.
    scope
        ``"any"`` metric, ``"scores"`` (fractions of which more is better), ``"areas"`` (0.5 is guessing), or only
        its own ``"parts"``.
    needs
        Further fields of the group values that must be there.
    """

    kind: str
    meaning: str
    formula: Formula
    departure: Formula
    restore: Callable[[Array, GroupValues], Array]
    fair_value: float | None = 0.0
    metric: str | None = None
    parts: tuple[str, ...] = ()
    scope: Scope = "any"
    needs: tuple[Need, ...] = ()

    def applies_to(self, metric: str, *, higher_is_better: bool) -> bool:
        """Say whether the kind makes sense for one metric of that name (never where it has parts of its own).

        Values that are neither good nor bad (selection rate, calibration slope) have no worst group and are no scores.
        """
        direction = better(metric)
        if self.scope == "areas":
            return metric == "auc"
        if self.kind == "worst" and direction == "neither":
            return False
        return self.scope == "any" or (self.scope == "scores" and higher_is_better and direction != "neither")

    def compute(self, groups: GroupValues) -> Array:
        """Compute the result ``[...]``; NaN where undefined.

        Raises
        ------
        UserError
            If the kind needs fractions and values are above 1.
        ValueError
            If the number of parts is wrong or a field that the kind needs is missing.
        """
        return self._evaluate(self.formula, groups)

    def depart(self, groups: GroupValues) -> Array:
        """Compute the squared distance from fairness ``[...]``, with the checks of :meth:`compute`."""
        return self._evaluate(self.departure, groups)

    def _evaluate(self, formula: Formula, groups: GroupValues) -> Array:
        expected = max(len(self.parts), 1)
        if len(groups.values) != expected or len(groups.overall) != expected:
            raise ValueError(
                f"{self.kind} compares {expected} metric(s) ({', '.join(self.parts) or 'any one'}), got values of"
                f" {len(groups.values)} and overall values of {len(groups.overall)}."
            )
        missing = [name for name in self.needs if getattr(groups, name) is None]
        if missing:
            raise ValueError(f"{self.kind} needs {', '.join(missing)} of the groups.")
        if self.scope in ("scores", "areas"):
            require_fractions(self.kind, groups.values, groups.overall)
        if groups.values.shape[-1] < 2:
            return np.full(groups.values.shape[1:-1], np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            result = np.asarray(formula(groups), np.float64)
        return np.where(np.isfinite(result), result, np.nan)


class AgainstChance(NamedTuple):
    """A disparity beside what chance alone would show.

    Attributes
    ----------
    raw
        The result; None where undefined.
    null_mean
        Its mean when groups are permuted.
    adjusted
        The result with the departure that chance explains taken off.
    reason
        Why something is None; None when all is there.
    """

    raw: float | None
    null_mean: float | None
    adjusted: float | None
    reason: str | None


def against_chance(kind: Disparity, observed: GroupValues, permuted: GroupValues) -> AgainstChance:
    """Judge a disparity by permutations of the groups.

    Parameters
    ----------
    kind
        What is computed.
    observed
        Point values: ``values [P, G]``, ``overall [P]``.
    permuted
        The same of R permutations: ``values [P, R, G]``, ``overall [P, R]``.

    Returns
    -------
    AgainstChance
        At most 5 % of the permutations may be undefined; they count as departing at least as far.

    Notes
    -----
    adjusted = restore(max(0, D - E0[D])), D the squared departure: for a gap this is ``sqrt(max(0, gap^2 - E0[gap^2]))``,
    for equity scaling the same on the scale S = X / ES - 1.
    """
    raw = float(kind.compute(observed))
    if np.isnan(raw):
        return AgainstChance(None, None, None, f"undefined: {kind.kind} has no value here")
    results, departures = kind.compute(permuted), kind.depart(permuted)
    defined = ~np.isnan(departures) & ~np.isnan(results)
    undefined = int((~defined).sum())
    if not len(departures):
        return AgainstChance(raw, None, None, "no_permutations")
    if undefined > 0.05 * len(departures):
        return AgainstChance(raw, None, None, f"undefined_permutations: {undefined} of {len(departures)}")
    departure = kind.depart(observed)
    beyond = np.maximum(0.0, departure - departures[defined].mean())
    return AgainstChance(
        raw,
        float(results[defined].mean()),
        float(kind.restore(beyond, observed)),
        None,
    )


def require_fractions(kind: str, *values: Array) -> None:
    """Refuse percentages.

    Raises
    ------
    UserError
        If a value is above 1.
    """
    largest = max((float(np.nanmax(part)) for part in values if np.isfinite(part).any()), default=0.0)
    if largest > 1.0 + _TOLERANCE:
        raise UserError(
            f"{kind}: fractions expected, got a value of {largest:g}. Divide percentages by 100; 1 + disparity means"
            " something else in percent."
        )
