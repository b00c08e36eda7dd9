"""``fairray shard --dry-run``: what a conversion would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.commands.output import err, out, print_json, print_table
from jobs.run import Exit
from shards.preview import Example, Opened, Preview, preview
from shards.splits import SPLITS

if TYPE_CHECKING:
    from shards.adapter import Adapter
    from shards.options import ConvertOptions

#: Rows of the table of classes that are shown; a multi-label question can have hundreds.
_CLASSES = 60


def show_preview(
    adapter: Adapter, options: ConvertOptions, folder: Path | None, check: int, *, as_json: bool
) -> int:
    """Show what a conversion would do; the exit code is 2 if it would fail."""
    from rich.progress import Progress

    console = err()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        line = bar.add_task("opening images", total=None)
        found = preview(
            adapter, options, folder, check, lambda done, total: bar.update(line, completed=done, total=total)
        )
    if as_json:
        print_json(as_value(found))
    else:
        _print(found)
    return Exit.USER_ERROR if found.problems else Exit.COMPLETE


def as_value(found: Preview) -> dict[str, Any]:
    """Return a preview as JSON values."""
    value = asdict(found) | {"card": found.card.to_json(), "estimated_bytes": found.estimated_bytes}
    opened = {**value["opened"], "mask_values": {str(k): n for k, n in found.opened.mask_values.items()}}
    return {**value, "opened": opened}


def _print(found: Preview) -> None:
    card, opened = found.card, found.opened
    facts = [
        ("task", card.task),
        ("unit", f"subjects are {card.subject}s"),
        ("targets", "; ".join(f"{t.name}: {', '.join(t.classes)}" for t in card.targets)),
        ("structures", ", ".join(s.name for s in card.structures)),
        ("shown with", _shown(found)),
        ("images opened", f"{opened.samples}: {_counts(opened.kinds)}"),
        ("sizes", _counts(opened.sizes)),
        ("with size of a pixel", opened.with_spacing),
        *(_masks(opened) if card.structures else ()),
        ("bytes of all shards", _bytes(found.estimated_bytes)),
    ]
    print_table(f"{card.name}: nothing was written", ("field", "value"), facts)
    print_table(
        "splits",
        ("split", "samples", "subjects"),
        [(split, found.samples[split], found.subjects[split]) for split in SPLITS],
    )
    classes = [
        (name, label or "(unknown)", *(counts[split] for split in SPLITS))
        for name, by_class in found.classes.items()
        for label, counts in by_class.items()
        if label or any(counts.values())
    ]
    if classes:
        print_table("classes", ("target", "class", *SPLITS), classes[:_CLASSES])
    if len(classes) > _CLASSES:
        out().print(f"... and {len(classes) - _CLASSES} more classes (all with --json)", markup=False)
    if found.attributes:
        print_table(
            "attributes",
            ("attribute", "kind", "unknown", "values"),
            [(a.name, a.kind, f"{a.unknown} of {a.samples}", a.values) for a in found.attributes],
        )
    _print_rejected("rejected by the table alone", found.rejected, found.examples)
    _print_rejected("rejected of the images opened", opened.rejected, opened.examples)
    for remark in (*card.notes, *found.remarks):
        out().print(f"note: {remark}", markup=False)
    for problem in found.problems:
        out().print(f"problem: {problem}", markup=False)


def _masks(opened: Opened) -> tuple[tuple[str, str], ...]:
    return (
        ("with mask", f"{opened.with_mask} ({opened.masks_resized} brought to their image's size)"),
        ("labels in masks", _counts(opened.mask_values)),
        ("structures found", _counts(opened.structures)),
    )


def _print_rejected(title: str, counts: Mapping[str, int], examples: tuple[Example, ...]) -> None:
    if counts:
        rows = [(e.reason, counts[e.reason], e.sample_id or e.source, e.detail) for e in examples]
        print_table(title, ("reason", "samples", "first", "what was found"), rows)


def _shown(found: Preview) -> str:
    if found.card.window is not None:
        return "window {:g} to {:g}".format(*found.card.window)
    if found.card.normalise is not None:
        return "percentiles {:g} to {:g} of each image".format(*found.card.normalise)
    return "as they are"


def _counts(counts: Mapping[Any, int]) -> str:
    shown = ", ".join(f"{name}: {count}" for name, count in list(counts.items())[:12])
    return (shown or "none") + (f", and {len(counts) - 12} more" if len(counts) > 12 else "")


def _bytes(count: int | None) -> str:
    if count is None:
        return "unknown: no image could be read"
    size, units = count / 1000, ["kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"about {size:.1f} {units[0]}"
