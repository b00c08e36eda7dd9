"""Volumes for models of images: which slices are shown, one row a volume, and how the slices' answers become one."""

import io
import weakref
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from usage_fakes import CARD, DIMENSION, FakeDataset, FakeEncoder, FakeVlm, image_sample

from evaluator.models.interfaces import Similarity
from evaluator.models.preprocess import Preprocessor
from evaluator.tables import SLICE_COLUMNS, embeddings_schema
from evaluator.usages.embed import embed_shard
from evaluator.usages.options import LinearProbeOptions, SliceOptions, ZeroShotOptions
from evaluator.usages.volumes import depth_shown, places, pool_logits, pool_table, slices_of
from evaluator.usages.zero_shot import classifier, predict
from shards.card import PromptSet, Target
from shards.sample import Sample

ALL = SliceOptions()


def volume_sample(k, *, depth=5, mask=None, **more):
    random = np.random.default_rng(1000 + k)
    image = random.integers(0, 256, (depth, 14, 18 + k % 3), dtype=np.uint8)
    values = {"image": image, "mask": mask, "volumetric": True, "spacing_mm": (3.0, 1.0, 1.0), **more}
    return Sample(f"s{k:03d}", f"p{k:03d}", "test", **values)


def features_of(model, sample):
    """The encoder's features of every slice, one slice a call."""
    preprocess = Preprocessor(model.card.preprocessing)
    rgb = [np.repeat(one[..., None], 3, axis=2) for one in sample.image]
    pixels = [torch.from_numpy(preprocess(one).pixels)[None] for one in rgb]
    return np.concatenate([model.encode(one).features.numpy() for one in pixels])


