"""What holds over several datasets: ranks of models, tests against one of them, direction of disadvantage, sources of variance.

Guarantee: the unit is the dataset. Whatever shares subjects (targets, structures, prompts, attributes, models) is averaged or
resampled together and never counted as more datasets. Arms are set against each other on the same people only. What cannot
be said with the datasets and models there are is a row without a number and with a reason.

Rows, by ``analysis``:

* ``friedman``: items ``chi2`` (statistic and p), ``iman_davenport`` (F and p), ``critical_difference`` (Nemenyi, in ranks).
* ``rank``: item an arm, value its mean rank (1 is best), interval from the bootstrap of subjects.
* ``wilcoxon``: item an arm, `against` the baseline, value the Hodges-Lehmann difference; exact p, Holm-adjusted.
* ``direction``: item a group, value the share of models for which it is worse off than the other groups; p by the sign
  test over datasets.
* ``kendall``: item ``models`` (do the models of a dataset rank the groups alike, beyond what shared subjects explain) and
  ``datasets`` (do the datasets).
* ``variance``: item a source, value its share of the variance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evaluator.compare.arms import Arm, Place, Results, Row, joined, matching_baseline, number, table_of, text
from evaluator.compare.blocks import Block, Number, advantages, complete_block, numbers_by_dataset, of_metric
from evaluator.compare.people import on_same_people
from evaluator.groups import ALL
from evaluator.metrics.metric import Array
from evaluator.statistics.bootstrap import stream
from evaluator.statistics.components import variance_components
from evaluator.statistics.concordance import kendall_test, shared_kendall, sign_agreement, sign_test
from evaluator.statistics.friedman import (
    critical_difference,
    friedman_test,
    rank_intervals,
    rank_rows,
    signed_rank_test,
)
from evaluator.statistics.multiplicity import PRIMARY, holm
from evaluator.tables import ACROSS

if TYPE_CHECKING:
    import pandas as pd

#: Fewer datasets or arms say nothing about datasets or arms in general.
MINIMUM_DATASETS = 3
MINIMUM_ARMS = 3

Advantages = Mapping[str, Mapping[Arm, Mapping[str, Number]]]


def across(
    metrics: pd.DataFrame,
    gaps: pd.DataFrame,
    replicates: pd.DataFrame,
    *,
    alpha: float,
    baseline: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Analyse the primary metrics over datasets, on the test set.

    Parameters
    ----------
    metrics, gaps, replicates
        Columns of :data:`evaluator.tables.METRICS`, :data:`~evaluator.tables.GAPS` and
        :data:`~evaluator.tables.REPLICATES`; rows of all results of a study. `gaps` says which attributes
        could be judged where.
    alpha
        1 - level of intervals, and level of the critical difference.
    baseline
        Model that the others are tested against. None: the arm with the best mean rank.
    seed
        Of the permutations of Kendall's test.

    Returns
    -------
    DataFrame
        Columns of :data:`evaluator.tables.ACROSS`, see the module. `n` counts datasets.

    Raises
    ------
    UserError
        If no row is of the baseline.

    Notes
    -----
    The best mean rank is found by looking at all arms, so Holm's family is then all pairs of arms; with a named baseline it is
    the arms. A binary attribute is one test, so its two ``direction`` rows share one p that needs no adjustment; more groups
    are adjusted by Holm within the attribute.

    Of every question the arms with the most common split and number of subjects take part; an arm that was measured on other
    people has no number there, and every row says so.
    """
    results = Results.read(_primary(metrics), _primary(replicates))
    results.check_baseline(baseline)
    rows: list[Row] = []
    for metric in PRIMARY:
        kept, elsewhere = on_same_people(of_metric(results, metric))
        if not kept.entries:
            continue
        numbers = numbers_by_dataset(kept)
        block = complete_block(numbers)
        found = [*_ranks(block, alpha), *_signed_ranks(block, alpha, baseline)]
        for attribute, judged in _judged(gaps, kept, metric).items():
            better = _of_judged(advantages(kept, attribute), judged)
            found += [{"attribute": attribute, **row} for row in _directions(better, alpha)]
            found += [
                {"attribute": attribute, **row}
                for row in _concordances(better, f"{metric}:{attribute}", seed)
            ]
        found += _components(numbers, alpha)
        rows += [{"metric": metric, **row, "reason": joined(row.get("reason"), elsewhere)} for row in found]
    return table_of(rows, ACROSS)


