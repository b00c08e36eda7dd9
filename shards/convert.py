"""Converts a raw dataset into shards, in parallel, so that it can be killed at any moment and continued.

Guarantees
    * The same input gives the same bytes, for any number of workers and any interruptions.
    * Every manifest row ends in ``index.parquet`` or in ``rejected.parquet``.
    * ``dataset.json`` is written last: a folder that has it is whole. Until then everything new lies in
      ``.parts``; a folder
      that held a finished dataset keeps it readable until all new shards are done.
    * Repeating a finished conversion changes nothing and takes as long as listing the raw files.

Re-conversion. A folder with a finished dataset takes the same dataset again (same name, same conversion
options) as long as every sample it holds is still listed: samples may be added, their files and labels may
change. Subjects keep their splits. All else (another dataset, other options, fewer samples) is refused,
because it would destroy what is there.

Trade-offs: shards are assigned from the manifest alone, so unreadable samples leave shards a little uneven;
raw files count as unchanged when their size and time of change are; each shard costs one sidecar file until
the end.
"""

from __future__ import annotations

import errno
import fcntl
import importlib.metadata
import json
import multiprocessing
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shards.adapter import Adapter
from shards.card import DatasetCard
from shards.dataset import DATASET_FILE, INDEX_FILE, REJECTED_FILE, SHARDS_FOLDER, Dataset, open_dataset
from shards.errors import UserError
from shards.files import digest, fsync_folder, sha256_file, write_json
from shards.index import (
    FORMAT,
    count,
    fingerprint,
    index_schema,
    rejected_row,
    rejected_schema,
    unknown_attributes,
    write_table,
)
from shards.manifest import (
    CheckedManifest,
    Rejection,
    Row,
    check_manifest,
    file_stamps,
    rarest_class_strata,
)
from shards.splits import SPLITS, Subject, assign_splits
from shards.writer import ShardJob, ShardResult, adapter_json, load_result, write_shard

_PARTS = ".parts"
_NOTE = "conversion.json"


@dataclass(frozen=True)
class ConvertOptions:
    """How to convert.

    Attributes
    ----------
    max_side
        Longer side of the stored images at most, in pixels; None keeps them.
    workers
        Processes; None for all processors that this process may use. Changes no byte.
    seed
        Which subjects go into which split.
    fractions
        Shares of train, val and test, for subjects that the publisher gives no split.
    stratify
        Target whose rarest class decides a subject's stratum; None for the first target.
    samples_per_shard
        Samples per tar, before rejections.
    max_rejected
        Share of samples that may be rejected before the conversion counts as failed.
    """

    max_side: int | None = None
    workers: int | None = None
    seed: int = 0
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    stratify: str | None = None
    samples_per_shard: int = 256
    max_rejected: float = 0.05

    def __post_init__(self) -> None:
        """Check the values (UserError)."""
        if len(self.fractions) != 3 or min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-9:
            raise UserError(
                f"fractions must be three shares (train, val, test) of sum 1, got {self.fractions}."
            )
        for name, value in (("max_side", self.max_side), ("workers", self.workers)):
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, got {value}.")
        if self.samples_per_shard < 1:
            raise UserError(f"samples_per_shard must be at least 1, got {self.samples_per_shard}.")
        if not 0 <= self.max_rejected <= 1:
            raise UserError(f"max_rejected must be a share between 0 and 1, got {self.max_rejected}.")

    def determining(self) -> dict[str, Any]:
        """Return the options that change bytes on disk, as JSON values."""
        value = asdict(self)
        del value["workers"], value["max_rejected"]
        return {**value, "fractions": list(self.fractions)}


@dataclass(frozen=True)
class ConvertProgress:
    """How far a conversion is; told after every shard.

    Attributes
    ----------
    samples_done, samples_total
        Samples written or rejected, and all of the manifest.
    samples_reused
        Of those done, how many an earlier, interrupted conversion had done.
    rejected
        Samples rejected so far.
    shards_done, shards_total
        The same in shards.
    """

    samples_done: int
    samples_total: int
    samples_reused: int
    rejected: int
    shards_done: int
    shards_total: int


