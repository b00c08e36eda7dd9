"""What a table leaves open and only the user can say, gathered so that it is asked for at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shards.errors import UserError

Found = TypeVar("Found")


class Missing(UserError):
    """Something that the table does not say.

    Parameters
    ----------
    message
        What is open, and the options that settle it.
    options
        Words of a command line that would settle it, e.g. ``("--subject", "mrn")``.
    """

    def __init__(self, message: str, options: Sequence[str]) -> None:
        super().__init__(message)
        self.options = tuple(options)


@dataclass
class Questions:
    """What is open so far; true where anything is."""

    asked: list[Missing] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.asked)

    def add(self, question: Missing) -> None:
        """Remember one."""
        self.asked.append(question)

    def settle(self, find: Callable[[], Found], otherwise: Found) -> Found:
        """Return what `find` finds; where it asks, remember the question and return `otherwise`."""
        try:
            return find()
        except Missing as question:
            self.add(question)
            return otherwise

    def ask(self) -> None:
        """Raise what is open, all of it in one.

        Raises
        ------
        Missing
            If anything is.
        """
        if len(self.asked) == 1:
            raise self.asked[0]
        if self.asked:
            told = "\n".join(f"{place}. {question}" for place, question in enumerate(self.asked, 1))
            options = tuple(word for question in self.asked for word in question.options)
            raise Missing(f"the table leaves {len(self.asked)} things open:\n{told}", options)
