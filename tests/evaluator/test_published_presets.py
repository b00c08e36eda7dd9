"""The presets that adapters declare can be applied: labels fit, columns are written, names are told apart."""

import pandas as pd
import pytest

from evaluator.group_rules import GroupRule, GroupSpec
from evaluator.groups import assign_groups
from evaluator.presets import fit
from shards.card import DatasetCard
from shards.datasets import adapter_class, adapter_names

PRESETS = [
    (name, preset) for name in adapter_names() for preset in getattr(adapter_class(name), "presets", ())
]
IDS = [f"{name}-{preset.name}-{preset.attribute}" for name, preset in PRESETS]


def card_of(name):
    kind = adapter_class(name)
    return DatasetCard(
        name, "1", "", "", "", attributes=kind.attributes, published=kind.published, presets=kind.presets
    )


@pytest.mark.parametrize(("name", "preset"), PRESETS, ids=IDS)
def test_a_preset_forms_its_groups_from_a_column_that_is_written(name, preset):
    card = card_of(name)
    rule = fit(GroupRule(preset.attribute, (GroupSpec(preset.attribute, preset=preset.name),)), card)
    assert rule.columns[0] in {*(attribute.name for attribute in card.attributes), *card.published}
    values = (
        [*preset.bins, min(preset.bins) - 1, max(preset.bins) + 1] if preset.bins else sum(preset.values, ())
    )
    grouping = assign_groups(rule, pd.DataFrame({rule.columns[0]: pd.Series(list(values))}))
    assert grouping.groups == preset.labels
    assert set(grouping.codes) <= set(range(len(preset.labels)))
    if preset.bins:
        assert grouping.codes[0] == (1 if preset.closed == "left" else 0)  # who is exactly at the first edge


def test_a_dataset_has_one_preset_of_a_name_for_an_attribute():
    keys = [(name, preset.name, preset.attribute) for name, preset in PRESETS]
    assert len(set(keys)) == len(keys) > 10