def convert(
    adapter: Adapter,
    out: Path,
    options: ConvertOptions = ConvertOptions(),
    progress: Callable[[ConvertProgress], None] | None = None,
) -> Dataset:
    """Convert a dataset; see the module's text for what is guaranteed.

    Parameters
    ----------
    adapter
        What to convert. Sent to worker processes.
    out
        The dataset's folder: new, empty, or that of the same dataset.
    options
        How to convert.
    progress
        Called in this process after every shard.

    Returns
    -------
    Dataset
        The finished dataset.

    Raises
    ------
    UserError
        If the raw data or the folder is not fit, more than `max_rejected` of the samples are rejected, the
        disk is full, or a worker dies. Repeating the call continues.
    """
    out = out.absolute()
    _make_folder(out)
    with _only_one(out):
        return _convert(adapter, out, options, progress)


def _convert(
    adapter: Adapter, out: Path, options: ConvertOptions, progress: Callable[[ConvertProgress], None] | None
) -> Dataset:
    card = adapter.card()
    if options.stratify is not None and options.stratify not in {t.name for t in card.targets}:
        raise UserError(f"stratify must be a target of {card.name!r}, got {options.stratify!r}.")
    checked = check_manifest(adapter.manifest(), card)
    identity = _identity(adapter, card, checked, options)
    before = _before(out, card, options, checked)
    if before.identity == identity:
        shutil.rmtree(out / _PARTS, ignore_errors=True)
        return open_dataset(out)
    parts = out / _PARTS
    try:
        write_json(
            parts / _NOTE, {"name": card.name, "conversion": options.determining(), "splits": before.splits}
        )
        splits = _splits(checked.rows, card, before.splits, options)
        jobs = _jobs(adapter, card, checked.rows, splits, options)
        tally = _Tally(len(checked.rows) + len(checked.rejected), len(checked.rejected), len(jobs), progress)
        results = _run(jobs, out, options, tally)
        rejected = [rejected_row(_with_split(rejection, splits)) for rejection in checked.rejected]
        rejected += [row for result in results for row in result.rejected]
        _check_budget(out, card, rejected, tally.samples_total, options, finished=before.identity is not None)
        return _commit(out, card, adapter, options, identity, results, rejected)
    except OSError as error:
        raise _unwritable(out, error) from error


# ---------------------------------------------------------------------------------------------- what is there
# already


@dataclass(frozen=True)
class _Before:
    """What an earlier conversion left: identity of a finished dataset (else None), splits by subject."""

    identity: str | None
    splits: Mapping[str, str]


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}. Choose another place.") from error
    ours = {DATASET_FILE, _PARTS}
    names = {path.name for path in out.iterdir()}
    if names and not names & ours:
        raise UserError(
            f"{out} is not empty and holds no dataset (found {', '.join(sorted(names)[:3])}); choose a new folder."
        )


@contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """Keep a second conversion out of the folder while one is at work."""
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(
            f"another process is converting into {out}; wait for it, or choose another folder."
        ) from None
    except OSError as error:  # file systems without locks: conversions there must be started one at a time
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            os.close(descriptor)
            raise
    try:
        yield
    finally:
        os.close(descriptor)


def _before(out: Path, card: DatasetCard, options: ConvertOptions, checked: CheckedManifest) -> _Before:
    if not (out / DATASET_FILE).exists():
        return _interrupted(out / _PARTS / _NOTE, card, options)
    dataset = open_dataset(out)
    stored = json.loads((out / DATASET_FILE).read_text())
    _check_same(out, card, options, stored["card"]["name"], stored["conversion"])
    listed = {row.sample_id: row.subject_id for row in checked.rows}
    listed |= {r.sample_id: r.subject_id for r in checked.rejected if r.sample_id is not None}
    held = dataset.index.select(["sample_id", "subject_id", "split"]).to_pylist()
    for row in held:
        subject = listed.get(row["sample_id"])
        if subject != row["subject_id"]:
            found = "is not listed any more" if subject is None else f"is now of subject {subject!r}"
            raise UserError(
                f"{out} holds {len(held)} samples of {card.name!r}, but {row['sample_id']!r} {found}; samples can be added "
                "and changed, not taken away. Convert into a new folder."
            )
    splits = {row["subject_id"]: row["split"] for row in held}
    for row in dataset.rejected.select(["subject_id", "split"]).to_pylist():
        if row["split"] is not None:
            splits.setdefault(row["subject_id"], row["split"])
    return _Before(stored["identity"], splits)


def _interrupted(note: Path, card: DatasetCard, options: ConvertOptions) -> _Before:
    if not note.exists():
        return _Before(None, {})
    stored = json.loads(note.read_text())
    if stored["splits"]:
        _check_same(note.parent.parent, card, options, stored["name"], stored["conversion"])
        return _Before(None, stored["splits"])
    return _Before(None, {})


