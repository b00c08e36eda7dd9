"""The evaluator tests itself on data whose truth is known: size of tests, coverage of intervals, bias of gaps.

`make calibrate` asks the same questions with many more runs; here a gross failure is found in seconds, a smaller one by the
slow tests.
"""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from evaluator.groups import parse_groups
from evaluator.measure import ResultKeys, measure_predictions, measure_segmentations
from evaluator.metrics.per_subject import Measured, subject_mean
from evaluator.selftest import program, run_studies
from evaluator.selftest.classified import SICK, Cell, Classifier, draw_predictions
from evaluator.selftest.comparing import DeLong, Doubled, ManyGroups, Paired
from evaluator.selftest.findings import COVERAGE, SIZE, Outcome, Question, Tally, judge
from evaluator.selftest.people import People
from evaluator.selftest.program import ALIKE, NOISY, PLANTED, SIZES, groups
from evaluator.selftest.running import Job
from evaluator.selftest.segmented import MaskCell, Segmenter, draw_masks
from evaluator.selftest.studies import Groups, Intervals, settings_of
from evaluator.statistics.partition import Partition
from evaluator.statistics.permutation import permute_groups

SCORES, MASKS = ALIKE.values()
NOISY_SCORES, NOISY_MASKS = NOISY.values()
ONE_SCORE, ONE_MASK = Classifier((Cell(0.4, -0.9, 0.9),)), Segmenter((MaskCell(0.8),))
WORSE_SCORE, WORSE_MASK = Classifier((Cell(0.4, -0.7, 0.7),)), Segmenter((MaskCell(0.77),))
#: Correlated images.
ALIKE_IMAGES = People(SIZES, (1, 5), 0.6)


def answers(study, runs, name="test"):
    ((_, found),) = run_studies([Job(name, study, runs)], workers=1)
    assert found
    return found


def far_outside(found, errors=3.5):
    """Findings that chance does not explain: few runs, many questions."""

    return [f for f in found if not f.low - errors * f.error <= f.value <= f.high + errors * f.error]


def mean_of(found, what):
    """Mean of the answers that the guarantee is for."""
    values = [f.value for f in found if f.what.startswith(what) and not f.note]
    assert values
    return np.mean(values)


class TestTruth:
    def test_of_scores_is_what_a_huge_sample_shows(self):
        people = People((8_000, 6_000, 4_000), (1, 3), 0.3)
        model = Classifier((Cell(0.4, -1, 1), Cell(0.3, -1.5, 1.5, 1.5), Cell(0.5, -0.5, 1.0, 1.3)))
        rng = np.random.default_rng(0)
        drawn = people.draw(rng)
        (table,) = draw_predictions(rng, drawn, [model])
        self.check(people, model, drawn, table)

    def test_of_masks_is_what_a_huge_sample_shows(self):
        people = People((8_000, 6_000, 4_000), (1, 3), 0.3)
        model = Segmenter((MaskCell(0.8), MaskCell(0.8, 40.0), MaskCell(0.7, 5.0)))
        rng = np.random.default_rng(0)
        drawn = people.draw(rng)
        (table,) = draw_masks(rng, drawn, [model])
        self.check(people, model, drawn, table)

    @staticmethod
    def check(people, model, drawn, table):
        settings = settings_of(0, bootstrap=0, permutations=0)
        rules, attributes = parse_groups({"site": {}}), drawn.attributes()
        if isinstance(model, Classifier):
            found = measure_predictions(table, attributes, SICK, rules, settings, ResultKeys())
        else:
            found = measure_segmentations(table, attributes, rules, settings, ResultKeys())
        mixtures = dict(people.mixtures())
        truths = {group: model.truth(mix, mixtures["all", "all"]) for group, mix in mixtures.items()}
        seen = set()
        for row in found.metrics.to_pylist():
            if row["convention"].count("|") or row["metric"] == "threshold":
                continue
            truth = truths[row["attribute"], row["group"]][row["metric"]]
            assert row["value"] == pytest.approx(truth, abs=0.015, rel=0.06), row
            seen.add(row["metric"])
        assert len(seen) == (14 if isinstance(model, Classifier) else 7)

    def test_of_a_mixture_of_cells_is_its_integral(self):
        model = Classifier((Cell(0.4, -1, 1), Cell(0.2, 0, 2, 2.0)))
        found = model.truth(np.array([0.75, 0.25]), np.array([0.75, 0.25]))

        def brier(logit):
            p = 1 / (1 + np.exp(-logit))
            sick = 0.75 * 0.4 * norm.pdf(logit, 1) + 0.25 * 0.2 * norm.pdf(logit, 2, 2)
            healthy = 0.75 * 0.6 * norm.pdf(logit, -1) + 0.25 * 0.8 * norm.pdf(logit, 0, 2)
            return sick * (1 - p) ** 2 + healthy * p**2

        assert found["brier"] == pytest.approx(quad(brier, -15, 15, limit=200)[0], abs=1e-8)
        assert found["sensitivity"] == pytest.approx(
            (0.3 * norm.cdf(1) + 0.05 * norm.cdf(1)) / 0.35, abs=1e-12
        )
        alone = model.truth(np.array([1.0, 0.0]), np.array([0.75, 0.25]))
        assert alone["auc"] == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=1e-12)


