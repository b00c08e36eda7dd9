"""Anyone's images through a whole study: awkward files, unknown attributes, bad rows; nothing is lost, nothing invented."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from jobs import run as running
from jobs.run import Exit, RunOptions, run_study
from jobs.study import parse_study

SERIAL = RunOptions(executor="serial", device="cpu", workers=1)


def draw(path, kind, bright):
    """A 40 x 30 image that is bright or dark, in one of the formats people have."""
    rng = np.random.default_rng(abs(hash(path.name)) % 2**32)
    grey = np.clip(rng.normal(170 if bright else 80, 20, (30, 40)), 0, 255).astype(np.uint8)
    if kind == "16-bit":
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    elif kind == "RGBA":
        Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 128)])).save(path)
    elif kind == "palette":
        Image.fromarray(grey).convert("RGB").quantize(64).save(path)
    else:
        Image.fromarray(grey).save(path)


@pytest.fixture
def table(tmp_path):
    """120 people with one image each, then rows that must not come through."""
    kinds = ["grey", "16-bit", "RGBA", "palette"]
    rows = []
    for i in range(120):
        name = f"1.2.840.{i}.png"
        draw(tmp_path / name, kinds[i % 4], bright=i % 2 == 0)
        age = 30 + i % 50
        rows.append(
            (name, f"p{i}", "bright" if i % 2 == 0 else "dark", ["f", "m", "unknown"][i % 3], age, None)
        )
    (tmp_path / "corrupt.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (tmp_path / "empty.png").write_bytes(b"")
    rows += [
        (name, f"bad-{name}", "dark", "f", 50, None) for name in ("corrupt.png", "empty.png", "absent.png")
    ]
    frame = pd.DataFrame(rows, columns=["image", "patient", "look", "sex", "age", "religion"])
    frame.to_csv(tmp_path / "images.csv", index=False)
    return tmp_path / "images.csv"


def values(table, **more):
    folder = table.parent
    options = {
        "table": str(table), "images_root": str(folder), "subject": "patient",
        "window": [0, 65535], "targets": {"look": {"positive": "bright"}},
        "attributes": {"sex": {}, "age": {}, "religion": {"kind": "category"}},
    }  # fmt: skip
    return {
        "study": "own", "store": str(folder / "store"),
        "datasets": {"mine": {"shards": str(folder / "shards"), "adapter": "table", "options": options}},
        "models": ["tiny-sam"], "usages": {"linear_probe": {"grid": [0.1]}},
        "attributes": {"sex": {}, "age": {"bins": [55]}, "religion": {}},
        "measure": {"bootstrap": 20, "permutations": 20, "minimum_subjects": 2, "minimum_positives": 1, "minimum_negatives": 1},
        **more,
    }  # fmt: skip


def run(given):
    return run_study(parse_study(given), SERIAL, Console(quiet=True))


def test_awkward_images_are_used_and_bad_ones_are_named(table):
    outcome = run(values(table))
    assert outcome.exit == Exit.COMPLETE, outcome.messages
    rejected = pq.read_table(table.parent / "shards" / "rejected.parquet").to_pandas()
    assert len(rejected) == 3
    assert rejected["reason"].notna().all()
    index = outcome.plan.datasets["mine"].index
    assert index.num_rows == 120
    assert len(set(index["sample_id"].to_pylist())) == 120
    overall = outcome.tables.metrics.query("attribute == 'all' and metric == 'auc' and split == 'test'")
    assert overall["value"].item() > 0.95


def test_unknown_and_all_null_attributes_stay_unknown(table):
    metrics = run(values(table)).tables.metrics
    auc = metrics[(metrics.metric == "auc") & (metrics.split == "test")]
    sexes = auc[auc.attribute == "sex"]
    assert set(sexes.group) == {"f", "m", "unknown"}
    religion = auc[auc.attribute == "religion"]
    assert religion.group.tolist() == ["unknown"]
    gaps = run(values(table)).tables.gaps
    row = gaps[(gaps.attribute == "religion") & (gaps.metric == "auc")]
    assert row["raw"].isna().all()
    assert row["reason"].notna().all()


def test_a_group_with_one_class_has_no_auc_and_says_why(table):
    frame = pd.read_csv(table)
    frame.loc[frame.look == "bright", "sex"] = "m"
    frame.to_csv(table, index=False)
    metrics = run(values(table)).tables.metrics
    metrics = metrics[metrics.split == "test"]
    women = metrics[(metrics.attribute == "sex") & (metrics.group == "f") & (metrics.metric == "auc")]
    assert women["value"].isna().all()
    assert women["n"].item() > 0
    assert women["reason"].notna().all()


@pytest.mark.parametrize(("budget", "expected"), [(0.0, Exit.FAILURES), (0.5, Exit.COMPLETE)])
def test_a_sample_that_goes_bad_costs_one_row_and_counts_in_the_budget(table, monkeypatch, budget, expected):
    run(values(table, study="first", models=["tiny-clip"]))
    shard = sorted((table.parent / "shards" / "shards").glob("test-*.tar"))[0]
    bad = pq.read_table(
        table.parent / "shards" / "index.parquet", filters=[("shard", "==", shard.name)]
    ).to_pylist()[0]
    raw = bytearray(shard.read_bytes())
    raw[bad["image_offset"] + 60] ^= 0xFF
    shard.write_bytes(raw)
    monkeypatch.setattr(running, "check_shards", lambda *_: None)  # as if it went bad after the check
    outcome = run(values(table, fail_budget=budget))
    assert outcome.exit == expected
    predictions = next((table.parent / "store" / "predictions").rglob("model=tiny-sam/**/*.parquet"))
    rows = pq.read_table(predictions, partitioning=None).to_pandas().set_index("sample_id")
    assert rows.loc[bad["sample_id"], "status"] == "decode_error"
    assert rows.loc[bad["sample_id"], "scores"] is None
    assert (rows.drop(bad["sample_id"])["status"] == "ok").all()
    failures = outcome.tables.failures
    counted = failures[(failures.attribute == "all") & (failures.model == "tiny-sam")]
    assert counted["rows"].tolist() == [1]


def test_damaged_shards_are_refused_before_any_work(table):
    run(values(table))
    shard = sorted((table.parent / "shards" / "shards").glob("test-*.tar"))[0]
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(Exception, match=f"(?s)damaged.*{shard.name}"):
        run(values(table, models=["tiny-clip"]))


def test_weights_with_another_hash_block_that_model_only(table, tmp_path):
    wrong = tmp_path / "tiny-clip.safetensors"
    wrong.write_bytes(b"not these")
    given = values(table, models=["tiny-sam", {"name": "tiny-clip", "weights": str(wrong)}])
    outcome = run(given)
    assert outcome.exit == Exit.FAILURES
    assert any("sha256" in message and "tiny-clip" in message for message in outcome.messages)
    assert set(outcome.tables.metrics.model) == {"tiny-sam"}
