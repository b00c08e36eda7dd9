"""The simulations of several results at once: models on the same subjects, families of tests, many groups, doubled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.groups import ALL
from evaluator.measure import Measurement
from evaluator.measure.uncertainty import BIASED
from evaluator.selftest import findings
from evaluator.selftest.classified import Cell, Classifier, draw_predictions
from evaluator.selftest.findings import Outcome, Question, Rule
from evaluator.selftest.people import ATTRIBUTES, People
from evaluator.selftest.reading import known_of, name_of
from evaluator.selftest.segmented import MaskCell, Segmenter
from evaluator.selftest.studies import Model, measured, settings_of
from evaluator.statistics.delong import clustered_delong, paired_test
from evaluator.statistics.multiplicity import adjust, is_primary

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

ALPHA = 0.05
_SAME = 1e-7
_WIDER = Rule(0.999, 1.2, "must not narrow")
_NEARLY = Rule(0.97, 1.2, "must not narrow, but edges of bins move a little")


@dataclass(frozen=True)
class Paired:
    """Compare models on the same people with the first one.

    Attributes
    ----------
    people
        Who; one cell.
    models
        The baseline, then models of the same or another quality.
    bootstrap
        Replicates.
    """

    people: People
    models: tuple[Model, ...]
    bootstrap: int = 1000

    def __call__(self, rng: np.random.Generator, seed: int) -> list[Outcome]:
        """Make one run."""
        from evaluator.compare import compare

        settings = settings_of(seed, bootstrap=self.bootstrap, permutations=0)
        metrics, replicates = _tables(measured(rng, self.people, self.models, settings, ()))
        known = {f"m{place}": known_of(self.people, model) for place, model in enumerate(self.models)}
        outcomes: list[Outcome] = []
        for row in _rows(compare(metrics, replicates, alpha=ALPHA, baseline="m0")):
            mine, other = (
                known[row[name]].truths[ALL, ALL].get(name_of(row)) for name in ("model", "against_model")
            )
            if mine is not None and other is not None:
                outcomes += _paired(row, name_of(row), mine - other)
        return outcomes


def _paired(row: Row, name: str, truth: float) -> list[Outcome]:
    if BIASED in (row.get("reason") or ""):
        return []  # without an interval and a test, by rule
    same = abs(truth) < _SAME
    tested = (
        Question("size", f"{name}, models", findings.SIZE)
        if same
        else Question("power", f"{name}, models", findings.POWER)
    )
    apart = "equal models" if same else "unequal models"
    rule = findings.WIDE if name == "ce2" else findings.COVERAGE
    covered = Question("coverage of the difference", f"{name}, {apart}", rule)
    if row["p_value"] is None:
        return [Outcome(tested, np.nan), Outcome(covered, np.nan)]
    return [
        Outcome(tested, float(row["p_value"] <= ALPHA)),
        Outcome(covered, float(row["ci_low"] <= truth <= row["ci_high"])),
    ]


@dataclass(frozen=True)
class BestOf:
    """Compare equally good models with the one that came out best; any difference found is false."""

    people: People
    models: tuple[Model, ...]
    metric: str
    bootstrap: int = 500

    def __call__(self, rng: np.random.Generator, seed: int) -> list[Outcome]:
        """Make one run."""
        from evaluator.compare import compare

        settings = settings_of(seed, bootstrap=self.bootstrap, permutations=0)
        metrics, replicates = _tables(measured(rng, self.people, self.models, settings, (), (self.metric,)))
        chosen = metrics[metrics["metric"] == self.metric]
        rows = _rows(compare(chosen, replicates[replicates["metric"] == self.metric], alpha=ALPHA))
        wrong = any(row["p_adjusted"] is not None and row["p_adjusted"] <= ALPHA for row in rows)
        asked = Question(
            "any false claim", f"{self.metric}, best of {len(self.models)} equal models", findings.SIZE
        )
        return [Outcome(asked, float(wrong))]


@dataclass(frozen=True)
class Family:
    """Test the gaps of several models by four attributes that do not matter; any claim after Holm's adjustment is false."""

    people: People
    models: tuple[Segmenter, ...]
    permutations: int = 999

    def __call__(self, rng: np.random.Generator, seed: int) -> list[Outcome]:
        """Make one run."""
        import pandas as pd

        settings = settings_of(seed, bootstrap=0, permutations=self.permutations)
        found = measured(rng, self.people, self.models, settings, (*ATTRIBUTES, "sex*site"), ("dice",))
        gaps = adjust(pd.concat([one.gaps.to_pandas() for one in found], ignore_index=True))
        family = gaps[is_primary(gaps) & (gaps["kind"] == "max-min") & gaps["p_value"].notna()]
        asked = f"dice, {len(self.models) * (len(ATTRIBUTES) + 1)} tests of a family"
        return [
            Outcome(
                Question("any false claim", f"{asked}, Holm", findings.SIZE),
                float((family["p_adjusted"] <= ALPHA).any()),
            ),
            Outcome(
                Question("any false claim", f"{asked}, not adjusted", Rule(0.0, 1.0, "reported, not judged")),
                float((family["p_value"] <= ALPHA).any()),
            ),
        ]


