"""Made-up people: subjects with several images each, in groups of unequal sizes.

Subjects live in cells; a cell is what the truth depends on. Attributes are made of cells: ``site`` is the cell itself, ``pair``
the first two cells (everyone else unknown), and ``sex`` has nothing to do with cells, so that its groups never truly differ.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluator.groups import ALL
from evaluator.metrics.metric import Array

if TYPE_CHECKING:
    import pandas as pd

Ints = NDArray[np.int64]

#: Attributes of all made-up people.
ATTRIBUTES = ("sex", "site", "pair")


@dataclass(frozen=True)
class People:
    """How many subjects there are, where, and with how many images.

    Attributes
    ----------
    sizes
        Subjects of each cell.
    images
        Smallest and largest number of images of a subject; all numbers between are equally likely.
    icc
        Correlation of the noise of two images of a subject, in [0, 1].
    female
        Probability of that sex.
    """

    sizes: tuple[int, ...]
    images: tuple[int, int] = (1, 1)
    icc: float = 0.0
    female: float = 0.3

    @property
    def cells(self) -> tuple[str, ...]:
        """Names of the cells: a, b, c, ..."""
        return tuple(string.ascii_lowercase[: len(self.sizes)])

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Draw who is there."""
        people = sum(self.sizes)
        low, high = self.images
        images = rng.integers(low, high + 1, people)
        return Drawn(
            cell=np.repeat(np.arange(len(self.sizes)), self.sizes),
            female=rng.random(people) < self.female,
            image_subject=np.repeat(np.arange(people), images),
            icc=self.icc,
        )

    def mixtures(self) -> Iterator[tuple[tuple[str, str], Array]]:
        """Yield every attribute and group with the share of each cell in it; ``all`` is among them."""
        whole = np.array(self.sizes, np.float64) / sum(self.sizes)
        yield (ALL, ALL), whole
        for sex in ("female", "male"):
            yield ("sex", sex), whole
        for place, name in enumerate(self.cells):
            only = np.eye(len(self.sizes))[place]
            yield ("site", name), only
            if place < 2:
                yield ("pair", name), only

    def subjects(self, attribute: str, group: str) -> float:
        """Return how many subjects a group has, on average where it is drawn."""
        if attribute == ALL:
            return float(sum(self.sizes))
        if attribute == "sex":
            return sum(self.sizes) * (self.female if group == "female" else 1.0 - self.female)
        return float(self.sizes[self.cells.index(group)])


@dataclass(frozen=True)
class Drawn:
    """One draw of people.

    Attributes
    ----------
    cell, female
        ``[P]`` of every subject.
    image_subject
        ``[n]`` subject of every image.
    icc
        Correlation of the noise of two images of a subject.
    """

    cell: Ints
    female: NDArray[np.bool_]
    image_subject: Ints
    icc: float

    @property
    def image_cell(self) -> Ints:
        """``[n]`` cell of every image."""
        return self.cell[self.image_subject]

    def noise(self, rng: np.random.Generator) -> Array:
        """Draw standard normal numbers ``[n]``, correlated within a subject."""
        own, other = rng.normal(size=len(self.cell)), rng.normal(size=len(self.image_subject))
        return np.asarray(np.sqrt(self.icc) * own[self.image_subject] + np.sqrt(1.0 - self.icc) * other)

    def columns(self) -> dict[str, Any]:
        """Return the columns that every table of samples has."""
        return {
            "sample_id": [f"s{row:06d}" for row in range(len(self.image_subject))],
            "subject_id": np.array([f"p{row:05d}" for row in range(len(self.cell))])[self.image_subject],
            "split": "test",
            "status": "ok",
        }

    def attributes(self) -> pd.DataFrame:
        """Return `sample_id` and all of :data:`ATTRIBUTES`."""
        import pandas as pd

        names = np.array([*string.ascii_lowercase], object)
        site = names[self.cell]
        values = {
            "sex": np.where(self.female, "female", "male").astype(object),
            "site": site,
            "pair": np.where(self.cell < 2, site, np.array(None, object)),
        }
        ids = {"sample_id": [f"s{row:06d}" for row in range(len(self.image_subject))]}
        return pd.DataFrame(ids | {name: value[self.image_subject] for name, value in values.items()})
