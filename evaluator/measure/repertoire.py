"""Which metrics are computed of predictions: the default set, and what the study's conventions add."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from evaluator.measure.scored import Reading
from evaluator.measure.settings import MeasureSettings
from evaluator.metrics.calibration import (
    brier,
    calibration_line,
    clamped_log_loss,
    debiased_ce2,
    ece,
    log_loss,
    mass_ece,
)
from evaluator.metrics.classification import (
    Scored,
    adjusted_average_precision,
    argmax_metrics,
    auc,
    average_precision,
    class_f1_metrics,
    error_rates,
    generalised_entropy,
    mean_benefit,
    threshold_metrics,
)
from evaluator.metrics.conventions import ece_bins
from evaluator.metrics.metric import Metric
from evaluator.metrics.pointwise import auprg, range_ece, tpr_at_tnr
from evaluator.metrics.thresholds import Threshold
from shards.card import Target
from shards.errors import unknown_name

#: Convention of decisions that came with the table.
GIVEN = "decisions:given"
LABELS_ONLY = "labels_only: the table holds decisions and no scores"

#: Names of a positive class that is health: there under- and over-diagnosis change places.
_HEALTHY = ("no finding", "no findings", "healthy", "normal", "no_finding", "absent")


def repertoire(
    reading: Reading, target: Target, thresholds: Sequence[Threshold], settings: MeasureSettings
) -> tuple[Metric, ...]:
    """List the metrics in the order of the tables, each name and convention once.

    Parameters
    ----------
    reading
        The measured rows.
    target
        What they predict.
    thresholds
        Where decisions are cut, the default one first; empty for several classes.
    settings
        With the conventions asked for.
    """
    data = reading.data
    named = (
        _binary(reading, target, thresholds, settings)
        if data.positive is not None
        else _multi(reading, target, settings)
    )
    found = tuple({(metric.name, metric.convention): metric for metric in named}.values())
    return chosen(found, settings)


def chosen(metrics: Sequence[Metric], settings: MeasureSettings) -> tuple[Metric, ...]:
    """Keep the metrics that the settings name.

    Raises
    ------
    UserError
        If a name is none of them; names the nearest.
    """
    known = {metric.name for metric in metrics}
    for name in settings.metrics:
        if name not in known:
            raise unknown_name("metric of measure.metrics:", name, known)
    return tuple(metric for metric in metrics if not settings.metrics or metric.name in settings.metrics)


def undefined(reading: Reading, metrics: Sequence[Metric]) -> tuple[str | None, ...]:
    """Say of each metric why it has no value: those of scores where there are only decisions."""
    if not reading.decided_only:
        return (None,) * len(metrics)
    return tuple(None if _of_decisions(metric) else LABELS_ONLY for metric in metrics)


def _of_decisions(metric: Metric) -> bool:
    return metric.convention.startswith((GIVEN, "class:", "f1:"))


def _binary(
    reading: Reading, target: Target, thresholds: Sequence[Threshold], settings: MeasureSettings
) -> Iterator[Metric]:
    data = reading.data
    yield auc(data)
    if not reading.decided_only:
        yield average_precision(data)
    for threshold in thresholds:
        yield from of_decisions(threshold, target, settings)
    if reading.decided_only:
        return
    yield from (brier(data), log_loss(), ece(data, bins=15), debiased_ce2())
    yield from _asked(data, settings)


def of_decisions(
    threshold: Threshold, target: Target, settings: MeasureSettings, by_row: tuple[float, ...] | None = None
) -> Iterator[Metric]:
    """Yield the metrics of decisions at a threshold; `by_row` replaces its value by one for each row."""
    value = threshold.value if by_row is None else by_row
    convention, strict = threshold.convention, threshold.strict
    found = list(threshold_metrics(value, convention, strict=strict))
    asked = settings.tokens("metric")
    if "fpr" in asked or "fnr" in asked:
        rates = error_rates(value, convention, names=("fnr", "fpr"), strict=strict)
        found += [metric for metric in rates if metric.name in asked]
    if "diagnosis:rates" in asked:
        names = ("underdiagnosis", "overdiagnosis")
        healthy = (target.positive or "").casefold() in _HEALTHY
        found += error_rates(value, convention, names=names[::-1] if healthy else names, strict=strict)
    if "ge:2" in asked:
        found.append(generalised_entropy(value, convention, strict=strict))
        found.append(mean_benefit(value, convention, strict=strict))
    told = "threshold chosen on the rows measured: optimistic" if threshold.optimistic else None
    note = "; ".join(text for text in (threshold.reason, told) if text)
    yield from (metric.noted(note or None) for metric in found)


def _multi(reading: Reading, target: Target, settings: MeasureSettings) -> Iterator[Metric]:
    data = reading.data
    yield auc(data)
    yield from argmax_metrics(len(target.classes))
    if "var_f1" in settings.tokens("metric"):
        yield from class_f1_metrics(target.classes)
    if reading.decided_only:
        return
    yield from (brier(data), log_loss(), ece(data, bins=15), debiased_ce2())
    yield from _binned(data, settings)


def _asked(data: Scored, settings: MeasureSettings) -> Iterator[Metric]:
    """Yield the further metrics of scores that conventions ask for."""
    yield from _binned(data, settings)
    optional: dict[str, Callable[[], tuple[Metric, ...]]] = {
        "ece:range10": lambda: (range_ece(),),
        "calibration:line": lambda: calibration_line(data),
        "auprc:adjusted": lambda: (adjusted_average_precision(data),),
        "auprg": lambda: (auprg(),),
        "bce:clamp100": lambda: (clamped_log_loss(),),
        "tpr_at_tnr80": lambda: (tpr_at_tnr(0.8),),
    }
    for token in settings.tokens("calibration", "metric"):
        if token in optional:
            yield from optional[token]()


def _binned(data: Scored, settings: MeasureSettings) -> Iterator[Metric]:
    for token in settings.tokens("calibration"):
        binned = ece_bins(token)
        if binned is not None:
            yield ece(data, bins=binned[1]) if binned[0] == "fixed" else mass_ece(bins=binned[1])
