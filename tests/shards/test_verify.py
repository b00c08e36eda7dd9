import json

import pytest

from shards import verify as module
from shards.convert import ConvertOptions, convert
from shards.errors import UserError
from shards.verify import verify


@pytest.fixture
def dataset(many, tmp_path):
    return convert(many.adapter(), tmp_path / "out", ConvertOptions(workers=1, samples_per_shard=4))


def shard(dataset, number):
    return dataset.path / "shards" / dataset.shards[number].name


def ids(dataset, number):
    return tuple(dataset.rows(dataset.shards[number].name)["sample_id"].to_pylist())


def found(dataset, cache=None):
    return {(problem.file, problem.kind): problem.sample_ids for problem in verify(dataset, cache)}


def test_a_whole_dataset_has_no_problem(dataset, tmp_path):
    assert verify(dataset, None) == ()
    assert verify(dataset, tmp_path / "cache.json") == ()
    assert verify(dataset, tmp_path / "cache.json") == ()


def test_a_missing_shard_is_found_with_its_samples(dataset):
    shard(dataset, 1).unlink()
    assert found(dataset) == {(dataset.shards[1].name, "missing"): ids(dataset, 1)}


@pytest.mark.parametrize("cut", ["member", "end", "all"])
def test_a_cut_shard_is_found_even_at_a_border_of_members(dataset, cut):
    path = shard(dataset, 0)
    border = dataset.rows(dataset.shards[0].name)["offset"][2].as_py()
    length = {"member": border, "end": path.stat().st_size - 1024, "all": 0}[cut]
    path.write_bytes(path.read_bytes()[:length])
    lost = {"member": ids(dataset, 0)[2:], "end": (), "all": ids(dataset, 0)}[cut]
    assert found(dataset) == {(dataset.shards[0].name, "truncated"): lost}


def test_a_flipped_byte_is_found_with_the_one_sample_it_concerns(dataset, tmp_path):
    cache = tmp_path / "cache.json"
    verify(dataset, cache)
    path = shard(dataset, 0)
    data = bytearray(path.read_bytes())
    data[dataset.rows(dataset.shards[0].name)["image_offset"][1].as_py() + 3] ^= 1
    path.write_bytes(data)
    assert found(dataset, cache) == {(dataset.shards[0].name, "altered"): (ids(dataset, 0)[1],)}


def test_swapped_shards_are_found_as_such(dataset):
    one, other = shard(dataset, 0), shard(dataset, 1)
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)
    assert found(dataset) == {
        (dataset.shards[0].name, "swapped"): ids(dataset, 0),
        (dataset.shards[1].name, "swapped"): ids(dataset, 1),
    }


def test_a_foreign_file_is_found(dataset):
    (dataset.path / "shards" / "train-000099.tar").write_bytes(b"")
    assert found(dataset) == {("train-000099.tar", "unlisted"): ()}


def test_an_exchanged_or_missing_index_is_found(dataset):
    import pyarrow.parquet as pq

    from shards.dataset import open_dataset

    path = dataset.path / "index.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    assert found(open_dataset(dataset.path)) == {("index.parquet", "index"): ()}
    path.unlink()
    assert found(open_dataset(dataset.path)) == {("index.parquet", "index"): ()}


def test_index_rows_without_bytes_are_found(dataset):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from shards.dataset import open_dataset
    from shards.files import sha256_file

    rows = dataset.index.to_pylist()
    rows.append({**rows[-1], "sample_id": "invented", "offset": 10**9})
    path = dataset.path / "index.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=dataset.index.schema), path)
    description = dataset.path / "dataset.json"
    description.write_text(description.read_text().replace(dataset.index_sha256, sha256_file(path)))
    problems = verify(open_dataset(dataset.path), None)
    assert [problem.sample_ids for problem in problems] == [("invented",), ()]
    assert "has 5 rows" in problems[1].detail or "expected" in problems[1].detail


def test_a_second_look_hashes_nothing_and_a_changed_file_is_hashed_again(dataset, tmp_path, monkeypatch):
    cache = tmp_path / "cache.json"
    hashed = []
    real = module.sha256_file
    monkeypatch.setattr(module, "sha256_file", lambda path: hashed.append(path.name) or real(path))
    verify(dataset, cache)
    assert hashed == [shard.name for shard in dataset.shards]
    hashed.clear()
    verify(dataset, cache)
    assert hashed == []
    shard(dataset, 2).touch()
    verify(dataset, cache)
    assert hashed == [dataset.shards[2].name]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}', "null"])
def test_a_damaged_cache_is_made_anew(dataset, tmp_path, content):
    cache = tmp_path / "cache.json"
    cache.write_text(content)
    assert verify(dataset, cache) == ()
    assert len(json.loads(cache.read_text())) >= len(dataset.shards)


def test_a_cache_that_cannot_be_written_is_an_error(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the verification cache"):
        verify(dataset, tmp_path / "file" / "cache.json")
