"""Embeddings of one shard: a row per sample, the same bytes for any batch size, errors in their place."""

import io
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from usage_fakes import DIMENSION, FakeDataset, FakeEncoder, image_sample

from evaluator.models.preprocess import Preprocessor
from evaluator.tables import embeddings_schema
from evaluator.usages.ahead import Ahead
from evaluator.usages.embed import embed_shard


def poisoned(k):
    """An image that the fake encoder answers with NaN."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = image[..., 2] = 255
    return image_sample(k, image=image)


def shard(size=40):
    samples = [image_sample(k, side=12 + k % 9) for k in range(size)]
    samples[3] = image_sample(3, status="decode_error", reason="cut off")
    samples[17] = poisoned(17)
    return FakeDataset(samples)


def parquet_bytes(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_every_sample_has_a_row_in_index_order_with_its_status():
    rows = embed_shard(FakeEncoder(), shard(), "x", batch_size=7).table
    assert rows.schema == embeddings_schema(DIMENSION, None)
    assert rows["sample_id"].to_pylist() == [f"s{k:03d}" for k in range(40)]
    assert rows["subject_id"][5].as_py() == "p002"
    status = rows["status"].to_pylist()
    assert (status[3], status[17]) == ("decode_error", "nan_output")
    assert rows["reason"][3].as_py() == "cut off"
    assert [k for k, value in enumerate(status) if value != "ok"] == [3, 17]
    assert [k for k, value in enumerate(rows["embedding"].to_pylist()) if value is None] == [3, 17]


def test_vectors_are_those_of_the_model_on_preprocessed_images():
    data, model = shard(), FakeEncoder()
    rows = embed_shard(model, data, "x", batch_size=7).table.to_pylist()
    preprocess = Preprocessor(model.card.preprocessing)
    for k in (0, 16, 39):
        pixels = torch.from_numpy(preprocess(data.samples[k].image).pixels)[None]
        np.testing.assert_allclose(rows[k]["embedding"], model.encode(pixels).features[0], rtol=1e-5)


@pytest.mark.parametrize("batch_size", [7, 64])
def test_batch_size_changes_no_byte(batch_size):
    one = parquet_bytes(embed_shard(FakeEncoder(projected=4), shard(), "x", batch_size=1).table)
    other = parquet_bytes(embed_shard(FakeEncoder(projected=4), shard(), "x", batch_size=batch_size).table)
    assert other == one


def test_model_sees_tiles_of_one_size_whatever_the_batch():
    seen = []
    for batch_size in (1, 7, 64):
        model = FakeEncoder()
        embed_shard(model, shard(), "x", batch_size=batch_size)
        seen.append(model.seen)
    assert seen[0] == seen[1] == seen[2] == [16, 16, 16]


def test_projected_features_stand_beside_the_others():
    rows = embed_shard(FakeEncoder(projected=4), shard(), "x", batch_size=7).table
    assert rows.schema == embeddings_schema(DIMENSION, 4)
    for row in rows.to_pylist():
        assert row["projected"] == (row["embedding"] and row["embedding"][:4])


@pytest.mark.parametrize("projected", [None, 4])
def test_shard_of_failures_only_gives_rows_of_failures_only(projected):
    data = FakeDataset([image_sample(k, status="decode_error") for k in range(3)])
    rows = embed_shard(FakeEncoder(projected=projected), data, "x", batch_size=2).table
    assert rows["status"].to_pylist() == ["decode_error"] * 3
    assert rows["embedding"].null_count == 3


def test_empty_shard_gives_an_empty_table():
    rows = embed_shard(FakeEncoder(projected=4), FakeDataset([]), "x", batch_size=2).table
    assert rows.schema == embeddings_schema(DIMENSION, 4)
    assert len(rows) == 0


def test_image_that_cannot_be_preprocessed_costs_one_row():
    samples = [image_sample(0), image_sample(1, image=np.zeros((0, 5, 3), np.uint8)), image_sample(2)]
    rows = embed_shard(FakeEncoder(), FakeDataset(samples), "x", batch_size=2).table
    assert rows["status"].to_pylist() == ["ok", "preprocess_error", "ok"]


def test_running_out_of_memory_once_changes_nothing():
    class Tight(FakeEncoder):
        def encode(self, images, frames=None):
            if len(self.seen) == 1:
                self.seen.append(0)
                raise torch.OutOfMemoryError("busy")
            return super().encode(images, frames)

    assert embed_shard(Tight(), shard(), "x", batch_size=16).table.equals(
        embed_shard(FakeEncoder(), shard(), "x", batch_size=16).table
    )


def test_running_out_of_memory_for_good_is_raised():
    class Full(FakeEncoder):
        def encode(self, images, frames=None):
            raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        embed_shard(Full(), shard(), "x", batch_size=16)


def test_error_of_the_reader_reaches_the_caller_and_no_thread_stays():
    class Broken(FakeDataset):
        def read(self, shard, *, masks):
            yield from self.samples[:5]
            raise OSError("disk gone")

    before = threading.active_count()
    with pytest.raises(OSError, match="disk gone"):
        embed_shard(FakeEncoder(), Broken(shard().samples), "x", batch_size=2)
    assert threading.active_count() == before


def test_error_of_the_model_stops_the_reading_thread():
    class Failing(FakeEncoder):
        def encode(self, images, frames=None):
            raise RuntimeError("device lost")

    data, before = shard(400), threading.active_count()
    with pytest.raises(RuntimeError, match="device lost"):
        embed_shard(Failing(), data, "x", batch_size=1)
    assert threading.active_count() == before
    assert data.read_so_far < 400


def test_no_more_than_the_depth_is_prepared_ahead():
    made = []
    ahead = iter(Ahead(range(100), made.append, depth=3))
    for _ in range(10):
        next(ahead)
    assert len(made) <= 10 + 3 + 1
    ahead.close()


def test_timings_count_images_and_add_up():
    timings = embed_shard(FakeEncoder(), shard(), "x", batch_size=7).timings
    assert timings.images == 39
    assert 0 < timings.infer_s <= timings.wall_s
    assert timings.read_s > 0


def test_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        embed_shard(FakeEncoder(), shard(), "x", batch_size=0)
