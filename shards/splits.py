"""Splits: which part of a dataset a subject belongs to.

Guarantee: a subject is in exactly one of train, val and test; the same subjects, fractions and seed give the
same splits in any order of the input; a subject that has a split (its publisher's, or that of an earlier
conversion) never moves. The rest are dealt out inside each stratum, each split getting its share rounded down
or up; the rounding (largest remainder, carried from stratum to stratum) makes the shares right over all strata
too, so that many small strata do not all fall into train. Trade-off: after samples were added, splits depend on
the order of the additions; the alternative, a bare hash per subject, gives only approximate shares.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shards.errors import UserError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Subject:
    """What the splitting knows of a subject.

    Attributes
    ----------
    stratum
        Subjects of one stratum are spread evenly, e.g. the subject's rarest class.
    published
        The publisher's split; None when there is none.
    """

    stratum: str
    published: str | None = None


def assign_splits(
    subjects: Mapping[str, Subject],
    *,
    known: Mapping[str, str],
    fractions: tuple[float, float, float],
    seed: int,
) -> dict[str, str]:
    """Give every subject its split.

    Where the publisher gives a split to all subjects, it is kept; splits the publisher lacks are carved out
    of its train (val from train, as a rule) in the proportion of `fractions`. Without a train split nothing
    is carved. Where the publisher gives a split to some subjects only, these are kept and the others fill up
    the fractions.

    Parameters
    ----------
    subjects
        All subjects, by id.
    known
        Splits of an earlier conversion of the same dataset; they stay.
    fractions
        Shares of train, val and test; they sum to 1.
    seed
        Changes which of the new subjects go where.

    Raises
    ------
    UserError
        If the publisher's split of a subject is another one than that of the earlier conversion.
    """
    published = {name: s.published for name, s in subjects.items() if s.published is not None}
    absent = set(SPLITS) - set(published.values())
    weights = dict(zip(SPLITS, fractions, strict=True))
    if len(published) < len(subjects):
        _check_known(published, known, carved=set())
        fixed = {**{name: split for name, split in known.items() if name in subjects}, **published}
        return _fill(subjects, fixed, weights, seed)
    carved = absent if "train" in published.values() else set()
    _check_known(published, known, carved=carved)
    pool = {name: s for name, s in subjects.items() if s.published == "train"} if carved else {}
    weights = {split: weights[split] if split in carved | {"train"} else 0.0 for split in SPLITS}
    fixed = {name: known[name] for name in pool if name in known}
    return {**published, **_fill(pool, fixed, weights, seed)}


def _check_known(published: Mapping[str, str], known: Mapping[str, str], *, carved: set[str]) -> None:
    for name, split in sorted(published.items()):
        before = known.get(name, split)
        if before != split and not (split == "train" and before in carved):
            raise UserError(
                f"subject {name!r} is in split {split!r} in the manifest but in {before!r} in the dataset that is "
                "there already; subjects do not move between splits. Convert into a new folder."
            )


def _fill(
    subjects: Mapping[str, Subject], fixed: Mapping[str, str], weights: Mapping[str, float], seed: int
) -> dict[str, str]:
    strata: dict[str, list[str]] = {}
    for name in sorted(subjects):
        strata.setdefault(subjects[name].stratum, []).append(name)
    result = dict(fixed)
    total = sum(weights.values())
    shares = [weights[split] / total if total else float(split == "train") for split in SPLITS]
    seen, given = 0, [0, 0, 0]
    # Large strata first: the small ones, whose rounding matters, then even out what is left.
    for _, names in sorted(strata.items(), key=lambda item: (-len(item[1]), item[0])):
        behind = [share * (seen + len(names)) - so_far for share, so_far in zip(shares, given, strict=True)]
        new = sorted((name for name in names if name not in fixed), key=lambda name: _order(seed, name))
        have = Counter(fixed[name] for name in names if name in fixed)
        quota = _round([len(names) * share for share in shares], behind)
        wanted = [max(0, q - have[split]) for q, split in zip(quota, SPLITS, strict=True)]
        counts = wanted
        if sum(wanted) > len(new):
            counts = _round([len(new) * w / sum(wanted) for w in wanted], behind)
        dealt = [split for split, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
        result.update(zip(new, dealt, strict=True))
        seen += len(names)
        given = [g + have[split] + c for g, split, c in zip(given, SPLITS, counts, strict=True)]
    return result


def _round(exact: Sequence[float], behind: Sequence[float]) -> list[int]:
    """Round to whole numbers of the same sum, up where most is missing over all strata so far."""
    whole = [int(value + 1e-9) for value in exact]
    left = round(sum(exact)) - sum(whole)
    # Only a value with a remainder may go up, so that each ends less than 1 from its exact share.
    order = sorted(
        range(len(exact)), key=lambda i: (exact[i] - whole[i] < 1e-9, -round(behind[i] - whole[i], 9), i)
    )
    for i in order[:left]:
        whole[i] += 1
    return whole


def _order(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{name}".encode("utf-8", "surrogatepass")).digest()