class TestJudging:
    def judged(self, values, rule):
        tally = Tally()
        for value in values:
            tally.add([Outcome(Question("coverage", "x", rule), value)])
        return next(judge("made up", tally))

    def test_an_interval_that_covers_too_seldom_or_too_often_is_found(self):
        assert not self.judged([1.0] * 900 + [0.0] * 100, COVERAGE).ok
        assert not self.judged([1.0] * 995 + [0.0] * 5, COVERAGE).ok
        assert self.judged([1.0] * 950 + [0.0] * 50, COVERAGE).ok

    def test_a_test_that_rejects_too_often_is_found(self):
        assert not self.judged([1.0] * 90 + [0.0] * 910, SIZE).ok
        assert self.judged([1.0] * 50 + [0.0] * 950, SIZE).ok

    def test_a_question_answered_in_few_runs_is_not_in_range(self):
        found = self.judged([1.0] * 38 + [0.0] * 2 + [np.nan] * 60, COVERAGE)
        assert found.value == pytest.approx(0.95)
        assert not found.ok

    def test_a_ratio_has_the_error_of_its_parts_together(self):
        rng = np.random.default_rng(0)
        raw = 1.0 + 0.3 * rng.normal(size=4000)
        tally = Tally()
        for value in raw:
            tally.add([Outcome(Question("ratio", "x", SIZE), 0.5 * value, value)])
        assert next(judge("made up", tally)).error == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "attributes"),
    [(SCORES, ("sex", "site")), (NOISY_MASKS, ("site", "pair"))],
    ids=["scores", "masks"],
)
def test_intervals_cover_and_tests_keep_their_level_with_images_that_resemble_each_other(model, attributes):
    found = answers(Groups(ALIKE_IMAGES, model, attributes, 300, 99), 24)
    assert {f.what.split(":")[0] for f in found} >= {
        "coverage",
        "size",
        "adjusted / raw gap",
        "coverage of the gap",
    }
    assert far_outside(found) == []
    assert 0.90 <= mean_of(found, "coverage: auto") <= 0.99
    assert mean_of(found, "size") <= 0.12


@pytest.mark.parametrize(("model", "metric"), [(SCORES, "auc"), (MASKS, "dice")], ids=["auc", "dice"])
def test_percentile_and_bca_intervals_cover(model, metric):
    one = type(model)(model.cells[:1])
    found = answers(Intervals(People((160,), (1, 5), 0.6), one, (metric,), bootstrap=400), 40)
    assert {f.what for f in found} == {"coverage: percentile", "coverage: bca"}
    assert far_outside(found) == []


def test_the_adjusted_gap_is_near_the_planted_one():
    (job,) = (job for job in groups(80) if job.name == "masks with a gap, icc 0.3")
    (found,) = answers(job.study, 40, job.name)
    assert found.value == pytest.approx(1.0, abs=0.1)
    assert PLANTED == 0.15


def test_equal_models_on_the_same_people_are_seldom_told_apart_and_their_difference_is_covered():
    people = People((160,), (1, 5), 0.3)
    found = answers(DeLong(people, (ONE_SCORE, ONE_SCORE, WORSE_SCORE)), 200)
    assert far_outside(found) == []
    assert next(f.value for f in found if f.what == "power") > 0.3
    assert far_outside(answers(Paired(people, (ONE_MASK, ONE_MASK, WORSE_MASK), 300), 20)) == []


@pytest.mark.parametrize("tau", [0.0, 0.02])
def test_shrunken_values_are_nearer_the_truth_and_the_variance_between_groups_is_unbiased(tau):
    people = People((320, 160, 80, 60, 40, 30), (1, 5), 0.3)
    shrunk, between = answers(ManyGroups(people, "dice", tau), 60)
    assert shrunk.value < 1.0
    assert abs(between.value) < 3.5 * between.error


