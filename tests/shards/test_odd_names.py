"""Folders and files of any name, as people and publishers give them."""

import os
from pathlib import Path

import pytest
from replicas.ham10000 import make

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.verify import verify

ONE = ConvertOptions(workers=1, max_rejected=0.5)
LATIN_1 = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("name", ["two words", "100%20 %s", "ünï 中", "[a]*?", "a:b", "#x&y", "new\nline"])
def test_raw_data_and_dataset_may_lie_in_folders_of_any_name(tmp_path, name):
    raw = make(tmp_path / name / "raw", images=12)["raw"]
    out = tmp_path / name / "out"
    dataset = convert(make_adapter("ham10000", {"raw": raw}), out, ONE)
    told = []
    convert(make_adapter("ham10000", {"raw": raw}), out, ONE, told.append)
    samples = [sample for shard in dataset.shards for sample in dataset.read(shard.name, masks=True)]
    assert [sample.status for sample in samples] == ["ok"] * 12
    assert (verify(dataset, None), told) == ((), [])


def test_raw_data_behind_links_is_that_which_they_lead_to(tmp_path, files_of):
    raw = Path(make(tmp_path / "disk" / "raw", images=12)["raw"])
    (tmp_path / "link").symlink_to(raw)
    straight = convert(make_adapter("ham10000", {"raw": raw}), tmp_path / "straight", ONE)
    linked = convert(make_adapter("ham10000", {"raw": tmp_path / "link"}), tmp_path / "linked", ONE)
    assert linked.fingerprint == straight.fingerprint


def test_folder_whose_name_is_no_utf8_is_one_message(tmp_path):
    raw = make(tmp_path / LATIN_1, images=12)["raw"]
    with pytest.raises(UserError, match=r"has a name with bytes that are no UTF-8: '.*caf\\udce9.*Rename"):
        convert(make_adapter("ham10000", {"raw": raw}), tmp_path / "out", ONE)


def test_files_whose_names_are_no_utf8_are_told_and_lose_nothing(tmp_path):
    raw = Path(make(tmp_path / "raw", images=12)["raw"])
    (raw / "HAM10000_images" / f"{LATIN_1}.jpg").write_bytes(b"1")
    dataset = convert(make_adapter("ham10000", {"raw": raw}), tmp_path / "out", ONE)
    (row,) = dataset.rejected.to_pylist()
    assert (row["reason"], row["source"]) == ("not_listed", r"HAM10000_images/caf\udce9.jpg")
    assert dataset.index.num_rows == 12
