"""How the numbers were made, as a paragraph ready to paste into a paper.

It says what was done, read from the settings and from the tables themselves: the methods of intervals that occur, the
sizes of the families of tests, comparisons and choices only where there are any.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from evaluator.report.tables import ARM, GAP_KIND, OVERALL, THRESHOLD, tidy
from evaluator.report.words import convention_words, listing, metric_words, number, plural, readable

if TYPE_CHECKING:
    from evaluator.measure.settings import MeasureSettings
    from evaluator.report.content import StudyContent

_VERSIONS = {"python": "Python", "numpy": "NumPy", "scipy": "SciPy"}
_TESTS = ("friedman", "wilcoxon", "direction", "kendall")
_NAMED = 3  # metrics that a sentence names; more are counted
_INTERVALS = {
    "percentile": "the percentiles of a bootstrap (Efron, 1979)",
    "percentile-expanded": "the percentiles of a bootstrap (Efron, 1979), expanded for few subjects (Hesterberg, 2015),",
    "percentile-centred": "the percentiles of a bootstrap moved to the value, as its replicates are biased,",
    "bca": "a bias-corrected and accelerated bootstrap (Efron, 1987)",
    "recovered": "the intervals of the two groups (Newcombe, 1998; Zou and Donner, 2008)",
    "simultaneous": "a simultaneous band over the groups from the bootstrap",
    "t": "Student's t distribution over subjects where there are few",
    "wilson": "the score method (Wilson, 1927)",
    "clopper-pearson": "the exact binomial method in small groups or at the ends of the scale (Clopper and Pearson, 1934)",
    "delong-logit": "the variance of placement values on the logit scale (DeLong et al., 1988; Obuchowski, 1997)",
    "newcombe": "the score-type method where a class has few cases (Newcombe, 2006)",
}


def methods_text(content: StudyContent, settings: MeasureSettings) -> str:
    """Return a paragraph on how the numbers of a study or audit were made.

    Parameters
    ----------
    content
        The study; its own `methods_text` is not read.
    settings
        What it was measured with.

    Returns
    -------
    str
        Sentences without markup, citing by author and year (see
        :func:`evaluator.report.references.cited_in`).
    """
    metrics, gaps = tidy(content.metrics), tidy(content.gaps)
    subjects = _subjects(content, metrics)
    told = [
        _what(content, metrics),
        f"The unit of resampling and testing was the {listing(subjects)}, with all of its samples.",
        *_intervals(metrics, gaps, settings),
        *_gaps(gaps, settings),
        *_families(gaps),
        *_claims(settings),
        *_shrinkage(metrics),
        *_comparisons(content, settings),
        *_thresholds(metrics),
        *_groups(settings, subjects),
        *_view(settings),
        *_seeds(metrics),
        *_choices(content),
        *_across(content),
        *_extras(settings),
        "Samples that could not be used were counted by group and took no part.",
    ]
    return " ".join(sentence for sentence in told if sentence)


def _subjects(content: StudyContent, metrics: pd.DataFrame) -> tuple[str, ...]:
    names = (content.subject_of(str(dataset)) for dataset in metrics["dataset"].unique())
    return tuple(dict.fromkeys(names)) or (content.subject,)


def _what(content: StudyContent, metrics: pd.DataFrame) -> str:
    """Say what was evaluated, and with which versions."""
    models = _named(metrics["model"])
    usages = [readable(name) for name in _named(metrics["usage"])]
    datasets = _named(metrics["dataset"])
    who = f"Predictions of {listing(models)}" if models else "Predictions"
    how = f" ({listing(usages)})" if usages else ""
    where = f" on {listing(datasets)}" if datasets else ""
    known = {name.removeprefix("version of "): value for name, value in content.provenance}
    versions = [f"{label} {known[name]}" for name, label in _VERSIONS.items() if name in known]
    with_what = (f"with FairRay {known.get('fairray', '')}").strip() + (
        f" ({', '.join(versions)})" if versions else ""
    )
    return f"{who}{how}{where} were evaluated for each group {with_what}."


def _named(names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(map(str, names)) if name]


def _intervals(metrics: pd.DataFrame, gaps: pd.DataFrame, settings: MeasureSettings) -> list[str]:
    level = f"{100 * (1 - settings.alpha):g} %"
    used: dict[str, dict[str, None]] = {}
    for name, method in metrics[["metric", "interval"]].drop_duplicates().itertuples(index=False):
        if isinstance(method, str) and name != THRESHOLD:
            used.setdefault(method, {})[metric_words(str(name)).label] = None
    for method in gaps["interval"].unique():
        if isinstance(method, str):
            used.setdefault(method, {})["gaps"] = None
    ways = [
        f"{_INTERVALS.get(method, method)} for {listing(list(names), _NAMED)}"
        for method, names in used.items()
    ]
    told = [f"Intervals have a level of {level} and come from {'; '.join(ways)}."] if ways else []
    shared = (
        "; the same draws served all models on a dataset, so that differences are paired"
        if arms_of(metrics) > 1
        else ""
    )
    if settings.bootstrap:
        told.append(
            f"The bootstrap drew subjects with replacement (Field and Welsh, 2007), {settings.bootstrap:,} times with "
            f"seed {settings.seed}{shared}."
        )
    return told


def arms_of(metrics: pd.DataFrame) -> int:
    """Return how many arms the rows of a tidy table are of."""
    return len(metrics[ARM].drop_duplicates())


def _gaps(gaps: pd.DataFrame, settings: MeasureSettings) -> list[str]:
    if gaps.empty:
        return []
    told = [
        "The gap of an attribute is the difference between its best and its worst group; groups of unknown value take no "
        "part."
    ]
    if settings.permutations:
        told += [
            f"It was compared with {settings.permutations:,} random permutations of the groups over whole subjects (128 or "
            "256 where p was above 0.5 or 0.2 by then): a "
            "studentised statistic that allows for unequal variances (Welch, 1951; Janssen, 1997; Chung and Romano, "
            "2013), p = (1 + permutations as extreme) / (1 + permutations) (Phipson and Smyth, 2010).",
            "As a gap is above zero by chance alone, the adjusted gap is the square root of max(0, gap² − mean squared "
            "gap under permutation).",
            "The detectable gap is the true gap that the test would have found with a probability of 0.8, from the "
            "groups' standard errors.",
        ]
    if gaps["kind"].eq("variance:corrected").any():
        told.append(
            "The variance between groups was corrected for sampling variance in both terms (Lum et al., 2022)."
        )
    return told


def _families(gaps: pd.DataFrame) -> list[str]:
    """Say which p-values were corrected together, with how many others."""
    from evaluator.statistics.multiplicity import is_primary

    tested = gaps[(gaps["kind"] == GAP_KIND) & gaps["p_adjusted"].notna()]
    first = is_primary(tested)
    several = {
        "combinations": arms_of(tested) > 1,
        "targets": len(tested[["target", "structure"]].drop_duplicates()) > 1,
    }
    over = listing([*(name for name, told in several.items() if told), "attributes"])
    told = []
    for rows, way, which in (
        (tested[first], "by Holm's method (Holm, 1979)", "of the primary metric"),
        (
            tested[~first],
            "for the rate of false discoveries (Benjamini and Hochberg, 1995)",
            "of all other metrics",
        ),
    ):
        sizes = rows.groupby("dataset", sort=False).size()
        if sizes.empty:
            continue
        names = listing(list(dict.fromkeys(metric_words(name).label for name in rows["metric"])), _NAMED)
        each = listing([f"{size} for {name}" if name else f"{size}" for name, size in sizes.items()])
        told.append(
            f"The p-values of the gaps {which} ({names}) were corrected {way} over all {over} "
            f"of a dataset (tests: {each})."
        )
    return told


def _claims(settings: MeasureSettings) -> list[str]:
    return [
        f"A gap was called found where the corrected p was below {settings.alpha:g}; the absence of a reliable gap was "
        f"claimed only where a gap of {number(settings.relevant_gap, 2)} would have been found with a probability of 0.8 "
        "among all tests of its family."
    ]


def _shrinkage(metrics: pd.DataFrame) -> list[str]:
    if metrics["shrunk"].isna().all():
        return []
    return [
        "Shrunken group values are empirical-Bayes estimates with a between-group variance by moments (DerSimonian and "
        "Laird, 1986); gaps were not computed from them."
    ]


def _comparisons(content: StudyContent, settings: MeasureSettings) -> list[str]:
    tested = int(content.comparisons["p_value"].notna().sum())
    if not tested:
        return []
    against, family = (
        ("the best one", "all pairs of combinations")
        if settings.baseline is None
        else (settings.baseline, "the combinations")
    )
    return [
        f"Combinations were compared with {against} by paired differences on the same subjects "
        f"({plural(tested, 'comparison')} in all), p-values corrected by Holm's method (Holm, 1979) over {family} of a "
        "question and metric; intervals were not compared by overlap."
    ]


def _extras(settings: MeasureSettings) -> list[str]:
    told = []
    if settings.standardize:
        told.append(
            f"Group values were also computed with the groups made alike in {listing(settings.standardize)} by "
            "re-weighting."
        )
    if settings.conventions:
        told.append(
            f"Published conventions were reported beside the defaults: {listing(settings.conventions)}."
        )
    return told


def _thresholds(metrics: pd.DataFrame) -> list[str]:
    cut = metrics[metrics["metric"] == THRESHOLD]
    rules = [convention_words(rule) or rule for rule in _named(cut["convention"])]
    if not rules:
        return []
    youden = " (Youden, 1950)" if cut["convention"].str.contains("youden").any() else ""
    return [
        f"Decisions were cut at the {listing(rules)}{youden}, never at one chosen on the samples that were measured."
    ]


def _groups(settings: MeasureSettings, subjects: tuple[str, ...]) -> list[str]:
    noun = subjects[0] if len(subjects) == 1 else "subject"
    return [
        f"Values of groups with fewer than {plural(settings.minimum_subjects, noun)} (or {settings.minimum_positives} with "
        f"a positive and {settings.minimum_negatives} with a negative sample, where a metric needs them) were suppressed "
        "and took no part in gaps."
    ]


def _view(settings: MeasureSettings) -> list[str]:
    from evaluator.views import VERSION, parse_view

    if settings.view is None:
        return []
    view = parse_view(settings.view)
    return [
        f"Only a part of the {settings.split} set was measured: of each group of {view.attribute} as many {view.units} as the "
        f"smallest has, drawn with seed {settings.seed} (view {view.name}, version {VERSION}). Its numbers are those of that "
        "sub-sample and are not comparable with those of the whole set."
    ]


def _seeds(metrics: pd.DataFrame) -> list[str]:
    overall = metrics[(metrics["attribute"] == OVERALL) & metrics["seed"].notna()]
    arms = overall.groupby(["dataset", "model", "usage", "mitigation", "prompt"], sort=False)[
        "seed"
    ].nunique()
    most = int(arms.max()) if len(arms) else 0
    return [f"Training was repeated with up to {most} seeds, which were averaged."] if most > 1 else []


def _choices(content: StudyContent) -> list[str]:
    if content.selection["val_value"].isna().all():
        return []
    return [
        "Models were chosen on the validation split and reported on the test split: by the value over all samples, by the "
        "worst group, and by the distance to the best of both."
    ]


def _across(content: StudyContent) -> list[str]:
    computed = content.across[content.across["value"].notna()]
    done = set(computed.loc[computed["p_value"].notna() | ~computed["analysis"].isin(_TESTS), "analysis"])
    told = []
    if done & {"friedman", "rank"}:
        told.append("Friedman's test with critical differences of mean ranks as overview (Demšar, 2006)")
    if "wilcoxon" in done:
        told.append("exact Wilcoxon signed-rank tests corrected by Holm's method")
    if "direction" in done:
        told.append("sign tests for the direction of disadvantage")
    if "kendall" in done:
        told.append("Kendall's W for agreement on the order of groups")
    if "variance" in done:
        told.append("variance components for what differences come from")
    return [f"Over datasets we used {listing(told)}, with the dataset as unit."] if told else []
