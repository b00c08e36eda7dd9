"""One dataset with one model inside a study: what the usages plan their tasks from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jobs.task import Cost, Inputs
from shards.card import Target
from shards.dataset import VOLUME_MEMBER, Dataset, Shard

if TYPE_CHECKING:
    from evaluator.groups import GroupRule
    from evaluator.models.card import ModelCard
    from evaluator.models.weights import LocatedWeights
    from evaluator.usages.options import SliceOptions

#: Part name of tasks that are committed as a whole.
WHOLE = "all"


@dataclass(frozen=True)
class Combination:
    """A dataset and a model that a usage is planned for.

    Attributes
    ----------
    name
        The dataset's name in the study.
    dataset, shards
        The converted dataset, and those of its shards that the run may use (all, unless limited).
    card, weights, precision
        The model.
    targets
        What to predict.
    groups
        The study's rules of groups that the dataset records.
    batch_size
        Images decoded and moved to the device at once; never changes a result.
    """

    name: str
    dataset: Dataset
    shards: tuple[Shard, ...]
    card: ModelCard
    weights: LocatedWeights
    precision: Literal["fp32", "bf16"]
    targets: tuple[Target, ...]
    groups: tuple[GroupRule, ...]
    batch_size: int

    def of_splits(self, *splits: str) -> tuple[Shard, ...]:
        """Return the shards of these splits."""
        return tuple(shard for shard in self.shards if shard.split in splits)

    @property
    def model_identity(self) -> dict[str, object]:
        """What of the model can change a result."""
        return {
            "model": self.card.identity(),
            "weights": self.weights.sha256,
            "precision": self.precision,
        }

    @property
    def inputs(self) -> Inputs:
        """The inputs that every kind of task needs; kinds add their own with :func:`dataclasses.replace`."""
        return Inputs(
            shards=self.dataset.location,
            card=self.card,
            weights=self.weights,
            precision=self.precision,
            batch_size=self.batch_size,
        )


def part_of(shard: Shard) -> str:
    """Return the part name of a shard: its name without the ending."""
    return shard.name.removesuffix(".tar")


def shard_of(part: str) -> str:
    """Return the shard name of a part."""
    return f"{part}.tar"


def is_subset(combination: Combination) -> bool:
    """Tell whether a limit leaves out shards; whole-task kinds then have another identity."""
    return len(combination.shards) < len(combination.dataset.shards)


def encoder_cost(card: ModelCard, images: int, rows: int, *, bytes_per_row: int) -> Cost:
    """Return the cost of one pass of the image encoder.

    Parameters
    ----------
    card
        The model.
    images
        Images and slices of volumes that it sees.
    rows, bytes_per_row
        Of the table it fills.
    """
    return Cost(images=images, gflop=images * card.gflops, bytes=rows * bytes_per_row)


def count_samples(shards: tuple[Shard, ...]) -> int:
    """Return how many samples some shards hold."""
    return sum(shard.samples for shard in shards)


def count_images(dataset: Dataset, shards: tuple[Shard, ...], slices: SliceOptions) -> int:
    """Return how many images an encoder sees of some shards: samples, and of volumes the slices that a policy takes.

    Where only the masks can tell, the most it can be.
    """
    from evaluator.usages.volumes import depth_shown

    if not dataset.volumetric:
        return count_samples(shards)
    rows = (row for s in shards for row in dataset.rows(s.name).select(["image_name", "depth"]).to_pylist())
    return sum(depth_shown(slices, row["depth"]) if row["image_name"] == VOLUME_MEMBER else 1 for row in rows)


def sample_ids(dataset: Dataset, shard: str) -> list[str]:
    """Return the ids of a shard's samples, in their order."""
    return list(dataset.rows(shard)["sample_id"].to_pylist())
