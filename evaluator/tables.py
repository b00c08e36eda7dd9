"""The schemas of every table that the evaluator fills, fixed so that files of one table never drift apart.

One row per sample (and structure and prompt); undefined values are null with a `status` and `reason`, never a number.
"""

from __future__ import annotations

import pyarrow as pa

STATUS_FIELDS = [pa.field("status", pa.string(), nullable=False), pa.field("reason", pa.string())]
SAMPLE_FIELDS = [
    pa.field("sample_id", pa.string(), nullable=False),
    pa.field("subject_id", pa.string(), nullable=False),
    pa.field("split", pa.string(), nullable=False),
]


#: What embeddings of volumes hold beside: null for failed samples and for single images. `slice_place` says where in the
#: volume each slice lies (in slices from 0); the others are lists of vectors, one for each slice.
SLICE_COLUMNS = ("slice_place", "slice_embedding", "slice_projected")


def embeddings_schema(dimension: int, projected: int | None, *, volumes: bool = False) -> pa.Schema:
    """Return the schema of an embeddings part.

    Parameters
    ----------
    dimension
        Length of `embedding`, the features that probes use (before any projection).
    projected
        Length of `projected`, the features in the space of the text tower; None for models without one.
    volumes
        Whether the dataset has volumes: `embedding` and `projected` are then means over slices, and
        :data:`SLICE_COLUMNS` hold the slices' own (``slice_projected`` only with a text tower).
    """
    names = {"embedding": dimension, "projected": projected}
    vectors = {name: pa.list_(pa.float32(), length) for name, length in names.items() if length is not None}
    fields = [*SAMPLE_FIELDS, *(pa.field(name, kind) for name, kind in vectors.items())]
    if volumes:
        fields.append(pa.field("slice_place", pa.list_(pa.float32())))
        own = zip(SLICE_COLUMNS[1:], vectors.values(), strict=False)
        fields += [pa.field(name, pa.list_(kind)) for name, kind in own]
    return pa.schema([*fields, *STATUS_FIELDS])


