"""Which samples a balanced view keeps."""

import numpy as np
import pytest

from evaluator.groups import Grouping
from evaluator.measure import MeasureSettings
from evaluator.views import VERSION, base_split, draw, parse_view, viewed
from shards.errors import UserError

SAMPLES = [f"s{n:03d}" for n in range(100)]
#: Two samples per subject.
SUBJECTS = [f"p{n // 2:02d}" for n in range(100)]
#: 60 of a, 30 of b, none of c, 10 unknown.
CODES = np.array([0] * 60 + [1] * 30 + [-1] * 10)
GROUPS = Grouping("sex", ("a", "b", "c"), CODES)
BY_SAMPLE, BY_SUBJECT = parse_view("balanced:sex"), parse_view("balanced-subjects:sex")


def drawn(view=BY_SAMPLE, *, seed=0, order=None):
    order = np.arange(100) if order is None else order
    shuffled = Grouping("sex", GROUPS.groups, CODES[order])
    return draw(view, [SAMPLES[n] for n in order], [SUBJECTS[n] for n in order], shuffled, seed=seed)


def counts(view):
    codes = CODES[[SAMPLES.index(name) for name in view.ids]]
    return {name: int((codes == code).sum()) for code, name in enumerate(GROUPS.groups)}, int(
        (codes < 0).sum()
    )


def test_every_group_has_as_many_samples_as_the_smallest_and_unknown_none():
    assert counts(drawn()) == ({"a": 30, "b": 30, "c": 0}, 0)
    assert (drawn().groups, drawn().available, drawn().kept) == (("a", "b"), (60, 30), 30)


def test_subjects_are_counted_and_keep_all_their_samples():
    found = drawn(BY_SUBJECT)
    people = [SUBJECTS[SAMPLES.index(name)] for name in found.ids]
    assert found.kept == 15
    assert {people.count(name) for name in people} == {2}
    assert counts(found) == ({"a": 30, "b": 30, "c": 0}, 0)


def test_a_subject_counts_in_each_group_that_its_samples_are_in():
    grouping = Grouping("age", ("young", "old"), np.array([0, 1, 0, 0]))
    found = draw(parse_view("balanced-subjects:age"), list("abcd"), ["p", "p", "q", "q"], grouping, seed=0)
    assert found.available == (2, 1)
    assert found.ids in (("a", "b"), ("b", "c", "d"))


@pytest.mark.parametrize("view", [BY_SAMPLE, BY_SUBJECT])
def test_the_same_samples_are_kept_in_any_order_of_rows(view):
    shuffled = np.random.default_rng(0).permutation(100)
    assert drawn(view, order=shuffled) == drawn(view)
    assert drawn(view, order=shuffled).digest() == drawn(view).digest()


def test_the_samples_of_a_seed_are_pinned():
    assert VERSION == 1
    assert drawn().digest()[:16] == "be77bb265cb5ce95"


def test_another_seed_and_another_attribute_choose_other_samples_of_the_same_number():
    other = drawn(seed=1)
    assert other.kept == 30
    assert other.ids != drawn().ids
    assert draw(parse_view("balanced:race"), SAMPLES, SUBJECTS, GROUPS, seed=0).ids != drawn().ids


def test_who_is_kept_does_not_depend_on_people_of_other_groups():
    fewer = draw(BY_SAMPLE, SAMPLES[10:], SUBJECTS[10:], Grouping("sex", GROUPS.groups, CODES[10:]), seed=0)
    assert {name for name in fewer.ids if name >= "s060"} == {name for name in drawn().ids if name >= "s060"}


def test_without_a_known_group_nothing_is_kept():
    assert draw(BY_SAMPLE, ["a"], ["p"], Grouping("sex", ("f",), np.array([-1])), seed=0).ids == ()


@pytest.mark.parametrize("text", ["balanced", "balanced:", "balance:sex", "sex", "balanced_subjects:sex"])
def test_names_of_no_view_are_refused(text):
    with pytest.raises(UserError, match=r"view must be balanced:ATTRIBUTE .* or balanced-subjects:ATTRIBUTE"):
        MeasureSettings(view=text)


def test_there_is_no_view_of_val():
    with pytest.raises(UserError, match="a view goes with split test or train"):
        MeasureSettings(view="balanced:sex", split="val")


def test_the_split_of_a_view_is_told_from_the_whole_split():
    assert viewed("test", None) == "test"
    assert viewed("test", "balanced:sex") == "test|balanced:sex"
    assert [base_split(text) for text in ("test|balanced:sex", "val", None)] == ["test", "val", ""]
