import fairlearn.metrics as fairlearn
import numpy as np
import pytest
from entropy import benefits, entropy_between_groups, generalised_entropy
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.metrics.disparity import (
    DISPARITIES,
    Disparity,
    GroupValues,
    against_chance,
    convert_equity_scaled,
    disparity,
    kinds,
    mean_over_classes,
)
from evaluator.metrics.legacy import Confusion
from shards.errors import UserError

# name: overall, groups, published es:sum, then es:sum, es:mean, es:popstd, es:std, es:groupmean_popstd,
# percent arithmetic, gap, psd:std, psd:max
PUBLISHED = {
    "CLIP LP race": (
        77.27,
        (79.74, 73.60, 77.82),
        72.43,
        (0.724248, 0.755845, 0.753379, 0.749169, 0.751266),
        0.100481,
        (0.0614, 0.033190, 0.079462),
    ),
    "CLIP-FT LP race": (
        80.27,
        (82.19, 75.67, 81.20),
        74.70,
        (0.747045, 0.783249, 0.780314, 0.775454, 0.774644),
        0.094994,
        (0.0652, 0.035740, 0.081226),
    ),
    "BLIP2 LP race": (
        73.81,
        (76.28, 69.55, 74.22),
        68.88,
        (0.688912, 0.720942, 0.717888, 0.713496, 0.713414),
        0.090676,
        (0.0673, 0.038146, 0.091180),
    ),
    "BLIP2-FT LP race": (
        80.10,
        (82.09, 74.43, 80.97),
        73.81,
        (0.738045, 0.778855, 0.774826, 0.769177, 0.765765),
        0.084050,
        (0.0766, 0.042173, 0.095630),
    ),
    "README CLIP race": (
        69.02,
        (72.42, 70.78, 67.41),
        64.64,
        (0.646436, 0.674968, 0.676099, 0.673009, 0.687691),
        0.088829,
        (0.0501, 0.030217, 0.072588),
    ),
    "README CLIP gender": (
        69.02,
        (66.28, 72.53),
        64.95,
        (0.649600, 0.669285, 0.669285, 0.660988, 0.673018),
        0.095200,
        (0.0625, 0.045277, 0.090553),
    ),
    "README CLIP ethnicity": (
        69.02,
        (69.40, 58.30),
        62.12,
        (0.621242, 0.653908, 0.653908, 0.639970, 0.604927),
        0.057041,
        (0.1110, 0.080411, 0.160823),
    ),
}
ES = ("es:sum", "es:mean", "es:popstd", "es:std", "es:groupmean_popstd")
ROWS = pytest.mark.parametrize("row", PUBLISHED.values(), ids=PUBLISHED.keys())
KINDS = pytest.mark.parametrize("kind", DISPARITIES, ids=kinds())


def one(overall, *groups):
    return GroupValues(np.array([groups], float), np.array([overall], float))


def value(kind, overall, *groups):
    return float(disparity(kind).compute(one(overall, *groups)))


def fitting(kind: Disparity, shape, seed=0, groups=2):
    """Random group values that suit the kind."""
    rng = np.random.default_rng(seed)
    parts = max(len(kind.parts), 1)
    values = rng.uniform(0.3, 0.9, (parts, *shape, groups))
    sizes = rng.integers(20, 200, (*shape, groups)).astype(float)
    overall = (values * sizes).sum(-1) / sizes.sum(-1)
    return GroupValues(values, overall, rng.uniform(0, 0.002, values.shape), sizes)


@ROWS
def test_published_equity_scaled_rows_in_every_convention(row):
    overall, groups, published, expected, _, _ = row
    found = [value(kind, overall / 100, *np.array(groups) / 100) for kind in ES]
    assert found == pytest.approx(expected, abs=1e-6)
    assert abs(found[0] - published / 100) < 1.2e-4
    assert min(abs(other - published / 100) for other in found[1:]) > 0.002


@ROWS
def test_published_rows_have_these_gaps(row):
    overall, groups, _, _, _, expected = row
    found = [
        value(kind, overall / 100, *np.array(groups) / 100) for kind in ("max-min", "psd:std", "psd:max")
    ]
    assert found == pytest.approx(expected, abs=1e-6)


