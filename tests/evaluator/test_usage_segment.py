"""Prompted segmentation of one shard: one embedding per image, a row per structure and prompt, honest statuses."""

import io
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from usage_fakes import SIZE, FakeDataset, FakeSegmenter, image_sample

from evaluator.tables import SEGMENTATIONS
from evaluator.usages.options import SegmentOptions
from evaluator.usages.prompts import make_prompt
from evaluator.usages.segment import segment_shard
from shards.errors import UserError

FOUR = SegmentOptions(prompts=("bbox", "center", "rand", "rands"))


def sample(k, *, side=SIZE, spacing=(0.5, 0.25), mask=None, **more):
    """Structure a on the left, b on the right; the image is red where a is."""
    if mask is None:
        mask = np.zeros((side, side), np.uint8)
        mask[2 : side - 2, 1 : side // 2] = 1
        mask[3 : side - 3 - k % 3, side // 2 + 1 :] = 2
    image = np.zeros((*mask.shape, 3), np.uint8)
    image[..., 0] = np.where(mask == 1, 255, 0)
    image[..., 1] = k
    return image_sample(k, **{"image": image, "mask": mask, "spacing_mm": spacing, **more})


def rows_of(model, samples, options=FOUR):
    return segment_shard(model, FakeDataset(samples), "x", options).table.to_pylist()


def test_every_sample_structure_and_prompt_has_a_row_in_order():
    table = segment_shard(FakeSegmenter(), FakeDataset([sample(k) for k in range(3)]), "x", FOUR).table
    assert table.schema == SEGMENTATIONS
    keys = [(row["sample_id"], row["structure"], row["prompt"]) for row in table.to_pylist()]
    assert keys == [(f"s{k:03d}", s, p) for k in range(3) for s in ("a", "b", "ab") for p in FOUR.prompts]
    assert set(table["status"].to_pylist()) == {"ok"}


def test_encoder_sees_each_image_once_for_all_prompts_and_structures():
    model = FakeSegmenter()
    output = segment_shard(model, FakeDataset([sample(k) for k in range(20)]), "x", FOUR)
    assert sum(model.embedded) == output.timings.images == 20
    assert len(model.decoded) == 20
    assert all(len(prompts) == 12 for prompts, _, _ in model.decoded)


def test_perfect_and_imperfect_masks_get_their_scores():
    found = {
        row["structure"]: row
        for row in rows_of(FakeSegmenter(), [sample(0)], SegmentOptions(prompts=("bbox",)))
    }
    true = sample(0).mask
    assert (found["a"]["dice"], found["a"]["iou"], found["a"]["hd95_mm"], found["a"]["nsd"]) == (1, 1, 0, 1)
    assert (found["a"]["assd_mm"], found["a"]["assd_px"]) == (0, 0)
    assert found["b"]["assd_px"] > found["b"]["assd_mm"] > 0
    assert found["a"]["volume_true"] == found["a"]["volume_predicted"] == (true == 1).sum() * 0.125
    assert (found["b"]["dice"], found["b"]["iou"]) == (0, 0)
    assert found["ab"]["dice"] == pytest.approx(
        2 * (true == 1).sum() / ((true == 1).sum() + (true > 0).sum())
    )
    assert all(row["predicted_iou"] == 0.75 for row in found.values())


def test_mask_is_where_the_logit_exceeds_the_cards_threshold():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:12, 4:12] = 1
    logits = np.full((SIZE, SIZE), -5.0)
    logits[4:8, 4:12], logits[8:12, 4:12] = 0.3, 3.0
    options = SegmentOptions(prompts=("bbox",), structures=("a",))
    (own,) = rows_of(FakeSegmenter(answers=[logits]), [sample(0, mask=mask)], options)
    (legacy,) = rows_of(FakeSegmenter(answers=[logits], threshold=0.5), [sample(0, mask=mask)], options)
    assert own["dice"] == 1.0
    assert legacy["dice"] == pytest.approx(2 / 3)


def test_object_at_the_left_edge_counts_column_zero():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[2:6, 0:3] = 1
    logits = np.full((SIZE, SIZE), -1.0)
    logits[2:6, 1:3] = 1.0
    options = SegmentOptions(prompts=("bbox",), structures=("a",))
    (row,) = rows_of(FakeSegmenter(answers=[logits]), [sample(0, mask=mask)], options)
    assert row["dice"] == pytest.approx(0.8)


def test_prompts_are_stored_in_image_pixels_and_reach_the_model_in_frame_pixels():
    model = FakeSegmenter(resize="longest-pad")
    mask = np.zeros((32, 64), np.uint8)
    mask[8:24, 4:20] = 1
    options = SegmentOptions(prompts=("bbox", "center"), structures=("a",))
    box, center = rows_of(model, [sample(0, mask=mask)], options)
    assert box["box"] == [4, 8, 20, 24]
    assert box["points"] is None
    assert center["box"] is None
    (prompts, frame, original) = model.decoded[0]
    assert (frame, original) == ((8, 16), (32, 64))
    assert prompts[0].box == (1, 2, 5, 6)
    assert prompts[1].points == ((center["points"][0] / 4, center["points"][1] / 4),)


def test_stored_prompts_are_those_of_the_mask_seed_and_sample():
    one = sample(5)
    for row in rows_of(FakeSegmenter(), [sample(k) for k in range(6)], replace_seed(3)):
        if row["sample_id"] != one.sample_id or row["structure"] != "b":
            continue
        prompt = make_prompt(row["prompt"], one.mask == 2, seed=3, sample_id=one.sample_id, structure="b")
        assert row["points"] == ([v for point in prompt.points for v in point] or None)
        assert row["box"] == (list(prompt.box) if prompt.box else None)


def replace_seed(seed):
    return FOUR.model_copy(update={"seed": seed})


def test_rows_of_a_sample_do_not_depend_on_its_neighbours():
    alone = rows_of(FakeSegmenter(), [sample(7)])
    among = rows_of(FakeSegmenter(), [sample(k) for k in (3, 7, 1)])
    assert [row for row in among if row["sample_id"] == "s007"] == alone


def test_repeating_a_shard_gives_the_same_bytes():
    def parquet_bytes():
        sink = io.BytesIO()
        data = FakeDataset([sample(k) for k in range(18)])
        pq.write_table(segment_shard(FakeSegmenter(), data, "x", FOUR).table, sink)
        return sink.getvalue()

    assert parquet_bytes() == parquet_bytes()


def test_absent_structure_is_no_target_with_null_scores():
    mask = np.where(sample(0).mask == 2, 0, sample(0).mask)
    rows = rows_of(FakeSegmenter(), [sample(0, mask=mask)])
    absent = [row for row in rows if row["structure"] == "b"]
    assert {row["status"] for row in absent} == {"no_target"}
    for name in (
        "dice",
        "iou",
        "hd95_mm",
        "hd95_px",
        "assd_mm",
        "assd_px",
        "nsd",
        "volume_predicted",
        "points",
        "box",
        "predicted_iou",
    ):
        assert all(row[name] is None for row in absent)
    assert all(row["volume_true"] == 0 for row in absent)
    assert {row["status"] for row in rows if row["structure"] != "b"} == {"ok"}


def test_image_without_any_structure_is_not_embedded():
    model = FakeSegmenter()
    empty = sample(1, mask=np.zeros((SIZE, SIZE), np.uint8))
    rows = rows_of(model, [sample(0), empty, sample(2)])
    assert sum(model.embedded) == 2
    assert {row["status"] for row in rows if row["sample_id"] == "s001"} == {"no_target"}
    assert {row["status"] for row in rows if row["sample_id"] == "s002"} == {"ok"}


def test_prompt_the_model_was_not_made_for_is_unsupported():
    model = FakeSegmenter(prompts=("bbox",))
    rows = rows_of(model, [sample(0)])
    assert {row["prompt"] for row in rows if row["status"] == "ok"} == {"bbox"}
    others = [row for row in rows if row["prompt"] != "bbox"]
    assert {row["status"] for row in others} == {"unsupported_prompt"}
    assert all("bbox" in row["reason"] and row["dice"] is None for row in others)
    assert all(len(prompts) == 3 for prompts, _, _ in model.decoded)


def test_unreadable_and_maskless_samples_keep_all_their_rows():
    broken = image_sample(0, status="decode_error", reason="cut off")
    maskless = replace(sample(1), mask=None)
    rows = rows_of(FakeSegmenter(), [broken, maskless, sample(2)])
    assert len(rows) == 36
    status = {row["sample_id"]: (row["status"], row["volume_true"]) for row in rows}
    assert status["s000"] == ("decode_error", None)
    assert status["s001"] == ("no_mask", None)
    assert status["s002"][0] == "ok"


def test_nan_logits_are_a_status_and_not_a_score():
    logits = np.zeros((SIZE, SIZE))
    logits[3, 3] = np.nan
    rows = rows_of(FakeSegmenter(answers=[logits]), [sample(0)])
    assert {row["status"] for row in rows} == {"nan_output"}
    assert all(row["dice"] is None and row["volume_true"] is not None for row in rows)


def test_missed_structure_scores_zero_with_undefined_distances():
    rows = rows_of(FakeSegmenter(answers=[np.full((SIZE, SIZE), -1.0)]), [sample(0)])
    assert {(row["status"], row["dice"], row["volume_predicted"]) for row in rows} == {("ok", 0.0, 0.0)}
    assert all(row["hd95_mm"] is None and row["hd95_px"] is None and row["nsd"] is None for row in rows)
    assert all("missed_structure" in row["reason"] for row in rows)


def test_millimetres_are_null_without_spacing():
    rows = rows_of(FakeSegmenter(), [sample(0, spacing=None)])
    assert all(row["hd95_mm"] is None and row["nsd"] is None for row in rows)
    assert all(row["hd95_px"] is not None for row in rows)
    assert rows[0]["volume_true"] == (sample(0).mask == 1).sum()


def test_nsd_uses_the_tolerance_of_the_options():
    def worst(tolerance):
        options = SegmentOptions(prompts=("bbox",), structures=("ab",), nsd_tolerance_mm=tolerance)
        return rows_of(FakeSegmenter(), [sample(0)], options)[0]["nsd"]

    assert worst(0.0) < worst(0.5) < worst(100.0) == 1.0


def test_structures_can_be_chosen_and_unknown_ones_are_errors():
    rows = rows_of(FakeSegmenter(), [sample(0)], SegmentOptions(structures=("ab", "a")))
    assert list(dict.fromkeys(row["structure"] for row in rows)) == ["ab", "a"]
    with pytest.raises(UserError, match="structure of dataset 'fake' 'c'"):
        rows_of(FakeSegmenter(), [sample(0)], SegmentOptions(structures=("c",)))


def test_model_without_a_mask_threshold_is_refused():
    with pytest.raises(UserError, match="mask_threshold"):
        rows_of(FakeSegmenter(threshold=None), [sample(0)])


def test_empty_shard_gives_an_empty_table():
    assert rows_of(FakeSegmenter(), []) == []
