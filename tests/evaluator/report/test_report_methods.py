import dataclasses

import pytest

from evaluator.measure.settings import MeasureSettings
from evaluator.report.methods import methods_text
from evaluator.report.references import REFERENCES, cited_in


@pytest.fixture(scope="module")
def text(study):
    return methods_text(study, MeasureSettings(bootstrap=1234, permutations=567, seed=8))


def test_settings_are_told(text):
    assert "1,234 times with seed 8" in text
    assert "567 random permutations" in text
    assert "level of 95 %" in text
    assert "fewer than 20 patients (or 10 with a positive and 10 with a negative sample" in text


def test_other_settings_are_told_as_they_are(study):
    settings = MeasureSettings(alpha=0.1, minimum_subjects=5, relevant_gap=0.03, baseline="tiny-clip")
    told = methods_text(dataclasses.replace(study, alpha=0.1), settings)
    assert "level of 90 %" in told
    assert "fewer than 5 patients" in told
    assert "corrected p was below 0.1" in told
    assert "only where a gap of 0.03 would have been found" in told
    assert "compared with tiny-clip by paired differences" in told


def test_what_was_evaluated_is_named(text):
    assert text.startswith(
        "Predictions of tiny-clip, biomedclip, A & B_% and tiny-sam (zero-shot, linear probe, LoRA and prompted "
        "segmentation) on phantom-cxr and <script>alert(1)</script> were evaluated"
    )


def test_methods_of_intervals_are_those_in_the_table(text, study):
    assert "(DeLong et al., 1988; Obuchowski, 1997) for AUC" in text
    assert "(Efron, 1979) for Balanced accuracy, Sensitivity, Brier score and 4 more;" in text
    only = study.metrics.assign(interval=study.metrics["interval"].replace("delong-logit", "percentile"))
    assert "DeLong" not in methods_text(dataclasses.replace(study, metrics=only), MeasureSettings())


def test_families_are_told_with_their_sizes(text):
    assert "of the primary metric (AUC and Dice) were corrected by Holm's method (Holm, 1979)" in text
    assert "tests: 27 for phantom-cxr and 12 for <script>alert(1)</script>" in text
    assert "tests: 108 for phantom-cxr" in text


def test_nothing_is_told_that_was_not_done(small_study):
    told = methods_text(
        dataclasses.replace(small_study, gaps=small_study.gaps.iloc[:0]),
        MeasureSettings(bootstrap=0, permutations=0),
    )
    for word in (
        "permutation",
        "Holm",
        "bootstrap drew",
        "validation split",
        "seeds",
        "Over datasets",
        "cut at",
    ):
        assert word not in told, word


def test_one_table_of_one_model_is_told_without_combinations_and_splits(small_study):
    one = small_study.metrics["model"].eq("tiny-clip") & small_study.metrics["usage"].eq("lora")
    gaps = small_study.gaps
    alone = gaps["model"].eq("tiny-clip") & gaps["usage"].eq("lora")
    told = methods_text(
        dataclasses.replace(small_study, metrics=small_study.metrics[one], gaps=gaps[alone]),
        MeasureSettings(),
    )
    assert "over all attributes of a dataset" in told
    for word in ("combinations", "split", "served all models"):
        assert word not in told, word


def test_permutations_are_not_told_where_there_were_none(study):
    assert "random permutations" not in methods_text(study, MeasureSettings(permutations=0))


def test_seeds_and_thresholds_are_told_where_there_are_any(small_study):
    import pandas as pd

    again = small_study.metrics.assign(seed=1)
    cut = again.head(1).assign(metric="threshold", convention="val:youden")
    metrics = pd.concat([small_study.metrics, again, cut], ignore_index=True)
    told = methods_text(dataclasses.replace(small_study, metrics=metrics), MeasureSettings())
    assert "up to 2 seeds" in told
    assert "sensitivity + specificity on the validation split (Youden, 1950)" in told


def test_extras_are_told(study):
    settings = MeasureSettings(standardize=("age",), conventions=("fairmedfm",))
    told = methods_text(study, settings)
    assert "made alike in age by re-weighting" in told
    assert "beside the defaults: fairmedfm." in told


def test_every_citation_has_its_reference_and_no_other_is_listed(text):
    cited = {reference.cited for reference in cited_in(text)}
    assert {"Holm, 1979", "Efron, 1979", "Demšar, 2006", "Phipson and Smyth, 2010"} <= cited
    assert "Wilson, 1927" not in cited
    assert all(reference.cited in text for reference in cited_in(text))


def test_references_are_in_order_and_hold_name_and_year():
    assert [r.cited for r in REFERENCES] == sorted((r.cited for r in REFERENCES), key=str.casefold)
    for reference in REFERENCES:
        name, year = reference.cited.rsplit(", ", 1)
        assert name.split()[0].rstrip(",") in reference.entry
        assert year in reference.entry
