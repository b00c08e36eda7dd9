"""What names a task. The ids of images are pinned: what is done for volumes must not make anybody compute images again."""

from dataclasses import replace

from evaluator.groups import parse_groups
from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.weights import LocatedWeights
from evaluator.usages.options import (
    LinearProbeOptions,
    RepresentationOptions,
    SegmentOptions,
    ZeroShotOptions,
)
from jobs.combination import Combination
from jobs.kinds import linear_probe, representation, segment, zero_shot
from shards.card import DatasetCard, PromptSet, Structure, Target
from shards.dataset import open_dataset

HALF = (0.5, 0.5, 0.5)
MODEL = ModelCard(
    name="pinned",
    family="openclip",
    architecture="pinned",
    weights=Weights(),
    preprocessing=Preprocessing(64, "squash", "bilinear", HALF, HALF),
    licence="none",
    abilities=frozenset({"encode", "text", "segment"}),
    feature="pinned",
    dimension=8,
    projected=4,
    prompts=("bbox",),
    mask_threshold=0.0,
)
CARD = DatasetCard(
    name="pinned",
    version="1",
    modality="none",
    licence="none",
    source="none",
    targets=(Target("sick", ("no", "yes"), "yes"),),
    structures=(Structure("rim", (1,)),),
    prompts=(PromptSet("sick", "p1", ("a {}",), (("no",), ("yes",))),),
)


def combination(path, **changes):
    dataset = replace(open_dataset(path), card=CARD, fingerprint="f" * 64)
    values = {
        "name": "pinned",
        "dataset": dataset,
        "shards": dataset.shards,
        "card": MODEL,
        "weights": LocatedWeights(None, "a" * 64),
        "precision": "fp32",
        "targets": CARD.targets,
        "groups": parse_groups({"sex": {}}),
        "batch_size": 32,
    }
    return Combination(**{**values, **changes})


def planned(path):
    one = combination(path)
    return {
        "zero_shot": list(zero_shot.plan(one, ZeroShotOptions())),
        "linear_probe": list(linear_probe.plan(one, LinearProbeOptions(grid=(0.1, 1.0)))),
        "representation": list(representation.plan(one, RepresentationOptions(grid=(0.1, 1.0)))),
        "segment": list(segment.plan(one, SegmentOptions(prompts=("bbox",)))),
    }


#: Made before there were volumes.
PINNED = {
    "zero_shot": ["embed-348b3741a337536f", "zero_shot-8185cd7ca1c59346"],
    "linear_probe": ["embed-348b3741a337536f", "linear_probe-05c3e0af48a62bfc"],
    "representation": ["embed-348b3741a337536f", "representation-5fa29fc5c4aa4a57"],
    "segment": ["segment-63cc0691e6299059"],
}


def test_ids_of_tasks_on_images_stay(converted):
    found = {usage: [task.id for task in tasks] for usage, tasks in planned(converted["fundus"]).items()}
    assert found == PINNED