def _primary(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["metric"].isin(PRIMARY)] if len(table) else table


def _too_few(block: Block) -> str | None:
    datasets, arms = len(block.datasets), len(block.arms)
    if datasets < MINIMUM_DATASETS or arms < MINIMUM_ARMS:
        return joined(
            f"too_few: {datasets} datasets and {arms} arms with all numbers, {MINIMUM_DATASETS} and {MINIMUM_ARMS} are needed",
            block.left_out,
        )
    return None


def _ranks(block: Block, alpha: float) -> list[Row]:
    count = len(block.datasets)
    reason = _too_few(block)
    if reason is not None:
        return [
            {"analysis": "friedman", "item": "chi2", "n": count, "reason": reason},
            {"analysis": "rank", "n": count, "reason": reason},
        ]
    test = friedman_test(block.values())
    ties = "no_variation: every dataset is a tie of all arms" if math.isnan(test.chi2) else None
    tests = {
        "chi2": (number(test.chi2), number(test.p_value)),
        "iman_davenport": (number(test.f) if math.isfinite(test.f) else None, number(test.f_p_value)),
        "critical_difference": (critical_difference(len(block.arms), count, alpha), None),
    }
    agree = "every dataset ranks the arms alike, F is infinite" if math.isinf(test.f) else None
    rows: list[Row] = [
        {
            "analysis": "friedman",
            "item": item,
            "value": value,
            "p_value": p,
            "n": count,
            "reason": joined(
                block.left_out,
                ties if item != "critical_difference" else None,
                agree if item == "iman_davenport" else None,
            ),
        }
        for item, (value, p) in tests.items()
    ]
    intervals = rank_intervals(block.replicates(), alpha)
    for place, arm in enumerate(block.arms):
        row: Row = {"analysis": "rank", "item": arm.name, "value": float(test.ranks[place]), "n": count}
        if isinstance(intervals, str):
            row["reason"] = joined(block.left_out, f"no interval: {intervals}")
        else:
            row |= {"ci_low": float(intervals[0][place]), "ci_high": float(intervals[1][place])}
            row["reason"] = block.left_out
        rows.append(row)
    return rows


def _signed_ranks(block: Block, alpha: float, baseline: str | None) -> list[Row]:
    count, arms, values = len(block.datasets), block.arms, block.values()
    if count < MINIMUM_DATASETS or len(arms) < 2:
        reason = f"too_few: {count} datasets and {len(arms)} arms with all numbers, {MINIMUM_DATASETS} and 2 are needed"
        return [{"analysis": "wilcoxon", "n": count, "reason": joined(reason, block.left_out)}]
    ranks = rank_rows(values).mean(axis=0)
    shown, family, note = _best_against_all(ranks) if baseline is None else _against(arms, ranks, baseline)
    if not shown:
        return [{"analysis": "wilcoxon", "n": count, "reason": joined(note, block.left_out)}]
    tests = {
        pair: signed_rank_test(values[:, pair[0]] - values[:, pair[1]], alpha) for pair in {*family, *shown}
    }
    adjusted = dict(zip(family, holm([tests[pair].p_value for pair in family]).tolist(), strict=True))
    return [
        {
            "analysis": "wilcoxon",
            "item": arms[place].name,
            "against": arms[rival].name,
            "value": tests[place, rival].shift,
            "ci_low": tests[place, rival].ci_low,
            "ci_high": tests[place, rival].ci_high,
            "p_value": tests[place, rival].p_value,
            "p_adjusted": adjusted.get((place, rival), adjusted.get((rival, place))),
            "n": count,
            "reason": joined(
                note,
                _too_coarse(
                    tests[place, rival].smallest, count, tests[place, rival].count, len(family), alpha
                ),
                block.left_out,
            ),
        }
        for place, rival in shown
    ]


Pairs = list[tuple[int, int]]


