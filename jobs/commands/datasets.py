"""``fairray shard`` and ``fairray datasets``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from jobs.commands.output import err, out, print_json, print_table, say
from jobs.conversion import ConversionDisplay, FetchDisplay, cluster_writer
from jobs.run import Exit
from jobs.study import ConvertSettings
from shards.adapter import Adapter
from shards.audit.words import class_counts, findings
from shards.buckets import Location, brought, location, mirror
from shards.card import GroupPreset, Target
from shards.convert import convert_to
from shards.dataset import Dataset, is_dataset, open_dataset
from shards.datasets import adapter_class, adapter_names, make_adapter
from shards.datasets._published import Published
from shards.errors import UserError
from shards.verify import verify

#: Classes of a target that are told one by one.
_MANY = 12


def convert_settings(
    max_side: int | None,
    seed: int,
    samples_per_shard: int,
    splits: Sequence[str] | None,
    max_rejected: float,
) -> ConvertSettings:
    """Gather how to convert."""
    return ConvertSettings(
        max_side=max_side,
        seed=seed,
        samples_per_shard=samples_per_shard,
        splits=tuple(splits or ()),
        max_rejected=max_rejected,
    )


def convert_one(
    name: str,
    raw: Location | None,
    place: Location,
    overrides: Sequence[str],
    settings: ConvertSettings,
    workers: int | None,
    address: str | None = None,
) -> int:
    """Convert one dataset, on this machine or on the Ray cluster at an address, and say what came of it."""
    adapter = _adapter(name, raw, overrides)
    with ConversionDisplay(err(), f"converting {name}") as display:
        writer = cluster_writer(address, workers)
        dataset = convert_to(adapter, place, settings.options(workers), display.update, writer)
    _print_dataset(dataset)
    return Exit.COMPLETE


def preview_one(
    name: str,
    raw: Location | None,
    place: Location | None,
    overrides: Sequence[str],
    settings: ConvertSettings,
    check: int,
    as_json: bool,
) -> int:
    """Show what converting a dataset would do; nothing is written."""
    from jobs.commands.preview import show_preview

    folder = place if isinstance(place, Path) else None
    if isinstance(place, str) and is_dataset(place):
        folder = mirror(place)  # its splits stay
    return show_preview(
        _adapter(name, raw, overrides), settings.options(None), folder, check, as_json=as_json
    )


def ls(as_json: bool) -> int:
    """List the adapters."""
    rows = [_summary(name) for name in adapter_names()]
    if as_json:
        print_json(rows)
        return Exit.COMPLETE
    columns = ("name", "task", "modality", "samples", "attributes", "licence", "access")
    shown = [
        (
            *(row[c] for c in columns[:3]),
            _count(row["samples"]),
            ", ".join(row["attributes"]),
            row["licence"],
            row["access"]["kind"],
        )
        for row in rows
    ]
    print_table("datasets that can be converted", columns, shown)
    return Exit.COMPLETE


def show(name: str, raw: Path | None, as_json: bool) -> int:
    """Show a converted folder, or what is known of an adapter and what is missing of its raw folder."""
    # A folder called like a dataset may as well be where its publisher's files are.
    if "://" in name or is_dataset(Path(name)) or (Path(name).is_dir() and not _is_adapter(name)):
        dataset = open_dataset(location(name))
        if as_json:
            print_json(
                {
                    **dataset.card.to_json(),
                    "task": dataset.card.task,
                    "fingerprint": dataset.fingerprint,
                    "counts": asdict(dataset.counts),
                    "audit": dataset.audit.to_json(),
                }
            )
        else:
            _print_dataset(dataset)
        return Exit.COMPLETE
    kind = adapter_class(name)
    summary = {**_summary(kind.name), **_declared(kind), "options": _options(kind)}
    if raw is not None:
        summary["present"] = presence(kind, raw)
    if as_json:
        print_json(summary)
    else:
        _print_adapter(kind, summary)
    return Exit.COMPLETE


def _is_adapter(name: str) -> bool:
    try:
        adapter_class(name)
    except UserError:
        return False
    return True


def presence(kind: type[Adapter], raw: Path) -> dict[str, bool]:
    """Say which of the files and folders that show a raw dataset are there.

    Raises
    ------
    UserError
        If the folder does not exist.
    """
    if not raw.is_dir():
        raise UserError(f"{raw} is not a folder; give the one in which {kind.name!r} was unpacked as --raw.")
    folders = [raw, *sorted(path for path in raw.iterdir() if path.is_dir())]
    return {
        expected: any(next(folder.glob(expected), None) is not None for folder in folders)
        for expected in kind.facts.access.expected
    }


def fetch_one(name: str, folder: Path, *, offline: bool) -> int:
    """Download what anyone may download of a dataset; say what to do for the rest."""
    from shards.fetch import fetch

    kind = adapter_class(name)
    access = kind.facts.access
    if access.kind in ("generated", "yours"):
        raise UserError(f"{kind.name} has nothing to fetch. {access.steps}")
    if not access.files:
        where = f" at {access.page}" if access.page else ""
        raise UserError(f"{kind.name} cannot be fetched without asking its publisher{where}. {access.steps}")
    if offline:
        raise UserError(
            f"{kind.name} would be fetched from {', '.join(access.files)}, but --offline forbids it."
        )
    with FetchDisplay(err()) as display:
        paths = fetch(access.files, folder, tell=display.update)
    say(f"{len(paths)} files of {kind.name} are in {folder}. Licence: {kind.facts.licence}. {access.steps}")
    say(f"Convert it: fairray shard {kind.name} --raw {folder} --out FOLDER")
    return Exit.COMPLETE


def verify_one(place: Location) -> int:
    """Check every shard; those of an object store are fetched for it."""
    dataset = open_dataset(place)
    problems = verify(dataset, None, fetch=dataset.remote is not None)
    for problem in problems:
        say(f"{problem.file}: {problem.kind}: {problem.detail}")
    if not problems:
        samples = sum(dataset.counts.samples.values())
        out().print(f"{len(dataset.shards)} shards with {samples} samples are whole", highlight=False)
    return Exit.FAILURES if problems else Exit.COMPLETE


def _adapter(name: str, raw: Location | None, overrides: Sequence[str]) -> Adapter:
    """Make an adapter of the command's options."""
    options: dict[str, Any] = {} if raw is None else {"raw": raw}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"option {override!r} must look like key=value, e.g. subjects=200.")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"option {override!r} has a value that is no YAML: {error}.") from error
    return make_adapter(name, brought(options))


