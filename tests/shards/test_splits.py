from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import UserError
from shards.splits import SPLITS, Subject, assign_splits

FRACTIONS = (0.6, 0.2, 0.2)
strata = st.dictionaries(st.text("abcdef", min_size=1, max_size=6), st.sampled_from("xyz"), max_size=80)


def assign(subjects, known=None, fractions=FRACTIONS, seed=0):
    return assign_splits(subjects, known=known or {}, fractions=fractions, seed=seed)


def people(**counts):
    return {f"{stratum}{i}": Subject(stratum) for stratum, n in counts.items() for i in range(n)}


@given(strata)
def test_every_subject_has_one_split_and_every_stratum_its_share(table):
    subjects = {name: Subject(stratum) for name, stratum in table.items()}
    splits = assign(subjects)
    assert set(splits) == set(subjects)
    for stratum in "xyz":
        mine = [splits[name] for name, subject in subjects.items() if subject.stratum == stratum]
        for split, share in zip(SPLITS, FRACTIONS, strict=True):
            assert abs(mine.count(split) - share * len(mine)) < 1


@given(strata, st.randoms())
def test_order_of_the_subjects_does_not_matter(table, random):
    names = list(table)
    random.shuffle(names)
    one = assign({name: Subject(table[name]) for name in sorted(table)})
    assert assign({name: Subject(table[name]) for name in names}) == one


@given(strata, strata)
def test_known_subjects_never_move_and_count_toward_the_shares(before, added):
    first = assign({name: Subject(stratum) for name, stratum in before.items()})
    both = {name: Subject(stratum) for name, stratum in {**added, **before}.items()}
    second = assign(both, known=first)
    assert {name: second[name] for name in before} == first
    for stratum in "xyz":
        mine = [second[name] for name in both if both[name].stratum == stratum]
        for split, share in zip(SPLITS, FRACTIONS, strict=True):
            assert abs(mine.count(split) - share * len(mine)) < 2


def test_exact_shares_where_they_exist():
    assert Counter(assign(people(a=50, b=100)).values()) == {"train": 90, "val": 30, "test": 30}


def test_many_small_strata_are_right_together():
    for size in (1, 2, 3):
        counts = Counter(assign(people(**dict.fromkeys("abcdefghij", size))).values())
        assert counts == {"train": 6 * size, "val": 2 * size, "test": 2 * size}


@given(strata)
def test_shares_over_all_strata_are_nearly_exact(table):
    splits = Counter(assign({name: Subject(stratum) for name, stratum in table.items()}).values())
    for split, share in zip(SPLITS, FRACTIONS, strict=True):
        assert abs(splits[split] - share * len(table)) < 2


def test_seed_changes_who_goes_where_but_not_how_many():
    one, other = assign(people(a=100), seed=1), assign(people(a=100), seed=2)
    assert one != other
    assert Counter(one.values()) == Counter(other.values())


def test_publishers_complete_splits_are_kept():
    subjects = {f"s{i}": Subject("a", SPLITS[i % 3]) for i in range(30)}
    assert assign(subjects) == {name: subject.published for name, subject in subjects.items()}


def test_missing_val_is_carved_out_of_train_only():
    subjects = {f"s{i:02d}": Subject("ab"[i % 2], "test" if i < 20 else "train") for i in range(100)}
    splits = assign(subjects)
    assert {name for name, split in splits.items() if split == "test"} == {f"s{i:02d}" for i in range(20)}
    assert Counter(splits.values()) == {"train": 60, "val": 20, "test": 20}


def test_carved_val_stays_when_subjects_are_added():
    before = {f"s{i:02d}": Subject("a", "test" if i < 20 else "train") for i in range(100)}
    first = assign(before)
    second = assign({**before, **{f"t{i}": Subject("a", "train") for i in range(40)}}, known=first)
    assert {name: second[name] for name in before} == first
    assert Counter(second.values()) == {"train": 90, "val": 30, "test": 20}


def test_a_dataset_that_is_all_test_stays_all_test():
    assert set(assign({f"s{i}": Subject("", "test") for i in range(5)}).values()) == {"test"}


def test_partly_published_splits_are_kept_and_the_rest_fills_up():
    subjects = {f"s{i:02d}": Subject("a", "test" if i < 10 else None) for i in range(100)}
    splits = assign(subjects)
    assert all(splits[f"s{i:02d}"] == "test" for i in range(10))
    assert Counter(splits.values()) == {"train": 60, "val": 20, "test": 20}


def test_a_publisher_who_moves_a_known_subject_is_refused():
    with pytest.raises(
        UserError, match=r"'s1' is in split 'test' in the manifest but in 'train'.*new folder"
    ):
        assign({"s1": Subject("a", "test"), "s2": Subject("a", "train")}, known={"s1": "train"})
