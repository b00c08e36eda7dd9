"""``fairray shard --dry-run``."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs import cli
from shards.dataset import open_dataset


@pytest.fixture
def table(tmp_path):
    """Twelve images of twelve people, with masks of two structures."""
    rows = []
    for number in range(12):
        Image.fromarray(np.full((20, 30), 10 * number, np.uint8)).save(tmp_path / f"{number}.png")
        mask = np.zeros((20, 30), np.uint8)
        mask[5:10, 5:10] = 1 + number % 2
        Image.fromarray(mask).save(tmp_path / f"{number}-mask.png")
        rows.append(
            (
                f"{number}.png",
                f"{number}-mask.png",
                f"p{number}",
                "yes" if number % 2 else "no",
                "fm"[number % 2],
            )
        )
    frame = pd.DataFrame(rows, columns=["image", "mask", "who", "ill", "sex"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def shard(table, *arguments):
    options = {"table": table, "subject": "who", "targets": "[ill]", "attributes": "[sex]", "mask": "mask"}
    options["structures"] = "{rim: 1, cup: 2}"
    given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    return CliRunner().invoke(cli.app, ["shard", "table", *given, *arguments])


def test_dry_run_shows_what_would_be_converted_and_writes_nothing(table):
    before = sorted(table.parent.rglob("*"))
    result = shard(table, "--dry-run", "--out", str(table.parent / "out"))
    assert result.exit_code == 0, result.output
    assert sorted(table.parent.rglob("*")) == before
    for text in (
        "nothing was written",
        "8-bit grey: 12",
        "30x20: 12",
        "0: 12, 1: 6, 2: 6",
        "rim: 6, cup: 6",
        "0 of 12",
    ):
        assert text in result.stdout


def test_dry_run_needs_no_folder_but_the_conversion_does(table):
    assert shard(table, "--dry-run").exit_code == 0
    refused = shard(table)
    assert refused.exit_code != 0
    assert "needs --out" in str(refused.exception)


def test_dry_run_fails_with_2_if_the_conversion_would(table):
    for number in range(3):
        (table.parent / f"{number}.png").unlink()
    result = shard(table, "--dry-run")
    assert result.exit_code == 2
    assert "missing_image" in result.stdout
    assert "problem: 3 of 12 samples would be rejected" in result.stdout


def test_dry_run_opens_as_many_images_as_asked_for(table):
    result = shard(table, "--dry-run", "--check", "3", "--json")
    value = json.loads(result.stdout)
    assert value["opened"]["samples"] == 3
    assert value["opened"]["sizes"] == {"30x20": 3}
    assert sum(value["samples"].values()) == 12
    assert value["card"]["structures"][1]["name"] == "cup"
    assert value["estimated_bytes"] > 0


def test_a_larger_share_of_rejected_samples_can_be_allowed(table):
    for number in (3, 4):
        (table.parent / f"{number}.png").unlink()
    out = table.parent / "out"
    refused = shard(table, "--workers", "1", "--out", str(out))
    assert "--max-rejected" in str(refused.exception)
    assert shard(table, "--dry-run", "--max-rejected", "0.2").exit_code == 0
    allowed = shard(table, "--workers", "1", "--out", str(out), "--max-rejected", "0.2")
    assert allowed.exit_code == 0, allowed.output
    assert sorted(open_dataset(out).rejected["sample_id"].to_pylist()) == ["3", "4"]
