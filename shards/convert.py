"""Converts a raw dataset into shards, in parallel, so that it can be killed at any moment and continued.

Guarantees
    * The same input gives the same bytes, for any number of workers and any interruptions.
    * Every manifest row ends in ``index.parquet`` or in ``rejected.parquet``.
    * ``dataset.json`` is written last: a folder that has it is whole. Until then everything new lies in
      ``.parts``; a folder
      that held a finished dataset keeps it until all new shards are done.
    * Repeating a finished conversion changes nothing and takes as long as listing the raw files.
    * Which dataset a folder takes again, with splits that stay, is told in :mod:`shards.earlier`.

Trade-offs: shards are assigned from the manifest alone, so unreadable samples leave shards a little uneven;
raw files count as unchanged when their path, size and time of change are; each shard costs one sidecar file
until the end; PNG bytes are those of the installed zlib.
"""

from __future__ import annotations

import dataclasses
import errno
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from shards.adapter import Adapter
from shards.buckets import Location, begin_making, cache_folder, description_of, end_making, publish
from shards.card import DatasetCard
from shards.commit import clear, commit
from shards.dataset import (
    FORMAT,
    PARTS_FOLDER,
    REJECTED_FILE,
    SHARDS_FOLDER,
    Dataset,
    open_dataset,
)
from shards.earlier import Earlier, check_folder, look, make_folder, note, only_one
from shards.errors import UserError
from shards.files import digest
from shards.index import rejected_row, rejected_schema, write_table
from shards.manifest import CheckedManifest, check_manifest, rarest_class_strata
from shards.options import ConvertOptions, ConvertProgress
from shards.pool import write_shards
from shards.split_lists import apply_split_list
from shards.splits import SPLITS, Subject, assign_splits
from shards.stamps import row_stamps
from shards.writer import ShardJob, ShardResult, adapter_json, load_result

__all__ = ["ConvertOptions", "ConvertProgress", "ShardWriter", "convert", "convert_to"]

_DEFAULTS = ConvertOptions()
#: Writes the shards of jobs into a folder and yields each job when its shard is whole there.
ShardWriter = Callable[[list[ShardJob], Path], Iterator[ShardJob]]


