"""What an audit gives: the measured tables, the claims, and the files made of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evaluator.auditing.coverage import Coverage
from evaluator.auditing.defaults import TUNED, tuned_rules
from evaluator.auditing.limits import Verdict
from evaluator.auditing.measuring import Tables
from evaluator.auditing.names import normal
from evaluator.auditing.options import NOT_USED, Role
from evaluator.auditing.summary import results_of, write_summary
from evaluator.measure import MeasureSettings
from evaluator.report.words import plural
from shards.errors import UserError
from shards.files import write_atomically, write_text

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from evaluator.report.content import StudyContent


@dataclass(frozen=True, repr=False)
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
    coverage
        How many rows each result has, and what those lack that could not be measured.
    left_out
        (attribute, why) of those that are called like attributes and are not compared.
    """

    name: str
    tables: Tables
    findings: pd.DataFrame
    settings: MeasureSettings
    roles: tuple[Role, ...]
    notes: tuple[str, ...]
    limits: tuple[Verdict, ...] = field(default=())
    coverage: tuple[Coverage, ...] = field(default=())
    left_out: tuple[tuple[str, str], ...] = field(default=())

    def __repr__(self) -> str:
        results = results_of(self.groups, self.findings, self.gaps, self.settings.threshold)
        claims = [finding for result in results for finding in result.claims["finding"]]
        found = plural(claims.count("gap found"), "gap")
        return f"<AuditResult of {self.name!r}: {found} found in {plural(len(claims), 'comparison')}>"

    @property
    def groups(self) -> pd.DataFrame:
        """Metrics of every group, columns of :data:`evaluator.tables.METRICS`."""
        return _measured(self.tables.metrics)

    @property
    def gaps(self) -> pd.DataFrame:
        """Gaps between groups, columns of :data:`evaluator.tables.GAPS`."""
        return _measured(self.tables.gaps)

    @property
    def comparisons(self) -> pd.DataFrame:
        """Differences between models, columns of :data:`evaluator.tables.COMPARISONS`."""
        return _measured(self.tables.comparisons)

    @property
    def violated(self) -> tuple[Verdict, ...]:
        """Limits that are violated or cannot be judged."""
        return tuple(verdict for verdict in self.limits if verdict.violated)

    @property
    def summary(self) -> str:
        """The audit in plain words, as text that is also Markdown."""
        return write_summary(self)

    @property
    def _subject(self) -> str:
        """What one subject is called: a patient where the column says so."""
        columns = next((role.columns for role in self.roles if role.role == "subject"), ())
        return "patient" if any(normal(column).startswith("patient") for column in columns) else "subject"

    @property
    def _verdicts(self) -> tuple[tuple[str, bool, str], ...]:
        """(condition, violated, sentence) of all limits, violated ones first; names the result where there are several."""
        several = len({verdict.result for verdict in self.limits}) > 1
        ordered = sorted(self.limits, key=lambda verdict: not verdict.violated)
        return tuple(
            (v.limit, v.violated, f"{v.result}: {v.sentence}" if several else v.sentence) for v in ordered
        )

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

        Raises
        ------
        UserError
            If there is a file of that name.
        """
        from evaluator.report.html import write
        from evaluator.report.tables import to_csv, whole_counts
        from evaluator.tables import GAPS, METRICS

        out = check_folder(folder)
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
            (
                "columns not used" if role.role == NOT_USED else f"read as {role.role}",
                f"{', '.join(role.columns) or '-'}{role.why and f': {role.why}'}",
            )
            for role in self.roles
        )
        rows = tuple(f"{sentence}." for sentence in dict.fromkeys(item.sentence for item in self.coverage))
        left_out = tuple(f"{name} is not compared: it {why}." for name, why in self.left_out)
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
            methods=(*rows, *left_out, *(_sentence(note) for note in self.notes), *_methods(settings)),
            subject=self._subject,
            limits=self._verdicts,
            alpha=settings.alpha,
            curves=self.tables.curves,
            comparisons=self.tables.comparisons,
            across=self.tables.across,
            selection=self.tables.selection,
        )
        return replace(content, methods_text=methods_text(content, settings))


def check_folder(folder: str | Path) -> Path:
    """Return the path of a folder to write.

    Raises
    ------
    UserError
        If it is a file.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise UserError(
            f"--out must be a folder (made if need be), and {str(path)!r} is a file. Name another one."
        )
    return path


def _sentence(note: str) -> str:
    """Close a note; how it begins is left alone, for that may be the name of a column."""
    return note if note.endswith(".") else f"{note}."


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
    how = "chosen on the validation rows of the table" if chosen.startswith("val:") else "fixed beforehand"
    tuned = tuned_rules(settings)
    legacy = (
        (f"What stands under {', '.join(tuned)} has a threshold {TUNED}: it is optimistic.",) if tuned else ()
    )
    return (
        f"Decisions: {chosen}; {how}.",
        *legacy,
        f"A group needs {settings.minimum_subjects} subjects ({settings.minimum_positives} positive and"
        f" {settings.minimum_negatives} negative where the metric needs them) to be judged.",
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fairray")
    except PackageNotFoundError:
        return "not installed"
