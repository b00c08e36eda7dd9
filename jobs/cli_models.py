"""Arguments of ``fairray models``; what they do is in :mod:`jobs.commands.models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli_options import AsJson

app = typer.Typer(help="Models and their weights.", no_args_is_help=True)

WeightFolders = Annotated[list[Path] | None, typer.Option("--weights", help="Folder with weight files.")]


@app.command("ls")
def ls(match: Annotated[str, typer.Argument(help="Glob.")] = "*", as_json: AsJson = False) -> None:
    """List the models."""
    from jobs.commands import models as command

    raise typer.Exit(command.ls(match, as_json))


@app.command("show")
def show(model: Annotated[str, typer.Argument(help="Model name.")], as_json: AsJson = False) -> None:
    """Show a model: preprocessing, weights, licence, what it was trained on."""
    from jobs.commands import models as command

    raise typer.Exit(command.show(model, as_json))


@app.command("fetch")
def fetch(model: Annotated[str, typer.Argument(help="Model name.")], weights: WeightFolders = None) -> None:
    """Get a model's weights from its hub, so that compute nodes can work offline."""
    from jobs.commands import models as command

    raise typer.Exit(command.fetch(model, weights or [], offline=False))


@app.command("verify")
def verify(model: Annotated[str, typer.Argument(help="Model name.")], weights: WeightFolders = None) -> None:
    """Check that a model's weights are here, have the pinned hash and load."""
    from jobs.commands import models as command

    raise typer.Exit(command.verify(model, weights or []))