def _summary(name: str) -> dict[str, Any]:
    kind = adapter_class(name)
    return {"name": name, **asdict(kind.facts), "summary": kind.summary}


def _count(samples: int | None) -> str:
    return "" if samples is None else f"{samples:,}"


def _print_adapter(kind: type[Adapter], summary: dict[str, Any]) -> None:
    access = kind.facts.access
    facts = [
        ("what", summary["summary"]),
        ("task", summary["task"]),
        ("modality", summary["modality"]),
        ("samples", _count(summary["samples"])),
        ("unit", f"subjects are {kind.subject}s" if issubclass(kind, Published) else ""),
        ("targets", _told_targets(getattr(kind, "targets", ()))),
        ("structures", ", ".join(structure["name"] for structure in summary["structures"])),
        ("attributes", ", ".join(summary["attributes"])),
        ("groups of papers", _told_presets(getattr(kind, "presets", ()))),
        ("licence", summary["licence"]),
        ("access", access.kind),
        ("page", access.page),
        ("how to get it", access.steps),
        ("fetched by", f"fairray datasets fetch {kind.name} --out FOLDER" if access.files else ""),
        ("expected in the raw folder", ", ".join(access.expected)),
    ]
    print_table(kind.name, ("field", "value"), [fact for fact in facts if fact[1]])
    if "present" in summary:
        found = [(name, "there" if there else "missing") for name, there in summary["present"].items()]
        print_table("raw folder", ("file or folder", "on this machine"), found)
    print_table("options", ("option", "default", "what it is"), _told_options(kind, summary["options"]))
    for note in summary["notes"]:
        out().print(f"note: {note}", markup=False)


def _declared(kind: type[Adapter]) -> dict[str, Any]:
    """Return what is on every card of a published dataset, whatever its raw folder holds."""
    if not issubclass(kind, Published):
        return {"targets": [], "structures": [], "notes": []}
    return {
        "targets": [asdict(target) for target in kind.targets],
        "structures": [asdict(structure) for structure in kind.structures],
        "notes": kind.all_notes(),
    }