@ROWS
def test_percentages_are_refused_where_they_would_change_the_result(row):
    overall, groups, _, _, wrong, _ = row
    assert overall / (1 + np.abs(np.array(groups) - overall).sum()) / 100 == pytest.approx(wrong, abs=1e-6)
    for kind in DISPARITIES:
        if kind.scope in ("scores", "areas"):
            with pytest.raises(UserError, match="fractions expected"):
                kind.compute(one(overall, *groups))
    with pytest.raises(UserError, match="fractions expected"):
        value("es:sum", overall / 100, *groups)


def test_two_groups_around_the_overall_value_have_these_denominators():
    gap, overall = 0.2, 0.75
    found = {kind: overall / value(kind, overall, 0.65, 0.85) - 1 for kind in ES}
    assert found["es:sum"] == pytest.approx(gap)
    assert found["es:std"] == pytest.approx(gap / np.sqrt(2))
    assert found["es:popstd"] == found["es:mean"] == pytest.approx(gap / 2)


def test_sum_gets_stricter_with_more_groups_of_the_same_spread():
    assert value("es:sum", 0.8, 0.7, 0.9, 0.7, 0.9) < value("es:sum", 0.8, 0.7, 0.9)
    assert value("es:popstd", 0.8, 0.7, 0.9, 0.7, 0.9) == pytest.approx(value("es:popstd", 0.8, 0.7, 0.9))


def test_equalized_odds_of_the_synthetic_example():
    tpr, fpr = np.array([0.90, 0.80, 0.85]), np.array([0.10, 0.05, 0.25])
    groups = GroupValues(np.stack([tpr, 1 - fpr]), np.array([0.85, 0.87]))
    found = [
        float(disparity(k).compute(groups)) for k in ("eqodds:max", "eqodds:mean", "eqodds:one_minus_mean")
    ]
    assert found == pytest.approx([0.20, 0.15, 0.85])


def test_corrected_variance_takes_sampling_noise_off():
    p, n = np.array([0.80, 0.81, 0.78, 0.90]), np.array([2000, 400, 120, 50])
    groups = GroupValues(p[None], np.array([0.8]), (p * (1 - p) / (n - 1))[None])
    assert float(disparity("variance:naive").compute(groups)) == pytest.approx(0.002825, abs=1e-9)
    assert float(disparity("variance:corrected").compute(groups)) == pytest.approx(0.0018888735, abs=1e-9)


def test_corrected_variance_may_be_negative_and_is_then_adjusted_to_none():
    groups = GroupValues(np.array([[0.8, 0.801]]), np.array([0.8]), np.full((1, 2), 0.01))
    kind = disparity("variance:corrected")
    assert float(kind.compute(groups)) < 0
    permuted = GroupValues(
        np.tile(groups.values[:, None], (1, 30, 1)), np.full((1, 30), 0.8), np.full((1, 30, 2), 0.02)
    )
    judged = against_chance(kind, groups, permuted)
    assert judged.adjusted == pytest.approx(judged.raw - judged.null_mean)
    same = against_chance(kind, groups, permuted._replace(squared_errors=np.full((1, 30, 2), 0.01)))
    assert same.adjusted == 0.0


@KINDS
def test_arrays_give_what_a_loop_over_replicates_gives(kind):
    groups = fitting(kind, (3, 4))
    found = kind.compute(groups)
    assert found.shape == (3, 4)
    for i, j in np.ndindex(3, 4):
        single = GroupValues(
            groups.values[:, i, j],
            groups.overall[:, i, j],
            groups.squared_errors[:, i, j],
            groups.sizes[i, j],
        )
        assert float(kind.compute(single)) == pytest.approx(found[i, j], abs=1e-14)


@KINDS
def test_order_of_groups_does_not_matter(kind):
    groups = fitting(kind, (5,), groups=2)
    turned = GroupValues(
        groups.values[..., ::-1], groups.overall, groups.squared_errors[..., ::-1], groups.sizes[..., ::-1]
    )
    assert kind.compute(turned) == pytest.approx(kind.compute(groups), abs=1e-14)


