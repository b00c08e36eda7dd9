"""Multi-label questions of own tables: a column per finding, or a column of lists."""

import numpy as np
import pytest
from own_files import LENIENT, Own, reasons, rows_of

from shards.card import Target
from shards.convert import convert
from shards.errors import UserError


@pytest.fixture
def own(tmp_path):
    own = Own(tmp_path / "own")
    own.picture("a.png", np.zeros((4, 4), np.uint8))
    return own


def target(name):
    return Target(name, ("absent", "present"), "present", "findings")


def values(adapter, name):
    return adapter.manifest()[name].tolist()


def test_a_column_per_finding(own):
    cells = ["1", "0", "1.0", "0.0", "yes", "No", "present", "absent", "", "unknown"]
    adapter = own(
        [{"image": "a.png", "Edema": cell, "Mass": "0"} for cell in cells],
        targets=[],
        families={"findings": {"columns": ["Edema", "Mass"]}},
    )
    assert adapter.card().targets == (target("Edema"), target("Mass"))
    assert values(adapter, "Edema") == ["present", "absent"] * 4 + [None, None]


def test_what_is_neither_present_nor_absent_is_rejected_unless_unknown(own, tmp_path):
    rows = [{"image": "a.png", "Edema": cell} for cell in ("1", "0", "-1")]
    family = {"families": {"findings": {"columns": ["Edema"]}}, "sample_id": "who"}
    dataset = convert(own(rows, **family), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {"w2": "unknown_label"}
    known = convert(own(rows, **family, unknown_values=["-1"]), tmp_path / "known", LENIENT)
    assert reasons(known) == {}
    assert rows_of(known)["w2"]["Edema"] is None


def test_a_column_of_lists(own):
    cells = ["Edema|Mass", "Mass", "No Finding", "", "Edema | Mass|"]
    rows = [{"image": "a.png", "found": cell} for cell in cells]
    adapter = own(rows, targets=[], families={"findings": {"column": "found"}})
    assert adapter.card().targets == (target("Edema"), target("Mass"))
    assert values(adapter, "Edema") == ["present", "absent", "absent", None, "present"]
    assert values(adapter, "Mass") == ["present", "present", "absent", None, "present"]


def test_separator_and_words_for_nothing_can_be_said(own):
    rows = [{"image": "a.png", "found": cell} for cell in ("x;y", "none", "y")]
    family = {"column": "found", "separator": ";", "nothing": ["none"]}
    adapter = own(rows, targets=[], families={"findings": family})
    assert values(adapter, "x") == ["present", "absent", "absent"]


def test_a_finding_outside_the_coding_is_rejected(own, tmp_path):
    rows = [{"image": "a.png", "found": cell} for cell in ("x|y", "y|z", "y")]
    family = {"column": "found", "labels": ["x", "y"]}
    adapter = own(rows, targets=[], families={"findings": family}, sample_id="who")
    dataset = convert(adapter, tmp_path / "out", LENIENT)
    assert reasons(dataset) == {"w1": "unknown_label"}
    assert dataset.rejected.to_pylist()[0]["detail"] == "column 'found' lists z; expected x, y"


def test_families_must_be_columns_or_lists(own):
    for family in ({}, {"column": "a", "columns": ["b"]}):
        with pytest.raises(UserError, match=r"families\.findings.*give either 'columns'"):
            own([{"image": "a.png"}], families={"findings": family})
    with pytest.raises(UserError, match="has no finding in column 'found'"):
        own([{"image": "a.png", "found": "normal"}], families={"findings": {"column": "found"}}).card()
    with pytest.raises(UserError, match="'y' cannot be a target or attribute as well"):
        own([{"image": "a.png", "found": "y"}], families={"findings": {"column": "found"}}).manifest()
