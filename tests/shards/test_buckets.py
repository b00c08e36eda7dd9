"""Datasets in an object store; the store is a folder behind the same interface (``file://``) that pyarrow gives for S3."""

import json
import os
import socket
import subprocess
import time

import pytest
from pyarrow.fs import S3FileSystem

from shards.buckets import Bucket, brought, cache_folder, mirror, publish
from shards.convert import ConvertOptions, convert, convert_to
from shards.dataset import is_dataset, open_dataset
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.verify import verify

OPTIONS = ConvertOptions(workers=1, samples_per_shard=8)


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "cache"))
    return f"file://{tmp_path}/bucket/phantoms"


@pytest.fixture
def adapter():
    return make_adapter("phantom-cxr", {"subjects": 12})


def pixels(dataset):
    return {
        sample.sample_id: (sample.status, sample.image.tobytes())
        for shard in dataset.shards
        for sample in dataset.read(shard.name, masks=False)
    }


def test_dataset_in_a_bucket_is_the_one_that_a_folder_would_hold(address, adapter, tmp_path, files_of):
    here = convert(adapter, tmp_path / "here", OPTIONS)
    assert not is_dataset(address)
    there = convert_to(adapter, address, OPTIONS)
    assert is_dataset(address)
    assert there.location == address
    assert there.fingerprint == here.fingerprint
    assert files_of(tmp_path / "bucket" / "phantoms") == files_of(tmp_path / "here")
    assert pixels(there) == pixels(here)


def test_shards_are_fetched_when_they_are_read(address, adapter, monkeypatch, tmp_path):
    convert_to(adapter, address, OPTIONS)
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "other machine"))
    dataset = open_dataset(address)
    assert not (dataset.path / "shards").exists()
    first = dataset.shards[0].name
    assert all(sample.status == "ok" for sample in dataset.read(first, masks=False))
    assert [path.name for path in (dataset.path / "shards").iterdir()] == [first]
    assert verify(dataset, None) == ()


def test_shard_that_was_exchanged_is_refused(address, adapter, monkeypatch, tmp_path):
    dataset = convert_to(adapter, address, OPTIONS)
    name = dataset.shards[0].name
    path = tmp_path / "bucket" / "phantoms" / "shards" / name
    data = path.read_bytes()
    path.write_bytes(data[:600] + bytes([data[600] ^ 1]) + data[601:])
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "other machine"))
    with pytest.raises(UserError, match="is not the shard that was converted"):
        list(open_dataset(address).read(name, masks=False))


@pytest.mark.parametrize(("left", "kind"), [(None, "missing"), (1000, "truncated")])
def test_shards_that_are_missing_or_short_are_found_without_fetching_them(
    address, adapter, monkeypatch, tmp_path, left, kind
):
    dataset = convert_to(adapter, address, OPTIONS)
    path = tmp_path / "bucket" / "phantoms" / "shards" / dataset.shards[0].name
    data = path.read_bytes()
    path.unlink()
    if left is not None:
        path.write_bytes(data[:left])
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "other machine"))
    (problem,) = verify(open_dataset(address), None)
    assert (problem.file, problem.kind) == (path.name, kind)
    assert len(problem.sample_ids) == dataset.shards[0].samples


def test_interrupted_upload_shows_no_dataset_and_goes_on(address, adapter, monkeypatch, tmp_path):
    folder = tmp_path / "here"
    dataset = convert(adapter, folder, OPTIONS)
    sent, upload = [], Bucket.upload

    def failing(bucket, path, name):
        if len(sent) == 2:
            raise UserError("the network is gone")
        sent.append(name)
        upload(bucket, path, name)

    monkeypatch.setattr(Bucket, "upload", failing)
    with pytest.raises(UserError, match="the network is gone"):
        publish(folder, address)
    assert not is_dataset(address)
    with pytest.raises(UserError, match="is being copied up, or that was interrupted"):
        mirror(address)
    first = list(sent)
    monkeypatch.setattr(Bucket, "upload", lambda *given: (sent.append(given[2]), upload(*given)))
    publish(folder, address)
    assert not set(first) & set(sent[2:])
    assert pixels(open_dataset(address)) == pixels(dataset)


