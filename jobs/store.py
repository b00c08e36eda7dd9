"""The store: the folder that holds all tables, and the commit protocol that makes at-least-once workers exactly-once.

Guarantee: a part is either absent or complete. It is written under ``staging/`` with a name no other attempt has, checked
(rows, ids), made durable, renamed to its final name, and only then named by a commit marker. Readers believe markers
only. Any process may be killed at any moment; doing the part again gives the same bytes.

Trade-offs: one small JSON file per part; rename is atomic on POSIX file systems. Files left in ``staging/`` by killed
attempts are removed when a run starts (:meth:`Store.clean`). Proven by ``tests/jobs/test_kill.py``.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.task import Task
from shards.errors import FairRayError, UserError
from shards.files import fsync_folder, sha256_file, write_json

if TYPE_CHECKING:
    import pyarrow as pa

#: Raised when the layout on disk changes in a way that older code would misread.
STORE_FORMAT = 1


class StoreFull(FairRayError):
    """The disk or quota is full; what is committed is safe and the run can be continued."""


@dataclass(frozen=True)
class CommittedFile:
    """One file of a committed part: path relative to the store, rows (None when it is no table), sha256."""

    path: str
    rows: int | None
    sha256: str


@dataclass(frozen=True)
class Marker:
    """A commit marker as read back.

    Attributes
    ----------
    task, part
        What was committed.
    files
        What belongs to it.
    rows, failed
        Rows of the part and how many have a failure status.
    seconds, host, attempt
        How it came to be.
    fingerprint
        Of the dataset.
    """

    task: str
    part: str
    files: tuple[CommittedFile, ...]
    rows: int
    failed: int
    seconds: Mapping[str, float]
    host: str
    attempt: str
    fingerprint: str


def is_full(error: BaseException | None) -> bool:
    """Tell whether an error of the system means that the disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Attempt:
    """One try at a part: a private staging folder that :meth:`commit` turns into committed files.

    Use as a context manager; leaving it without a commit removes what was staged.
    """

    def __init__(self, store: Store, task: Task, part: str) -> None:
        self._store = store
        self._task = task
        self._part = part
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._folder = store.staging / f"{task.id}.{part}.{self.name}"
        self._files: list[tuple[Path, str, int | None]] = []

    def __enter__(self) -> Attempt:
        """Make the staging folder."""
        try:
            self._folder.mkdir(parents=True)
        except OSError as error:
            self._refuse_full(error)
            raise
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Remove what was not committed."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._refuse_full(error)

    def _refuse_full(self, error: object) -> None:
        if isinstance(error, OSError) and is_full(error):
            raise StoreFull(
                f"no space left while writing {self._task.id}/{self._part} below {self._store.path} "
                f"({os.strerror(error.errno or 0)}). Free space or raise the quota, then run the same command again: "
                "committed parts are kept."
            ) from None

    def add_table(self, table: pa.Table, *, name: str | None = None) -> None:
        """Stage a table as ``<name or part>.parquet`` in the task's folder."""
        import pyarrow.parquet as pq

        file = f"{name or self._part}.parquet"
        staged = self._folder / file
        # One row group and fixed settings: the same rows always give the same bytes.
        pq.write_table(table, staged, compression="zstd", row_group_size=max(1, table.num_rows))
        self._files.append((staged, f"{self._task.table}/{self._task.folder}/{file}", table.num_rows))

    def add_adapter(self, tensors: Mapping[str, Any]) -> None:
        """Stage fitted weights as ``adapters/<task>/<part>.safetensors``."""
        from safetensors.numpy import save

        staged = self._folder / f"{self._part}.safetensors"
        staged.write_bytes(save(dict(tensors)))  # save_file would hide that the disk is full
        self._files.append((staged, f"adapters/{self._task.id}/{self._part}.safetensors", None))

    def commit(self, *, rows: int, failed: int, seconds: Mapping[str, float]) -> None:
        """Make the staged files the part: durable, renamed, then marked.

        A part that another attempt has committed meanwhile stays as it is. A lock keeps two attempts (of two drivers, or of
        a worker that was thought dead) from mixing files and markers; file systems without locks go without.
        """
        with _locked(self._store.marker_path(self._task.id, self._part).parent):
            if self._store.marker(self._task, self._part) is None:
                self._commit(rows=rows, failed=failed, seconds=seconds)

    def _commit(self, *, rows: int, failed: int, seconds: Mapping[str, float]) -> None:
        files = []
        for staged, final, table_rows in self._files:
            with staged.open("rb") as file:
                os.fsync(file.fileno())
            target = self._store.path / final
            target.parent.mkdir(parents=True, exist_ok=True)
            hashed = sha256_file(staged)
            os.replace(staged, target)
            fsync_folder(target.parent)
            files.append({"path": final, "rows": table_rows, "sha256": hashed})
        marker = {
            "task": self._task.id,
            "part": self._part,
            "identity": dict(self._task.identity),
            "files": files,
            "rows": rows,
            "failed": failed,
            "seconds": {key: round(value, 6) for key, value in seconds.items()},
            "host": socket.gethostname(),
            "attempt": self.name,
        }
        write_json(self._store.marker_path(self._task.id, self._part), marker, staging=self._folder)


