"""Studies of known truth, as the tables that comparisons start from."""

import numpy as np
import pandas as pd
import pyarrow as pa

from evaluator.statistics.bootstrap import subject_weights
from evaluator.tables import GAPS, METRICS, REPLICATES

PEOPLE = 120
DRAWS = 200


def weights(dataset, people=PEOPLE, draws=DRAWS):
    names = [f"{dataset}-{person}" for person in range(people)]
    return np.concatenate([block for _, block in subject_weights(0, names, draws)], axis=1)


def table(rows, schema):
    return pa.Table.from_pylist(rows, schema=schema).to_pandas()


class Study:
    """Collects results: Dice of every subject, with the groups of the subjects."""

    def __init__(self, draws=DRAWS):
        self.draws = draws
        self.metrics, self.gaps, self.replicates = [], [], []

    def add(self, dataset, model, dice, *, groups=None, usage="segment", seed=None, prompt=None, **keys):
        """Add one result; `groups` is attribute -> group of each subject."""
        dice = np.asarray(dice, float)
        own = {
            "dataset": dataset, "model": model, "usage": usage, "mitigation": None, "seed": seed, "split": "test",
            "target": None, "structure": "cup", "prompt": prompt, "task": "t",
        } | keys  # fmt: skip
        drawn = weights(dataset, len(dice), self.draws)
        self._row(own, "all", "all", dice, drawn, np.ones(len(dice), bool))
        for attribute, labels in (groups or {}).items():
            names = sorted(set(labels) - {"unknown"})
            for name in sorted(set(labels)):
                self._row(own, attribute, name, dice, drawn, np.asarray(labels) == name)
            values = [dice[np.asarray(labels) == name].mean() for name in names]
            self.gaps.append(
                own
                | {
                    "attribute": attribute, "metric": "dice", "convention": "mean:subject", "kind": "max-min",
                    "raw": np.ptp(values), "adjusted": 0.9 * np.ptp(values), "status": "ok",
                    "excluded_groups": ["unknown"],
                }
            )  # fmt: skip
        return self

    def _row(self, own, attribute, group, dice, drawn, inside):
        base = own | {
            "attribute": attribute,
            "group": group,
            "metric": "dice",
            "convention": "mean:subject",
        }
        counts = {"n": int(inside.sum()), "n_subjects": int(inside.sum()), "n_failed": 0}
        self.metrics.append(base | counts | {"value": dice[inside].mean(), "status": "ok"})
        values = (dice[inside] @ drawn[inside]) / drawn[inside].sum(axis=0)
        self.replicates.append(base | {"values": values.tolist()})

    def tables(self):
        return (
            table(self.metrics, METRICS),
            table(self.gaps, GAPS),
            table(self.replicates, REPLICATES),
        )


def faces(rng, people=PEOPLE, spread=0.1):
    """How hard each subject is, the same for all models."""
    return 0.7 + spread * rng.normal(size=people)


def study(rng, quality, *, datasets=6, seeds=(None,), sex_gap=0.0, noise=0.05, training=0.0, draws=DRAWS):
    """Make a study in which model m has quality[m] everywhere, and women lie sex_gap below men."""
    made = Study(draws)
    for number in range(datasets):
        hard = faces(rng)
        sex = np.where(np.arange(PEOPLE) % 3 == 0, "female", "male")
        for model, level in quality.items():
            for seed in seeds:
                dice = hard + level - sex_gap * (sex == "female") + noise * rng.normal(size=PEOPLE)
                dice += training * rng.normal()
                made.add(f"d{number}", model, dice, groups={"sex": sex}, seed=seed)
    return made


def shuffled(frame, seed):
    return frame.sample(frac=1.0, random_state=seed).reset_index(drop=True)


def same(first, second):
    pd.testing.assert_frame_equal(first, second, check_exact=False, rtol=1e-12, atol=1e-12)
