"""What a study may say about usages."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from evaluator.usages.options import LinearProbeOptions, SegmentOptions, ZeroShotOptions


@pytest.mark.parametrize(
    ("kind", "values", "word"),
    [
        (ZeroShotOptions, {"template": ["a {}"]}, "template"),
        (ZeroShotOptions, {"templates": ["no hole"]}, "exactly one"),
        (ZeroShotOptions, {"templates": ["{} and {}"]}, "exactly one"),
        (ZeroShotOptions, {"templates": []}, "at least one"),
        (LinearProbeOptions, {"seeds": 0}, "seeds"),
        (LinearProbeOptions, {"grid": []}, "grid"),
        (LinearProbeOptions, {"grid": [0.0]}, "grid"),
        (LinearProbeOptions, {"grid": [float("inf")]}, "grid"),
        (LinearProbeOptions, {"class_weight": "inverse"}, "class_weight"),
        (SegmentOptions, {"prompts": ["box"]}, "prompts"),
        (SegmentOptions, {"prompts": []}, "prompts"),
        (SegmentOptions, {"prompts": ["bbox", "bbox"]}, "once"),
        (SegmentOptions, {"nsd_tolerance_mm": -1}, "nsd_tolerance_mm"),
        (SegmentOptions, {"splits": ["all"]}, "splits"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(kind, values, word):
    with pytest.raises(ValidationError, match=word):
        kind.model_validate(values)


def test_the_grid_is_sorted_without_repeats():
    assert LinearProbeOptions(grid=(1.0, 0.1, 1.0)).grid == (0.1, 1.0)


def test_the_default_grid_is_logarithmic_from_1e_minus_4_to_1e4():
    grid = LinearProbeOptions().grid
    assert (grid[0], grid[8], grid[-1], len(grid)) == (1e-4, 1.0, 1e4, 17)


def test_options_are_read_without_heavy_imports():
    code = (
        "import sys; import evaluator.usages.options, evaluator.usages.zero_shot, evaluator.usages.linear_probe; "
        "import evaluator.usages.segment, evaluator.usages.embed, evaluator.metrics.segmentation; "
        "print([m for m in ('torch', 'sklearn', 'scipy', 'monai', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
