"""Arguments that several commands of ``fairray`` take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[Path, typer.Argument(help="Study file (YAML).", metavar="STUDY")]
Override = Annotated[
    list[str] | None, typer.Option("-o", "--override", help="key.key=value; wins over the file.")
]
StoreFolder = Annotated[Path | None, typer.Option("--store", help="Store folder; wins over the study's.")]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Seed of bootstrap and permutations (measure.seed).")
]
FailBudget = Annotated[
    float | None, typer.Option("--fail-budget", help="Largest share of failed samples (0 to 1).")
]
ModelGlob = Annotated[
    str, typer.Option("--models", help="Work on the models of the study that match this glob.")
]
DatasetGlob = Annotated[
    str, typer.Option("--datasets", help="Work on the datasets of the study that match this glob.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, help="About so many samples per split (whole shards); kept as STUDY-limit-N."
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline/--online", help="Never, or when needed, ask a hub for weights.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Images decoded at once; never changes results.")
]
