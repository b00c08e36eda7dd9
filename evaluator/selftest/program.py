"""What is simulated, and how often: the list of all studies.

Main studies have groups of 320, 160 and 60 subjects; the guarantee is for groups of at least 150 subjects with 30 of each
class, the smallest one is there to be noisy.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evaluator.selftest.classified import Cell, Classifier
from evaluator.selftest.comparing import BestOf, DeLong, Doubled, Family, ManyGroups, Paired
from evaluator.selftest.findings import AT_THE_EDGE
from evaluator.selftest.people import People
from evaluator.selftest.running import Job
from evaluator.selftest.segmented import MaskCell, Segmenter
from evaluator.selftest.studies import Groups, Intervals, Model

#: One image of every subject, or 1 to 5 that resemble each other more and more.
CLUSTERS = {
    "one image": ((1, 1), 0.0),
    "icc 0": ((1, 5), 0.0),
    "icc 0.3": ((1, 5), 0.3),
    "icc 0.6": ((1, 5), 0.6),
}
SIZES = (320, 160, 60)
#: Areas and Dice that are `PLANTED` apart.
PLANTED = 0.15

#: Groups that differ in nothing.
ALIKE: dict[str, Model] = {
    "scores alike": Classifier((Cell(0.4, -0.9, 0.9),) * 3),
    "masks alike": Segmenter((MaskCell(0.8),) * 3),
}
#: Groups of other prevalence and noise with the same AUC, sensitivity and specificity; of other noise with the same Dice.
NOISY: dict[str, Model] = {
    "scores of unequal prevalence and noise": Classifier(
        (Cell(0.4, -0.9, 0.9), Cell(0.3, -1.35, 1.35, 1.5), Cell(0.5, -1.8, 1.8, 2.0))
    ),
    "masks of unequal noise": Segmenter((MaskCell(0.8, 40.0), MaskCell(0.8, 15.0), MaskCell(0.8, 6.0))),
}


def _planted() -> dict[str, Model]:
    from scipy.special import ndtr, ndtri

    area = float(ndtr(1.8 / np.sqrt(2.0)))
    apart = float(ndtri(area - PLANTED) * np.sqrt(2.0)) / 2.0
    good, bad = Cell(0.4, -0.9, 0.9), Cell(0.4, -apart, apart)
    return {
        "scores with a gap": Classifier((good, bad, good)),
        "masks with a gap": Segmenter((MaskCell(0.8), MaskCell(0.8 - PLANTED), MaskCell(0.8))),
    }


def program(runs: int) -> Iterator[Job]:
    """Yield all jobs.

    Parameters
    ----------
    runs
        Of each study of groups; the others, which are quicker or ask less, have a part or a multiple of it.
    """
    yield from groups(runs)
    yield from methods(runs)
    yield from models(runs)
    yield from families(runs)


def groups(runs: int) -> Iterator[Job]:
    """Yield the studies of groups: all intervals, tests and gaps."""
    for cluster, (images, icc) in CLUSTERS.items():
        people = People(SIZES, images, icc)
        for name, model in ALIKE.items():
            yield Job(f"{name}, {cluster}", Groups(people, model, ("sex", "site")), runs)
        for name, model in NOISY.items() if people.images[1] > 1 else ():
            yield Job(f"{name}, {cluster}", Groups(people, model, ("site", "pair")), runs)
        for name, model in _planted().items():
            metric = "auc" if isinstance(model, Classifier) else "dice"
            study = Groups(people, model, ("site",), 100, 199, (metric, "site", PLANTED))
            yield Job(f"{name}, {cluster}", study, runs // 2)


def methods(runs: int) -> Iterator[Job]:
    """Yield the studies of methods of intervals, and of doubled images."""
    for cluster, (images, icc) in CLUSTERS.items():
        people = People((160,), images, icc)
        for name, model in ALIKE.items():
            one = _one(model)
            metrics = ("auc",) if isinstance(model, Classifier) else ("dice",)
            yield Job(f"methods of intervals, {name}, {cluster}", Intervals(people, one, metrics), runs)
        study = Intervals(people, _calibrated(0.4, 1.5), ("ce2",), ("auto",), rule=AT_THE_EDGE)
        yield Job(f"calibrated scores, {cluster}", study, runs)
        for name, model in ALIKE.items():
            one = _one(model)
            yield Job(f"doubled images, {name}, {cluster}", Doubled(people, one), max(5, runs // 50))


def _calibrated(prevalence: float, apart: float) -> Classifier:
    """Return a model whose probabilities are right: its logit is the true one."""
    centre = float(np.log(prevalence / (1.0 - prevalence)))
    return Classifier((Cell(prevalence, centre - apart**2 / 2.0, centre + apart**2 / 2.0, apart),))


def models(runs: int) -> Iterator[Job]:
    """Yield the studies of several models on the same people."""
    score = (
        Classifier((Cell(0.4, -0.9, 0.9),)),
        Classifier((Cell(0.4, -0.9, 0.9),)),
        Classifier((Cell(0.4, -0.7, 0.7),)),
    )
    mask = Segmenter((MaskCell(0.8),)), Segmenter((MaskCell(0.8),)), Segmenter((MaskCell(0.77),))
    for cluster, (images, icc) in CLUSTERS.items():
        people = People((160,), images, icc)
        yield Job(f"models compared, scores, {cluster}", Paired(people, score), 2 * runs)
        yield Job(f"models compared, masks, {cluster}", Paired(people, mask), 2 * runs)
        yield Job(f"models compared by DeLong, {cluster}", DeLong(people, score), 2 * runs)
    people = People((160,), (1, 5), 0.3)
    yield Job("best of equal models, scores", BestOf(people, score[:1] * 5, "auc"), runs // 2)
    yield Job("best of equal models, masks", BestOf(people, mask[:1] * 5, "dice"), runs)


def families(runs: int) -> Iterator[Job]:
    """Yield the studies of families of tests, shrinkage and the variance between groups."""
    people = People((200, 120, 80), (1, 5), 0.3)
    yield Job("family of tests", Family(people, (Segmenter((MaskCell(0.8),) * 3),) * 3), 2 * runs)
    many = People((320, 160, 80, 60, 40, 30), (1, 5), 0.3)
    # From groups that are alike to groups that differ about as much as the errors of the smaller ones.
    for metric, spreads in {"auc": (0.0, 0.02, 0.05), "dice": (0.0, 0.01, 0.02)}.items():
        for tau in spreads:
            yield Job(f"many groups, {metric}, sd {tau}", ManyGroups(many, metric, tau), runs)


def _one(model: Model) -> Model:
    """Return a model in its first cell alone."""
    return Classifier(model.cells[:1]) if isinstance(model, Classifier) else Segmenter(model.cells[:1])