@KINDS
def test_equal_groups_are_fair(kind):
    parts = max(len(kind.parts), 1)
    groups = GroupValues(
        np.full((parts, 2), 0.7), np.full(parts, 0.7), np.zeros((parts, 2)), np.array([9.0, 30.0])
    )
    fair = 0.7 if kind.fair_value is None else kind.fair_value
    assert float(kind.compute(groups)) == pytest.approx(fair)
    assert float(kind.depart(groups)) == pytest.approx(0.0, abs=1e-15)
    assert float(kind.restore(np.float64(0.0), groups)) == pytest.approx(fair)


@KINDS
def test_what_departs_comes_back(kind):
    groups = fitting(kind, (50,), seed=3)
    departure = kind.depart(groups)
    defined = departure >= 0  # a corrected variance below 0 comes back as it is, too
    assert defined.mean() > 0.8
    assert kind.restore(departure, groups) == pytest.approx(kind.compute(groups), abs=1e-12)


@KINDS
def test_a_group_without_a_value_leaves_the_result_undefined(kind):
    groups = fitting(kind, (2,))
    groups.values[:, 0, 1] = np.nan
    found = kind.compute(groups)
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


@KINDS
def test_one_group_alone_is_no_comparison(kind):
    assert np.isnan(kind.compute(fitting(kind, (3,), groups=1))).all()


@KINDS
def test_every_kind_says_what_it_is(kind):
    assert kind.meaning.endswith(".")
    assert disparity(kind.kind) is kind
    assert bool(kind.parts) == (kind.scope == "parts") == (kind.metric is not None)


def test_nothing_below_the_line_is_undefined():
    assert np.isnan(value("ratio", 0.0, 0.0, 0.0))
    assert np.isnan(value("ser", 1.0, 1.0, 0.9))
    assert np.isnan(value("psd:max", 0.0, 0.0, 0.1))
    assert np.isnan(value("psd:max_half", 0.5, 0.4, 0.6))
    assert value("ratio", 0.3, 0.0, 0.5) == 0.0
    assert np.isnan(disparity("es:sum").depart(one(0.0, 0.0, 0.0)))


@pytest.mark.parametrize("kind", ["dp:one_minus", "eqopp:one_minus", "eqopp0:one_minus", "eqodds:medfair"])
def test_medfair_compares_two_groups_only(kind):
    found = disparity(kind)
    assert np.isfinite(found.compute(fitting(found, (4,), groups=2))).all()
    assert np.isnan(found.compute(fitting(found, (4,), groups=3))).all()


def test_worst_group_depends_on_the_direction():
    losses = one(0.2, 0.1, 0.4)
    assert float(disparity("worst").compute(losses)) == 0.1
    assert float(disparity("worst", higher_is_better=False).compute(losses)) == 0.4
    assert disparity("ratio", higher_is_better=False) is disparity("ratio")
    assert float(
        disparity("worst", higher_is_better=False).restore(np.float64(0.01), losses)
    ) == pytest.approx(0.3)


def test_worst_group_better_than_overall_is_no_disparity():
    groups = one(0.7, 0.75, 0.8)
    assert float(disparity("worst").compute(groups)) == 0.75
    assert float(disparity("worst").depart(groups)) == 0.0


def test_kinds_know_which_metrics_they_suit():
    assert disparity("es:sum").applies_to("dice", higher_is_better=True)
    assert not disparity("es:sum").applies_to("ece", higher_is_better=False)
    assert disparity("psd:std_half").applies_to("auc", higher_is_better=True)
    assert not disparity("psd:std_half").applies_to("dice", higher_is_better=True)
    assert disparity("variance:corrected").applies_to("hd95", higher_is_better=False)
    assert not disparity("eqodds:max").applies_to("sensitivity", higher_is_better=True)


def test_misspelt_kind_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'eqodds:max'"):
        disparity("eqods:max")