def _told_options(kind: type[Adapter], options: dict[str, Any]) -> list[tuple[str, Any, str]]:
    """Return a row per option; a text that is about several stands once."""
    rows: list[tuple[str, Any, str]] = []
    told: dict[str, str] = {}
    for name, default in options.items():
        about, first = _about(kind, name), told.setdefault(_documented(kind, name), name)
        rows.append(
            (name, default, about if first == name or not _documented(kind, name) else f"see {first}")
        )
    return rows


def _about(kind: type[Adapter], option: str) -> str:
    """Say what an option is, and what may be chosen."""
    field = kind.model_fields[option]
    choices = [str(value) for value in get_args(field.annotation) if get_origin(field.annotation) is Literal]
    listed = f" ({', '.join(choices[:-1])} or {choices[-1]})" if choices else ""
    return f"{field.description or _documented(kind, option)}{listed}".strip()


def _documented(kind: type[Adapter], option: str) -> str:
    """Return what the docstring of a class or one of its bases says of an attribute."""
    for base in kind.__mro__:
        text = inspect.cleandoc(base.__doc__ or "")
        found = re.search(rf"^(?:\w+, )*{option}(?:, \w+)*\n((?: {{4}}.*\n?)+)", text, re.MULTILINE)
        if found is not None:
            plain = re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"\1", found[1])
            return " ".join(plain.replace("`", "").split())
    return ""


def _options(kind: Any) -> dict[str, Any]:
    return {
        name: "required" if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
    }


def _told_presets(presets: Iterable[GroupPreset]) -> str:
    """Say which presets of groups there are for each attribute, as a study names them."""
    return "; ".join(f"{p.attribute}: {p.name} ({', '.join(p.labels)})" for p in presets)


def _told_targets(targets: Sequence[Target]) -> str:
    """Say what can be predicted: a family of findings in one go, and of long lists of classes how many."""
    told = [f"{t.name} ({_told_classes(t)})" for t in targets if t.family is None]
    for family in dict.fromkeys(t.family for t in targets if t.family is not None):
        mine = [t for t in targets if t.family == family]
        told.append(f"{family}: {', '.join(t.name for t in mine)} (each {_told_classes(mine[0])})")
    return "; ".join(told)


def _told_classes(target: Target) -> str:
    if len(target.classes) > _MANY:
        return f"{len(target.classes)} classes"
    return ", ".join(f"{name} = positive" if name == target.positive else name for name in target.classes)


def _print_dataset(dataset: Dataset) -> None:
    card, counts = dataset.card, dataset.counts
    facts = [
        ("task", card.task),
        ("modality", card.modality),
        ("licence", card.licence),
        ("source", card.source),
        ("unit", f"subjects are {card.subject}s"),
        ("fingerprint", dataset.fingerprint),
        ("targets", _told_targets(card.targets)),
        ("structures", ", ".join(s.name for s in card.structures)),
        ("attributes", ", ".join(a.name for a in card.attributes)),
        ("groups of papers", _told_presets(card.presets)),
        ("masks", f"{counts.masks} ({counts.masks_resized} brought to their image's size)"),
        ("rejected", ", ".join(f"{reason}: {n}" for reason, n in counts.rejected.items()) or "none"),
        ("shards", f"{len(dataset.shards)} at {dataset.location}"),
    ]
    print_table(f"{card.name} {card.version}", ("field", "value"), facts)
    rows = [(split, counts.samples[split], counts.subjects[split]) for split in counts.samples]
    print_table("splits", ("split", "samples", "subjects"), rows)
    _print_audit(dataset)
    for note in (*card.notes, *dataset.notes):
        out().print(f"note: {note}", markup=False)


def _print_audit(dataset: Dataset) -> None:
    """Print what the conversion noticed: a mark stands before what a reader should think about."""
    found = findings(dataset.audit, dataset.card)
    rows = [("!" if one.notable else "", one.topic, one.text) for one in found]
    print_table("what the audit found", ("", "about", "found"), rows)
    groups = [
        (
            attribute.name,
            group.name,
            group.subjects,
            group.samples,
            sum(group.rejected.values()),
            "; ".join(f"{target}: {class_counts(counts)}" for target, counts in group.classes.items()),
        )
        for attribute in dataset.audit.attributes
        for group in attribute.groups
    ]
    if groups:
        columns = ("attribute", "group", "subjects", "samples", "left out", "samples by class")
        print_table("groups", columns, groups)