def convert(
    adapter: Adapter,
    out: Path,
    options: ConvertOptions = _DEFAULTS,
    progress: Callable[[ConvertProgress], None] | None = None,
    writer: ShardWriter | None = None,
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
    writer
        Who writes shards into a folder and yields each when it is there; by default `options.workers` processes of this
        machine (:func:`shards.pool.write_shards`). Changes no byte.

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
    out = Path(out).absolute()
    make_folder(out)
    check_folder(out)
    with only_one(out):
        return _convert(_work(adapter, options), out, progress, writer)


def convert_to(
    adapter: Adapter,
    place: Location,
    options: ConvertOptions = _DEFAULTS,
    progress: Callable[[ConvertProgress], None] | None = None,
    writer: ShardWriter | None = None,
) -> Dataset:
    """Convert a dataset into a folder or an object store.

    For an object store the dataset is made in a folder of this machine's cache (:func:`shards.buckets.begin_making`) and then
    copied up; both go on after an interruption. Other parameters, result and errors are those of :func:`convert`.
    """
    if isinstance(place, Path):
        return convert(adapter, place, options, progress, writer)
    cache = cache_folder(place)
    make_folder(cache)
    with only_one(cache):
        work = _work(adapter, options)
        there = description_of(place)
        if there is None or there.get("identity") != work.identity:
            folder = begin_making(place)
            make_folder(folder)
            check_folder(folder)
            _convert(work, folder, progress, writer)
            publish(folder, place)
            end_making(place)
    return open_dataset(place)


@dataclass(frozen=True)
class _Work:
    """What is to be converted and how; `stamps` are those of the rows of `checked`."""

    adapter: Adapter
    options: ConvertOptions
    card: DatasetCard
    checked: CheckedManifest
    stamps: Sequence[str]

    @cached_property
    def identity(self) -> str:
        """Hash of all that determines the dataset."""
        return digest(
            {
                "format": FORMAT,
                "adapter": adapter_json(self.adapter),
                "card": self.card.to_json(),
                "conversion": self.options.determining(),
                "rows": list(self.stamps),
                "rejected": [rejected_row(rejection) for rejection in self.checked.rejected],
            }
        )


def _work(adapter: Adapter, options: ConvertOptions) -> _Work:
    card, checked = prepare(adapter, options)
    return _Work(adapter, options, card, checked, row_stamps(checked.rows))


def _convert(
    work: _Work, out: Path, progress: Callable[[ConvertProgress], None] | None, writer: ShardWriter | None
) -> Dataset:
    adapter, options, card, checked = work.adapter, work.options, work.card, work.checked
    earlier = look(out, card, options, checked)
    if earlier.identity == work.identity:
        clear(out)
        return open_dataset(out)
    splits = draw_splits(checked, card, earlier.splits, options)
    writer = writer or partial(write_shards, workers=options.workers)
    try:
        note(out, card, options, earlier.splits)
        jobs = _jobs(work, splits)
        results = _run(jobs, out, writer, earlier, _Tally(checked, len(jobs), progress))
        rejected = _rejected_rows(checked, splits, results)
        _check_budget(out, card, rejected, len(checked.rows) + len(checked.rejected), options, earlier)
        commit(out, adapter, card, options, identity=work.identity, results=results, rejected=rejected)
    except OSError as error:
        raise _unwritable(out, error) from error
    return open_dataset(out)


def prepare(adapter: Adapter, options: ConvertOptions) -> tuple[DatasetCard, CheckedManifest]:
    """Return the card and the checked manifest of a dataset; no image is opened, nothing is written.

    Raises
    ------
    UserError
        If the raw data or the options are not fit.
    """
    card = adapter.card()
    if options.stratify is not None and options.stratify not in {t.name for t in card.targets}:
        raise UserError(f"stratify must be a target of {card.name!r}, got {options.stratify!r}.")
    try:
        manifest = adapter.manifest()
    except UnicodeEncodeError as error:  # tables of pandas hold no such text
        raise UserError(
            f"the raw data of {card.name!r} has a name with bytes that are no UTF-8: {error.object!a:.200}. Rename that "
            "file or folder."
        ) from error
    if options.splits is not None:
        manifest, card = apply_split_list(manifest, card, options.splits)
    return card, check_manifest(manifest, card)


def draw_splits(
    checked: CheckedManifest, card: DatasetCard, known: Mapping[str, str], options: ConvertOptions
) -> dict[str, str]:
    """Return the split of every subject; those of an earlier conversion (`known`) stay."""
    target = options.stratify or (card.targets[0].name if card.targets else None)
    published = {row.subject_id: row.given_split for row in checked.rows if row.given_split is not None}
    strata = rarest_class_strata(checked.rows, target)
    subjects = {name: Subject(stratum, published.get(name)) for name, stratum in strata.items()}
    return assign_splits(subjects, known=known, fractions=options.fractions, seed=options.seed)


def _jobs(work: _Work, splits: Mapping[str, str]) -> list[ShardJob]:
    jobs: list[ShardJob] = []
    most = min(work.options.samples_per_shard, work.adapter.most_per_shard)
    stamped = list(zip(work.checked.rows, work.stamps, strict=True))
    for split in SPLITS:
        mine = [(row, stamp) for row, stamp in stamped if splits[row.subject_id] == split]
        for number, start in enumerate(range(0, len(mine), most)):
            rows, stamps = zip(*mine[start : start + most], strict=True)
            name = f"{split}-{number:06d}.tar"
            jobs.append(ShardJob(name, split, work.adapter, work.card, rows, stamps, work.options.max_side))
    return jobs


class _Tally:
    """Counts what is done and tells it."""

    def __init__(
        self, checked: CheckedManifest, shards: int, progress: Callable[[ConvertProgress], None] | None
    ) -> None:
        rejected = len(checked.rejected)
        self._now = ConvertProgress(rejected, rejected + len(checked.rows), 0, rejected, 0, shards)
        self._tell = progress

    def add(self, result: ShardResult, *, reused: int) -> None:
        """Count one finished shard, of which `reused` samples were there before."""
        now = self._now
        self._now = dataclasses.replace(
            now,
            samples_done=now.samples_done + len(result.rows) + len(result.rejected),
            samples_reused=now.samples_reused + reused,
            rejected=now.rejected + len(result.rejected),
            shards_done=now.shards_done + 1,
        )
        if self._tell is not None:
            self._tell(self._now)


def _run(
    jobs: list[ShardJob], out: Path, writer: ShardWriter, earlier: Earlier, tally: _Tally
) -> list[ShardResult]:
    """Return the result of every job, doing those that are not done."""
    staged = out / PARTS_FOLDER / SHARDS_FOLDER
    staged.mkdir(parents=True, exist_ok=True)
    for unfinished in staged.glob(".*"):  # gigabytes of volumes, if a conversion was killed again and again
        unfinished.unlink(missing_ok=True)
    # While a finished dataset is there, shards/ holds its old shards; afterwards, perhaps moved new ones.
    places = (staged,) if earlier.finished else (staged, out / SHARDS_FOLDER)
    results: dict[str, ShardResult] = {}
    for job in jobs:
        done = load_result(job, staged, places)
        if done is not None:
            results[job.name] = done
            tally.add(done, reused=len(job.rows))
    for job in writer([job for job in jobs if job.name not in results], staged):
        result = load_result(job, staged, (staged,))
        if result is None:
            raise UserError(
                f"shard {job.name} vanished from {staged} while converting; repeat the conversion."
            )
        results[job.name] = result
        tally.add(result, reused=0)
    return [results[job.name] for job in jobs]


def _rejected_rows(
    checked: CheckedManifest, splits: Mapping[str, str], results: list[ShardResult]
) -> list[dict[str, Any]]:
    early = [
        rejected_row(dataclasses.replace(r, split=splits.get(r.subject_id or "", r.split)))
        for r in checked.rejected
    ]
    return early + [row for result in results for row in result.rejected]


def _check_budget(
    out: Path,
    card: DatasetCard,
    rejected: list[dict[str, Any]],
    total: int,
    options: ConvertOptions,
    earlier: Earlier,
) -> None:
    """Fail if too many samples were rejected; the table of them is written all the same."""
    if len(rejected) <= options.max_rejected * total and len(rejected) < total:
        return
    path = (out / PARTS_FOLDER if earlier.finished else out) / REJECTED_FILE
    write_table(path, rejected, rejected_schema(card), staging=out / PARTS_FOLDER)
    reasons = Counter(row["reason"] for row in rejected).most_common()
    counted = ", ".join(f"{number} {reason}" for reason, number in reasons)
    examples = "; ".join(f"{row['sample_id']}: {row['reason']} ({row['detail']})" for row in rejected[:3])
    raise UserError(
        f"{len(rejected)} of {total} samples of {card.name!r} were rejected, more than the "
        f"{options.max_rejected:.1%} allowed: {counted}. First: {examples}. All are in {path}. "
        "Mend the raw data, or allow a larger share (--max-rejected; in a study convert: {max_rejected: ...}), then repeat: "
        "what is done is kept."
    )


def _unwritable(out: Path, error: OSError) -> UserError:
    code = errno.errorcode.get(error.errno or 0, "no code")
    return UserError(
        f"cannot write the dataset in {out}: {error.strerror or error} ({code}). Make room or choose another "
        "place, then repeat: finished shards are kept."
    )
