"""What a report is made of: the measured tables and the facts around them. No drawing, no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from shards.audit.findings import Audit
    from shards.card import DatasetCard

#: Columns of `StudyContent.findings` that the report reads; other keys of results are used where present.
FINDING_COLUMNS = (
    "dataset", "model", "usage", "target", "structure", "prompt", "attribute", "metric", "finding", "sentence"
)  # fmt: skip
FAILURE_COLUMNS = ("dataset", "model", "usage", "attribute", "group", "status", "rows", "share")


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset as it was evaluated.

    Attributes
    ----------
    card
        Its description.
    counts
        Samples per split.
    rejected
        Samples left out by the conversion, per reason.
    fingerprint
        Hash over the dataset's index.
    named
        What the tables call it; the card's name where a study gives no other.
    audit
        What the conversion noticed about its data; None where it is not known.
    """

    card: DatasetCard
    counts: Mapping[str, int]
    rejected: Mapping[str, int]
    fingerprint: str
    named: str | None = None
    audit: Audit | None = None

    @property
    def name(self) -> str:
        """What the tables call it."""
        return self.named or self.card.name


@dataclass(frozen=True)
class ModelFacts:
    """A model as it was evaluated.

    Attributes
    ----------
    name, licence
        As on its card.
    weights_sha256
        Hash of the weights that were loaded; None when no weights were.
    notes
        What a reader of results must know, one sentence each.
    trained_on
        Names of datasets seen in training: contamination.
    """

    name: str
    licence: str
    weights_sha256: str | None
    notes: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskFacts:
    """One unit of work as it was done.

    Attributes
    ----------
    task
        Its identity.
    kind
        E.g. ``"embed"``, ``"predict"``, ``"segment"``.
    dataset, model, usage, seed
        What it was about; None where that does not apply.
    rows, failed_rows
        Rows written, and how many of them have a status other than ``"ok"``.
    seconds
        Wall time.
    host
        Machine that did it.
    """

    task: str
    kind: str
    dataset: str | None
    model: str | None
    usage: str | None
    seed: int | None
    rows: int
    failed_rows: int
    seconds: float | None
    host: str | None


def _empty(table: str) -> Callable[[], pd.DataFrame]:
    """Return a maker of an empty frame with the columns of a table of :mod:`evaluator.tables`."""

    def make() -> pd.DataFrame:
        import pandas as pd

        import evaluator.tables

        return pd.DataFrame(columns=getattr(evaluator.tables, table).names)

    return make


@dataclass(frozen=True)
class StudyContent:
    """All that a report shows, of a study or of the audit of one table of predictions.

    Attributes
    ----------
    name
        Of the study.
    created
        When it was measured, as text; None keeps the page free of dates, so that equal studies give equal
        bytes.
    metrics, gaps
        Tables with the columns of :data:`evaluator.tables.METRICS` and :data:`evaluator.tables.GAPS`. Keys
        that do not apply are null; rows of the split ``val`` may stand beside those of ``test``.
    findings
        One row per claim, columns :data:`FINDING_COLUMNS`; `finding` is ``"gap found"``, ``"no reliable gap"``
        or ``"cannot judge"`` and `sentence` says it with the numbers it rests on. With `detectable` and
        `tests` (see :func:`evaluator.statistics.findings.findings`) the first screen says what this test set
        could have seen.
    failures
        Rows that could not be used, columns :data:`FAILURE_COLUMNS`; `share` is of all rows of that group, in
        [0, 1].
    datasets, models, tasks
        What took part.
    skipped
        What was asked for and cannot be done, one line each.
    provenance
        (name, value) pairs: versions, seeds, command, store.
    methods
        Sentences on what is special to this study; the report adds how gaps, intervals and rankings are made.
    alpha
        Significance level; intervals have level 1 - alpha.
    curves, comparisons, across, selection
        Tables with the columns of :data:`evaluator.tables.CURVES`, :data:`~evaluator.tables.COMPARISONS`,
        :data:`~evaluator.tables.ACROSS` and :data:`~evaluator.tables.SELECTION`; what is empty is not shown.
    representation
        Rows of probes of a representation, columns of :data:`evaluator.tables.METRICS`: how well each attribute (the
        target ``attribute:sex``) can be read from a model's features. A question of its own, shown apart.
    limits
        (condition, violated, sentence) of limits that a pipeline declares, in the order in which they are shown.
    methods_text
        A paragraph for a paper, as :func:`evaluator.report.methods.methods_text` writes it; empty for none.
    subject
        What one subject is where no dataset card says it, e.g. ``"patient"``.

    Raises
    ------
    UserError
        If a table lacks a column.
    """

    name: str
    created: str | None
    metrics: pd.DataFrame
    gaps: pd.DataFrame
    findings: pd.DataFrame
    failures: pd.DataFrame
    datasets: tuple[DatasetFacts, ...] = ()
    models: tuple[ModelFacts, ...] = ()
    tasks: tuple[TaskFacts, ...] = ()
    skipped: tuple[str, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    methods: tuple[str, ...] = field(default=())
    alpha: float = 0.05
    curves: pd.DataFrame = field(default_factory=_empty("CURVES"))
    comparisons: pd.DataFrame = field(default_factory=_empty("COMPARISONS"))
    across: pd.DataFrame = field(default_factory=_empty("ACROSS"))
    selection: pd.DataFrame = field(default_factory=_empty("SELECTION"))
    representation: pd.DataFrame = field(default_factory=_empty("METRICS"))
    limits: tuple[tuple[str, bool, str], ...] = ()
    methods_text: str = ""
    subject: str = "subject"

    def __post_init__(self) -> None:
        from evaluator.tables import ACROSS, COMPARISONS, CURVES, GAPS, METRICS, SELECTION

        _require("metrics", self.metrics, METRICS.names)
        _require("gaps", self.gaps, GAPS.names)
        _require("curves", self.curves, CURVES.names)
        _require("comparisons", self.comparisons, COMPARISONS.names)
        _require("across", self.across, ACROSS.names)
        _require("selection", self.selection, SELECTION.names)
        _require("representation", self.representation, METRICS.names)
        _require("findings", self.findings, FINDING_COLUMNS)
        _require("failures", self.failures, FAILURE_COLUMNS)

    def subject_of(self, dataset: str) -> str:
        """Return what one subject of a dataset is called."""
        return next((f.card.subject for f in self.datasets if f.name == dataset), self.subject)

    def has_splits(self, dataset: str) -> bool:
        """Return whether a dataset was split: it is one that was converted, or rows of several splits were measured."""
        rows = self.metrics["dataset"].fillna("") == dataset
        return any(f.name == dataset for f in self.datasets) or self.metrics.loc[rows, "split"].nunique() > 1

    def contaminated(self, dataset: str) -> tuple[str, ...]:
        """Return the models that saw a dataset in training, whatever the study calls it."""
        own = next((f.card.name for f in self.datasets if f.name == dataset), dataset)
        return tuple(model.name for model in self.models if own in model.trained_on)


def _require(table: str, frame: pd.DataFrame, columns: tuple[str, ...] | list[str]) -> None:
    """Raise where columns are missing, naming them all at once."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns)) or "none"
        raise UserError(
            f"table '{table}' of the report lacks column {', '.join(missing)} (found: {found}). "
            "Measure the study again with this version."
        )