@dataclass(frozen=True)
class DeLong:
    """Compare the areas of two equal models and a worse one by DeLong's test, without any replicates."""

    people: People
    models: tuple[Classifier, ...]

    def __call__(self, rng: np.random.Generator, seed: int) -> list[Outcome]:
        """Make one run."""
        drawn = self.people.draw(rng)
        tables = draw_predictions(rng, drawn, self.models)
        scores = np.stack([table["score"].to_numpy(np.float64) for table in tables])
        areas = clustered_delong(scores, (tables[0]["label"] == "sick").to_numpy(bool), drawn.image_subject)
        truth = [known_of(self.people, model).truths[ALL, ALL]["auc"] for model in self.models]
        outcomes: list[Outcome] = []
        for place in range(1, len(self.models)):
            test = paired_test(areas, place, 0, alpha=ALPHA)
            row = {"p_value": test.p_value, "ci_low": test.low, "ci_high": test.high}
            outcomes += _paired(row, "auc by DeLong", truth[place] - truth[0])
        return outcomes


@dataclass(frozen=True)
class ManyGroups:
    """Groups whose true values are drawn anew in every run: shrunken values and the variance between groups.

    Attributes
    ----------
    people
        Who; as many cells as groups.
    metric
        ``"auc"`` or ``"dice"``.
    tau
        Standard deviation of the groups' true values.
    """

    people: People
    metric: str
    tau: float

    def __call__(self, rng: np.random.Generator, seed: int) -> list[Outcome]:
        """Make one run."""
        true = 0.8 + self.tau * np.clip(rng.normal(size=len(self.people.sizes)), -2.5, 2.5)
        settings = settings_of(seed, bootstrap=0, permutations=0)
        (found,) = measured(
            rng, self.people, [_model(self.metric, true.tolist())], settings, ("site",), (self.metric,)
        )
        by_group = dict(zip(self.people.cells, true.tolist(), strict=True))
        rows = [
            row
            for row in found.metrics.to_pylist()
            if row["attribute"] == "site" and name_of(row) == self.metric and row["status"] == "ok"
        ]
        known = np.array([by_group[row["group"]] for row in rows])
        value, shrunk = (np.array([row[name] for row in rows], np.float64) for name in ("value", "shrunk"))
        (corrected,) = (
            row["raw"]
            for row in found.gaps.to_pylist()
            if row["kind"] == "variance:corrected" and name_of(row) == self.metric
        )
        spread, truth = float(np.var(value, ddof=1)), float(np.var(known, ddof=1))
        of = f"{self.metric}, {len(self.people.sizes)} groups, sd {self.tau}"
        return [
            Outcome(
                Question("squared error, shrunken / raw", of, findings.SMALLER),
                float(np.sum((shrunk - known) ** 2)),
                float(np.sum((value - known) ** 2)),
            ),
            Outcome(
                Question("bias of the variance between groups", of, findings.UNBIASED),
                corrected - truth,
                spread - truth,
            ),
        ]


def _model(metric: str, values: Sequence[float]) -> Model:
    from scipy.special import ndtri

    if metric == "dice":
        return Segmenter(tuple(MaskCell(value) for value in values))
    half = [float(ndtri(value)) / np.sqrt(2.0) for value in values]
    return Classifier(tuple(Cell(0.4, -apart, apart) for apart in half))


@dataclass(frozen=True)
class Doubled:
    """Measure the same images once and twice: whoever repeats images learns nothing, so no interval may narrow."""

    people: People
    model: Model
    bootstrap: int = 300

    def __call__(self, rng: np.random.Generator, seed: int) -> list[Outcome]:
        """Make one run."""
        settings = settings_of(seed, bootstrap=self.bootstrap, permutations=0)
        (state,) = rng.integers(0, 2**63, 1).tolist()
        once, twice = (
            measured(
                np.random.default_rng(state), self.people, [self.model], settings, ("sex",), copies=copies
            )[0]
            for copies in (1, 2)
        )
        widths = {_place(row): _width(row) for row in once.metrics.to_pylist()}
        return [
            Outcome(
                Question(
                    "width of doubled images / width",
                    f"{name_of(row)} {row['group']}",
                    _NEARLY if name_of(row) == "ce2" else _WIDER,
                ),
                _width(row),
                widths[_place(row)],
            )
            for row in twice.metrics.to_pylist()
            if np.isfinite(widths[_place(row)])
        ]


def _place(row: Row) -> tuple[str, ...]:
    return row["attribute"], row["group"], row["metric"], row["convention"]


def _width(row: Row) -> float:
    return float("nan") if row["ci_low"] is None else float(row["ci_high"] - row["ci_low"])


def _tables(found: Sequence[Measurement]) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pyarrow as pa

    metrics = pa.concat_tables([one.metrics for one in found]).to_pandas()
    return metrics, pa.concat_tables([one.replicates for one in found]).to_pandas()


def _rows(table: pd.DataFrame) -> list[Row]:
    known = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in known.to_dict("records")]
