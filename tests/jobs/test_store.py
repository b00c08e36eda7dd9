"""The store: what counts as committed, and what a full disk or a foreign folder does."""

import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from jobs.store import STORE_FORMAT, Store, StoreFull
from jobs.task import Inputs, Task
from shards.errors import FairRayError, UserError
from shards.files import sha256_file


def make_task(tmp_path, parts=("a", "b")):
    return Task(
        kind="embed", table="embeddings", dataset="d", model="timm:x@random", usage="embed",
        identity={"dataset": "f" * 64}, requires=(), parts=parts, inputs=Inputs(tmp_path),
    )  # fmt: skip


def rows(*ids):
    return pa.table({"sample_id": list(ids), "status": ["ok"] * len(ids)})


def commit(store, task, part, table):
    with store.attempt(task, part) as trial:
        trial.add_table(table)
        trial.commit(rows=table.num_rows, failed=0, seconds={"total": 1.0})


def test_committed_rows_come_back_in_the_order_of_the_parts(tmp_path):
    store, task = Store.create(tmp_path / "s"), make_task(tmp_path)
    commit(store, task, "b", rows("3"))
    commit(store, task, "a", rows("1", "2"))
    assert store.read(task)["sample_id"].to_pylist() == ["1", "2", "3"]
    assert store.is_complete(task)


def test_an_attempt_without_commit_leaves_nothing(tmp_path):
    store, task = Store.create(tmp_path / "s"), make_task(tmp_path)
    with store.attempt(task, "a") as trial:
        trial.add_table(rows("1"))
    assert store.marker(task, "a") is None
    assert not any((store.path / "staging").iterdir())
    with pytest.raises(FairRayError, match="not committed"):
        store.read(task)


def test_a_part_whose_file_is_gone_is_not_committed(tmp_path):
    store, task = Store.create(tmp_path / "s"), make_task(tmp_path, ("a",))
    commit(store, task, "a", rows("1"))
    (store.path / "embeddings" / task.folder / "a.parquet").unlink()
    assert not store.is_complete(task)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"files": 3}', b'{"files": []}', b"\xff\xfe"])
def test_a_damaged_marker_counts_as_no_marker(tmp_path, text):
    store, task = Store.create(tmp_path / "s"), make_task(tmp_path, ("a",))
    commit(store, task, "a", rows("1"))
    store.marker_path(task.id, "a").write_bytes(text)
    assert store.marker(task, "a") is None


def test_a_second_attempt_at_a_committed_part_changes_nothing(tmp_path):
    store, task = Store.create(tmp_path / "s"), make_task(tmp_path, ("a",))
    commit(store, task, "a", rows("1"))
    before = store.marker_path(task.id, "a").read_bytes()
    commit(store, task, "a", rows("other"))
    assert store.read(task)["sample_id"].to_pylist() == ["1"]
    assert store.marker_path(task.id, "a").read_bytes() == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_leaves_no_part(tmp_path, monkeypatch, code):
    store, task = Store.create(tmp_path / "s"), make_task(tmp_path, ("a",))

    def full(_descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFull, match=r"no space left.*again"):
        commit(store, task, "a", rows("1"))
    monkeypatch.undo()
    assert store.marker(task, "a") is None
    commit(store, task, "a", rows("1"))
    assert store.is_complete(task)


def test_a_quota_that_allows_no_new_folder_is_a_full_disk(tmp_path, monkeypatch):
    store, task = Store.create(tmp_path / "s"), make_task(tmp_path)

    def full(*_, **__):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(StoreFull, match="no space left"):
        commit(store, task, "a", rows("1"))


def test_of_two_attempts_at_once_exactly_one_is_committed_whole(tmp_path):
    store, task = Store.create(tmp_path / "s"), make_task(tmp_path, ("a",))
    barrier = threading.Barrier(8)

    def race(number):
        with store.attempt(task, "a") as trial:
            for name in ("x", "y", "z"):
                trial.add_table(rows(str(number)), name=name)
            barrier.wait()
            trial.commit(rows=3, failed=0, seconds={})
        return trial.name

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(race, range(8)))
    winner = names.index(store.marker(task, "a").attempt)
    assert {store.read(task, name=name)["sample_id"].to_pylist()[0] for name in "xyz"} == {str(winner)}
    assert all(sha256_file(store.path / file.path) == file.sha256 for file in store.marker(task, "a").files)


def test_folders_of_other_things_and_of_other_versions_are_refused(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="other content"):
        Store.create(tmp_path / "other")
    with pytest.raises(UserError, match="not a FairRay store"):
        Store(tmp_path / "absent")
    store = Store.create(tmp_path / "new")
    (store.path / "store.json").write_text(json.dumps({"format": STORE_FORMAT + 1}))
    with pytest.raises(UserError, match=f"has format {STORE_FORMAT + 1}"):
        Store.create(store.path)


def test_cleaning_removes_what_dead_attempts_left_and_keeps_live_ones(tmp_path):
    store, task = Store.create(tmp_path / "s"), make_task(tmp_path)
    with store.attempt(task, "a") as trial:
        live = next((store.path / "staging").iterdir())
        _, pid, unique = trial.name.rsplit("-", 2)
        dead = live.with_name(live.name.replace(f"-{pid}-{unique}", f"-{2**22 + 5}-{unique}"))
        dead.mkdir()
        store.clean()
        assert live.exists()
        assert not dead.exists()


def test_the_identity_of_a_task_is_its_content_only(tmp_path):
    task = make_task(tmp_path)
    elsewhere = make_task(tmp_path / "moved", parts=("a",))
    assert task.id == elsewhere.id
    assert task.id.startswith("embed-")
    assert str(task.folder).startswith("dataset=d/model=timm%3Ax%40random/usage=embed/task=embed-")
