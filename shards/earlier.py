"""What an earlier conversion left in a folder, and whether a new one may go on from it.

Rule: a folder takes the dataset that it holds, with the same conversion options, as long as every sample it
holds is still listed under the same subject. Samples may be added and their files and labels may change;
subjects keep their splits. All else is refused, because it would destroy what is there.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.card import DatasetCard
from shards.dataset import DATASET_FILE, PARTS_FOLDER, SHARDS_FOLDER, Dataset, open_dataset
from shards.errors import UserError
from shards.files import write_json
from shards.manifest import CheckedManifest
from shards.options import ConvertOptions

_NOTE = "conversion.json"


@dataclass(frozen=True)
class Earlier:
    """What a folder holds.

    Attributes
    ----------
    finished
        Whether a finished dataset is there.
    identity
        Of what the finished dataset was made, if its shards are still there; else None.
    splits
        Split by subject, as assigned before; they stay.
    """

    finished: bool
    identity: str | None
    splits: Mapping[str, str]


def make_folder(out: Path) -> None:
    """Make a folder, or make sure that it is one (UserError)."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}. Choose another place.") from error


def check_folder(out: Path) -> None:
    """Make sure that a folder is empty or that of a dataset (UserError)."""
    try:
        names = {path.name for path in out.iterdir()}
    except OSError as error:
        raise UserError(f"cannot read the folder {out}: {error.strerror}. Choose another place.") from error
    if names and not names & {DATASET_FILE, PARTS_FOLDER}:
        shown = ", ".join(sorted(names)[:3])
        raise UserError(f"{out} is not empty and holds no dataset (found {shown}); choose a new folder.")


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Keep a second conversion out of the folder while one is at work (UserError)."""
    descriptor = os.open(out, os.O_RDONLY)
    try:
        _lock(descriptor, out)
        yield
    finally:
        os.close(descriptor)


def look(out: Path, card: DatasetCard, options: ConvertOptions, checked: CheckedManifest) -> Earlier:
    """Find out what an earlier conversion left.

    Raises
    ------
    UserError
        If it may not be continued or replaced by this one (see the module's text).
    """
    if not (out / DATASET_FILE).exists():
        return _interrupted(out, card, options)
    dataset = open_dataset(out)
    stored = json.loads((out / DATASET_FILE).read_text())
    _check_same(out, card, options, stored["card"]["name"], stored["conversion"])
    _check_kept(dataset, checked)
    splits = {
        row["subject_id"]: row["split"]
        for table in (dataset.rejected, dataset.index)
        for row in table.select(["subject_id", "split"]).to_pylist()
        if row["split"] is not None
    }
    return Earlier(True, stored["identity"] if _shards_there(dataset) else None, splits)


def note(out: Path, card: DatasetCard, options: ConvertOptions, splits: Mapping[str, str]) -> None:
    """Write down what is being converted, and which splits must stay, for the case of an interruption."""
    value = {"name": card.name, "conversion": options.determining(), "splits": dict(splits)}
    write_json(out / PARTS_FOLDER / _NOTE, value)


def _lock(descriptor: int, out: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"another process is converting into {out}; wait for it, or choose another folder."
        ) from None
    except OSError as error:
        # Some file systems have no locks; there, conversions into one folder must be started one at a time.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            raise


def _interrupted(out: Path, card: DatasetCard, options: ConvertOptions) -> Earlier:
    path = out / PARTS_FOLDER / _NOTE
    if not path.exists():
        return Earlier(False, None, {})
    stored = json.loads(path.read_text())
    if stored["splits"]:  # a finished dataset was being replaced: its splits bind
        _check_same(out, card, options, stored["name"], stored["conversion"])
    return Earlier(False, None, stored["splits"])


def _check_same(
    out: Path, card: DatasetCard, options: ConvertOptions, name: str, conversion: Mapping[str, Any]
) -> None:
    if name != card.name:
        raise UserError(f"{out} holds the dataset {name!r}, not {card.name!r}; convert into a new folder.")
    asked = options.determining()
    for key in dict.fromkeys([*asked, *conversion]):
        value = asked.get(key)
        if conversion.get(key) != value:
            raise UserError(
                f"{out} was converted with {key} = {conversion.get(key)!r}, now {value!r} is asked for; convert "
                "into a new folder, or use the same options."
            )


def _check_kept(dataset: Dataset, checked: CheckedManifest) -> None:
    listed = {row.sample_id: row.subject_id for row in checked.rows}
    listed |= {r.sample_id: r.subject_id or "" for r in checked.rejected if r.sample_id is not None}
    held = dataset.index.select(["sample_id", "subject_id"]).to_pylist()
    for row in held:
        subject = listed.get(row["sample_id"])
        if subject != row["subject_id"]:
            found = "is not listed any more" if subject is None else f"is now of subject {subject!r}"
            raise UserError(
                f"{dataset.path} holds {len(held)} samples of {dataset.card.name!r}, but {row['sample_id']!r} "
                f"{found}; samples can be added and changed, not taken away. Convert into a new folder."
            )


def _shards_there(dataset: Dataset) -> bool:
    paths = {dataset.path / SHARDS_FOLDER / shard.name: shard.bytes for shard in dataset.shards}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())
