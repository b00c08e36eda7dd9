import errno
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys

import psutil
import pytest

from shards import files, tar
from shards.convert import ConvertOptions, convert
from shards.dataset import open_dataset
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1, samples_per_shard=6)

CONVERT = """
import sys
from pathlib import Path
from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter

if __name__ == "__main__":
    raw, out, workers = sys.argv[1:]
    adapter = make_adapter("table", {"table": Path(raw) / "table.csv", "dataset": "mine", "subject": "person",
        "targets": ["label"], "attributes": ["sex", "age"]})
    tell = lambda now: print(now.shards_done, flush=True)
    convert(adapter, Path(out), ConvertOptions(workers=int(workers), samples_per_shard=6), tell)
"""


def convert_and_die(adapter, out, step):
    """Convert in this process and be killed at the given change of a name on disk."""
    changes = 0

    def watch(event, arguments):
        nonlocal changes
        if event in ("os.rename", "os.remove") and str(out) in str(arguments[0]):
            changes += 1
            if changes == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    convert(adapter, out, ONE)


def kill_at(adapter, out, step):
    """Return whether the conversion got as far as this step, and so was killed."""
    process = multiprocessing.get_context("forkserver").Process(
        target=convert_and_die, args=(adapter, out, step)
    )
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def write_some_and_die(adapter, out, blocks):
    """Convert in this process and be killed after so many samples were written, the last one half."""
    write, written = tar._write_block, []

    def dying(file, *given):
        if len(written) == blocks:
            file.write(b"\0" * 100_000)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        written.append(None)
        return write(file, *given)

    tar._write_block = dying
    convert(adapter, out, ConvertOptions(workers=1, samples_per_shard=3))


@pytest.mark.parametrize("blocks", [0, 4])
def test_conversion_killed_in_the_middle_of_a_volume_continues_to_the_same_bytes(tmp_path, files_of, blocks):
    adapter = make_adapter("phantom-ct", {"subjects": 8})
    options = ConvertOptions(workers=1, samples_per_shard=3)
    process = multiprocessing.get_context("forkserver").Process(
        target=write_some_and_die, args=(adapter, tmp_path / "out", blocks)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (unfinished,) = (tmp_path / "out" / ".parts" / "shards").glob(".*.tar.*")
    assert unfinished.stat().st_size > 0
    told = []

    def tell(now):
        assert not unfinished.exists()
        told.append(now)

    convert(adapter, tmp_path / "out", options, tell)
    convert(adapter, tmp_path / "whole", options)
    assert told[-1].samples_reused == 3 * (blocks // 3)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    assert any(name.endswith(".tar") for name in files_of(tmp_path / "out"))


# Names change in this order: the note; tar and sidecar of 5 shards; then the
# old dataset.json goes, 5 shards move, and index, rejected and dataset.json come.
@pytest.mark.parametrize(
    "step",
    [
        2,
        5,
        12,
        18,
        *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 3, 4, 8, 11, 13, 15, 17, 19, 20)),
    ],
)
def test_killed_conversion_continues_to_the_same_bytes(many, tmp_path, files_of, step):
    adapter = many.adapter()
    convert(adapter, tmp_path / "whole", ONE)
    assert kill_at(adapter, tmp_path / "out", step)
    with pytest.raises(UserError, match=r"not finished|no dataset\.json"):
        open_dataset(tmp_path / "out")
    told = []
    convert(adapter, tmp_path / "out", ONE, told.append)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    assert (told[-1].samples_reused > 0) == (step > 3)
    assert (told[-1].samples_reused == 24) == (step > 11)


def test_conversion_killed_again_and_again_ends_with_the_same_bytes(many, tmp_path, files_of):
    adapter = many.adapter()
    convert(adapter, tmp_path / "whole", ONE)
    rounds = 0
    while kill_at(adapter, tmp_path / "out", 8):
        rounds += 1
    assert rounds >= 2
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.slow
def test_update_killed_at_any_step_keeps_the_splits_and_ends_with_the_same_bytes(many, tmp_path, files_of):
    before = many.adapter()
    convert(before, tmp_path / "whole", ONE)
    first = open_dataset(tmp_path / "whole").index.to_pydict()
    for number in range(12):
        many.add(f"added-{number}", person=f"q{number}")
    after = many.adapter()
    rows, many.rows = many.rows, many.rows[:24]
    convert(after, tmp_path / "whole", ONE)
    step, killed = 1, True
    while killed:
        out = tmp_path / f"out-{step}"
        many.rows = rows[:24]
        convert(many.adapter(), out, ONE)
        many.rows = rows
        killed = kill_at(many.adapter(), out, step)
        dataset = convert(many.adapter(), out, ONE)
        now = dict(
            zip(dataset.index["subject_id"].to_pylist(), dataset.index["split"].to_pylist(), strict=True)
        )
        assert all(
            now[name] == split for name, split in zip(first["subject_id"], first["split"], strict=True)
        )
        changed = {
            name for name, data in files_of(out).items() if data != files_of(tmp_path / "whole").get(name)
        }
        assert changed <= {"dataset.json"}  # the table's time of change is another in each round
        step += 1
    assert step > 20


def test_killing_the_parent_of_many_workers_leaves_no_process_and_can_be_continued(many, tmp_path, files_of):
    adapter = many.adapter()
    script = tmp_path / "script.py"
    script.write_text(CONVERT)
    command = [sys.executable, str(script), str(many.folder), str(tmp_path / "out"), "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process.stdout as output:
        assert output.readline().strip() == "1"
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert workers
    assert not alive
    convert(adapter, tmp_path / "out", ONE)
    convert(adapter, tmp_path / "whole", ONE)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_full_disk_is_told_and_continued(many, tmp_path, files_of, monkeypatch):
    convert(many.adapter(), tmp_path / "whole", ONE)
    real, calls = files.os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(UserError, match=r"No space left on device \(ENOSPC\).*repeat"):
            convert(many.adapter(), tmp_path / "out", ONE)
    leftover = [
        path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".") and path.is_file()
    ]
    assert leftover == []
    told = []
    convert(many.adapter(), tmp_path / "out", ONE, told.append)
    assert 0 < told[-1].samples_reused < 24
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def limited(adapter, out, connection):
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
    try:
        convert(adapter, out, ONE)
    except UserError as error:
        connection.send(str(error))


def test_quota_hit_while_writing_is_told_and_leaves_no_broken_shard(many, tmp_path, files_of):
    adapter = many.adapter()
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=limited, args=(adapter, tmp_path / "out", sender))
    process.start()
    process.join()
    assert re.search(r"cannot write the dataset in .*File too large \(EFBIG\)", receiver.recv())
    assert not [name for name in files_of(tmp_path / "out") if name.endswith(".tar")]
    convert(adapter, tmp_path / "out", ONE)
    convert(adapter, tmp_path / "whole", ONE)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_an_error_in_a_worker_reaches_the_caller(many, tmp_path):
    adapter = many.adapter()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".parts").mkdir()
    (tmp_path / "out" / ".parts" / "shards").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write the dataset"):
        convert(adapter, tmp_path / "out", ConvertOptions(workers=2, samples_per_shard=6))
