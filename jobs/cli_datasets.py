"""Arguments of ``fairray shard`` and ``fairray datasets``; what they do is in :mod:`jobs.commands.datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli_options import AsJson
from shards.buckets import location
from shards.errors import UserError

app = typer.Typer(help="Datasets that can be converted, and converted ones.", no_args_is_help=True)


def shard(
    dataset: Annotated[str, typer.Argument(help="Adapter name; see 'fairray datasets ls'.")],
    out: Annotated[
        Any, typer.Option(parser=location, metavar="DIR", help="Folder to write, or s3://bucket/name.")
    ] = None,
    raw: Annotated[
        Any, typer.Option(parser=location, metavar="DIR", help="The publisher's folder, or its address.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("-o", help="Option of the adapter: key=value (YAML).")
    ] = None,
    max_side: Annotated[
        int | None, typer.Option(min=16, help="Longest side of stored images in pixels.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
    splits: Annotated[
        list[str] | None,
        typer.Option(help="Published splits: a table of ids and splits, or train=FILE, val=FILE, test=FILE."),
    ] = None,
    samples_per_shard: Annotated[int, typer.Option(min=1, help="Samples per tar.")] = 256,
    max_rejected: Annotated[
        float, typer.Option(min=0, max=1, help="Share of samples that may be rejected.")
    ] = 0.05,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all CPUs by default.")] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster that converts; raw data and --out on shared storage."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only show what would be converted; exit code 2 if it would fail."),
    ] = False,
    check: Annotated[int, typer.Option(min=0, help="Images that --dry-run opens.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Convert a dataset to shards."""
    from jobs.commands import datasets as command

    settings = command.convert_settings(max_side, seed, samples_per_shard, splits, max_rejected)
    if dry_run:
        shown = command.preview_one(dataset, raw, out, override or [], settings, check, as_json)
        raise typer.Exit(shown)
    if out is None:
        raise UserError("shard needs --out, the folder to write; --dry-run shows what would be written.")
    raise typer.Exit(command.convert_one(dataset, raw, out, override or [], settings, workers, address))


@app.command("ls")
def ls(as_json: AsJson = False) -> None:
    """List the datasets that can be converted."""
    from jobs.commands import datasets as command

    raise typer.Exit(command.ls(as_json))


@app.command("show")
def show(
    dataset: Annotated[str, typer.Argument(help="Adapter name, or a converted folder or its address.")],
    raw: Annotated[Path | None, typer.Option(help="Say what is missing in this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a dataset: targets, attributes, licence, how to get it; counts for a converted one."""
    from jobs.commands import datasets as command

    raise typer.Exit(command.show(dataset, raw, as_json))


@app.command("fetch")
def fetch(
    dataset: Annotated[str, typer.Argument(help="Adapter name; see 'fairray datasets ls'.")],
    out: Annotated[Path, typer.Option(help="Folder for the publisher's files.")],
    offline: Annotated[bool, typer.Option("--offline/--online", help="Never use the network.")] = False,
) -> None:
    """Download an open dataset (resumed, checked); say how to get one that is not open."""
    from jobs.commands import datasets as command

    raise typer.Exit(command.fetch_one(dataset, out, offline=offline))


@app.command("verify")
def verify(
    folder: Annotated[
        Any, typer.Argument(parser=location, metavar="DIR", help="Converted folder, or its address.")
    ],
) -> None:
    """Check every shard of a converted dataset. Exit code 3 if one is damaged."""
    from jobs.commands import datasets as command

    raise typer.Exit(command.verify_one(folder))
