import time
import warnings

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import mixedlm

from evaluator.statistics.components import variance_components


def crossed(rng, sizes, spreads, runs=1, run_spread=0.0):
    """Values of all combinations of levels: spreads of the factors, then of the rest."""
    grids = np.meshgrid(*(range(size) for size in sizes), indexing="ij")
    codes = [grid.ravel() for grid in grids]
    values = spreads[-1] * rng.normal(size=len(codes[0]))
    for code, size, spread in zip(codes, sizes, spreads, strict=False):
        values = values + spread * rng.normal(size=size)[code]
    values = np.repeat(values, runs) + run_spread * rng.normal(size=runs * len(values))
    return values, {name: np.repeat(code, runs) for name, code in zip("dmu", codes, strict=False)}


def squares(values, code):
    return sum(
        (values[code == level].mean() - values.mean()) ** 2 * (code == level).sum() for level in set(code)
    )


def variances(found):
    return {part.name: part.variance for part in found}


def test_balanced_components_are_the_closed_form_of_the_analysis_of_variance():
    values, factors = crossed(np.random.default_rng(1), (7, 6, 3), (0.1, 0.05, 0.08, 0.05))
    between = {name: squares(values, code) for name, code in factors.items()}
    rest = (((values - values.mean()) ** 2).sum() - sum(between.values())) / (125 - 6 - 5 - 2)
    expected = {"d": 18, "m": 21, "u": 42}
    found = variances(variance_components(values, factors))
    for name, others in expected.items():
        levels = len(set(factors[name]))
        assert found[name] == pytest.approx((between[name] / (levels - 1) - rest) / others, rel=1e-5)
    assert found["rest"] == pytest.approx(rest, rel=1e-5)


def test_runs_of_a_combination_are_apart_from_the_rest():
    values, factors = crossed(np.random.default_rng(2), (8, 6), (0.1, 0.05, 0.06), runs=3, run_spread=0.03)
    cells = values.reshape(48, 3)
    run = cells.var(axis=1, ddof=1).mean()
    means, codes = cells.mean(axis=1), {name: code[::3] for name, code in factors.items()}
    between = {name: squares(means, code) for name, code in codes.items()}
    mean_square = (((means - means.mean()) ** 2).sum() - sum(between.values())) / (47 - 7 - 5)
    found = variances(variance_components(values, factors))
    assert found["seed"] == pytest.approx(run, rel=1e-4)
    assert found["rest"] == pytest.approx(mean_square - run / 3, rel=1e-4)
    assert found["d"] == pytest.approx((between["d"] / 7 - mean_square) / 6, rel=1e-4)


