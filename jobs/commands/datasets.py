"""``fairray shard`` and ``fairray datasets``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from jobs.commands.output import err, out, print_json, print_table, say
from jobs.conversion import ConversionDisplay
from jobs.run import Exit
from jobs.study import ConvertSettings
from shards.convert import convert
from shards.dataset import Dataset, open_dataset
from shards.datasets import adapter_class, adapter_names, make_adapter
from shards.errors import UserError
from shards.verify import verify


def convert_settings(max_side: int | None, seed: int, samples_per_shard: int) -> ConvertSettings:
    """Gather what changes bytes."""
    return ConvertSettings(max_side=max_side, seed=seed, samples_per_shard=samples_per_shard)


def convert_one(
    name: str,
    raw: Path | None,
    folder: Path,
    overrides: Sequence[str],
    settings: ConvertSettings,
    workers: int | None,
) -> int:
    """Convert one dataset and say what came of it."""
    options: dict[str, Any] = {} if raw is None else {"raw": raw}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"option {override!r} must look like key=value, e.g. subjects=200.")
        options[key] = yaml.safe_load(value)
    adapter = make_adapter(name, options)
    with ConversionDisplay(err(), f"converting {name}") as display:
        dataset = convert(adapter, folder, settings.options(workers), display.update)
    _print_dataset(dataset)
    return Exit.COMPLETE


def ls(as_json: bool) -> int:
    """List the adapters."""
    rows = [_summary(name) for name in adapter_names()]
    if as_json:
        print_json(rows)
    else:
        columns = ("name", "task", "modality", "licence", "summary")
        print_table("datasets that can be converted", columns, [[row[c] for c in columns] for row in rows])
    return Exit.COMPLETE


def show(name: str, as_json: bool) -> int:
    """Show a converted folder, or what is known of an adapter."""
    if Path(name).is_dir():
        dataset = open_dataset(Path(name))
        if as_json:
            print_json(
                {
                    **dataset.card.to_json(),
                    "fingerprint": dataset.fingerprint,
                    "counts": asdict(dataset.counts),
                }
            )
        else:
            _print_dataset(dataset)
        return Exit.COMPLETE
    kind = adapter_class(name)
    summary = {**_summary(kind.name), "options": _options(kind)}
    if as_json:
        print_json(summary)
    else:
        print_table(kind.name, ("field", "value"), [(k, v) for k, v in summary.items() if k != "options"])
        print_table("options", ("option", "default"), summary["options"].items())
    return Exit.COMPLETE


def verify_one(folder: Path) -> int:
    """Check every shard."""
    dataset = open_dataset(folder)
    problems = verify(dataset, None)
    for problem in problems:
        say(f"{problem.file}: {problem.kind}: {problem.detail}")
    if not problems:
        samples = sum(dataset.counts.samples.values())
        out().print(f"{len(dataset.shards)} shards with {samples} samples are whole", highlight=False)
    return Exit.FAILURES if problems else Exit.COMPLETE


def _summary(name: str) -> dict[str, Any]:
    kind = adapter_class(name)
    return {"name": name, **asdict(kind.facts), "summary": kind.summary}


def _options(kind: Any) -> dict[str, Any]:
    return {
        name: "required" if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
    }


def _print_dataset(dataset: Dataset) -> None:
    card, counts = dataset.card, dataset.counts
    facts = [
        ("task", card.task),
        ("modality", card.modality),
        ("licence", card.licence),
        ("source", card.source),
        ("unit", f"subjects are {card.subject}s"),
        ("fingerprint", dataset.fingerprint),
        ("targets", "; ".join(f"{t.name}: {', '.join(t.classes)}" for t in card.targets)),
        ("structures", ", ".join(s.name for s in card.structures)),
        ("attributes", ", ".join(a.name for a in card.attributes)),
        ("masks", f"{counts.masks} ({counts.masks_resized} brought to their image's size)"),
        ("rejected", ", ".join(f"{reason}: {n}" for reason, n in counts.rejected.items()) or "none"),
        ("shards", f"{len(dataset.shards)} at {dataset.path}"),
    ]
    print_table(f"{card.name} {card.version}", ("field", "value"), facts)
    rows = [(split, counts.samples[split], counts.subjects[split]) for split in counts.samples]
    print_table("splits", ("split", "samples", "subjects"), rows)
    for note in (*card.notes, *dataset.notes):
        out().print(f"note: {note}", markup=False)