#: `label` and `predicted` are class names; `scores` are probabilities (sum 1) and `logits` their raw values, both in the
#: order of the target's classes; `score` is the probability of the positive class of a two-class target, else null.
PREDICTIONS = pa.schema(
    [
        *SAMPLE_FIELDS,
        pa.field("target", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("predicted", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("logits", pa.list_(pa.float32())),
        *STATUS_FIELDS,
    ]
)

#: `hd95_mm`, `assd_mm` and `nsd` need pixel spacing and are null without it; `..._px` is in pixels of the stored image.
#: `points` and `box` are the prompt in (x, y) pixels of the stored image; `box` is (x0, y0, x1, y1), upper end exclusive.
#: Of a volume they hold the prompts of all slices in a row: (slice, x, y) for each point, (slice, x0, y0, x1, y1) for each
#: box; scores are of the whole stack, `volume_...` in mm3 (voxels without spacing), `predicted_iou` the slices' mean.
SEGMENTATIONS = pa.schema(
    [
        *SAMPLE_FIELDS,
        pa.field("structure", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("dice", pa.float32()),
        pa.field("iou", pa.float32()),
        pa.field("hd95_mm", pa.float32()),
        pa.field("hd95_px", pa.float32()),
        pa.field("assd_mm", pa.float32()),
        pa.field("assd_px", pa.float32()),
        pa.field("nsd", pa.float32()),
        pa.field("volume_true", pa.float64()),
        pa.field("volume_predicted", pa.float64()),
        pa.field("predicted_iou", pa.float32()),
        pa.field("points", pa.list_(pa.float32())),
        pa.field("box", pa.list_(pa.float32())),
        *STATUS_FIELDS,
    ]
)

_RESULT_KEYS = [
    pa.field(name, pa.string())
    for name in ("dataset", "model", "usage", "mitigation", "split", "target", "structure", "prompt", "task")
]
_RESULT_KEYS.insert(4, pa.field("seed", pa.int64()))

#: Long table, one row per task x attribute x group x metric. `interval` names the method of the interval; `shrunk` is the
#: empirical-Bayes estimate: the value pulled toward the mean of the attribute's groups, the more so the less certain it is.
#: `n_subjects_pos` and `n_subjects_neg` are subjects with a sample of each class.
METRICS = pa.schema(
    [
        *_RESULT_KEYS,
        pa.field("attribute", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("convention", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("ci_low", pa.float64()),
        pa.field("ci_high", pa.float64()),
        pa.field("interval", pa.string()),
        pa.field("shrunk", pa.float64()),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("n_pos", pa.int64()),
        pa.field("n_neg", pa.int64()),
        pa.field("n_subjects", pa.int64(), nullable=False),
        pa.field("n_subjects_pos", pa.int64()),
        pa.field("n_subjects_neg", pa.int64()),
        pa.field("n_failed", pa.int64(), nullable=False),
        *STATUS_FIELDS,
    ]
)

#: One row per task x attribute x metric: how far apart the groups are, and how far chance alone puts them.
GAPS = pa.schema(
    [
        *_RESULT_KEYS,
        pa.field("attribute", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("convention", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("raw", pa.float64()),
        pa.field("null_mean", pa.float64()),
        pa.field("adjusted", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("p_adjusted", pa.float64()),
        pa.field("detectable", pa.float64()),
        pa.field("detectable_adjusted", pa.float64()),
        pa.field("ci_low", pa.float64()),
        pa.field("ci_high", pa.float64()),
        pa.field("interval", pa.string()),
        pa.field("best_group", pa.string()),
        pa.field("worst_group", pa.string()),
        pa.field("excluded_groups", pa.list_(pa.string())),
        *STATUS_FIELDS,
    ]
)

_GROUP_KEYS = [
    pa.field("attribute", pa.string(), nullable=False),
    pa.field("group", pa.string(), nullable=False),
]
_MEASURE_KEYS = [
    pa.field("metric", pa.string(), nullable=False),
    pa.field("convention", pa.string(), nullable=False),
]

#: Points of pictures. ``roc``: x = false positive rate, y = true positive rate, n empty. ``calibration``: x = mean probability
#: of a bin, y = share of positives in it, n = its samples.
CURVES = pa.schema(
    [
        *_RESULT_KEYS,
        *_GROUP_KEYS,
        pa.field("curve", pa.string(), nullable=False),
        pa.field("x", pa.list_(pa.float64()), nullable=False),
        pa.field("y", pa.list_(pa.float64()), nullable=False),
        pa.field("n", pa.list_(pa.int64()), nullable=False),
    ]
)

#: Bootstrap replicates (NaN where undefined). The same position is the same draw of subjects in all results of one dataset
#: and split, so that differences between models are paired.
REPLICATES = pa.schema(
    [*_RESULT_KEYS, *_GROUP_KEYS, *_MEASURE_KEYS, pa.field("values", pa.list_(pa.float64()), nullable=False)]
)

_ARM_NAMES = ("model", "usage", "mitigation", "seed", "prompt")


def _arm_fields(prefix: str) -> list[pa.Field]:
    return [pa.field(prefix + name, pa.int64() if name == "seed" else pa.string()) for name in _ARM_NAMES]


#: Paired differences between two results on the same subjects: value minus value of `against_...`.
COMPARISONS = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("dataset", "split", "target", "structure")),
        *_MEASURE_KEYS,
        *_arm_fields(""),
        *_arm_fields("against_"),
        pa.field("difference", pa.float64()),
        pa.field("ci_low", pa.float64()),
        pa.field("ci_high", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("p_adjusted", pa.float64()),
        pa.field("n_subjects", pa.int64()),
        *STATUS_FIELDS,
    ]
)

#: What holds over several datasets: mean ranks, tests, direction of disadvantage, shares of variance.
ACROSS = pa.schema(
    [
        pa.field("analysis", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("attribute", "item", "against")),
        *(pa.field(name, pa.float64()) for name in ("value", "ci_low", "ci_high", "p_value", "p_adjusted")),
        pa.field("n", pa.int64()),
        pa.field("reason", pa.string()),
    ]
)

#: Which combination each rule chooses on val, and what it is worth on test.
SELECTION = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("dataset", "target", "structure")),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("attribute", pa.string()),
        pa.field("rule", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("model", "usage", "mitigation", "prompt")),
        *(
            pa.field(name, pa.float64())
            for name in ("val_value", "val_worst", "test_value", "test_worst", "test_gap", "probability")
        ),
        pa.field("reason", pa.string()),
    ]
)

#: Failed rows per group of one task; `share` is of all rows of the group.
FAILURES = pa.schema(
    [
        pa.field("attribute", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),
    ]
)

#: What `status` may say without the sample counting as failed: there was nothing to predict, by design of the data.
NOT_FAILURES = (
    "ok",
    "no_target",
    "no_mask",
    "unsupported_prompt",
    "true_negative",
    "false_positive_structure",
)


def count_failed(table: pa.Table) -> int:
    """Return how many rows of a sample table have a failure status (0 for tables of results)."""
    if "sample_id" not in table.column_names:
        return 0
    return sum(status not in NOT_FAILURES for status in table["status"].to_pylist())
