"""The ``fairray`` command: arguments, exit codes, and messages without tracebacks for what a user can mend.

Commands import what they need when they run, so that ``fairray --help`` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jobs import cli_datasets, cli_models
from jobs.cli_options import (
    AsJson,
    BatchSize,
    DatasetGlob,
    FailBudget,
    Limit,
    ModelGlob,
    Offline,
    Override,
    Seed,
    StoreFolder,
    StudyFile,
)
from shards.errors import FairRayError, UserError

app = typer.Typer(
    name="fairray",
    help="Which foundation model serves this medical imaging task best, and whom does it fail?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_datasets.app, name="datasets", rich_help_panel=None)
app.add_typer(cli_models.app, name="models", rich_help_panel=None)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fairray {version('fairray')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Evaluate medical foundation models: utility and fairness, with uncertainty."""


@app.command(
    epilog="Examples: fairray run examples/demo.yaml | fairray run STUDY -o measure.bootstrap=500 --workers 8"
)
def run(
    study: StudyFile,
    override: Override = None,
    store: StoreFolder = None,
    seed: Seed = None,
    fail_budget: FailBudget = None,
    models: ModelGlob = "*",
    datasets: DatasetGlob = "*",
    limit: Limit = None,
    offline: Offline = True,
    batch_size: BatchSize = 32,
    workers: Annotated[int | None, typer.Option(min=1, help="Items at a time; all CPUs by default.")] = None,
    address: Annotated[
        str | None, typer.Option(envvar="RAY_ADDRESS", help="Address of a running Ray cluster.")
    ] = None,
    dashboard: Annotated[bool, typer.Option(help="Serve Ray's dashboard on loopback.")] = False,
    gpu_share: Annotated[float, typer.Option(min=0.01, max=1, help="Share of a GPU per worker.")] = 1.0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default what torch sees.")] = None,
    executor: Annotated[str, typer.Option(help="ray, or serial (this process only).")] = "ray",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a study: convert, compute, measure, report. Safe to repeat; continues where it stopped."""
    from jobs.commands import studies

    given = studies.read(study, override, store, seed, fail_budget)
    plan = studies.plan_options(limit, models, datasets, offline, batch_size)
    if dry_run:
        raise typer.Exit(studies.show_plan(given, plan, as_json))
    options = studies.run_options(plan, executor, workers, address, dashboard, gpu_share, device)
    raise typer.Exit(studies.run(given, options, as_json))


@app.command()
def plan(
    study: StudyFile,
    override: Override = None,
    store: StoreFolder = None,
    models: ModelGlob = "*",
    datasets: DatasetGlob = "*",
    limit: Limit = None,
    offline: Offline = True,
    as_json: AsJson = False,
) -> None:
    """Show the tasks of a study, their predicted cost, missing weights, and groups too small to judge."""
    from jobs.commands import studies

    given = studies.read(study, override, store, None, None)
    options = studies.plan_options(limit, models, datasets, offline, 32)
    raise typer.Exit(studies.show_plan(given, options, as_json))


@app.command()
def status(
    study: StudyFile,
    override: Override = None,
    store: StoreFolder = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Show how far a study is."""
    from jobs.commands import studies

    raise typer.Exit(studies.status(studies.read(study, override, store, None, None), limit, as_json))


@app.command()
def verify(
    study: StudyFile,
    override: Override = None,
    store: StoreFolder = None,
    drop: Annotated[
        bool, typer.Option(help="Forget faulty parts, so that the next run makes them again.")
    ] = False,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Check every committed byte and that every sample is covered exactly once. Exit code 3 if not."""
    from jobs.commands import studies

    given = studies.read(study, override, store, None, None)
    raise typer.Exit(studies.verify(given, limit, as_json, drop=drop))


@app.command()
def report(
    study: StudyFile, override: Override = None, store: StoreFolder = None, limit: Limit = None
) -> None:
    """Write the report of what is committed: one HTML page, CSV and LaTeX tables."""
    from jobs.commands import studies

    raise typer.Exit(studies.report(studies.read(study, override, store, None, None), limit))


@app.command(
    epilog="Examples: fairray audit predictions.csv --bins age=40,60,80 --intersections 'sex*age' | "
    "fairray audit predictions.csv --fail-if 'adjusted_gap(auc,sex)>0.05'"
)
def audit(
    table: Annotated[
        Path,
        typer.Argument(
            help="Predictions: CSV, Parquet, Feather, JSON, Excel, predictions.pkl.", metavar="TABLE"
        ),
    ],
    target: Annotated[list[str] | None, typer.Option(help="True class; repeat for several findings.")] = None,
    score: Annotated[list[str] | None, typer.Option(help="Score in [0, 1]; patterns such as 'p_*'.")] = None,
    pred: Annotated[list[str] | None, typer.Option(help="Predicted class, where there is no score.")] = None,
    attributes: Annotated[list[str] | None, typer.Option(help="Columns whose groups are compared.")] = None,
    subject: Annotated[str | None, typer.Option(help="Whose sample a row is.")] = None,
    no_subject: Annotated[bool, typer.Option("--no-subject", help="Every row is another person.")] = False,
    sample: Annotated[str | None, typer.Option(help="Sample id.")] = None,
    model: Annotated[str | None, typer.Option(help="Model name, one row per model.")] = None,
    val: Annotated[
        str | None, typer.Option(help="Column of splits, COLUMN=VALUE of validation rows, or none.")
    ] = None,
    bins: Annotated[list[str] | None, typer.Option(help="Groups of a number: age=40,60,80.")] = None,
    intersections: Annotated[list[str] | None, typer.Option(help="Groups of groups: 'sex*age'.")] = None,
    positive: Annotated[str | None, typer.Option(help="Class of interest.")] = None,
    classes: Annotated[list[str] | None, typer.Option(help="Classes in the order of the scores.")] = None,
    logits: Annotated[bool, typer.Option("--logits", help="Scores are logits.")] = False,
    threshold: Annotated[
        str | None, typer.Option(help="Rule of decisions: val:youden, val:f1, fixed:0.5, ...")
    ] = None,
    conventions: Annotated[list[str] | None, typer.Option(help="Further formulas to report.")] = None,
    standardize: Annotated[
        list[str] | None, typer.Option(help="Attributes (or target) to re-weight groups to.")
    ] = None,
    bootstrap: Annotated[int, typer.Option(help="Replicates of intervals.")] = 2000,
    permutations: Annotated[int, typer.Option(help="Permutations of tests.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of both.")] = 0,
    alpha: Annotated[float, typer.Option(help="Level of claims; intervals have 1 - alpha.")] = 0.05,
    minimum_subjects: Annotated[int, typer.Option(help="Smaller groups are shown without values.")] = 20,
    baseline: Annotated[
        str | None, typer.Option(help="Model that the others are compared with; the best by default.")
    ] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option(help="Limit; exit code 1 if violated or unknown. Repeatable.")
    ] = None,
    join: Annotated[Path | None, typer.Option(help="Second table with attributes or ids.")] = None,
    on: Annotated[
        str | None, typer.Option(help="Column that joins: COLUMN, COLUMN=COLUMN_OF_JOIN, or order.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of an Excel file.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a text file; UTF-8 by default.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; TABLE-audit by default.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Results at a time; all CPUs by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure any table of predictions: groups, gaps, report. Says what it took for what. No Ray, no GPU."""
    from jobs.commands import audit as command

    columns = {"target": target, "score": score, "pred": pred, "attributes": attributes, "subject": subject}
    rows = {"independent_rows": no_subject, "sample": sample, "model": model, "val": val}
    meaning = {"intersections": intersections, "positive": positive, "classes": classes, "logits": logits}
    rules = {
        "threshold": threshold,
        "conventions": conventions,
        "standardize": standardize,
        "alpha": alpha,
        "fail_if": fail_if,
        "baseline": baseline,
    }
    draws = {"bootstrap": bootstrap, "permutations": permutations, "seed": seed, "workers": workers}
    files = {
        "join": join,
        "on": on,
        "sheet": sheet,
        "encoding": encoding,
        "minimum_subjects": minimum_subjects,
    }
    options = {**columns, **rows, **meaning, **rules, **draws, **files}
    raise typer.Exit(command.run(table, folder, as_json, bins or [], options))


@app.command(
    epilog='Example: fairray query results/demo "select model, avg(dice) from segmentations group by model"'
)
def query(
    store: Annotated[Path, typer.Argument(help="Store folder.")],
    sql: Annotated[str, typer.Argument(help="DuckDB SQL; 'show tables' lists the views.")] = "show tables",
    as_json: AsJson = False,
) -> None:
    """Run SQL over a store: predictions, segmentations, embeddings (attributes joined), metrics, gaps, commits."""
    from jobs.commands import stores

    raise typer.Exit(stores.query(store, sql, as_json))


@app.command()
def export(
    store: Annotated[Path, typer.Argument(help="Store folder.")],
    out: Annotated[Path, typer.Argument(help="File to write: .parquet or .csv.")],
    table: Annotated[str, typer.Option(help="Which table.")] = "predictions",
) -> None:
    """Write one table of a store, attributes joined, as a flat file."""
    from jobs.commands import stores

    raise typer.Exit(stores.export(store, table, out))


app.command(epilog="Example: fairray shard ham10000 --raw HAM10000 --out data/ham10000")(cli_datasets.shard)


@app.command()
def doctor(
    folder: Annotated[Path, typer.Argument(help="Where results would go.")] = Path(), as_json: AsJson = False
) -> None:
    """Show what this machine has, what is missing, and how to get it."""
    from jobs.commands import machine

    raise typer.Exit(machine.doctor(folder, as_json))


def main() -> None:
    """Run the command line; turn errors into messages and exit codes."""
    try:
        app()
    except UserError as error:
        _say(error)
        sys.exit(2)
    except FairRayError as error:
        from jobs.run import Interrupted
        from jobs.store import StoreFull

        _say(error)
        sys.exit(75 if isinstance(error, StoreFull | Interrupted) else 3)
    except OSError as error:
        from jobs.store import is_full

        _say(f"{error.strerror or error}: {error.filename or 'no file named'}.")
        if is_full(error):
            _say("Free space or raise the quota, then run the same command again: committed parts are kept.")
        sys.exit(75 if is_full(error) else 2)
    except ModuleNotFoundError as error:
        from jobs.extras import explain_import

        explained = explain_import(error)
        if explained is None:
            raise
        _say(explained)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _say(error: Exception | str) -> None:
    print(f"fairray: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
