"""What gaps would be if groups did not matter: units swap groups, and metrics are computed again.

The p-value comes from a studentised statistic, the Wald form ``Q = sum_g w_g (x_g - xbar_w)^2``, ``w_g = 1 /
V_g`` (for two groups the squared difference over the sum of the variances). Permuting the raw gap would
reject far too often when a small group is noisier than a large one; Q has the same limit law in both cases
(Janssen 1997; Chung and Romano 2013). ``V_g`` is the variance of the value's influence over units
(subjects): the delta method for ratios, placement values (DeLong 1988; Obuchowski 1997 for several samples
per subject) for areas. So that a group in which everything is right does not get variance 0, the pooled
variance of one unit over the number of units is added to each group's.

A small group far noisier than the others still makes permutations a little too easy to beat (the statistic
of mixed quiet and noisy units has lighter tails than that of noisy units alone), so the p-value is never
below that of Welch's F test on the same values and variances: the first is exact when groups do not matter
at all, the second holds when only their means agree. For the same reason the size of a gap by chance is that of
permutations in which no group is surer than it is itself (:meth:`NullGaps.no_surer`).

A metric whose p-value is far from any claim after 128 or 256 permutations gets no more of them.
Statistics are compared with a relative tolerance of 1e-9, because equal ones may differ by rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array, Metric
from evaluator.statistics.bootstrap import stream
from evaluator.statistics.kernels_sums import shuffled
from evaluator.statistics.partition import Ints, Partition
from evaluator.statistics.spreads import Codes, Spread, Spreads

_TOLERANCE = 1e-9
#: Permutations made and held at once: so few that the influences of all units stay in cache. Part of the numbers' identity.
_BLOCK = 64
#: (permutations, p): a metric stops after so many if its p-value is above that by then. What is claimed below 0.2 rests on all
#: permutations, so no test becomes easier to pass.
_STOPS = ((128, 0.5), (256, 0.2))


@dataclass(frozen=True)
class NullGaps:
    """Gaps under permutation, for one metric.

    Attributes
    ----------
    values, variances
        ``[R, G]`` values of the groups and their squared standard errors; NaN where undefined.
    overall
        Value over all groups together, the same for every permutation.
    statistic
        ``[R]`` Q; NaN likewise.
    observed
        Q of the data.
    welch
        p of Welch's F test on the data, the lower limit of `p_value`.
    own
        ``[G]`` squared standard errors of the data's groups; None where they are those of `variances`.
    """

    values: Array
    variances: Array
    overall: float
    statistic: Array
    observed: float
    welch: float = 0.0
    own: Array | None = None

    def no_surer(self) -> NullGaps:
        """Return the same with groups that are noisier than their permutations spread as far as their own errors say.

        Permuting mixes noisy units with quiet ones, so that a small noisy group strays less than it does by chance. Its values
        and variances are stretched around the overall value, and may leave the scale of the metric; p-values stay.
        """
        if self.own is None:
            return self
        known = np.isfinite(self.variances)
        typical = np.where(known, self.variances, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        usable = np.isfinite(self.own) & (typical > 0.0)
        stretch = np.maximum(1.0, np.where(usable, self.own, 1.0) / np.where(usable, typical, 1.0))
        values = self.overall + np.sqrt(stretch) * (self.values - self.overall)
        return replace(self, values=values, variances=stretch * self.variances)

    @property
    def gap(self) -> Array:
        """``[R]`` max - min of the groups' values; NaN where a value was undefined."""
        return np.asarray(self.values.max(axis=1) - self.values.min(axis=1))

    @property
    def mean(self) -> float:
        """Mean gap when groups do not matter."""
        return float(np.mean(self._defined(self.gap)))

    @property
    def mean_square(self) -> float:
        """Mean squared gap when groups do not matter."""
        return float(np.mean(self._defined(self.gap) ** 2))

    @property
    def p_value(self) -> float:
        """(b + 1) / (R + 1), b permutations at least as extreme (undefined ones are), and at least `welch`."""
        extreme = ~(self.statistic < self.observed * (1 - _TOLERANCE))
        return max(float((extreme.sum() + 1) / (len(self.statistic) + 1)), self.welch)

    @property
    def reason(self) -> str | None:
        """Why nothing can be said; None when it can."""
        undefined = int(np.isnan(self.gap).sum())
        if not len(self.gap):
            return "no_permutations"
        if undefined > 0.05 * len(self.gap):
            return f"undefined_permutations: {undefined} of {len(self.gap)}"
        return "undefined_variance" if np.isnan(self.observed) or np.isnan(self.welch) else None

    @staticmethod
    def _defined(values: Array) -> Array:
        return values[~np.isnan(values)]


