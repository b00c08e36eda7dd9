import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.convert import ConvertOptions, convert
from shards.dataset import FORMAT, open_dataset
from shards.errors import UserError


@pytest.fixture
def dataset(many, tmp_path):
    return convert(many.adapter(), tmp_path / "out", ConvertOptions(workers=1, samples_per_shard=4))


def read_all(dataset, *, masks=False):
    return [sample for shard in dataset.shards for sample in dataset.read(shard.name, masks=masks)]


def path_of(dataset, number):
    return dataset.path / "shards" / dataset.shards[number].name


def test_samples_come_in_index_order_with_their_pixels(many, dataset):
    from PIL import Image

    samples = read_all(dataset)
    assert [sample.sample_id for sample in samples] == dataset.index["sample_id"].to_pylist()
    for sample in samples:
        published = np.asarray(Image.open(many.folder / f"{sample.sample_id}.png"))
        assert np.array_equal(sample.image, published)
        assert (sample.status, sample.reason, sample.mask) == ("ok", None, None)


def test_masks_are_read_only_when_asked_for(raw, tmp_path):
    mask = np.array([[0, 9], [9, 0]], np.uint8)
    for number in range(6):
        raw.add(f"{number}", np.zeros((2, 2), np.uint8), **({"mask": mask} if number else {}))
    adapter = raw.adapter(mask="mask", structures={"spot": 9})
    dataset = convert(adapter, tmp_path / "out", ConvertOptions(workers=1))
    assert all(sample.mask is None for sample in read_all(dataset))
    found = {sample.sample_id: sample.mask for sample in read_all(dataset, masks=True)}
    assert found.pop("images/0") is None
    assert all(np.array_equal(value, mask) for value in found.values())
    assert dataset.counts.masks == 5


def test_a_missing_shard_gives_a_row_per_sample(dataset):
    path_of(dataset, 0).unlink()
    samples = list(dataset.read(dataset.shards[0].name, masks=False))
    assert len(samples) == dataset.shards[0].samples
    assert {sample.status for sample in samples} == {"missing"}
    assert all(sample.image is None and "cannot be opened" in sample.reason for sample in samples)


def test_a_cut_shard_gives_what_is_left_and_a_row_for_the_rest(dataset):
    path = path_of(dataset, 0)
    rows = dataset.rows(dataset.shards[0].name).to_pylist()
    path.write_bytes(path.read_bytes()[: rows[2]["offset"]])
    statuses = [sample.status for sample in dataset.read(dataset.shards[0].name, masks=False)]
    assert statuses == ["ok", "ok", "decode_error", "decode_error"]


def test_swapped_shards_are_not_believed(dataset):
    one, other = path_of(dataset, 0), path_of(dataset, 1)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    samples = list(dataset.read(dataset.shards[0].name, masks=False))
    assert [sample.status for sample in samples] == ["decode_error"] * 4
    assert "is not the one that was written" in samples[0].reason


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_damage_leaves_one_row_per_sample_and_no_wrong_pixel(tmp_path_factory, data):
    dataset, whole = _shared(tmp_path_factory)
    path = path_of(dataset, 0)
    original = path.read_bytes()
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    del damaged[data.draw(st.integers(1, len(damaged))) :]
    path.write_bytes(damaged)
    try:
        samples = list(dataset.read(dataset.shards[0].name, masks=True))
    finally:
        path.write_bytes(original)
    assert [sample.sample_id for sample in samples] == [sample.sample_id for sample in whole]
    for sample, expected in zip(samples, whole, strict=True):
        assert sample.image is None or np.array_equal(sample.image, expected.image)
        assert (sample.status == "ok") == (sample.image is not None)


_CACHE = {}


def _shared(factory):
    """One dataset for all examples of the property above."""
    if not _CACHE:
        from shards.datasets import make_adapter

        folder = factory.mktemp("shared")
        adapter = make_adapter("phantom-fundus", {"subjects": 6})
        dataset = convert(adapter, folder / "out", ConvertOptions(workers=1, samples_per_shard=4))
        _CACHE["made"] = dataset, list(dataset.read(dataset.shards[0].name, masks=True))
    return _CACHE["made"]


def test_members_of_other_kinds_are_not_read(dataset):
    import pyarrow.parquet as pq

    from shards.files import sha256_file

    path = dataset.path / "index.parquet"
    table = dataset.index
    place = table.column_names.index("image_name")
    pq.write_table(table.set_column(place, "image_name", [["image.pickle"] * table.num_rows]), path)
    description = dataset.path / "dataset.json"
    description.write_text(description.read_text().replace(dataset.index_sha256, sha256_file(path)))
    samples = read_all(open_dataset(dataset.path))
    assert {sample.status for sample in samples} == {"decode_error"}
    assert "is not of a kind that is read" in samples[0].reason


def test_an_exchanged_index_is_refused(dataset):
    import pyarrow.parquet as pq

    pq.write_table(dataset.index.slice(1), dataset.path / "index.parquet")
    with pytest.raises(UserError, match=r"is not the file that was written with its dataset\.json"):
        _ = open_dataset(dataset.path).index


def test_an_unknown_shard_is_named_with_its_neighbour(dataset):
    with pytest.raises(UserError, match="did you mean 'train-00000"):
        dataset.read("train-00000O.tar", masks=False)


def test_folders_that_are_no_dataset_are_refused(dataset, tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"it has no dataset\.json"):
        open_dataset(tmp_path)
    path = dataset.path / "dataset.json"
    text = path.read_text()
    path.write_text(text.replace(f'"format": {FORMAT}', '"format": 99'))
    with pytest.raises(UserError, match=f"has format 99, this version of FairRay reads format {FORMAT}"):
        open_dataset(dataset.path)
    path.write_text(text.replace('"fingerprint"', '"footprint"'))
    with pytest.raises(UserError, match="is damaged"):
        open_dataset(dataset.path)
    path.write_text(text[:50])
    with pytest.raises(UserError, match="is damaged"):
        open_dataset(dataset.path)


def test_an_opened_dataset_says_what_was_converted(many, dataset):
    again = open_dataset(dataset.path)
    assert again == dataset
    assert again.card == many.adapter().card()
    assert again.counts.classes["label"]["train"] == {"no": 7, "yes": 7}


def test_a_dataset_travels_to_other_processes_without_its_tables(dataset):
    assert dataset.index.num_rows == 24
    assert len(pickle.dumps(dataset)) < 5000
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    assert pickle.loads(pickle.dumps(dataset)).index == dataset.index


def test_opening_and_reading_import_neither_pandas_nor_torch(dataset):
    code = (
        "import sys; from pathlib import Path; from shards.dataset import open_dataset; "
        f"d = open_dataset(Path({str(dataset.path)!r})); assert 'pyarrow' not in sys.modules; "
        "assert [s.status for s in d.read(d.shards[0].name, masks=True)] == ['ok'] * 4; "
        "assert not {'pandas', 'torch', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