def _best_against_all(ranks: Array) -> tuple[Pairs, Pairs, str | None]:
    """Return the pairs to show, the pairs of the family, and what to say about them."""
    best = int(np.argmin(ranks))
    family = list(itertools.combinations(range(len(ranks)), 2))
    note = f"against the best mean rank, found on these datasets: p adjusted over all {len(family)} pairs"
    shown = [(place, best) for place in range(len(ranks)) if place != best]
    return shown, family, note if len(family) > 1 else None


def _against(arms: Sequence[Arm], ranks: Array, baseline: str) -> tuple[Pairs, Pairs, str | None]:
    """Return the same for a named baseline; no pairs and a reason where there are none."""
    rivals = {arm: -float(ranks[place]) for place, arm in enumerate(arms) if arm.model == baseline}
    if not rivals:
        return [], [], f"no_baseline: {baseline} lacks numbers that the other arms have"
    others = [(place, arm) for place, arm in enumerate(arms) if arm not in rivals]
    pairs = [(place, arms.index(matching_baseline(arm, rivals))) for place, arm in others]
    return pairs, pairs, None if pairs else f"single_model: nothing to compare {baseline} with"


def _too_coarse(smallest: float, datasets: int, decided: int, tests: int, alpha: float) -> str | None:
    """Say where even datasets that all agree could not reach the level; those without a difference are not `decided`."""
    least = min(1.0, smallest * tests)
    if least < alpha:
        return None
    ties = f" ({datasets - decided} without a difference)" if decided < datasets else ""
    return f"{datasets} datasets{ties} cannot give an adjusted p below {least:.3g} in {tests} tests"


def _judged(gaps: pd.DataFrame, results: Results, metric: str) -> dict[str, set[tuple[str, Arm]]]:
    """Return for every attribute on which datasets which arms, without their prompts, have a gap.

    Only gaps of the very rows (split, convention) that the numbers are of count.
    """
    found: dict[str, set[tuple[str, Arm]]] = {}
    if not len(gaps):
        return found
    known = {(*place[:4], place.convention) for place in results.entries if place.attribute == ALL}
    rows = gaps[(gaps["metric"] == metric) & (gaps["kind"] == "max-min")]
    names = [*Place._fields[:4], "convention", "attribute", "model", "usage", "mitigation", "status"]
    for cells in rows[names].itertuples(index=False, name=None):
        *place, attribute, model, usage, mitigation, status = map(text, cells)
        if tuple(place) in known:
            arms = found.setdefault(str(attribute), set())
            if status == "ok":
                arms.add((place[0] or "", Arm(model, usage, mitigation, None)))
    return {attribute: found[attribute] for attribute in sorted(found)}


def _of_judged(better: Advantages, judged: set[tuple[str, Arm]]) -> Advantages:
    kept = {
        dataset: {arm: groups for arm, groups in by_arm.items() if (dataset, arm) in judged}
        for dataset, by_arm in better.items()
    }
    return {dataset: by_arm for dataset, by_arm in kept.items() if by_arm}


def _directions(better: Advantages, alpha: float) -> list[Row]:
    groups = sorted({group for by_arm in better.values() for own in by_arm.values() for group in own})
    if not groups:
        return [{"analysis": "direction", "n": 0, "reason": "no_gap: no dataset has two groups to compare"}]
    rows: list[Row] = []
    for group in groups:
        columns = [_stacked(by_arm, (group,)) for by_arm in better.values()]
        columns = [(values[:, 0], draws[:, 0]) for values, draws in columns if len(values)]
        seen = sign_agreement([values for values, _ in columns], [draws for _, draws in columns], alpha)
        row: Row = {"analysis": "direction", "item": group, "value": seen.value, "n": len(columns)}
        row |= {"ci_low": seen.ci_low, "ci_high": seen.ci_high}
        if len(columns) < MINIMUM_DATASETS:
            why: str | None = f"no test: {len(columns)} datasets, {MINIMUM_DATASETS} are needed"
        else:
            test = sign_test(np.array([values.mean() for values, _ in columns]))
            row["p_value"] = test.p_value
            tests = 1 if len(groups) == 2 else len(groups)
            why = _too_coarse(min(1.0, 2.0 ** (1 - test.count)), len(columns), test.count, tests, alpha)
        rows.append(row | {"reason": joined(seen.reason, why)})
    tested = [row for row in rows if "p_value" in row]
    p_values = [row["p_value"] for row in tested]
    for row, p in zip(tested, p_values if len(groups) == 2 else holm(p_values).tolist(), strict=True):
        row["p_adjusted"] = p
    return rows