@pytest.mark.parametrize("model", [ONE_SCORE, ONE_MASK], ids=["scores", "masks"])
def test_doubled_images_narrow_no_interval(model):
    found = answers(Doubled(People((120,), (1, 5), 0.3), model, 200), 2)
    assert len(found) > 12
    assert [f for f in found if not f.low <= f.value <= f.high] == []
    assert all(f.low >= 0.97 for f in found)


def test_a_declared_group_nobody_is_in_stays_as_null_rows():
    rng = np.random.default_rng(0)
    drawn = People((60, 60), (1, 3), 0.3).draw(rng)
    (table,) = draw_predictions(rng, drawn, [Classifier((Cell(0.4, -0.9, 0.9),) * 2)])
    rules = parse_groups({"site": {"groups": ["a", "b", "z"]}})
    settings = settings_of(0, bootstrap=50, permutations=19)
    found = measure_predictions(table, drawn.attributes(), SICK, rules, settings, ResultKeys())
    absent = [row for row in found.metrics.to_pylist() if row["group"] == "z"]
    assert len(absent) == 14
    assert {(row["status"], row["n"], row["value"], row["ci_low"], row["shrunk"]) for row in absent} == {
        ("absent", 0, None, None, None)
    }
    assert all(row["excluded_groups"] == ["z"] for row in found.gaps.to_pylist())


def noisy_small_group(run):
    """Gap of Dice between 40 noisy and 400 quiet subjects of the same mean, and its permutations."""
    rng = np.random.default_rng(run)
    drawn = People((40, 400)).draw(rng)
    (table,) = draw_masks(rng, drawn, [Segmenter((MaskCell(0.8, 4.0), MaskCell(0.8, 60.0)))])
    value = table["dice"].to_numpy()
    partition = Partition.cut(drawn.image_subject, drawn.image_cell, 2)
    data = Measured({"dice": value})
    (null,) = permute_groups(
        [subject_mean("dice")],
        data,
        partition,
        (0, 1),
        seed=run,
        subjects=("s",),
        attribute="a",
        permutations=99,
    )
    return abs(value[:40].mean() - value[40:].mean()), null


def test_chance_of_a_noisy_small_group_is_not_that_of_its_permutations_but_of_its_own_error():
    found = [noisy_small_group(run) for run in range(100)]
    gap = np.mean([value for value, _ in found])
    assert np.mean([null.mean for _, null in found]) < 0.75 * gap
    assert np.mean([null.no_surer().mean for _, null in found]) == pytest.approx(gap, rel=0.15)
    assert all(null.no_surer().p_value == null.p_value for _, null in found)


def test_raw_gaps_would_reject_far_too_often_and_images_as_people_too():
    def raw(run):
        value, null = noisy_small_group(run)
        return np.mean(null.gap >= value) <= 0.05

    assert np.mean([raw(run) for run in range(60)]) > 0.2

    def as_people(run):
        rng = np.random.default_rng(run)
        drawn = People((40, 200), (5, 5), 0.6).draw(rng)
        (table,) = draw_masks(rng, drawn, [Segmenter((MaskCell(0.8), MaskCell(0.8)))], only=("dice",))
        settings = settings_of(run, bootstrap=0, permutations=99)
        found = measure_segmentations(
            table.assign(subject_id=table["sample_id"]),
            drawn.attributes(),
            parse_groups({"site": {}}),
            settings,
            ResultKeys(),
        )
        (gap,) = (row for row in found.gaps.to_pylist() if row["kind"] == "max-min")
        return gap["p_value"] <= 0.05

    assert np.mean([as_people(run) for run in range(60)]) > 0.15


@pytest.mark.slow
def test_the_number_of_processes_changes_no_number():
    jobs = [
        Job("areas", DeLong(People((80,), (1, 3), 0.3), (ONE_SCORE, WORSE_SCORE)), 50),
        Job(
            "masks",
            Groups(People((40, 30), (1, 2), 0.3), Segmenter((MaskCell(0.8),) * 2), ("site",), 60, 19),
            30,
        ),
    ]
    alone, together = (list(run_studies(jobs, workers=workers)) for workers in (1, 2))
    assert alone == together
    assert [job.name for job, _ in alone] == ["areas", "masks"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [job.name for job in program(1)])
def test_every_study_is_in_range_as_far_as_few_runs_can_tell(name):
    (job,) = (job for job in program(25) if job.name == name)
    assert far_outside(answers(job.study, job.runs, job.name)) == []


def test_studies_have_names_of_their_own():
    names = [job.name for job in program(1)]
    assert len(names) == len(set(names))
    assert all(job.runs >= 5 for job in program(100))
