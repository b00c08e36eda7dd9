"""Datasets in an object store; the store is a folder behind the same interface (``file://``) that pyarrow gives for S3."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import time
from urllib.parse import quote

import pytest
from pyarrow.fs import S3FileSystem

from shards import buckets
from shards import dataset as dataset_module
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


def test_packed_files_stay_packed_on_their_way(tmp_path):
    packed = {
        "admissions.csv.gz": gzip.compress(b"subject_id,race\n1,WHITE\n"),
        "scan.nii.gz": gzip.compress(b"n"),
    }
    for name, data in packed.items():
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(data)
    folder = brought(f"file://{tmp_path}/raw")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == packed
    bucket = Bucket(f"file://{tmp_path}/up")
    for name, data in packed.items():
        bucket.upload(folder / name, name)
        bucket.write(f"2-{name}", data)
        assert (tmp_path / "up" / name).read_bytes() == (tmp_path / "up" / f"2-{name}").read_bytes() == data
        assert bucket.read(name) == data


def test_what_is_not_there_is_named(address, tmp_path):
    with pytest.raises(UserError, match=r"is not a converted dataset: it has no dataset\.json"):
        open_dataset(address)
    with pytest.raises(UserError, match="there is nothing at"):
        brought(address)
    with pytest.raises(UserError, match="no address of an object store"):
        open_dataset("nothing://x/y")
    assert cache_folder(address) != cache_folder(address + "2")
    assert json.dumps(str(cache_folder(address))).count("phantoms") == 1


def elsewhere(monkeypatch, tmp_path, name="other machine"):
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / name))


def test_dataset_that_is_replaced_while_it_is_read_gives_its_own_samples_or_none(
    address, adapter, monkeypatch, tmp_path
):
    convert_to(adapter, address, OPTIONS)
    elsewhere(monkeypatch, tmp_path)
    old = open_dataset(address)
    fetched, other = [shard.name for shard in old.shards if shard.split == "train"][:2]
    before = [sample.image.tobytes() for sample in old.read(fetched, masks=False)]
    new = convert(make_adapter("phantom-cxr", {"subjects": 12, "seed": 1}), tmp_path / "new", OPTIONS)
    assert {shard.name for shard in new.shards} == {shard.name for shard in old.shards}
    publish(new.path, address)
    assert pixels(open_dataset(address)) == pixels(new)  # another process, with the same cache
    assert [sample.image.tobytes() for sample in old.read(fetched, masks=False)] == before
    with pytest.raises(UserError, match="the dataset was replaced since it was opened"):
        list(old.read(other, masks=False))
    assert pixels(open_dataset(address)) == pixels(new)


def test_table_that_is_exchanged_while_it_comes_down_is_never_taken(address, adapter, monkeypatch, tmp_path):
    convert_to(adapter, address, OPTIONS)
    smaller = convert(make_adapter("phantom-cxr", {"subjects": 5}), tmp_path / "smaller", OPTIONS)
    elsewhere(monkeypatch, tmp_path)
    download = Bucket.download

    def replaced(bucket, name, *given):
        monkeypatch.setattr(Bucket, "download", download)
        publish(smaller.path, address)
        download(bucket, name, *given)

    monkeypatch.setattr(Bucket, "download", replaced)
    with pytest.raises(UserError, match="is not the table that was converted: the dataset was replaced"):
        open_dataset(address)
    assert pixels(open_dataset(address)) == pixels(smaller)


def test_processes_that_open_a_dataset_at_once_do_not_disturb_each_other(
    address, adapter, monkeypatch, tmp_path
):
    made = pixels(convert_to(adapter, address, OPTIONS))
    elsewhere(monkeypatch, tmp_path)
    download, opened = Bucket.download, []

    def meanwhile(bucket, name, *given):
        monkeypatch.setattr(Bucket, "download", download)
        download(bucket, name, *given)
        opened.append(open_dataset(address))
        assert pixels(opened[0]) == made

    monkeypatch.setattr(Bucket, "download", meanwhile)
    assert pixels(open_dataset(address)) == made
    assert pixels(opened[0]) == made


def test_cache_that_is_removed_at_any_moment_is_filled_again(address, adapter, monkeypatch, tmp_path):
    made = pixels(convert_to(adapter, address, OPTIONS))
    dataset = open_dataset(address)
    shutil.rmtree(tmp_path / "cache")
    assert pixels(dataset) == made
    shutil.rmtree(tmp_path / "cache")
    assert dataset.rejected.num_rows == 0
    bring, removed = buckets.bring, []

    def bring_and_lose(*given):
        path = bring(*given)
        if not removed:
            removed.append(path)
            shutil.rmtree(tmp_path / "cache")
        return path

    monkeypatch.setattr(dataset_module, "bring", bring_and_lose)
    assert pixels(dataset) == made
    assert removed


def test_dataset_that_was_made_but_not_copied_up_is_not_made_again(address, adapter, monkeypatch, tmp_path):
    first = convert_to(adapter, address, OPTIONS)
    before = dict(zip(*(first.index[name].to_pylist() for name in ("subject_id", "split")), strict=True))
    larger = make_adapter("phantom-cxr", {"subjects": 15})
    real, told = Bucket.upload, []

    def failing(*_):
        raise UserError("the network is gone")

    for lost in ("write", "upload"):  # dataset.json of the first is still there, then it is not
        monkeypatch.setattr(Bucket, lost, failing)
        with pytest.raises(UserError, match="the network is gone"):
            convert_to(larger, address, OPTIONS, told.append)
        monkeypatch.undo()
        monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "cache"))
        assert bool(told) == (lost == "write")
        told.clear()
    assert Bucket.upload is real
    second = convert_to(larger, address, OPTIONS, told.append)
    after = dict(zip(*(second.index[name].to_pylist() for name in ("subject_id", "split")), strict=True))
    assert (told, len(after), before.items() <= after.items()) == ([], 15, True)


def test_repeating_on_another_machine_makes_and_copies_nothing(address, adapter, monkeypatch, tmp_path):
    convert_to(adapter, address, OPTIONS)
    elsewhere(monkeypatch, tmp_path)
    monkeypatch.setattr(Bucket, "upload", None)
    told = []
    dataset = convert_to(adapter, address, OPTIONS, told.append)
    assert (told, dataset.counts.samples) == ([], open_dataset(address).counts.samples)
    assert not (dataset.path / "shards").exists()


def test_dataset_in_a_bucket_that_lost_a_shard_is_mended_by_converting_again(address, adapter, tmp_path):
    dataset = convert_to(adapter, address, OPTIONS)
    made, lost = pixels(dataset), dataset.shards[0].name
    (tmp_path / "bucket" / "phantoms" / "shards" / lost).unlink()
    convert_to(adapter, address, OPTIONS)
    shutil.rmtree(tmp_path / "cache")
    assert pixels(open_dataset(address)) == made


def test_two_conversions_to_one_address_do_not_meet(address, adapter, tmp_path, monkeypatch):
    caught = []

    def second(_):
        with pytest.raises(UserError, match="another process is converting"):
            convert_to(adapter, address, OPTIONS)
        caught.append(True)

    made = pixels(convert_to(adapter, address, OPTIONS, second))
    assert caught
    elsewhere(monkeypatch, tmp_path)
    assert pixels(open_dataset(address)) == made


def test_two_machines_that_copy_up_at_once_leave_no_mixture(address, adapter, monkeypatch, tmp_path):
    one = convert(adapter, tmp_path / "one", OPTIONS)
    two = convert(make_adapter("phantom-cxr", {"subjects": 12, "seed": 1}), tmp_path / "two", OPTIONS)
    upload = Bucket.upload

    def meanwhile(bucket, path, name):
        monkeypatch.setattr(Bucket, "upload", upload)
        upload(bucket, path, name)
        bucket.write("upload.json", b"of the other machine")

    monkeypatch.setattr(Bucket, "upload", meanwhile)
    with pytest.raises(UserError, match="another machine copies a dataset to"):
        publish(one.path, address)
    assert not is_dataset(address)
    publish(two.path, address)
    assert pixels(open_dataset(address)) == pixels(two)


def test_all_that_is_wrong_in_a_bucket_is_found_also_behind_a_cache(address, adapter, monkeypatch, tmp_path):
    dataset = convert_to(adapter, address, OPTIONS)
    first, second, third = (tmp_path / "bucket" / "phantoms" / "shards" / s.name for s in dataset.shards[:3])
    first.unlink()
    second.write_bytes(second.read_bytes()[:1000])
    third.write_bytes(third.read_bytes()[:-1] + b"!")
    found = {problem.file: problem.kind for problem in verify(dataset, None, fetch=True)}
    assert found == {first.name: "missing", second.name: "truncated"}
    elsewhere(monkeypatch, tmp_path)
    problems = verify(open_dataset(address), None, fetch=True)
    assert [(p.file, p.kind) for p in problems] == [
        (first.name, "missing"),
        (second.name, "truncated"),
        (third.name, "altered"),
    ]
    assert [len(p.sample_ids) for p in problems] == [shard.samples for shard in dataset.shards[:3]]


@pytest.mark.parametrize("name", ["two words", "50% ünïcode", "a%20b", "[x]*?"])
def test_addresses_may_hold_any_character(name, adapter, monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / f"cache {name}"))
    address = f"file://{tmp_path}/{quote(name)}"
    dataset = convert_to(adapter, address, OPTIONS)
    assert (tmp_path / name / "dataset.json").is_file()
    shutil.rmtree(tmp_path / f"cache {name}")
    assert len(pixels(open_dataset(address))) == sum(dataset.counts.samples.values())


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