def test_repeating_copies_nothing_and_another_dataset_replaces_the_first(
    address, adapter, monkeypatch, tmp_path
):
    convert_to(adapter, address, OPTIONS)
    monkeypatch.setattr(Bucket, "upload", None)  # would raise
    convert_to(adapter, address, OPTIONS)
    monkeypatch.undo()
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "other machine"))
    known = open_dataset(address)
    smaller = convert(make_adapter("phantom-cxr", {"subjects": 5}), tmp_path / "smaller", OPTIONS)
    publish(smaller.path, address)
    again = open_dataset(address)
    assert again.fingerprint == smaller.fingerprint != known.fingerprint
    assert pixels(again) == pixels(smaller)
    assert sorted(Bucket(address).sizes("shards")) == sorted(shard.name for shard in smaller.shards)


def test_added_subjects_keep_the_splits_of_the_dataset_in_the_bucket(address, monkeypatch, tmp_path):
    def splits(dataset):
        return dict(zip(*(dataset.index[name].to_pylist() for name in ("subject_id", "split")), strict=True))

    before = splits(convert_to(make_adapter("phantom-cxr", {"subjects": 12}), address, OPTIONS))
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "other machine"))
    after = splits(convert_to(make_adapter("phantom-cxr", {"subjects": 15}), address, OPTIONS))
    assert len(after) == 15
    assert before.items() <= after.items()


def test_raw_data_is_brought_from_a_bucket_once(address, many, tmp_path, files_of):
    many.adapter()
    root = f"file://{many.folder}"
    options = brought(
        {"table": f"{root}/table.csv", "images_root": root, "subject": "person", "targets": ["label"]}
    )
    here = convert(many.adapter(attributes=[]), tmp_path / "here", OPTIONS)
    there = convert(make_adapter("table", {"dataset": "mine", **options}), tmp_path / "there", OPTIONS)
    assert pixels(there) == pixels(here)
    (many.folder / "images" / "view-00.png").unlink()
    again = brought({"images_root": root})
    assert again["images_root"] == options["images_root"]
    assert (again["images_root"] / "images" / "view-01.png").is_file()
    assert brought({"source": "https://doi.org/x", "targets": ("a",)}) == {
        "source": "https://doi.org/x",
        "targets": ("a",),
    }


def test_what_is_not_there_is_named(address, tmp_path):
    with pytest.raises(UserError, match=r"is not a converted dataset: it has no dataset\.json"):
        open_dataset(address)
    with pytest.raises(UserError, match="there is nothing at"):
        brought(address)
    with pytest.raises(UserError, match="no address of an object store"):
        open_dataset("nothing://x/y")
    assert cache_folder(address) != cache_folder(address + "2")
    assert json.dumps(str(cache_folder(address))).count("phantoms") == 1


@pytest.mark.slow
def test_the_protocol_of_s3_is_spoken(adapter, monkeypatch, tmp_path):
    command = os.environ.get("FAIRRAY_S3_SERVER")
    if not command:
        pytest.skip("set FAIRRAY_S3_SERVER to the program moto_server (package moto[server])")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "cache"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [command, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        make_bucket(port, "hospital")
        address = f"s3://hospital/studies/cxr?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
        here = convert(adapter, tmp_path / "here", OPTIONS)
        assert convert_to(adapter, address, OPTIONS).location == address
        monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "other machine"))
        there = open_dataset(address)
        assert verify(there, None) == ()
        assert pixels(there) == pixels(here)
        raw = brought(address)
        assert sorted(path.name for path in raw.rglob("*.tar")) == sorted(shard.name for shard in here.shards)
    finally:
        server.terminate()
        server.wait(timeout=30)


def make_bucket(port, name):
    deadline = time.monotonic() + 60
    while True:
        try:
            store = S3FileSystem(
                endpoint_override=f"127.0.0.1:{port}", scheme="http", allow_bucket_creation=True
            )
            return store.create_dir(name)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
