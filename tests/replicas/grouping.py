"""Counts the groups that a card's preset forms on an index, from the preset's definition alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

from shards.card import GroupPreset


def count_groups(dataset: Any, preset: str, attribute: str) -> dict[str, int]:
    """Return samples by group; who is in none is counted as ``unknown``."""
    found = [p for p in dataset.card.presets if (p.name, p.attribute) == (preset, attribute)]
    assert len(found) == 1
    return dict(Counter(_group(value, found[0]) for value in dataset.index[found[0].column].to_pylist()))


def _group(value: Any, preset: GroupPreset) -> str:
    if preset.bins:
        if value is None:
            return "unknown"
        return preset.labels[sum(value >= e if preset.closed == "left" else value > e for e in preset.bins)]
    listed = {
        text: label for label, texts in zip(preset.labels, preset.values, strict=False) for text in texts
    }
    known = "unknown" if value is None else preset.otherwise or "unknown"
    return listed.get(value or "", known)