def test_unbalanced_components_agree_with_statsmodels():
    rng = np.random.default_rng(3)
    values, factors = crossed(rng, (7, 6, 3), (0.1, 0.05, 0.08, 0.05))
    frame = pd.DataFrame({"y": values, **factors})[rng.random(len(values)) < 0.6]
    parts = {name: f"0 + C({name})" for name in "dmu"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where a component is small
        fit = mixedlm("y ~ 1", frame, groups=np.ones(len(frame)), vc_formula=parts).fit()
    found = variances(variance_components(frame["y"].to_numpy(), {n: frame[n].to_numpy() for n in "dmu"}))
    assert [found[n] for n in "dmu"] == pytest.approx(fit.vcomp, rel=2e-3)
    assert found["rest"] == pytest.approx(fit.scale, rel=2e-3)


def test_uneven_runs_still_give_the_planted_components():
    rng = np.random.default_rng(4)
    values, factors = crossed(rng, (30, 30), (0.10, 0.06, 0.05), runs=3, run_spread=0.04)
    kept = rng.random(len(values)) < 0.5
    found = variances(variance_components(values[kept], {name: code[kept] for name, code in factors.items()}))
    assert found["d"] == pytest.approx(0.01, rel=0.6)
    assert found["rest"] == pytest.approx(0.0025, rel=0.25)
    assert found["seed"] == pytest.approx(0.0016, rel=0.25)


def test_shares_add_up_lie_in_their_intervals_and_ignore_labels_order_and_scale():
    rng = np.random.default_rng(5)
    values, factors = crossed(rng, (6, 5, 2), (0.1, 0.05, 0.0, 0.05))
    found = variance_components(values, factors)
    assert sum(part.share for part in found) == pytest.approx(1.0)
    assert all(part.ci_low <= part.share + 1e-6 and part.share <= part.ci_high + 1e-6 for part in found)
    order = rng.permutation(len(values))
    renamed = {name: np.array([f"x{9 - level}" for level in code])[order] for name, code in factors.items()}
    again = variance_components(5.0 - 3.0 * values[order], renamed)
    for one, other in zip(found, again, strict=True):
        assert other.share == pytest.approx(one.share, abs=1e-5)
        assert (other.ci_low, other.ci_high) == pytest.approx((one.ci_low, one.ci_high), abs=1e-3)
        assert other.variance == pytest.approx(9 * one.variance, rel=1e-3, abs=1e-7)


def test_source_without_variance_has_an_interval_that_starts_at_zero():
    values, factors = crossed(np.random.default_rng(6), (8, 6), (0.1, 0.0, 0.1))
    model = variance_components(values, factors)[1]
    assert model.ci_low == 0.0
    assert model.share < 0.1


@pytest.mark.parametrize(
    ("factors", "name", "reason"),
    [
        (
            {"d": [0, 0, 0, 0, 1, 1, 1, 1], "m": [0, 1, 2, 3] * 2, "u": [0] * 8},
            "u",
            "single_level: 1 level of u",
        ),
        (
            {"d": [0, 0, 0, 0, 1, 1, 1, 1], "m": [0, 1, 2, 3] * 2, "u": [5, 4, 3, 2] * 2},
            "u",
            "confounded: u varies only together with m",
        ),
        ({"d": [0] * 8, "m": list(range(8))}, "m", "confounded: one combination for every level of m"),
        ({"d": [0] * 8}, "rest", "no_factor"),
    ],
)
def test_factor_that_cannot_be_told_apart_is_left_out_with_a_reason(factors, name, reason):
    values = np.random.default_rng(7).random(8)
    found = {
        part.name: part for part in variance_components(values, {k: np.array(v) for k, v in factors.items()})
    }
    assert (found[name].variance, found[name].share, found[name].ci_low) == (None, None, None)
    assert found[name].reason.startswith(reason)


@pytest.mark.parametrize(
    ("values", "reason"),
    [(np.ones(4), "no_variation"), (np.array([1.0, 2.0, 4.0]), "too_few"), (np.empty(0), "no_factor")],
)
def test_nothing_is_estimated_from_nothing(values, reason):
    codes = np.arange(len(values))
    found = variance_components(values, {"d": codes // 2, "m": codes % 2})
    assert all(part.share is None for part in found)
    assert found[-1].reason.startswith(reason)


def test_runs_that_are_all_equal_leave_the_other_sources_as_they_are():
    values, factors = crossed(np.random.default_rng(9), (6, 5), (0.1, 0.05, 0.05))
    once = variance_components(values, factors)
    twice = variance_components(
        np.repeat(values, 2), {name: np.repeat(code, 2) for name, code in factors.items()}
    )
    assert [part.share for part in twice[:3]] == pytest.approx([part.share for part in once])
    assert (twice[3].name, twice[3].share) == ("seed", None)
    assert twice[3].reason.startswith("no_variation")


def test_values_without_any_rest_are_not_estimated():
    found = variance_components(
        np.add.outer([0.0, 0.1, 0.3], [0.5, 0.7, 0.2]).ravel(),
        {"d": np.repeat(range(3), 3), "m": np.tile(range(3), 3)},
    )
    assert all(part.reason.startswith("no_rest") for part in found)


def test_lengths_must_fit_and_values_be_there():
    with pytest.raises(ValueError, match="n levels"):
        variance_components(np.ones(3), {"d": np.zeros(2)})
    with pytest.raises(ValueError, match="without NaN"):
        variance_components(np.array([1.0, np.nan]), {"d": np.zeros(2)})


def test_two_thousand_rows_take_seconds():
    values, factors = crossed(
        np.random.default_rng(8), (17, 20, 3), (0.1, 0.05, 0.03, 0.04), runs=2, run_spread=0.02
    )
    start = time.perf_counter()
    assert len(variance_components(values, factors)) == 5
    assert time.perf_counter() - start < 10.0


def covered(runs, sizes, spreads):
    true = np.square(spreads) / np.square(spreads).sum()
    hits = np.zeros(len(true))
    for run in range(runs):
        rng = np.random.default_rng(run)
        values, factors = crossed(rng, sizes, spreads)
        kept = rng.random(len(values)) < 0.8
        found = variance_components(values[kept], {name: code[kept] for name, code in factors.items()})
        hits += [p.ci_low <= t + 1e-4 and t <= p.ci_high for p, t in zip(found, true, strict=True)]
    return hits / runs


def test_intervals_cover_the_true_shares_though_levels_are_few():
    assert (covered(8, (8, 6, 3), (0.1, 0.05, 0.05, 0.05)) >= 0.75).all()


@pytest.mark.slow
def test_intervals_cover_about_as_often_as_they_say():
    found = covered(150, (8, 6, 3), (0.1, 0.05, 0.05, 0.05))
    assert (found >= 0.95 - 3.1 * np.sqrt(0.95 * 0.05 / 150)).all(), found
