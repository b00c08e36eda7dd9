"""Run studies over processes. A run's numbers depend on the study's name and the number of the run, not on who does it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from evaluator.selftest.findings import Finding, Outcome, Tally, judge

#: Runs of one piece of work.
BLOCK = 20

Study = Callable[[np.random.Generator, int], Sequence[Outcome]]


@dataclass(frozen=True)
class Job:
    """A study with the number of its runs.

    Attributes
    ----------
    name
        Of the study; part of the random streams' key.
    study
        Makes the outcomes of one run of a generator and a seed for the evaluator; must be picklable.
    runs
        How many.
    """

    name: str
    study: Study
    runs: int


def run_block(job: Job, start: int) -> Tally:
    """Do up to :data:`BLOCK` runs of a study from number `start` on."""
    words = np.frombuffer(hashlib.sha256(job.name.encode()).digest(), np.uint32).tolist()
    tally = Tally()
    for run in range(start, min(start + BLOCK, job.runs)):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(words, spawn_key=(run,))))
        tally.add(job.study(rng, run))
    return tally


def run_studies(jobs: Sequence[Job], *, workers: int) -> Iterator[tuple[Job, list[Finding]]]:
    """Run studies and yield each with its findings, in order.

    Parameters
    ----------
    jobs
        What to run.
    workers
        Processes; 1 runs everything in this one.
    """
    if workers == 1:
        for job in jobs:
            yield job, _answer(job, [run_block(job, start) for start in range(0, job.runs, BLOCK)])
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: Mapping[str, list[Future[Tally]]] = {
            job.name: [pool.submit(run_block, job, start) for start in range(0, job.runs, BLOCK)]
            for job in jobs
        }
        for job in jobs:
            yield job, _answer(job, [future.result() for future in waiting[job.name]])


def _answer(job: Job, parts: Sequence[Tally]) -> list[Finding]:
    return list(judge(job.name, list(itertools.accumulate(parts))[-1]))