def _check_same(
    out: Path, card: DatasetCard, options: ConvertOptions, name: str, conversion: Mapping[str, Any]
) -> None:
    if name != card.name:
        raise UserError(f"{out} holds the dataset {name!r}, not {card.name!r}; convert into a new folder.")
    for key, value in options.determining().items():
        if conversion.get(key) != value:
            raise UserError(
                f"{out} was converted with {key} = {conversion.get(key)!r}, now {value!r} is asked for; convert into a new "
                "folder, or use the same options."
            )


def _identity(adapter: Adapter, card: DatasetCard, checked: CheckedManifest, options: ConvertOptions) -> str:
    return digest(
        {
            "format": FORMAT,
            "adapter": adapter_json(adapter),
            "card": card.to_json(),
            "conversion": options.determining(),
            "rows": [[row.values, file_stamps(row)] for row in checked.rows],
            "rejected": [asdict(rejection) for rejection in checked.rejected],
        }
    )


# -----------------------------------------------------------------------------------------------------------
# the work


def _splits(
    rows: tuple[Row, ...], card: DatasetCard, known: Mapping[str, str], options: ConvertOptions
) -> dict[str, str]:
    target = options.stratify or (card.targets[0].name if card.targets else None)
    published = {row.subject_id: row.published for row in rows if row.published is not None}
    subjects = {
        name: Subject(stratum, published.get(name))
        for name, stratum in rarest_class_strata(rows, target).items()
    }
    return assign_splits(subjects, known=known, fractions=options.fractions, seed=options.seed)


def _with_split(rejection: Rejection, splits: Mapping[str, str]) -> Rejection:
    split = splits.get(rejection.subject_id)
    return Rejection(**{**{f: getattr(rejection, f) for f in rejection.__dataclass_fields__}, "split": split})


def _jobs(
    adapter: Adapter,
    card: DatasetCard,
    rows: tuple[Row, ...],
    splits: Mapping[str, str],
    options: ConvertOptions,
) -> list[ShardJob]:
    jobs: list[ShardJob] = []
    for split in SPLITS:
        mine = [row for row in rows if splits[row.subject_id] == split]
        for number, start in enumerate(range(0, len(mine), options.samples_per_shard)):
            chunk = tuple(mine[start : start + options.samples_per_shard])
            jobs.append(ShardJob(f"{split}-{number:06d}.tar", split, adapter, card, chunk, options.max_side))
    return jobs


class _Tally:
    """Counts what is done and tells it."""

    def __init__(
        self, samples: int, rejected: int, shards: int, progress: Callable[[ConvertProgress], None] | None
    ) -> None:
        self.samples_total = samples
        self._done = self._rejected = rejected
        self._shards = shards
        self._shards_done = 0
        self._reused = 0
        self._progress = progress

    def add(self, result: ShardResult, *, reused: bool) -> None:
        """Count one finished shard."""
        samples = len(result.rows) + len(result.rejected)
        self._done += samples
        self._reused += samples if reused else 0
        self._rejected += len(result.rejected)
        self._shards_done += 1
        if self._progress is not None:
            self._progress(
                ConvertProgress(
                    self._done,
                    self.samples_total,
                    self._reused,
                    self._rejected,
                    self._shards_done,
                    self._shards,
                )
            )


def _run(jobs: list[ShardJob], out: Path, options: ConvertOptions, tally: _Tally) -> list[ShardResult]:
    parts = out / _PARTS
    staged = parts / SHARDS_FOLDER
    staged.mkdir(parents=True, exist_ok=True)
    results: dict[str, ShardResult] = {}
    for job in jobs:
        done = load_result(job, staged, (staged, out / SHARDS_FOLDER))
        if done is not None:
            results[job.name] = done
            tally.add(done, reused=True)
    todo = [job for job in jobs if job.name not in results]
    for job in _written(todo, staged, options.workers):
        result = load_result(job, staged, (staged,))
        if result is None:
            raise UserError(
                f"shard {job.name} vanished from {staged} while converting; repeat the conversion."
            )
        results[job.name] = result
        tally.add(result, reused=False)
    return [results[job.name] for job in jobs]


