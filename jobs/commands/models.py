"""``fairray models``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from evaluator.models.card import ModelCard
from evaluator.models.generic_hf import fetch_description
from evaluator.models.registry import default_registry
from evaluator.models.weights import locate, require_tokenizer
from jobs.commands.output import out, print_json, print_table, say
from jobs.run import Exit


def ls(match: str, as_json: bool) -> int:
    """List the models of the registry."""
    registry = default_registry()
    cards = registry.find(match)
    for problem in registry.problems:
        say(problem)
    if as_json:
        print_json([_plain(card) for card in cards])
        return Exit.COMPLETE
    rows = [
        (card.name, card.family, card.architecture, _task(card), card.preprocessing.size, card.licence)
        for card in cards
    ]
    print_table("models", ("name", "family", "architecture", "task", "input", "licence"), rows)
    return Exit.COMPLETE


def show(name: str, as_json: bool) -> int:
    """Show one model."""
    card = default_registry().card(name)
    if as_json:
        print_json(_plain(card))
        return Exit.COMPLETE
    rows = [(key, _words(value)) for key, value in _plain(card).items() if not _is_nothing(value)]
    print_table(card.name, ("field", "value"), rows)
    return Exit.COMPLETE


def fetch(name: str, folders: Sequence[Path], *, offline: bool) -> int:
    """Make sure that the weights are on this machine."""
    if not offline:
        fetch_description(name)
    for card in default_registry().find(name):
        found = locate(card, folders, offline=offline)
        paths = ", ".join(str(path) for path in (found.path, *found.others) if path is not None)
        out().print(
            f"{card.name}: {paths or 'no file needed'} sha256 {found.sha256}",
            markup=False,
            soft_wrap=True,
        )
        require_tokenizer(card, found)
        if found.tokenizer is not None:
            out().print(
                f"{card.name}: {found.tokenizer} sha256 {found.tokenizer_sha256}",
                markup=False,
                soft_wrap=True,
            )
    return Exit.COMPLETE


def verify(name: str, folders: Sequence[Path]) -> int:
    """Check hash and structure of the weights by loading them."""
    from evaluator.models.loading import load_model

    for card in default_registry().find(name):
        found = locate(card, folders, offline=True)
        load_model(card, found)
        out().print(
            f"{card.name}: weights are whole and fill the model (sha256 {found.sha256})",
            markup=False,
            soft_wrap=True,
        )
    return Exit.COMPLETE


def _plain(card: ModelCard) -> dict[str, object]:
    return {**asdict(card), "abilities": sorted(card.abilities), "task": _task(card)}


def _is_nothing(value: object) -> bool:
    return value is None or value is False or value in ("", (), {}, [])


def _words(value: object) -> object:
    """Return a field as a person reads it: lists with commas, nested fields a line each."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_words(item)}" for key, item in value.items() if not _is_nothing(item))
    if isinstance(value, (list, tuple)):
        separator = "\n" if any(isinstance(item, Mapping) or len(str(item)) > 40 for item in value) else ", "
        return separator.join(str(_words(item)) for item in value)
    return "yes" if value is True else value


def _task(card: ModelCard) -> str:
    kinds = [("encode", "classification"), ("segment", "segmentation")]
    return "+".join(task for ability, task in kinds if ability in card.abilities)
