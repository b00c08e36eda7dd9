"""All models by name: those of this package, those of plug-ins, and generic names for anything else.

A plug-in is a Python package with an entry point in the group ``fairray.models`` that names an iterable of
:class:`~evaluator.models.card.ModelCard` or a function without arguments that returns one. A card's family is
one of ours or the plug-in's own loader, written ``package.module:function``. A plug-in that fails to import,
gives something else or claims a name that is taken is left out and reported in :attr:`Registry.problems`;
everything else keeps working.

No torch is needed to list or find models; only generic names (see :mod:`evaluator.models.generic`) import it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib.metadata import EntryPoint, entry_points

from evaluator.models.card import ModelCard
from evaluator.models.cards import packaged_cards
from evaluator.models.generic import generic_card, is_generic
from evaluator.models.tiny.cards import TINY_CARDS
from shards.errors import FairRayError, UserError, unknown_name

_GROUP = "fairray.models"
_OTHERS = (
    "Others: openclip:ARCH/PRETRAINED, openclip:ARCH@FILE, timm:NAME, timm:NAME@FILE, sam:ARCH@FILE, hf:REPO, "
    "hf:REPO@FOLDER."
)
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Registry:
    """A fixed set of models.

    Parameters
    ----------
    cards
        The models; their names and aliases must all differ.
    problems
        What went wrong while collecting them, one sentence each.

    Raises
    ------
    UserError
        If a name is not kebab-case or is claimed twice.
    """

    def __init__(self, cards: Iterable[ModelCard], problems: tuple[str, ...] = ()) -> None:
        self._cards = tuple(sorted(cards, key=lambda card: card.name))
        self._by_key = _keys(self._cards)
        self.problems = problems

    def cards(self) -> tuple[ModelCard, ...]:
        """Return all named models, by name."""
        return self._cards

    def card(self, name: str) -> ModelCard:
        """Return the model of a name.

        Parameters
        ----------
        name
            A name or alias, in any case and with any separators (``CLIP ViT-B/32`` is ``clip-vit-b32``), or a
            generic name such as ``timm:resnet18.a1_in1k``.

        Raises
        ------
        UserError
            If there is none: names the nearest.
        """
        if is_generic(name):
            return generic_card(name)
        card = self._by_key.get(_key(name))
        if card is None:
            known = [card.name for card in self._cards]
            raise unknown_name("model", name, known, hint=_OTHERS)
        return card

    def find(self, pattern: str) -> tuple[ModelCard, ...]:
        """Return the models whose name matches a shell pattern; a pattern without wildcards is a name.

        Raises
        ------
        UserError
            If no model matches.
        """
        if is_generic(pattern) or not any(sign in pattern for sign in "*?["):
            return (self.card(pattern),)
        wanted = pattern.lower().replace("_", "-")
        found = tuple(card for card in self._cards if fnmatchcase(card.name, wanted))
        if not found:
            raise unknown_name("model pattern", pattern, [card.name for card in self._cards])
        return found


def default_registry(plugins: Iterable[EntryPoint] | None = None) -> Registry:
    """Collect the models of this package and of the plug-ins installed beside it.

    Parameters
    ----------
    plugins
        Entry points to read instead of those that are installed.
    """
    cards = (*packaged_cards(), *TINY_CARDS)
    problems = []
    for plugin in entry_points(group=_GROUP) if plugins is None else plugins:
        try:
            offered = _offered(plugin)
            _keys((*cards, *offered))
        except Exception as error:  # noqa: BLE001 - whatever foreign code does, the other models stay usable
            reason = str(error) if isinstance(error, FairRayError) else f"{type(error).__name__}: {error}"
            problems.append(f"model plug-in {plugin.name!r} ({plugin.value}) is left out: {reason}")
        else:
            cards = (*cards, *offered)
    return Registry(cards, tuple(problems))


def _offered(plugin: EntryPoint) -> tuple[ModelCard, ...]:
    value = plugin.load()
    offered = tuple(value() if callable(value) else value)
    other = next((item for item in offered if not isinstance(item, ModelCard)), None)
    if other is not None:
        raise UserError(f"it must give ModelCard objects, got {type(other).__name__}")
    return offered


def _keys(cards: Iterable[ModelCard]) -> dict[str, ModelCard]:
    """Map every accepted spelling to its card, refusing names that are taken or badly formed."""
    by_key: dict[str, ModelCard] = {}
    for card in cards:
        if not _NAME.fullmatch(card.name):
            raise UserError(f"model name must be kebab-case (a-z, 0-9, '-'), got {card.name!r}")
        for key in {_key(name) for name in (card.name, *card.aliases)}:
            if key in by_key:
                raise UserError(
                    f"model {card.name!r}: its name or alias is taken by {by_key[key].name!r}; choose another"
                )
            by_key[key] = card
    return by_key


def _key(name: str) -> str:
    """Return what two spellings of one name share: letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
