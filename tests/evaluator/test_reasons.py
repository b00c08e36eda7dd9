import pytest

from evaluator.reasons import reason_words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("one_class", "all samples are of one class"),
        ("no_score", "no answer of the model"),
        ("no_target", "no true class"),
        ("single_group: 1 of 2 groups can be compared, two are needed", "1 of 2 groups can be compared, two are needed"),
        ("too_small: 6 subjects (minimum 20)", "too small: 6 subjects (minimum 20)"),
        ("undefined_replicates: 30 of 200", "undefined in 30 of 200 replicates"),
        ("no interval: no_replicates", "no interval: no bootstrap replicates were drawn"),
        ("no interval: biased_upward: farther from the truth, see ce2", "no interval: farther from the truth, see ce2"),
        ("decode_error", "decode error"),
        ("one_class; one_class", "all samples are of one class"),
        ("", ""),
    ],
)  # fmt: skip
def test_codes_become_words(code, words):
    assert reason_words(code) == words


@pytest.mark.parametrize(
    "told",
    [
        "highest in Male_1, lowest in f_x; neither is better",
        "no subject of this group in the test split",
        "3 of 20 samples have no value",
    ],
)
def test_words_stay_as_they_are(told):
    assert reason_words(told) == told