def permute_groups(
    metrics: Sequence[Metric],
    data: Any,
    partition: Partition,
    groups: Sequence[int],
    *,
    seed: int,
    subjects: Sequence[str],
    attribute: str,
    permutations: int,
) -> list[NullGaps]:
    """Permute groups and recompute metrics that share their valid groups and their kind of exchange.

    Parameters
    ----------
    metrics, data, partition
        What is computed, of what, and the units.
    groups
        Codes of the valid groups, at least two. Units of other groups (unknown, too small) stay out.
    seed, subjects, attribute
        Key of the random streams.
    permutations
        R.

    Returns
    -------
    list of NullGaps
        One per metric.
    """
    code = np.full(partition.groups, len(groups), np.int16)
    code[list(groups)] = np.arange(len(groups))
    observed = code[partition.unit_group]
    exchange = metrics[0].exchange
    strata = _strata(exchange, data, partition, observed < len(groups))
    spreads = Spreads.prepare(metrics, data, partition)
    purpose = f"permutation:{attribute}:{exchange}"
    values = np.full((len(metrics), permutations, len(groups)), np.nan)
    variances, statistics = values.copy(), np.full((len(metrics), permutations), np.nan)
    together = spreads(np.where(observed < len(groups), 0, 1)[None], 1)
    overall = [float(spread.value[0, 0]) for spread in together]
    own = np.full((len(metrics), len(groups)), np.nan)
    first = np.full((len(metrics), 2), np.nan)
    drawn = np.full(len(metrics), permutations)
    active = list(range(len(metrics)))
    for where, codes in _assignments(observed, strata, permutations, seed, subjects, purpose):
        for place, spread in zip(active, spreads(codes, len(groups), active), strict=True):
            variance = pooled_variance(spread)
            if where is None:
                own[place] = spread.variance[0]
                first[place] = _wald(spread, variance)[0], welch_p(spread, variance)
            else:
                values[place, where], variances[place, where] = spread.value, spread.variance
                statistics[place, where] = _wald(spread, variance)
        for drawn_so_far, settled_above in _STOPS:
            if where is None or where.stop != drawn_so_far:
                continue
            settled = [
                place
                for place in active
                if _share_extreme(statistics[place, :drawn_so_far], first[place, 0]) > settled_above
            ]
            drawn[settled] = drawn_so_far
            active = [place for place in active if place not in settled]
        if not active:
            break
    return [
        NullGaps(
            values[i, : drawn[i]],
            variances[i, : drawn[i]],
            overall[i],
            statistics[i, : drawn[i]],
            float(first[i, 0]),
            float(first[i, 1]),
            own[i],
        )
        for i in range(len(metrics))
    ]


def _share_extreme(statistics: Array, observed: float) -> float:
    """Return the share of permutations at least as extreme."""
    return float((~(statistics < observed * (1 - _TOLERANCE))).mean())


def _strata(exchange: str, data: Any, partition: Partition, valid: NDArray[np.bool_]) -> list[Ints]:
    """List the sets of units among which groups are exchanged, in the order of subjects whatever groups are called."""
    order = np.lexsort((partition.unit_group, partition.unit_subject))
    order = order[valid[order]]
    if exchange == "subjects":
        return [order]
    stratum = _label_sets(data.label, partition)
    return [order[stratum[order] == number] for number in range(int(stratum.max(initial=-1)) + 1)]


def _label_sets(label: Ints, partition: Partition) -> Ints:
    """Return a number for the set of labels that each unit has; ``[m]``."""
    labels = np.zeros((partition.units, int(label.max(initial=0)) + 1), np.uint8)
    labels[partition.row_unit, label] = 1
    packed = np.ascontiguousarray(np.packbits(labels, axis=1))
    whole = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    return np.unique(whole, return_inverse=True)[1].astype(np.int64).ravel()


def _assignments(
    observed: Codes,
    strata: Sequence[Ints],
    permutations: int,
    seed: int,
    subjects: Sequence[str],
    purpose: str,
) -> Iterator[tuple[slice | None, Codes]]:
    """Yield the observed assignment (with no place), then blocks of permuted ones ``[b, m]``."""
    yield None, observed[None]
    for block, start in enumerate(range(0, permutations, _BLOCK)):
        generator = stream(seed, purpose, subjects, block)
        codes = np.tile(observed, (_BLOCK, 1))
        for units in strata:
            bits = generator.integers(0, 1 << 32, (_BLOCK, len(units)), np.uint32)
            shuffled(codes, units, bits)
        stop = min(start + _BLOCK, permutations)
        yield slice(start, stop), codes[: stop - start]


def pooled_variance(spread: Spread) -> Array:
    """Return the variances ``[b, G]`` with one unit's pooled variance over the number of units added to each."""
    size = np.where(spread.size > 0, spread.size, np.nan)
    per_unit = spread.variance * size
    pooled = (per_unit * size).sum(axis=1, keepdims=True) / size.sum(axis=1, keepdims=True)
    return np.asarray((per_unit + pooled / size) / size)


def _wald(spread: Spread, variance: Array) -> Array:
    """Return Q for each assignment ``[b]``; where nothing varies, 0 if all values agree and infinite if not."""
    constant = (variance == 0.0).all(axis=1)
    weight = 1.0 / np.where(constant[:, None], 1.0, variance)
    centre = (weight * spread.value).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    wald = (weight * (spread.value - centre) ** 2).sum(axis=1)
    differ = spread.value.max(axis=1) > spread.value.min(axis=1)
    return np.asarray(np.where(constant, np.where(differ, np.inf, 0.0), wald))


def welch_p(spread: Spread, variance: Array) -> float:
    """Return the p-value of Welch's F test (Welch 1951) on the first assignment."""
    from scipy.stats import f

    wald, groups = _wald(spread, variance)[0], spread.value.shape[1]
    if not 0.0 < wald < np.inf:
        return float("nan") if np.isnan(wald) else float(wald == 0.0)
    weight = 1.0 / variance[0]
    doubt = ((1.0 - weight / weight.sum()) ** 2 / np.maximum(spread.size[0] - 1.0, 1.0)).sum()
    ratio = wald / (groups - 1) / (1.0 + 2.0 * (groups - 2) / (groups**2 - 1) * doubt)
    p = float(f.sf(ratio, groups - 1, (groups**2 - 1) / (3.0 * doubt)))
    return float(f"{p:.10g}")  # the order of groups changes the last digits
