import pytest

from evaluator.metrics.conventions import (
    PRESETS,
    ece_bins,
    expand,
    family_of,
    is_legacy,
    known_names,
    words,
)
from evaluator.metrics.disparity import disparity, kinds
from shards.errors import UserError

EXAMPLES = {
    "threshold": (
        "fixed:0.5",
        "val:youden",
        "val:tnr=0.8",
        "val:cost(1,5)",
        "test:f1:legacy",
        "group:val:f1",
    ),
    "calibration": (
        "ece:fixed10",
        "ece:fixed15",
        "ece:mass10",
        "ece:range10",
        "ce2:debiased",
        "calibration:line",
    ),
    "disparity": kinds(),
    "metric": (
        *("fpr", "fnr", "auprc:adjusted", "auprg", "bce:clamp100", "diagnosis:rates", "ge:2", "var_f1"),
        "tpr_at_tnr80",
    ),
    "empty": ("empty:exclude", "empty:fairseg"),
}
ALL = [(family, token) for family, tokens in EXAMPLES.items() for token in tokens]


@pytest.mark.parametrize(("family", "token"), ALL)
def test_every_token_has_a_family_and_a_sentence(family, token):
    assert family_of(token) == family
    text = words(token)
    assert text[0].isupper() or text[0].isdigit()
    assert text.endswith(".")
    assert expand([token]) == (token,)


@pytest.mark.parametrize("preset", ["fairmedfm", "fairseg", "fairclip", "medfair", "fairlearn"])
def test_presets_consist_of_known_tokens_once_each(preset):
    tokens = expand([preset])
    assert tokens == PRESETS[preset]
    assert len(set(tokens)) == len(tokens)
    assert set(map(family_of, tokens)) & {"threshold", "empty"}


def test_expansion_keeps_the_order_and_names_each_token_once():
    assert expand(["es:std", "fairseg", "es:sum", "es:std"]) == (
        "es:std",
        "empty:fairseg",
        "max-min",
        "es:sum",
    )
    assert expand([]) == ()
    both = expand(["medfair", "fairlearn"])
    assert both[: len(PRESETS["medfair"])] == PRESETS["medfair"]
    assert set(both) == set(PRESETS["medfair"]) | set(PRESETS["fairlearn"])


def test_presets_hold_the_conventions_of_the_peers_tables():
    assert {"test:f1:legacy", "ece:range10", "es:popstd", "eqodds:one_minus_mean"} <= set(
        expand(["fairmedfm"])
    )
    assert {"es:sum", "dp:diff", "eqodds:max", "psd:max"} <= set(expand(["fairclip"]))
    assert {"test:tnr=0.8:medfair", "eqodds:medfair", "eqopp0:one_minus"} <= set(expand(["medfair"]))
    assert {"dp:ratio", "eqodds:mean"} <= set(expand(["fairlearn"]))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("fairmedfn", "fairmedfm"),
        ("es:sums", "es:sum"),
        ("val:youdens", "val:youden"),
        ("ece:fixed", "ece:fixedK"),
        ("test:f1", "test:f1:legacy"),
    ],
)
def test_unknown_name_is_an_error_that_names_the_nearest(name, nearest):
    with pytest.raises(UserError, match=f"unknown convention '{name}'; did you mean '{nearest}'"):
        expand(["fairclip", name])


@pytest.mark.parametrize(
    "name", ["ece:fixed0", "ece:mass", "ece:fixed10.5", "ece:fixed-3", "ece:top15", "", "FAIRSEG"]
)
def test_malformed_names_are_refused(name):
    with pytest.raises(UserError, match="unknown convention"):
        family_of(name)


def test_bins_of_calibration_tokens():
    assert ece_bins("ece:fixed15") == ("fixed", 15)
    assert ece_bins("ece:mass10") == ("mass", 10)
    assert ece_bins("ece:range10") is None
    assert "15 bins of equal width" in words("ece:fixed15")
    assert "10 bins that hold equally many" in words("ece:mass10")


def test_legacy_tokens_are_those_that_flatter_or_mislead():
    legacy = {token for _, token in ALL if is_legacy(token)}
    assert legacy == {"test:f1:legacy", "ece:range10", "tpr_at_tnr80", "empty:fairseg"}
    assert is_legacy("test:tpr=0.8:medfair")
    with pytest.raises(UserError, match="unknown convention"):
        is_legacy("es:sums")


def test_what_is_chosen_on_measured_rows_says_so():
    for _, token in ALL:
        flattering = token.startswith("test:") or token == "tpr_at_tnr80"
        assert ("optimistic" in words(token)) == flattering, token


def test_words_of_a_kind_are_the_kinds_own():
    assert words("es:sum") == disparity("es:sum").meaning


def test_known_names_cover_presets_families_and_grammar():
    known = known_names()
    assert len(set(known)) == len(known)
    assert {*PRESETS, "ece:fixedK", "val:tpr=X", "eqodds:max", "auprg", "empty:fairseg"} <= set(known)