def _written(jobs: list[ShardJob], folder: Path, workers: int | None) -> Iterator[ShardJob]:
    """Write shards, yielding each job when it is done, in any order."""
    processes = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    if processes <= 1:
        for job in jobs:
            write_shard(job, folder)
            yield job
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["shards.writer"])
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent)
    try:
        yield from _pooled(pool, jobs, folder, 2 * processes)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process of the conversion died, most likely for lack of memory; repeat with fewer workers: what is "
            "done is kept."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pooled(pool: ProcessPoolExecutor, jobs: list[ShardJob], folder: Path, ahead: int) -> Iterator[ShardJob]:
    """Keep a few jobs submitted ahead, so that memory does not grow with the dataset."""
    waiting = iter(jobs)
    running: dict[Future[None], ShardJob] = {}
    while True:
        while len(running) < ahead and (job := next(waiting, None)) is not None:
            running[pool.submit(write_shard, job, folder)] = job
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            future.result()
            yield job


def _end_with_parent() -> None:
    """Let a worker end when the process that started it is killed; otherwise it would wait for work for
    ever.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


# -----------------------------------------------------------------------------------------------------------
# the end


def _check_budget(
    out: Path,
    card: DatasetCard,
    rejected: list[dict[str, Any]],
    total: int,
    options: ConvertOptions,
    *,
    finished: bool,
) -> None:
    if len(rejected) <= options.max_rejected * total and len(rejected) < total:
        return
    path = (out / _PARTS if finished else out) / REJECTED_FILE
    write_table(path, rejected, rejected_schema(card))
    reasons = Counter(row["reason"] for row in rejected).most_common()
    examples = "; ".join(f"{row['sample_id']}: {row['reason']} ({row['detail']})" for row in rejected[:3])
    raise UserError(
        f"{len(rejected)} of {total} samples of {card.name!r} were rejected, more than the {options.max_rejected:.1%} "
        f"allowed (max_rejected): {', '.join(f'{n} {reason}' for reason, n in reasons)}. First: {examples}. All are in {path}. "
        "Mend the raw data or allow a larger share, then repeat: what is done is kept."
    )


def _commit(
    out: Path,
    card: DatasetCard,
    adapter: Adapter,
    options: ConvertOptions,
    identity: str,
    results: list[ShardResult],
    rejected: list[dict[str, Any]],
) -> Dataset:
    """Put the new shards in the place of the old ones; `dataset.json` goes first and comes last."""
    (out / DATASET_FILE).unlink(missing_ok=True)
    fsync_folder(out)
    _move_shards(out, {result.name for result in results if result.sha256 is not None})
    rows = [row for result in results for row in result.rows]
    write_table(out / INDEX_FILE, rows, index_schema(card))
    write_table(out / REJECTED_FILE, rejected, rejected_schema(card))
    counts = count(card, rows)
    counts["rejected"] = dict(sorted(Counter(row["reason"] for row in rejected).items()))
    shards = [
        {"name": r.name, "split": r.split, "samples": len(r.rows), "bytes": r.bytes, "sha256": r.sha256}
        for r in results
        if r.sha256 is not None
    ]
    write_json(
        out / DATASET_FILE,
        {
            "format": FORMAT,
            "card": card.to_json(),
            "fingerprint": fingerprint(card, rows),
            "identity": identity,
            "index_sha256": sha256_file(out / INDEX_FILE),
            "adapter": _without_places(adapter_json(adapter)),
            "conversion": options.determining(),
            "counts": counts,
            "notes": [
                f"attribute {name!r} is unknown for all samples" for name in unknown_attributes(card, rows)
            ],
            "shards": shards,
            "software": {"fairray": _version()},
        },
    )
    shutil.rmtree(out / _PARTS)
    return open_dataset(out)


def _move_shards(out: Path, names: set[str]) -> None:
    target, staged = out / SHARDS_FOLDER, out / _PARTS / SHARDS_FOLDER
    target.mkdir(exist_ok=True)
    for name in sorted(names):
        if (staged / name).exists():
            (staged / name).replace(target / name)
    for path in target.iterdir():
        if path.name not in names:
            path.unlink()
    fsync_folder(target)


def _without_places(value: Any) -> Any:
    """Shorten absolute paths to their last component: where the raw data lay is nobody's business."""
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def _unwritable(out: Path, error: OSError) -> UserError:
    name = errno.errorcode.get(error.errno or 0, "")
    return UserError(
        f"cannot write the dataset in {out}: {error.strerror or error} ({name}). Make room or choose another place, then repeat: "
        "finished shards are kept."
    )


def _version() -> str:
    try:
        return importlib.metadata.version("fairray")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
