"""Prompted segmentation of volumes: every slice prompted from its own mask, scored once as a stack."""

import io
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from usage_fakes import SIZE, FakeDataset, FakeSegmenter, image_sample

from evaluator.metrics.segmentation import score_mask
from evaluator.usages.options import SegmentOptions
from evaluator.usages.prompts import make_prompt
from evaluator.usages.segment import segment_shard
from shards.sample import Sample

SPACING = (4.0, 0.5, 0.25)
ALL_PROMPTS = SegmentOptions(prompts=("bbox", "center", "rand", "rands"))
BOX = SegmentOptions(prompts=("bbox",))


def true_mask(k=0, *, depth=6, side=SIZE):
    """Structure a in slices 1 to 3, b in slices 2 to 4; nothing in the others."""
    mask = np.zeros((depth, side, side), np.uint8)
    for place in (1, 2, 3):
        mask[place, 2 : side - 2 - place, 1 : side // 2] = 1
    for place in (2, 3, 4):
        mask[place, 3 : side - 3 - k % 3, side // 2 + 1 : side - place] = 2
    return mask


def volume(k, *, mask=None, spacing=SPACING, **more):
    """The fake segmenter finds what is bright: all of a but one row in each slice, none of b."""
    mask = true_mask(k) if mask is None else mask
    image = np.where(mask == 1, 200, 40).astype(np.uint8)
    image[:, 2] = 40
    values = {"image": image, "mask": mask, "volumetric": True, "spacing_mm": spacing, **more}
    return Sample(f"s{k:03d}", f"p{k:03d}", "test", **values)


def rows_of(samples, options=ALL_PROMPTS, model=None):
    return segment_shard(model or FakeSegmenter(), FakeDataset(samples), "x", options).table.to_pylist()


def test_a_volume_has_one_row_for_each_structure_and_prompt():
    keys = [(row["sample_id"], row["structure"], row["prompt"]) for row in rows_of([volume(0), volume(1)])]
    assert keys == [
        (f"s{k:03d}", s, p) for k in (0, 1) for s in ("a", "b", "ab") for p in ALL_PROMPTS.prompts
    ]


def test_scores_are_those_of_the_stacked_masks_in_three_dimensions():
    sample = volume(0)
    rows = {row["structure"]: row for row in rows_of([sample], BOX)}
    for name, values in {"a": (1,), "b": (2,), "ab": (1, 2)}.items():
        true = np.isin(sample.mask, values)
        found = (sample.image > 127) & true.any(axis=(1, 2))[:, None, None]
        expected = score_mask(found, true, spacing_mm=SPACING)
        for column in ("dice", "iou", "hd95_mm", "hd95_px", "assd_mm", "assd_px", "nsd"):
            value = getattr(expected, column)
            assert rows[name][column] == (None if value is None else pytest.approx(value, rel=1e-6)), column
        assert rows[name]["volume_true"] == np.count_nonzero(true) * 0.5
        assert rows[name]["volume_predicted"] == expected.volume_predicted
    assert 0 < rows["a"]["dice"] < 1
    assert rows["a"]["hd95_mm"] == pytest.approx(0.5)


def test_dice_of_a_volume_is_not_the_mean_of_its_slices():
    sample = volume(0)
    (row,) = rows_of([sample], SegmentOptions(prompts=("bbox",), structures=("a",)))
    by_slice = [
        score_mask(sample.image[k] > 127, sample.mask[k] == 1, spacing_mm=None).dice for k in (1, 2, 3)
    ]
    assert row["dice"] != pytest.approx(np.mean(by_slice), abs=1e-4)


def test_only_slices_that_hold_a_structure_are_encoded_and_each_once():
    model = FakeSegmenter()
    output = segment_shard(model, FakeDataset([volume(0), volume(1)]), "x", ALL_PROMPTS)
    assert output.timings.images == 8  # slices 1 to 4 of both
    asked = [len(prompts) for prompts, _, _ in model.decoded]
    # a and ab in slice 1; all three in 2 and 3; b and ab in 4: four prompts each
    assert asked == [8, 12, 12, 8] * 2


def test_prompts_of_a_slice_are_those_of_its_own_mask():
    sample = volume(3)
    for row in rows_of([sample]):
        true = np.isin(sample.mask, {"a": (1,), "b": (2,), "ab": (1, 2)}[row["structure"]])
        points, boxes = [], []
        for place in np.flatnonzero(true.any(axis=(1, 2))).tolist():
            prompt = make_prompt(
                row["prompt"], true[place], seed=0, sample_id=f"s003/{place}", structure=row["structure"]
            )
            points += [value for point in prompt.points for value in (place, *point)]
            boxes += [place, *prompt.box] if prompt.box else []
        assert row["points"] == (points or None)
        assert row["box"] == (boxes or None)


def test_the_model_gets_the_prompts_in_its_own_frame():
    model = FakeSegmenter(resize="longest-pad")
    mask = np.zeros((3, 32, 64), np.uint8)
    mask[1, 8:24, 4:20] = 1
    rows_of([volume(0, mask=mask)], SegmentOptions(prompts=("bbox",), structures=("a",)), model)
    ((prompts, frame, original),) = model.decoded
    assert (frame, original) == ((8, 16), (32, 64))
    assert prompts[0].box == (1, 2, 5, 6)


def test_absent_structures_missing_masks_and_unreadable_volumes_keep_their_rows():
    only_b = np.where(true_mask() == 1, 0, true_mask())
    broken = volume(2, image=None, mask=None, status="decode_error", reason="cut off")
    bare = replace(volume(1), mask=None)
    nothing = volume(4, mask=np.zeros_like(true_mask()))
    rows = rows_of([volume(0, mask=only_b), bare, broken, volume(3), nothing], BOX)
    status = {(row["sample_id"], row["structure"]): row["status"] for row in rows}
    assert [status["s000", name] for name in ("a", "b", "ab")] == ["no_target", "ok", "ok"]
    assert {status[f"s00{k}", name] for k in (1,) for name in ("a", "b", "ab")} == {"no_mask"}
    assert status["s002", "a"] == "decode_error"
    assert status["s003", "a"] == "ok"
    assert status["s004", "ab"] == "no_target"
    assert len(rows) == 15
    absent = rows[0]
    assert (absent["volume_true"], absent["dice"], absent["box"]) == (0.0, None, None)


def test_a_prompt_the_model_was_not_made_for_is_unsupported():
    rows = rows_of([volume(0)], model=FakeSegmenter(prompts=("bbox",)))
    assert {row["prompt"] for row in rows if row["status"] == "ok"} == {"bbox"}
    assert {row["status"] for row in rows if row["prompt"] != "bbox"} == {"unsupported_prompt"}


def test_nan_in_one_slice_is_a_status_of_every_answer_that_needs_it():
    class Allergic(FakeSegmenter):
        def decode(self, embedding, prompts, **sizes):
            answers = super().decode(embedding, prompts, **sizes)
            if len(self.decoded) == 4:  # slice 4 holds b only
                answers[0] = answers[0]._replace(logits=answers[0].logits * float("nan"))
            return answers

    status = {row["structure"]: row["status"] for row in rows_of([volume(0)], BOX, Allergic())}
    assert status == {"a": "ok", "b": "nan_output", "ab": "ok"}


def test_a_missed_structure_scores_zero_and_is_no_failure():
    dark = replace(volume(0), image=np.full((6, SIZE, SIZE), 30, np.uint8))
    row = rows_of([dark], BOX)[0]
    assert (row["status"], row["dice"], row["volume_predicted"], row["hd95_mm"]) == ("ok", 0.0, 0.0, None)
    assert "missed_structure" in row["reason"]


def test_millimetres_are_null_without_spacing_and_volumes_are_voxels():
    row = rows_of([volume(0, spacing=None)], BOX)[0]
    assert row["hd95_px"] is not None
    assert (row["hd95_mm"], row["assd_mm"], row["nsd"]) == (None, None, None)
    assert row["volume_true"] == np.count_nonzero(true_mask() == 1)


def test_rows_do_not_depend_on_neighbours_and_keep_the_order_among_images():
    flat = image_sample(9, image=np.repeat(volume(0).image[2][..., None], 3, axis=2), mask=true_mask()[2])
    alone = rows_of([volume(1)])
    among = rows_of([flat, volume(0), volume(1), replace(flat, sample_id="s010"), volume(2)])
    assert [row for row in among if row["sample_id"] == "s001"] == alone
    assert list(dict.fromkeys(row["sample_id"] for row in among)) == ["s009", "s000", "s001", "s010", "s002"]


def test_repeating_a_shard_gives_the_same_bytes():
    def parquet_bytes():
        sink = io.BytesIO()
        data = FakeDataset([volume(k) for k in range(5)])
        pq.write_table(segment_shard(FakeSegmenter(), data, "x", ALL_PROMPTS).table, sink)
        return sink.getvalue()

    assert parquet_bytes() == parquet_bytes()


def test_only_a_few_volumes_are_in_memory():
    data = FakeDataset([volume(k) for k in range(20)])

    class Watching(FakeSegmenter):
        ahead = 0

        def embed(self, images, frames=None):
            self.ahead = max(self.ahead, data.read_so_far - len(self.embedded))
            return super().embed(images, frames)

    model = Watching()
    segment_shard(model, data, "x", BOX)
    assert len(model.embedded) == data.read_so_far == 20
    assert model.ahead <= 3  # one is answered, one waits, one is read