def parquet_bytes(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


# Which slices


def test_all_takes_every_slice_in_order():
    assert places(ALL, np.zeros((4, 2, 2), np.uint8)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("depth", "count", "expected"),
    [(8, 3, [2, 3, 4]), (9, 3, [3, 4, 5]), (5, 1, [2]), (4, 4, [0, 1, 2, 3]), (2, 5, [0, 1])],
)
def test_central_takes_the_middle_or_all_there_are(depth, count, expected):
    options = SliceOptions(policy="central", count=count)
    assert places(options, np.zeros((depth, 2, 2), np.uint8)) == expected
    assert depth_shown(options, depth) == len(expected)


def test_foreground_takes_the_slices_that_hold_a_structure_of_the_card():
    mask = np.zeros((6, 14, 18), np.uint8)
    mask[1, 3, 3], mask[4, 5:9, 5:9], mask[5, 2, 2] = 1, 2, 9  # 9 is no structure of the card
    found = list(slices_of(volume_sample(0, depth=6, mask=mask), SliceOptions(policy="foreground"), CARD))
    assert [one.place for one in found] == [1, 4]


def test_without_a_mask_foreground_takes_the_slices_that_are_not_empty():
    image = np.full((5, 10, 10), 20, np.uint8)
    image[1] += 10  # within a tenth of the range: still dark
    image[2, 0, 0] = 220  # 1 % of the pixels
    image[3, :5] = 120
    options = SliceOptions(policy="foreground")
    assert places(options, image) == [2, 3]
    image[2, 0, 0] = 20
    assert places(options, np.repeat(image, 2, axis=2)) == [3]
    assert places(options, np.full((3, 4, 4), 7, np.uint8)) == []


@pytest.mark.parametrize(("depth", "count"), [(5, 9), (9, 4), (7, 7), (1, 3), (40, 16)])
def test_resampled_is_torchs_linear_interpolation_over_depth(depth, count):
    sample = volume_sample(3, depth=depth)
    options = SliceOptions(policy="resampled", count=count)
    shown = np.stack([one.image[..., 0] for one in slices_of(sample, options, CARD)])
    columns = torch.from_numpy(sample.image.reshape(depth, -1).T.copy()).double()[None]
    expected = torch.nn.functional.interpolate(columns, size=count, mode="linear", align_corners=False)
    expected = expected[0].T.reshape(count, *sample.image.shape[1:]).numpy()
    assert shown.dtype == np.uint8
    assert np.abs(shown - expected).max() <= 0.5 + 1e-9
    if depth == count:
        assert np.array_equal(shown, sample.image)


def test_slices_are_shown_as_grey_rgb():
    sample = volume_sample(1)
    for one, grey in zip(slices_of(sample, ALL, CARD), sample.image, strict=True):
        assert one.image.shape == (*grey.shape, 3)
        assert all(np.array_equal(one.image[..., channel], grey) for channel in range(3))


def test_options_take_a_policy_by_name_and_refuse_what_makes_no_sense():
    assert LinearProbeOptions(slices="foreground").slices == SliceOptions(policy="foreground")
    assert SliceOptions(policy="central") == SliceOptions(policy="central", count=16)
    assert ZeroShotOptions().slices == SliceOptions(policy="all")
    for wrong in (
        {"slices": {"policy": "all", "count": 3}},
        {"slices": {"policy": "foreground", "count": 3}},
        {"slices": {"policy": "central", "count": 0}},
        {"slices": {"policy": "middle"}},
        {"slices": {"police": "all"}},
        {"pool": "median"},
    ):
        with pytest.raises(ValidationError):
            ZeroShotOptions(**wrong)


# One row a volume


def test_a_volume_has_one_row_with_the_mean_and_its_slices_own_vectors():
    model, data = FakeEncoder(projected=4), FakeDataset([volume_sample(k, depth=3 + k) for k in range(4)])
    rows = embed_shard(model, data, "x", batch_size=7, slices=ALL).table
    assert rows.schema == embeddings_schema(DIMENSION, 4, volumes=True)
    for sample, row in zip(data.samples, rows.to_pylist(), strict=True):
        expected = features_of(model, sample)
        assert row["sample_id"] == sample.sample_id
        np.testing.assert_allclose(row["slice_embedding"], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(row["embedding"], expected.mean(axis=0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(row["projected"], expected[:, :4].mean(axis=0), rtol=1e-4, atol=1e-6)
        assert np.shape(row["slice_projected"]) == (len(sample.image), 4)
        assert row["slice_place"] == list(range(len(sample.image)))


def mixed_shard():
    """Volumes of many depths, images between them, and samples that fail in every way."""
    samples = [volume_sample(k, depth=1 + 7 * k % 11) for k in range(12)]
    samples[2] = image_sample(2)
    samples[5] = volume_sample(5, image=None, status="decode_error", reason="cut off")
    samples[7] = volume_sample(7, image=np.full((4, 14, 18), 9, np.uint8))
    return FakeDataset(samples)


@pytest.mark.parametrize(
    "options", [ALL, SliceOptions(policy="foreground"), SliceOptions(policy="resampled")]
)
def test_batch_size_changes_no_byte_and_the_model_sees_full_tiles(options):
    made = []
    for batch_size in (1, 7, 64):
        model = FakeEncoder(projected=4)
        made.append(
            parquet_bytes(embed_shard(model, mixed_shard(), "x", batch_size=batch_size, slices=options).table)
        )
        assert set(model.seen) == {16}
    assert made[0] == made[1] == made[2]


def test_failed_volumes_and_single_images_keep_their_rows():
    options = SliceOptions(policy="foreground")
    rows = embed_shard(FakeEncoder(), mixed_shard(), "x", batch_size=7, slices=options).table.to_pylist()
    assert [row["sample_id"] for row in rows] == [f"s{k:03d}" for k in range(12)]
    assert (rows[5]["status"], rows[5]["reason"]) == ("decode_error", "cut off")
    assert rows[7]["status"] == "no_foreground"
    assert "foreground" in rows[7]["reason"]
    assert all(rows[k]["embedding"] is None and rows[k]["slice_embedding"] is None for k in (5, 7))
    assert rows[2]["status"] == "ok"
    assert rows[2]["embedding"] is not None
    assert rows[2]["slice_embedding"] is None
    alone = embed_shard(FakeEncoder(), FakeDataset([image_sample(2)]), "x", batch_size=7).table
    np.testing.assert_allclose(rows[2]["embedding"], alone["embedding"][0].as_py(), rtol=1e-5)


def test_a_slice_that_gives_nan_fails_its_volume_and_no_other():
    class Allergic(FakeEncoder):
        def encode(self, images, frames=None):
            features, projected = super().encode(images, frames)
            features[images.float().mean(dim=(1, 2, 3)) > 250] = float("nan")
            return features, projected

    bright = volume_sample(1)
    image = bright.image.copy()
    image[3] = 255
    samples = [volume_sample(0), replace(bright, image=image), volume_sample(2)]
    rows = embed_shard(Allergic(), FakeDataset(samples), "x", batch_size=4, slices=ALL).table.to_pylist()
    assert [row["status"] for row in rows] == ["ok", "nan_output", "ok"]
    assert rows[1]["embedding"] is None
    assert rows[1]["slice_place"] is None
    np.testing.assert_allclose(rows[2]["slice_embedding"], features_of(FakeEncoder(), samples[2]), rtol=1e-4)


def test_volumes_are_read_as_their_slices_are_needed():
    data = FakeDataset([volume_sample(k, depth=20) for k in range(30)])

    class Watching(FakeEncoder):
        def encode(self, images, frames=None):
            self.ahead = max(getattr(self, "ahead", 0), data.read_so_far - sum(self.seen) / 20)
            return super().encode(images, frames)

    model = Watching()
    embed_shard(model, data, "x", batch_size=16, slices=ALL)
    assert data.read_so_far == 30
    assert model.ahead <= 4


def test_one_volume_is_in_memory_at_a_time():
    class Lazy(FakeDataset):
        def read(self, shard, *, masks):
            alive = []
            for k in range(8):
                most.append(sum(one() is not None for one in alive))
                sample = volume_sample(k, depth=20)
                alive.append(weakref.ref(sample.image))
                yield sample
                del sample

    most = []
    embed_shard(FakeEncoder(), Lazy([]), "x", batch_size=16, slices=ALL)
    assert most == [0] * 8


def test_a_dataset_of_images_has_the_schema_without_slices():
    rows = embed_shard(FakeEncoder(projected=4), FakeDataset([image_sample(0)]), "x", batch_size=2).table
    assert not set(SLICE_COLUMNS) & set(rows.column_names)


def test_tables_of_volumes_survive_parquet(tmp_path):
    rows = embed_shard(FakeEncoder(projected=4), mixed_shard(), "x", batch_size=7, slices=ALL).table
    pq.write_table(rows, tmp_path / "part.parquet")
    assert pq.read_table(tmp_path / "part.parquet").equals(rows)


# How slices become one answer


def test_probes_read_the_mean_or_the_largest_value_of_each_feature():
    table = embed_shard(FakeEncoder(projected=4), mixed_shard(), "x", batch_size=7, slices=ALL).table
    mean, largest = pool_table(table, "mean"), pool_table(table, "max")
    assert mean.schema == largest.schema == embeddings_schema(DIMENSION, 4)
    assert mean["embedding"].equals(table["embedding"])
    for row, pooled in zip(table.to_pylist(), largest.to_pylist(), strict=True):
        if row["slice_embedding"] is None:
            assert (pooled["embedding"], pooled["projected"]) == (row["embedding"], row["projected"])
        else:
            assert pooled["embedding"] == np.max(row["slice_embedding"], axis=0).tolist()
            assert pooled["projected"] == np.max(row["slice_projected"], axis=0).tolist()
    assert pool_table(mean, "max").equals(mean)


def test_pooling_a_part_of_a_table_gives_a_part_of_the_pooled_table():
    table = embed_shard(FakeEncoder(), mixed_shard(), "x", batch_size=7, slices=ALL).table
    assert pool_table(table.slice(3, 6), "max").equals(pool_table(table, "max").slice(3, 6))


TARGET = Target("disease", ("healthy", "sick"), positive="sick")
PROMPTS = PromptSet("disease", "v1", ("a {}",), (("healthy eye",), ("sick eye",)))
TEXTS = {"a healthy eye": [1.0, 0.2], "a sick eye": [-0.3, 1.0]}


def slice_table(volumes):
    """An embeddings table of volumes with the given projected slices."""
    fields = embeddings_schema(2, 2, volumes=True)
    means = [np.mean(one, axis=0).tolist() for one in volumes]
    size = len(volumes)
    columns = {
        "sample_id": [f"s{k}" for k in range(size)], "subject_id": [f"p{k}" for k in range(size)],
        "split": ["test"] * size, "embedding": means, "projected": means,
        "slice_place": [[float(k) for k in range(len(one))] for one in volumes],
        "slice_embedding": volumes, "slice_projected": volumes,
        "status": ["ok"] * size, "reason": [None] * size,
    }  # fmt: skip
    return pa.table(columns, schema=fields)


def fairmedfm_max(logits):
    """FairMedFM's 2.5D rule, written plainly for two classes: the logits of the slice with the highest P(class 1)."""
    best, chosen = -1.0, None
    for row in logits:
        odds = np.exp(row - row.max())
        probability = odds[1] / odds.sum()
        if probability > best:
            best, chosen = probability, row
    return chosen


def test_max_is_fairmedfms_rule_and_mean_the_mean_of_the_slices_logits():
    random = np.random.default_rng(0)
    volumes = [random.normal(size=(depth, 2)).astype(np.float32).tolist() for depth in (1, 4, 9, 30)]
    similarity = Similarity("softmax", 12.0, 0.5)
    texts = classifier(FakeVlm(TEXTS, similarity), PROMPTS, TARGET)
    labels = {f"s{k}": None for k in range(4)}
    weights = np.array(list(TEXTS.values()))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    found = {
        pool: predict(slice_table(volumes), labels, TARGET, texts, pool=pool).to_pylist()
        for pool in ("max", "mean")
    }
    for k, vectors in enumerate(volumes):
        unit = np.array(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
        logits = 12.0 * unit @ weights.T + 0.5
        np.testing.assert_allclose(found["max"][k]["logits"], fairmedfm_max(logits), rtol=1e-5)
        np.testing.assert_allclose(found["mean"][k]["logits"], logits.mean(axis=0), rtol=1e-5)
        chosen = fairmedfm_max(logits)
        assert found["max"][k]["score"] == pytest.approx(1 / (1 + np.exp(chosen[0] - chosen[1])), rel=1e-5)
    assert found["max"][3]["logits"] != found["mean"][3]["logits"]


def test_max_follows_the_positive_class_whichever_place_it_has():
    logits = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    assert pool_logits(logits, "max", 1).tolist() == [0.0, 3.0]
    assert pool_logits(logits, "max", 0).tolist() == [2.0, 0.0]
    assert pool_logits(np.array([[1.0, 0.0], [1.0, 0.0]]), "max", 1).tolist() == [1.0, 0.0]


def test_max_of_more_than_two_classes_takes_the_slice_that_is_surest():
    logits = np.array([[1.0, 0.9, 0.8], [0.0, 4.0, 0.0], [3.0, 0.0, 0.0]])
    assert pool_logits(logits, "max", None).tolist() == [0.0, 4.0, 0.0]


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_a_slice_without_a_direction_makes_its_volume_nan_output(pool):
    volumes = [[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]]
    texts = classifier(FakeVlm(TEXTS, Similarity("softmax", 12.0)), PROMPTS, TARGET)
    rows = predict(slice_table(volumes), {"s0": None, "s1": None}, TARGET, texts, pool=pool).to_pylist()
    assert [row["status"] for row in rows] == ["nan_output", "ok"]
    assert rows[0]["logits"] is None


def test_a_volumes_row_does_not_depend_on_its_neighbours():
    random = np.random.default_rng(1)
    volumes = [random.normal(size=(5, 2)).astype(np.float32).tolist() for _ in range(9)]
    labels = {f"s{k}": None for k in range(9)}
    texts = classifier(FakeVlm(TEXTS, Similarity("softmax", 12.0)), PROMPTS, TARGET)
    whole = predict(slice_table(volumes), labels, TARGET, texts)
    assert predict(slice_table(volumes).slice(4, 3), labels, TARGET, texts).equals(whole.slice(4, 3))