def test_misuse_names_what_is_missing():
    with pytest.raises(ValueError, match="sensitivity, specificity"):
        disparity("eqodds:max").compute(one(0.5, 0.4, 0.6))
    with pytest.raises(ValueError, match="squared_errors"):
        disparity("variance:corrected").compute(one(0.5, 0.4, 0.6))


def decisions(seed, n=400, groups=3):
    rng = np.random.default_rng(seed)
    return rng.random(n) < 0.4, rng.random(n) < 0.5, rng.integers(0, groups, n)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_agrees_with_fairlearn(seed):
    y, decided, group = decisions(seed)
    found = Confusion.of(decided, y, group)
    arguments = {"y_true": y, "y_pred": decided, "sensitive_features": group}
    expected = {
        "dp:diff": fairlearn.demographic_parity_difference(**arguments),
        "dp:ratio": fairlearn.demographic_parity_ratio(**arguments),
        "eqodds:max": fairlearn.equalized_odds_difference(**arguments),
        "eqodds:mean": fairlearn.equalized_odds_difference(**arguments, agg="mean"),
        "eqodds:ratio": fairlearn.equalized_odds_ratio(**arguments),
        "eqopp:tpr_gap": fairlearn.equal_opportunity_difference(**arguments),
        "eqopp:ratio": fairlearn.equal_opportunity_ratio(**arguments),
        "max-min": fairlearn.MetricFrame(
            metrics=lambda t, p: np.mean(t == p), y_true=y, y_pred=decided, sensitive_features=group
        ).difference(),
        "ratio": fairlearn.MetricFrame(
            metrics=lambda t, p: np.mean(t == p), y_true=y, y_pred=decided, sensitive_features=group
        ).ratio(),
    }
    for kind, wanted in expected.items():
        assert found.disparity(kind, "accuracy") == pytest.approx(wanted, abs=1e-10), kind


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_entropy_between_groups_from_groups_and_from_samples_agree(seed):
    y, decided, group = decisions(seed)
    benefit = benefits(y, decided)
    between = entropy_between_groups(benefit, group)
    assert Confusion.of(decided, y, group).disparity("ge:between") == pytest.approx(between, abs=1e-14)
    # additively decomposable: between groups + weighted within groups = all (Shorrocks 1984)
    within = sum(
        (group == g).mean()
        * (benefit[group == g].mean() / benefit.mean()) ** 2
        * generalised_entropy(benefit[group == g])
        for g in np.unique(group)
    )
    assert between + within == pytest.approx(generalised_entropy(benefit), abs=1e-12)


def test_entropy_is_half_the_squared_coefficient_of_variation():
    benefit = np.array([0.0, 1, 1, 2, 2, 1, 0, 1])
    assert generalised_entropy(benefit) == pytest.approx(0.5 * (benefit.std() / benefit.mean()) ** 2)
    assert generalised_entropy(np.ones(5)) == 0.0
    assert np.isnan(generalised_entropy(np.zeros(3)))
    assert np.isnan(generalised_entropy(np.array([])))
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        generalised_entropy(benefit, alpha=1.0)


def test_mean_over_classes_averages_one_against_rest():
    kind = disparity("dp:diff")
    classes = [one(0.5, 0.4, 0.6), one(0.3, 0.3, 0.3), one(0.2, 0.1, 0.5)]
    assert float(mean_over_classes(kind, classes)) == pytest.approx((0.2 + 0.0 + 0.4) / 3)


def permuted_rates(outcome, group, permutations, rng):
    """Shares of each group under permutation, ``[1, R, G]``."""
    found = []
    for _ in range(permutations):
        turned = rng.permutation(group)
        found.append([outcome[turned == g].mean() for g in np.unique(group)])
    return GroupValues(np.array(found)[None], np.full((1, permutations), outcome.mean()))


def observed_rates(outcome, group):
    return one(outcome.mean(), *(outcome[group == g].mean() for g in np.unique(group)))


