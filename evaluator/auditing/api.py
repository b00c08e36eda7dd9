"""``audit``: from a table of predictions to what it says about groups of people. No Ray, no GPU, no torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluator.auditing.columns import shown
from evaluator.auditing.coverage import coverage_of
from evaluator.auditing.defaults import TUNED, tuned_rules
from evaluator.auditing.layout import Layout, lay_out
from evaluator.auditing.limits import Limit, judge_limits, parse_limit
from evaluator.auditing.measuring import measure_all
from evaluator.auditing.names import as_column
from evaluator.auditing.options import Hints, Source
from evaluator.auditing.reading import load
from evaluator.auditing.result import AuditResult
from evaluator.auditing.summary import STANDARDISED
from evaluator.measure import MeasureSettings
from evaluator.measure.standardised import TARGET
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

Names = str | Sequence[str] | None
Bins = Mapping[str, Sequence[float]] | str | Sequence[str] | None


def audit(
    table: Any,
    *,
    target: Names = None,
    score: Names = None,
    pred: Names = None,
    subject: str | None = None,
    attributes: Names = None,
    bins: Bins = None,
    intersections: Names = None,
    sample: str | None = None,
    model: str | None = None,
    val: str | None = None,
    positive: str | None = None,
    classes: Names = None,
    logits: bool = False,
    independent_rows: bool = False,
    threshold: str | None = None,
    conventions: Names = None,
    standardize: Names = None,
    bootstrap: int = 2000,
    permutations: int = 1000,
    seed: int = 0,
    alpha: float = 0.05,
    minimum_subjects: int = 20,
    baseline: str | None = None,
    fail_if: Names = None,
    join: str | Path | None = None,
    on: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    workers: int | None = None,
) -> AuditResult:
    """Measure how well predictions serve each group of people, and how certain that is.

    What is not given is guessed from the names of columns, and said in the result's `roles`; what cannot be told is an error.

    Parameters
    ----------
    table
        Path of a CSV, TSV, Parquet, Feather, JSON or Excel file or of FairMedFM's ``predictions.pkl``, or a DataFrame, or an
        Arrow table.
    target, score, pred
        Columns of true classes, of scores in [0, 1] (patterns such as ``p_*`` are allowed), of predicted classes.
    subject
        Column of the person's id: people are drawn and permuted, not rows.
    attributes
        Columns whose groups are compared.
    bins
        Attribute -> rising edges, e.g. ``{"age": [40, 60, 80]}``; or texts as on the command line, ``"age=40,60,80"``.
    intersections
        Attributes joined by ``*``, e.g. ``"sex*age"``.
    sample, model
        Columns of sample ids and of model names.
    val
        Column that says train, val and test, ``"COLUMN=VALUE"`` for the validation rows, or ``"none"``.
    positive
        Class of interest; of more than two classes it is measured against all others.
    classes
        Class names in the order of the score columns, or of the numbers in a column of lists.
    logits
        Scores are logits; so are columns that are called so.
    independent_rows
        There are no subjects: every sample is another person.
    threshold
        Rule of decisions; ``"val:youden"`` where there are validation rows, else ``"fixed:0.5"``.
    conventions
        Further formulas to report.
    standardize
        Attributes, or ``"target"``, that all groups are re-weighted to share: what is left of a gap when e.g. age is taken out.
    bootstrap, permutations, seed, alpha
        Replicates of intervals, permutations of tests, their seed, and the level of claims in (0, 1).
    minimum_subjects
        Smaller groups are shown without values.
    baseline
        Model that all others are compared with; the best one by default.
    fail_if
        Limits, see :mod:`evaluator.auditing.limits`.
    join, on
        A second table with more columns, and the shared column (``"order"``: row by row).
    sheet, encoding
        Of an Excel file, of a text file.
    workers
        Results measured at a time; never changes a number.

    Returns
    -------
    AuditResult
        Tables, claims and the report.

    Raises
    ------
    Missing
        A UserError: if the table leaves open what only the user can say; names all of it at once, with the options.
    UserError
        If the table cannot be read, is ambiguous, or holds what cannot be measured; says what to do.
    """
    limits = [parse_limit(text) for text in ([fail_if] if isinstance(fail_if, str) else fail_if or [])]
    loaded = load(table, Source(sheet, encoding, None if join is None else Path(join), on))
    columns = list(loaded.frame.columns)
    hints = Hints(
        target=_names(target, columns),
        score=_names(score, columns),
        pred=_names(pred, columns),
        attributes=tuple(as_column(name, columns) for name in _names(attributes, columns)),
        subject=subject,
        sample=sample,
        model=model,
        independent_rows=independent_rows,
        val=val,
        bins={as_column(name, columns): edges for name, edges in _edges(_bins(bins)).items()},
        intersections=tuple(
            "*".join(as_column(part.strip(), columns) for part in name.split("*"))
            for name in _names(intersections)
        ),
        positive=None if positive is None else str(positive).strip(),
        classes=_names(classes),
        logits=logits,
    )
    layout = lay_out(loaded.frame, loaded.name, hints)
    _check_attributes(limits, layout)
    _check_standardised(_names(standardize), layout)
    settings = _settings(
        layout,
        threshold,
        conventions=_names(conventions),
        standardize=_names(standardize),
        bootstrap=bootstrap,
        permutations=permutations,
        seed=seed,
        alpha=alpha,
        minimum_subjects=minimum_subjects,
        minimum_positives=min(10, minimum_subjects),
        minimum_negatives=min(10, minimum_subjects),
        baseline=baseline,
    )
    return _measured(loaded.name, layout, settings, limits, loaded.notes, workers)


def _measured(
    name: str,
    layout: Layout,
    settings: MeasureSettings,
    limits: Sequence[Limit],
    notes: Sequence[str],
    workers: int | None,
) -> AuditResult:
    from evaluator.statistics.findings import findings

    tables = measure_all(layout, settings, workers)
    tested = {
        name: frame[frame["split"] != "val"]
        for name, frame in (("metrics", tables.metrics), ("gaps", tables.gaps))
    }
    claims = findings(
        tested["gaps"],
        alpha=settings.alpha,
        relevant=settings.relevant_gap,
        permutations=settings.permutations,
    )
    verdicts = judge_limits(limits, tested["metrics"], tested["gaps"], threshold=settings.threshold)
    said = (
        *notes,
        *layout.notes,
        *_reversed_notes(tested["metrics"]),
        *_threshold_notes(layout, settings),
        *_standardised_notes(settings, tables.gaps),
    )
    return AuditResult(
        name,
        tables,
        claims,
        settings,
        layout.said,
        said,
        verdicts,
        coverage_of(layout),
        tuple(layout.left_out.items()),
    )


def _reversed_notes(metrics: pd.DataFrame) -> tuple[str, ...]:
    """Say where scores rank the wrong way round beyond chance: then the better group is the worse one, too."""
    overall = metrics[(metrics["attribute"] == "all") & (metrics["convention"] == "auc:midrank")]
    below = overall[overall["ci_high"].astype(float) < 0.5]
    names = [
        ", ".join(str(row[key]) for key in ("target", "model") if isinstance(row[key], str))
        for _, row in below.iterrows()
    ]
    return tuple(
        f"Caution: the scores of {name} rank worse than guessing (AUC below 0.5 beyond chance), so that a group that looks"
        " better may be the worse one. If they are scores of the other class, name it with --positive"
        for name in names
    )


def _standardised_notes(settings: MeasureSettings, gaps: pd.DataFrame) -> tuple[str, ...]:
    """Say where re-weighting was asked for and nothing came of it."""
    there = {str(name).partition("|")[2] for name in gaps.loc[gaps["raw"].notna(), "convention"]}
    return tuple(
        f"Nothing could be re-weighted to the same {name}: that needs scores or masks, an attribute other than {name}, and"
        " groups that overlap in it"
        for name in settings.standardize
        if f"{name}{STANDARDISED}" not in there
    )


def _threshold_notes(layout: Layout, settings: MeasureSettings) -> tuple[str, ...]:
    scored = any(part.target is not None and part.target.positive and part.scored for part in layout.parts)
    if not scored:
        return ()
    if settings.threshold.startswith("val:"):
        told = f"Thresholds are chosen on the val rows ({settings.threshold}); test rows are measured"
    elif layout.has_val:
        told = f"Decisions use {settings.threshold}, as told; val rows are not measured"
    else:
        told = (
            f"Decisions use a fixed threshold ({settings.threshold}); with a column of splits (--val) it would be chosen on"
            " validation rows"
        )
    tuned = tuned_rules(settings)
    if not tuned:
        return (told if layout.has_val else f"{told}. Nothing was tuned on this table",)
    return (
        told,
        f"Caution: numbers under {shown(tuned)}, asked for with --conventions, have a threshold {TUNED}: they are optimistic."
        " The headline and unqualified names in limits do not use them",
    )


def _settings(layout: Layout, threshold: str | None, **options: Any) -> MeasureSettings:
    """Build the settings; what pydantic refuses becomes a message."""
    from pydantic import ValidationError

    rule = threshold or ("val:youden" if layout.has_val else "fixed:0.5")
    if rule.startswith("val:") and not layout.has_val:
        raise UserError(
            f"threshold {rule!r} is chosen on validation rows, and the table names none. Say which rows they are with --val, or"
            " give a fixed threshold such as --threshold fixed:0.5."
        )
    try:
        return MeasureSettings(threshold=rule, **options)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{'.'.join(map(str, first['loc']))} is not valid: {first['msg']} (got {first['input']!r})."
        ) from None


def _names(given: Names, known: Iterable[str] = ()) -> tuple[str, ...]:
    """Return names given as one, as several, or as texts with commas (not those in brackets, nor in a column's name)."""
    several = [given] if isinstance(given, str) else list(given or [])
    columns = set(known)
    parts = [
        part.strip()
        for text in map(str, several)
        for part in ([text] if text in columns else re.split(r",(?![^(]*\))", text))
    ]
    return tuple(dict.fromkeys(part for part in parts if part))


def _bins(given: Bins) -> Mapping[str, Sequence[float]]:
    """Return bins given as a mapping, or as on the command line."""
    if given is None or isinstance(given, Mapping):
        return given or {}
    edges: dict[str, list[float]] = {}
    for text in [given] if isinstance(given, str) else given:
        name, _, values = str(text).rpartition("=")
        try:
            edges[name.strip()] = [float(value) for value in values.split(",")]
        except ValueError:
            name = ""
        if not name.strip():
            raise UserError(
                f"--bins must be an attribute and rising numbers such as age=40,60,80, got {text!r}."
            )
    return edges


def _edges(bins: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    edges = {}
    for name, values in bins.items():
        try:
            numbers = tuple(float(value) for value in values)
        except (TypeError, ValueError):
            numbers = ()
        if not numbers or any(low >= high for low, high in itertools.pairwise(numbers)):
            raise UserError(f"bins of {name!r} must be rising numbers such as 40,60,80, got {values!r}.")
        edges[name] = numbers
    return edges


def _check_standardised(names: Sequence[str], layout: Layout) -> None:
    """Refuse to re-weight by what is no attribute, before anything is measured."""
    known = [rule.name for rule in layout.rules]
    for name in names:
        if name == TARGET and any(part.target is None for part in layout.parts):
            raise UserError("--standardize target needs true classes, and the table holds scores of masks.")
        if name not in (*known, TARGET):
            raise unknown_name("attribute", name, [*known, TARGET], hint="(--standardize)")


def _check_attributes(limits: Sequence[Limit], layout: Layout) -> None:
    """Refuse limits on attributes that are not compared, before anything is measured."""
    known = [rule.name for rule in layout.rules]
    for limit in limits:
        for call in limit.calls():
            if len(call.arguments) > 1 and call.arguments[1] not in known:
                hint = f"(--fail-if {limit.text!r}; compared: {shown(known)})"
                raise unknown_name("attribute", call.arguments[1], known, hint=hint)