def _stacked(by_arm: Mapping[Arm, Mapping[str, Number]], groups: Sequence[str]) -> tuple[Array, Array]:
    """Return values ``[m, G]`` and replicates ``[m, G, B]`` of the arms that have all of the groups."""
    tables = [
        [own[group] for group in groups] for own in by_arm.values() if all(group in own for group in groups)
    ]
    length = min((len(cell.replicates) for row in tables for cell in row), default=0)
    shape = (len(tables), len(groups))
    values = np.array([[cell.value for cell in row] for row in tables]).reshape(shape)
    draws = np.array([[cell.replicates[:length] for cell in row] for row in tables])
    return values, draws.reshape(*shape, length)


def _common_groups(tables: Sequence[Mapping[str, Number]]) -> list[str]:
    return sorted(set.intersection(*(set(table) for table in tables))) if tables else []


def _concordances(better: Advantages, purpose: str, seed: int) -> list[Row]:
    by_models = [
        _stacked(by_arm, groups)
        for by_arm in better.values()
        for groups in [_common_groups(list(by_arm.values()))]
        if len(by_arm) > 1 and len(groups) > 1
    ]
    models: Row = {"analysis": "kendall", "item": "models", "n": len(by_models)}
    if by_models:
        seen = shared_kendall([values for values, _ in by_models], [draws for _, draws in by_models])
        models |= {"value": number(seen.value), "p_value": seen.p_value, "reason": seen.reason}
    else:
        models["reason"] = "too_few: no dataset has two arms with two groups in common"
    return [models, _concordance_of_datasets(better, purpose, seed)]


def _concordance_of_datasets(better: Advantages, purpose: str, seed: int) -> Row:
    means = {
        dataset: {
            group: float(np.mean([own[group].value for own in by_arm.values()]))
            for group in _common_groups(list(by_arm.values()))
        }
        for dataset, by_arm in better.items()
    }
    means = {dataset: groups for dataset, groups in means.items() if len(groups) > 1}
    row: Row = {"analysis": "kendall", "item": "datasets", "n": len(means)}
    common = sorted(set.intersection(*(set(groups) for groups in means.values()))) if means else []
    if len(means) < MINIMUM_DATASETS or len(common) < 2:
        reason = f"too_few: {len(means)} datasets with {len(common)} groups in common, {MINIMUM_DATASETS} and 2 are needed"
        return row | {"reason": reason}
    table = np.array([[groups[group] for group in common] for groups in means.values()])
    test = kendall_test(table, stream(seed, f"kendall:{purpose}", sorted(means), 0))
    if math.isnan(test.w):
        return row | {"reason": "no_variation: all groups are ties"}
    others = sorted({group for groups in means.values() for group in groups} - set(common))
    left_out = f"groups not on every dataset left out: {', '.join(others)}" if others else None
    return row | {"value": test.w, "p_value": test.p_value, "reason": left_out}


def _components(numbers: Mapping[str, Mapping[Arm, Number]], alpha: float) -> list[Row]:
    cells = [
        (value, dataset, arm)
        for dataset, by_arm in numbers.items()
        for arm, own in by_arm.items()
        for value in own.by_seed.values()
    ]
    factors = {
        "dataset": np.array([dataset for _, dataset, _ in cells]),
        "model": np.array([arm.model or "" for _, _, arm in cells]),
        "usage": np.array([arm.usage or "" for _, _, arm in cells]),
    }
    mitigations = np.array([arm.mitigation or "" for _, _, arm in cells])
    if len(np.unique(mitigations)) > 1:
        factors["mitigation"] = mitigations
    found = variance_components(np.array([value for value, _, _ in cells]), factors, alpha=alpha)
    return [
        {
            "analysis": "variance",
            "item": part.name,
            "value": part.share,
            "ci_low": part.ci_low,
            "ci_high": part.ci_high,
            "n": len(numbers),
            "reason": part.reason,
        }
        for part in found
    ]