@pytest.mark.parametrize("kind", ["max-min", "es:sum", "worst", "psd:std", "ratio"])
def test_chance_is_taken_off_where_groups_do_not_differ_and_not_where_they_do(kind):
    rng = np.random.default_rng(5)
    group = np.repeat([0, 1, 2, 3], 100)
    found = disparity(kind)
    raws, adjusted = [], []
    for shift in (0.0, 0.3):
        share = 0.6 + shift * (group == 0)
        truth = observed_rates(share, group)
        runs = []
        for _ in range(25):
            outcome = (rng.random(len(group)) < share).astype(float)
            runs.append(
                against_chance(found, observed_rates(outcome, group), permuted_rates(outcome, group, 60, rng))
            )
        # on the scale of the distance from fairness
        raws.append(np.mean([abs(run.raw - found.compute(truth)) for run in runs]))
        adjusted.append(np.mean([abs(run.adjusted - found.compute(truth)) for run in runs]))
    assert adjusted[0] < 0.7 * raws[0]
    assert adjusted[1] < 1.5 * raws[1]


def test_adjusted_gap_is_the_documented_formula():
    null = np.array([0.1, 0.2, 0.3])
    values = np.stack([np.full(3, 0.5), 0.5 + null], axis=-1)[None]
    judged = against_chance(
        disparity("max-min"), one(0.5, 0.4, 0.65), GroupValues(values, np.full((1, 3), 0.5))
    )
    assert judged.raw == pytest.approx(0.25)
    assert judged.null_mean == pytest.approx(0.2)
    assert judged.adjusted == pytest.approx(np.sqrt(0.25**2 - np.mean(null**2)))
    assert judged.reason is None


def test_equity_scaling_is_adjusted_on_the_scale_of_its_spread():
    null = np.array([[0.7, 0.8], [0.72, 0.78]])
    judged = against_chance(
        disparity("es:sum"), one(0.75, 0.55, 0.95), GroupValues(null[None], np.full((1, 2), 0.75))
    )
    spread = np.sqrt(0.4**2 - np.mean([0.1**2, 0.06**2]))
    assert judged.adjusted == pytest.approx(0.75 / (1 + spread))
    assert judged.raw < judged.adjusted < 0.75


def test_judgement_says_why_it_is_missing():
    kind, observed = disparity("max-min"), one(0.5, 0.4, 0.6)
    none = against_chance(kind, observed, GroupValues(np.zeros((1, 0, 2)), np.zeros((1, 0))))
    assert (none.raw, none.adjusted, none.reason) == (pytest.approx(0.2), None, "no_permutations")
    values = np.full((1, 40, 2), 0.5)
    values[0, :2, 0] = np.nan
    some = against_chance(kind, observed, GroupValues(values, np.full((1, 40), 0.5)))
    assert some.reason is None
    values[0, :3, 0] = np.nan
    many = against_chance(kind, observed, GroupValues(values, np.full((1, 40), 0.5)))
    assert (many.adjusted, many.reason) == (None, "undefined_permutations: 3 of 40")
    lost = against_chance(kind, one(0.5, np.nan, 0.6), GroupValues(values, np.full((1, 40), 0.5)))
    assert lost.raw is None
    assert "undefined" in lost.reason


@ROWS
@pytest.mark.parametrize("target", range(5))
def test_published_rows_convert_where_group_values_are_known(row, target):
    overall, groups, published, expected, _, _ = row
    arguments = {"overall": overall / 100, "groups": np.array(groups) / 100}
    found = convert_equity_scaled(published / 100, source="es:sum", target=ES[target], **arguments)
    assert found == pytest.approx(expected[target], abs=1e-6)


def test_conversion_without_group_values_is_refused():
    with pytest.raises(UserError, match="requires the groups' values"):
        convert_equity_scaled(0.7243, source="es:sum", target="es:std", overall=0.7727, groups=None)


def test_conversion_of_a_value_of_another_convention_is_refused():
    groups = (0.7974, 0.7360, 0.7782)
    with pytest.raises(UserError, match=r"is not es:std of these groups, which is 0\.749169"):
        convert_equity_scaled(0.7243, source="es:std", target="es:sum", overall=0.7727, groups=groups)
    with pytest.raises(UserError, match="unknown equity-scaled convention 'max-min'"):
        convert_equity_scaled(0.7243, source="max-min", target="es:sum", overall=0.7727, groups=groups)