class Store:
    """A store folder. Opening checks that this version of the code can read it.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    UserError
        If the folder holds a store of another format, or something else than a store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_format(path)

    @classmethod
    def create(cls, path: Path) -> Store:
        """Open the store at `path`, making it if the folder is absent or empty."""
        stamp = path / "store.json"
        if not stamp.exists():
            # A run killed while it made the store leaves an unfinished stamp: that is no other content.
            if path.exists() and any(not entry.name.startswith(".store.json.") for entry in path.iterdir()):
                raise UserError(
                    f"store {str(path)!r} is a folder with other content (no store.json). "
                    "Name an empty or new folder with 'store:' or --store."
                )
            write_json(stamp, {"format": STORE_FORMAT, "what": "FairRay store"})
        return cls(path)

    @property
    def staging(self) -> Path:
        """Folder for unfinished files."""
        return self.path / "staging"

    def clean(self) -> None:
        """Remove what killed processes of this host left unfinished; live attempts and other hosts' are kept."""
        host = socket.gethostname()
        for folder in self.staging.glob(f"*.{host}-*-*"):
            if _is_dead(folder.name.split("-")[-2]):
                shutil.rmtree(folder, ignore_errors=True)
        for folder in (self.path, self.staging):
            for file in folder.glob(".*.*.*"):
                if file.is_file() and _is_dead(file.name.split(".")[-2]):
                    file.unlink(missing_ok=True)

    def attempt(self, task: Task, part: str) -> Attempt:
        """Start a try at a part."""
        return Attempt(self, task, part)

    def marker_path(self, task: str, part: str) -> Path:
        """Return where the commit marker of a part is (whether or not it exists)."""
        return self.path / "commits" / task / f"{part}.json"

    def marker(self, task: Task, part: str) -> Marker | None:
        """Return the commit marker of a part; None when it is not committed or its files are not there."""
        found = read_marker(self.marker_path(task.id, part))
        if found is None or not all((self.path / file.path).is_file() for file in found.files):
            return None
        return found

    def is_complete(self, task: Task) -> bool:
        """Tell whether every part of the task is committed."""
        return all(self.marker(task, part) is not None for part in task.parts)

    def markers(self, task: Task) -> Iterator[Marker]:
        """Yield the markers of the committed parts of a task, in the task's order."""
        for part in task.parts:
            if (marker := self.marker(task, part)) is not None:
                yield marker

    def read(self, task: Task, parts: tuple[str, ...] | None = None, *, name: str | None = None) -> pa.Table:
        """Read committed rows of a task, in the order of its parts.

        Parameters
        ----------
        task
            Whose rows.
        parts
            Which of its parts; all of them by default.
        name
            File stem inside the part, for parts of several tables.

        Raises
        ------
        FairRayError
            If a part is not committed.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = []
        for part in task.parts if parts is None else parts:
            marker = self.marker(task, part)
            if marker is None:
                raise FairRayError(f"part {part!r} of {task.id} is not committed in {self.path}.")
            wanted = f"{name or part}.parquet"
            file = next(f for f in marker.files if Path(f.path).name == wanted)
            # partitioning=None: the Hive folder names would come back as extra columns.
            tables.append(pq.read_table(self.path / file.path, partitioning=None))
        return pa.concat_tables(tables).combine_chunks()


def read_marker(path: Path) -> Marker | None:
    """Read a marker; None where it is absent or damaged: the part then counts as not done and is made again."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        known = {key: value[key] for key in ("task", "part", "rows", "failed", "seconds", "host", "attempt")}
        files = tuple(CommittedFile(**file) for file in value["files"])
        return Marker(**known, files=files, fingerprint=str(value["identity"]["dataset"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a task's commits; the kernel frees it when the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                raise
        yield


def _is_dead(pid: str) -> bool:
    """Tell whether no process of this machine has that number (False for what is no number)."""
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it is another user's
    return False


def _check_format(path: Path) -> None:
    stamp = path / "store.json"
    try:
        found = json.loads(stamp.read_text(encoding="utf-8")).get("format")
    except FileNotFoundError:
        raise UserError(
            f"{str(path)!r} is not a FairRay store (no store.json). Run a study into it first, or name another folder."
        ) from None
    except (ValueError, AttributeError):
        raise UserError(f"{str(stamp)!r} is damaged: it must hold JSON with a 'format'.") from None
    if found != STORE_FORMAT:
        raise UserError(
            f"store {str(path)!r} has format {found}, this version of FairRay reads format {STORE_FORMAT}. "
            "Use the version that wrote it, or name another folder with 'store:' or --store."
        )
