"""Spatial prompts derived from true masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluator.usages.prompts import PROMPTS, make_prompt
from shards.errors import UserError

# Written down once: NumPy guarantees the raw stream of its bit generators.
GOLDEN_RAND = ((64.0, 65.0),)
GOLDEN_RANDS = ((54.0, 80.0), (11.0, 92.0), (66.0, 19.0), (92.0, 0.0), (23.0, 16.0))

masks = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def prompt(name, mask, *, seed=0, sample_id="s1", structure="cup"):
    return make_prompt(name, mask, seed=seed, sample_id=sample_id, structure=structure)


def brute_force_depth(mask):
    """Distance of each pixel to the nearest background pixel, outside the image included."""
    padded = np.pad(mask, 1)
    background = np.argwhere(~padded)
    depth = np.zeros(mask.shape)
    for y, x in np.argwhere(mask):
        depth[y, x] = np.sqrt(((background - [y + 1, x + 1]) ** 2).sum(axis=1).min())
    return depth


@settings(max_examples=60, deadline=None)
@given(masks)
def test_center_is_the_first_of_the_deepest_pixels(mask):
    found = prompt("center", mask)
    if not mask.any():
        assert found is None
        return
    y, x = np.unravel_index(np.argmax(brute_force_depth(mask)), mask.shape)
    assert found.points == ((x, y),)
    assert found.box is None


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(0, 5))
def test_points_lie_on_the_mask_and_are_distinct_where_possible(mask, seed):
    for name, count in (("rand", 1), ("rands", 5), ("center", 1)):
        found = prompt(name, mask, seed=seed)
        if not mask.any():
            assert found is None
            continue
        assert len(found.points) == count
        assert all(mask[int(y), int(x)] for x, y in found.points)
        if mask.sum() >= count:
            assert len(set(found.points)) == count


@settings(max_examples=60, deadline=None)
@given(masks)
def test_box_is_tight_with_an_exclusive_upper_end(mask):
    found = prompt("bbox", mask)
    if not mask.any():
        assert found is None
        return
    x0, y0, x1, y1 = (int(v) for v in found.box)
    inside = mask[y0:y1, x0:x1]
    assert inside.sum() == mask.sum()
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()
    assert found.points == ()


def test_center_of_a_full_mask_is_its_middle():
    assert prompt("center", np.ones((5, 9), bool)).points == ((2.0, 2.0),)


def test_legacy_center_of_a_ring_falls_outside_of_it_and_the_default_does_not():
    mask = np.zeros((9, 9), bool)
    mask[1:8, 1:8] = True
    mask[3:6, 3:6] = False
    assert prompt("center:bbox", mask).points == ((4.0, 4.0),)
    x, y = prompt("center", mask).points[0]
    assert mask[int(y), int(x)]


def test_random_prompts_depend_on_seed_sample_structure_and_name_only():
    mask = np.ones((64, 64), bool)
    first = prompt("rand", mask)
    assert prompt("rand", mask.copy()) == first
    others = [
        prompt("rand", mask, seed=1),
        prompt("rand", mask, sample_id="s2"),
        prompt("rand", mask, structure="rim"),
    ]
    assert all(other != first for other in others)
    assert prompt("rands", mask).points[0] != first.points[0]


def test_random_prompts_are_the_same_in_any_order():
    mask = np.random.default_rng(0).random((30, 30)) < 0.5
    keys = [(name, f"s{k}") for name in ("rand", "rands") for k in range(5)]
    forward = {key: prompt(key[0], mask, sample_id=key[1]) for key in keys}
    backward = {key: prompt(key[0], mask, sample_id=key[1]) for key in reversed(keys)}
    assert forward == backward


def test_random_prompts_never_change_between_versions():
    mask = np.ones((100, 100), bool)
    assert prompt("rand", mask, seed=7, sample_id="a", structure="b").points == GOLDEN_RAND
    assert prompt("rands", mask, seed=7, sample_id="a", structure="b").points == GOLDEN_RANDS


def test_random_points_are_uniform_over_the_mask():
    mask = np.zeros((2, 8), bool)
    mask[0, :4] = True
    counts = np.zeros(4)
    for k in range(2000):
        counts[int(prompt("rand", mask, sample_id=f"s{k}").points[0][0])] += 1
    chi2 = ((counts - 500) ** 2 / 500).sum()
    assert chi2 < 16.3  # 0.999 quantile with 3 degrees of freedom


def test_unknown_prompt_is_an_error_that_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'center'"):
        prompt("centre", np.ones((2, 2), bool))


def test_every_named_prompt_exists():
    assert all(prompt(name, np.ones((4, 4), bool)) is not None for name in PROMPTS)
