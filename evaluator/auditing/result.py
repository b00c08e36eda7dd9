"""What an audit gives: the measured tables, the claims, and the files made of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evaluator.auditing.limits import Verdict
from evaluator.auditing.measuring import Tables
from evaluator.auditing.names import normal
from evaluator.auditing.options import Role
from evaluator.auditing.summary import write_summary
from evaluator.measure import MeasureSettings
from shards.files import write_atomically, write_text

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from evaluator.report.content import StudyContent


@dataclass(frozen=True)
class AuditResult:
    """An audit.

    Attributes
    ----------
    name
        Of the table.
    tables
        All measured tables.
    findings
        One row per judged gap: what is claimed, and the sentence that says it.
    settings
        How it was measured.
    roles
        What columns were taken for, and why.
    notes
        What was assumed or found odd, one sentence each.
    limits
        Verdicts on the limits that were given.
    """

    name: str
    tables: Tables
    findings: pd.DataFrame
    settings: MeasureSettings
    roles: tuple[Role, ...]
    notes: tuple[str, ...]
    limits: tuple[Verdict, ...] = field(default=())

    @property
    def groups(self) -> pd.DataFrame:
        """Metrics of every group, columns of :data:`evaluator.tables.METRICS`."""
        return _measured(self.tables.metrics)

    @property
    def gaps(self) -> pd.DataFrame:
        """Gaps between groups, columns of :data:`evaluator.tables.GAPS`."""
        return _measured(self.tables.gaps)

    @property
    def violated(self) -> tuple[Verdict, ...]:
        """Limits that are violated or cannot be judged."""
        return tuple(verdict for verdict in self.limits if verdict.violated)

    @property
    def summary(self) -> str:
        """The audit in plain words, as text that is also Markdown."""
        return write_summary(
            self.name,
            self.groups,
            self.tables.failures,
            self.findings,
            _measured(self.tables.comparisons),
            self.roles,
            self.notes,
            alpha=self.settings.alpha,
            verdicts=self.limits,
        )

    @property
    def _subject(self) -> str:
        """What one subject is called: a patient where the column says so."""
        columns = next((role.columns for role in self.roles if role.role == "subject"), ())
        return "patient" if any(normal(column).startswith("patient") for column in columns) else "subject"

    def report(self, path: str | Path) -> Path:
        """Write the HTML report, one self-contained page, and return its path."""
        from evaluator.report.html import render

        page = Path(path)
        write_text(page, render(self.content()))
        return page

    def write(self, folder: str | Path) -> Path:
        """Write everything into a folder and return it.

        Files: ``report.html``, ``summary.md``, ``groups.parquet``, ``groups.csv``, ``gaps.parquet``, ``gaps.csv``, and in
        ``tables/`` what papers need (LaTeX, Markdown, CSV). Files of these names are replaced, each whole or not at all.
        """
        from evaluator.report.html import write
        from evaluator.report.tables import to_csv, whole_counts
        from evaluator.tables import GAPS, METRICS

        out = Path(folder)
        write(self.content(), out)
        for name, frame, schema in (("groups", self.groups, METRICS), ("gaps", self.gaps, GAPS)):
            _write_parquet(out / f"{name}.parquet", frame, schema)
            write_text(out / f"{name}.csv", to_csv(whole_counts(frame)))
        write_text(out / "summary.md", self.summary)
        return out

    def content(self) -> StudyContent:
        """Return what the report shows."""
        from evaluator.report.content import StudyContent
        from evaluator.report.methods import methods_text

        settings = self.settings
        read = tuple(
            (f"read as {role.role}", f"{', '.join(role.columns) or '-'}: {role.why}") for role in self.roles
        )
        facts = (
            ("table", self.name),
            *read,
            ("bootstrap replicates", str(settings.bootstrap)),
            ("permutations", str(settings.permutations)),
            ("seed", str(settings.seed)),
            ("version", _version()),
        )
        content = StudyContent(
            name=f"Audit of {self.name}",
            created=None,
            metrics=self.tables.metrics,
            gaps=self.tables.gaps,
            findings=self.findings,
            failures=self.tables.failures,
            provenance=facts,
            methods=(*(_sentence(note) for note in self.notes), *_methods(settings)),
            subject=self._subject,
            alpha=settings.alpha,
            curves=self.tables.curves,
            comparisons=self.tables.comparisons,
            across=self.tables.across,
            selection=self.tables.selection,
        )
        return replace(content, methods_text=methods_text(content, settings))


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}{'' if note.endswith('.') else '.'}"


def _measured(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out what was measured on validation rows, only to choose between models."""
    return frame[frame["split"] != "val"].reset_index(drop=True)


def _write_parquet(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(None)
    write_atomically(path, lambda out: pq.write_table(table, out, compression="zstd"))


def _methods(settings: MeasureSettings) -> tuple[str, ...]:
    chosen = settings.threshold
    how = (
        "chosen on the validation rows of the table"
        if chosen.startswith("val:")
        else "nothing was tuned on the table"
    )
    return (
        f"Decisions: {chosen}; {how}.",
        f"A group needs {settings.minimum_subjects} subjects ({settings.minimum_positives} positive and"
        f" {settings.minimum_negatives} negative where the metric needs them) to be judged.",
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fairray")
    except PackageNotFoundError:
        return "not installed"
