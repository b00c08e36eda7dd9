"""``nih-6x200``: six findings of ChestX-ray14 with 200 images each, after Sun et al. 2025 (arXiv 2501.19086)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from shards.adapter import Facts
from shards.card import DatasetCard, PromptSet, Target
from shards.datasets._published import Published
from shards.datasets.nih_cxr14 import PHRASES, NihCxr14
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

#: Label of the table -> class. The paper's own six are not published; these are the labels of Sourget et al.
SIX: Mapping[str, str] = {
    label: label.lower()
    for label in ("Atelectasis", "Cardiomegaly", "Consolidation", "Effusion", "Pneumonia", "Pneumothorax")
}
_PHRASES = tuple(PHRASES.get(label, label) for label in SIX)


class Nih6x200(NihCxr14):
    """The same folder as ``nih-cxr14``, of which equally many images of each of six findings are chosen.

    Attributes
    ----------
    per_class
        Images per finding.
    seed
        Changes which images are chosen.
    """

    name: ClassVar[str] = "nih-6x200"
    summary: ClassVar[str] = (
        "1,200 chest X-rays of nih-cxr14, 200 with each of 6 findings alone; sex, age, view"
    )
    facts: ClassVar[Facts] = replace(NihCxr14.facts, samples=1_200)
    targets: ClassVar[tuple[Target, ...]] = (Target("finding", tuple(SIX.values())),)
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        PromptSet("finding", "sourget-1", ("Chest {}",), tuple((phrase,) for phrase in _PHRASES)),
        PromptSet(
            "finding",
            "fairray-1",
            ("a chest X-ray of {}", "a radiograph of the chest with {}"),
            tuple((phrase.lower(),) for phrase in _PHRASES),
        ),
    )
    #: All other images are there too.
    listed: ClassVar[tuple[str, ...]] = ()

    per_class: int = Field(default=200, ge=1, description="images per finding")
    seed: int = Field(default=0, description="changes which images are chosen")

    def card(self) -> DatasetCard:
        """Describe the dataset, with the hash of the list of its images."""
        chosen = sorted(choose(self.table(self.folder()), self.per_class, self.seed))
        listed = hashlib.sha256("".join(f"{image}\n" for image in chosen).encode()).hexdigest()
        notes = (
            f"nih_6x200:ours: {self.per_class} images of each of {len(SIX)} findings, each with that label alone and each of "
            f"another patient, chosen by hash with seed {self.seed} (sha256 of the sorted list of images: {listed}). The "
            "six findings of Sun et al. are not published; these are the labels of Sourget et al.",
            "Splits are drawn anew by patient; the publisher's lists of images are not used.",
            *self.notes,
        )
        return replace(Published.card(self), notes=notes)

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Return the rows of the chosen images."""
        facts = self.table(raw)
        chosen = choose(facts, self.per_class, self.seed)
        rows = super().rows(raw)
        rows["finding"] = facts["Image Index"].map(chosen)
        return rows[rows["finding"].notna()].drop(columns="split", errors="ignore")


def choose(facts: pd.DataFrame, per_class: int, seed: int) -> dict[str, str]:
    """Choose images of the six findings: of one label, of one patient each, whatever the order of the table.

    Parameters
    ----------
    facts
        The publisher's table.
    per_class
        Images per finding.
    seed
        Changes the choice.

    Returns
    -------
    dict
        Image -> class.

    Raises
    ------
    UserError
        If a finding has too few patients.
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    named = facts["Image Index"].notna() & facts["Patient ID"].notna()
    single = facts[named & facts["Finding Labels"].isin(list(SIX))]
    # Rare findings first: patients of several findings are needed there most.
    rare_first = sorted(SIX, key=lambda label: ((single["Finding Labels"] == label).sum(), label))
    for label in rare_first:
        mine = single[single["Finding Labels"] == label]
        pairs = zip(mine["Image Index"], mine["Patient ID"], strict=True)
        left = per_class
        for image, patient in sorted(pairs, key=lambda pair: _order(seed, pair[0])):
            if left and patient not in taken:
                taken.add(patient)
                chosen[image] = SIX[label]
                left -= 1
        if left:
            raise UserError(
                f"dataset 'nih-6x200' needs {per_class} patients with {label} as only finding who are not chosen for a rarer "
                f"one; the table has {per_class - left}. Give a smaller 'per_class', or the whole table of nih-cxr14."
            )
    return chosen


def _order(seed: int, image: str) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{image}".encode()).digest()
