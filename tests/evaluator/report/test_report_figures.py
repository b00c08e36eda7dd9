"""Pictures of curves, ranks, differences, fronts, maps and intersections: read back as XML, checked for what they say."""

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from evaluator.report.figures import legend, trade_off
from evaluator.report.figures_curves import calibration, roc
from evaluator.report.figures_intersections import intersection_map
from evaluator.report.figures_map import disadvantage_map, short_names
from evaluator.report.figures_ranks import (
    cliques,
    critical_difference,
    differences,
    rank_intervals,
    variance_shares,
)
from evaluator.report.standing import with_standing
from evaluator.report.svg import Drawing, breadth, fit
from evaluator.report.tables import ARM, tidy
from evaluator.report.words import metric_words
from evaluator.tables import ACROSS, COMPARISONS, CURVES, GAPS, METRICS

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>"
NASTY = (HOSTILE, "שלום עולם", "", "\"'&\u202e\x07", "x" * 300, "東京" * 40)
AUC, BRIER = metric_words("auc"), metric_words("brier")


class Picture:
    """A drawing read back: every element with its classes, hover text and where it lies."""

    def __init__(self, markup):
        self.root = ElementTree.fromstring(str(markup))
        self.width, self.height = (float(part) for part in self.root.get("viewBox").split()[2:])
        self.texts = [Text(element) for element in self.root.iter(f"{SVG}text")]
        self.hovers = [element.text for element in self.root.iter(f"{SVG}title")]

    def some(self, tag, *classes):
        return [e for e in self.root.iter(f"{SVG}{tag}") if {*classes} <= {*(e.get("class") or "").split()}]

    def paths(self, *classes):
        return [points(element) for element in self.some("path", *classes)]

    def text(self, wanted):
        found = [text for text in self.texts if text.shown == wanted]
        assert len(found) == 1, (wanted, [text.shown for text in self.texts])
        return found[0]

    def shows(self, part):
        return any(part in text.shown for text in self.texts)

    def hovering(self, part):
        return [hover for hover in self.hovers if part in hover]

    def sound(self):
        """Check what holds for every picture: named, inside its frame, texts beside one another."""
        assert self.root.get("role") == "img"
        assert self.root.get("aria-label")
        places = [place for text in self.texts for place in text.corners()]
        places += [place for element in self.some("path") for place in points(element)]
        for element in self.some("line"):
            places += [(number(element, f"x{end}"), number(element, f"y{end}")) for end in (1, 2)]
        for element in self.some("rect"):
            x, y, width, height = (number(element, name) for name in ("x", "y", "width", "height"))
            assert width >= 0
            assert height >= 0
            places += [(x, y), (x + width, y + height)]
        for x, y in places:
            assert -0.5 <= x <= self.width + 0.5, (x, self.width)
            assert -0.5 <= y <= self.height + 0.5, (y, self.height)
        level = [text for text in self.texts if not text.turned and text.shown.strip()]
        for one, other in itertools.combinations(level, 2):
            assert not one.overlaps(other), (one.shown, other.shown)
        return self


class Text:
    """A text with the box that it takes at the width of an average character."""

    def __init__(self, element):
        self.css = (element.get("class") or "").split()
        self.shown = (element.text or "") + "".join(child.tail or "" for child in element)
        self.hover = "".join(child.text for child in element)
        self.x, self.y = number(element, "x"), number(element, "y")
        self.turned = re.match(r"rotate\((-?\d+) ", element.get("transform") or "")
        width = breadth(self.shown, " ".join(self.css))
        self.left = self.x - width * ("end" in self.css) - width / 2 * ("middle" in self.css)
        self.right = self.left + width

    def corners(self):
        if not self.turned:
            return [(self.left, self.y - 9), (self.right, self.y + 2)]
        angle = math.radians(float(self.turned.group(1)))
        length = self.right - self.left
        return [(self.x, self.y), (self.x + length * math.cos(angle), self.y + length * math.sin(angle))]

    def overlaps(self, other):
        apart = abs(self.y - other.y) >= 10
        return not apart and self.left < other.right - 1 and other.left < self.right - 1


def number(element, name):
    return float(element.get(name))


def points(element):
    """Return the corners of a path; of a circle where it begins, of an arc its ends."""
    drawn = re.sub(r"A[\d.]+ [\d.]+ 0 \d 1 ", "L", element.get("d"))
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", drawn)]


def frame(rows, schema):
    return tidy(pd.DataFrame(rows, columns=schema.names))


def arm(model, usage="linear_probe"):
    return {"model": model, "usage": usage, "mitigation": "erm", "prompt": None}


# --- curves


def curve(group, kind="roc", attribute="sex", power=0.3, n=()):
    x = np.linspace(0, 1, 11)
    return {"attribute": attribute, "group": group, "curve": kind, "x": x, "y": x**power, "n": list(n)}


def value(group, metric="auc", amount=0.8, attribute="sex", **more):
    row = {
        "attribute": attribute, "group": group, "metric": metric, "convention": "default", "value": amount,
        "ci_low": amount - 0.05, "ci_high": amount + 0.05, "n": 200, "n_subjects": 100, "status": "ok", "reason": None,
    }  # fmt: skip
    return {**row, **more}


def withheld(group, subjects=7, **more):
    reason = f"{subjects} subjects (minimum 20): value not shown"
    nothing = {"value": None, "ci_low": None, "ci_high": None, "n_subjects": subjects}
    return {**value(group), **nothing, "status": "too_small", "reason": reason, **more}


def test_roc_draws_each_group_over_all_samples():
    curves = frame(
        [curve("all", attribute="all"), curve("female", power=0.5), curve("male", power=0.2)], CURVES
    )
    drawn = Picture(
        roc(
            curves, frame([value("female"), value("male", amount=0.9)], METRICS), attribute="sex", label="ROC"
        )
    )
    drawn.sound()
    assert {hover.partition(":")[0] for hover in drawn.hovers} == {"all samples", "female", "male"}
    assert drawn.hovering("male: 0.900 (0.850 to 0.950)")
    female, male = drawn.paths("curve", "stroke-c0")[0], drawn.paths("curve", "stroke-c1")[0]
    assert female[0] == male[0]
    assert female[-1] == male[-1]
    assert all(
        theirs[1] < ours[1] for ours, theirs in zip(female[1:-1], male[1:-1], strict=True)
    )  # up is small
    assert len(drawn.some("line", "reference")) == 1


def test_roc_tells_twelve_groups_apart_without_colour():
    names = [f"group {place}" for place in range(12)]
    curves = frame([curve(name, power=0.1 + 0.05 * place) for place, name in enumerate(names)], CURVES)
    drawn = Picture(roc(curves, frame([], METRICS), attribute="sex", label="ROC")).sound()
    looks = {
        tuple(sorted(element.get("class").split()))
        for element in drawn.some("path", "curve")
        if element.find(f"{SVG}title") is not None
    }
    assert len(looks) == 12
    for place in range(1, 13):
        assert sum(text.shown == str(place) for text in drawn.texts) == 2  # on the curve and in the key


def test_roc_marks_where_groups_are_operated():
    rates = [
        value("female", "sensitivity", 0.6), value("female", "specificity", 0.9),
        value("male", "sensitivity", 0.8), value("male", "specificity", 0.7, convention="fixed:0.5"),
    ]  # fmt: skip
    curves = frame([curve("female"), curve("male")], CURVES)
    drawn = Picture(roc(curves, frame(rates, METRICS), attribute="sex", label="ROC")).sound()
    assert drawn.hovering("sensitivity") == ["female: sensitivity 0.600, specificity 0.900"]


def test_roc_lists_groups_without_a_curve_with_their_reason():
    metrics = frame([value("female"), withheld("male")], METRICS)
    drawn = Picture(roc(frame([curve("female")], CURVES), metrics, attribute="sex", label="ROC")).sound()
    assert "muted" in drawn.text("male").css
    assert "muted" in drawn.text("7 subjects (minimum 20): value not shown").css
    assert not [hover for hover in drawn.hovers if hover.startswith("male")]


def test_curves_of_an_attribute_without_any_are_not_drawn():
    other = frame([curve("all", attribute="all"), curve("60+", attribute="age")], CURVES)
    for picture in (roc, calibration):
        assert picture(other, frame([], METRICS), attribute="sex", label="x") is None
        assert picture(frame([], CURVES), frame([], METRICS), attribute="sex", label="x") is None


def test_curve_of_undefined_points_is_no_curve():
    row = curve("female") | {"x": [0.0, math.nan], "y": [0.0, 1.0]}
    assert roc(frame([row], CURVES), frame([], METRICS), attribute="sex", label="x") is None


def test_calibration_marks_grow_with_the_samples_of_their_bin():
    row = curve("female", "calibration") | {"x": [0.1, 0.5, 0.9], "y": [0.2, 0.5, 0.7], "n": [1, 25, 100]}
    drawn = Picture(calibration(frame([row], CURVES), frame([], METRICS), attribute="sex", label="x")).sound()
    marks = [element for element in drawn.some("path", "solid") if "came true" in element[0].text]
    radii = [float(re.search(r"a([\d.]+) ", element.get("d")).group(1)) for element in marks]
    shades = [float(element.get("opacity", 1)) for element in marks]
    assert radii == sorted(radii)
    assert shades == sorted(shades)
    assert len(set(radii)) == len(set(shades)) == 3
    assert drawn.hovering("predicted 0.500, came true 0.500, 25 samples")


def test_calibration_histogram_shows_counts_of_every_bin():
    row = curve("female", "calibration") | {"x": [0.1, 0.5, 0.9], "y": [0.2, 0.5, 0.7], "n": [50, 0, 100]}
    drawn = Picture(calibration(frame([row], CURVES), frame([], METRICS), attribute="sex", label="x")).sound()
    bars = drawn.some("rect", "solid")
    assert [number(bar, "height") for bar in bars] == [7.5, 15.0]  # an empty bin has none
    assert drawn.shows("150 samples")


@pytest.mark.parametrize("kind", ["roc", "calibration"])
def test_curves_of_nasty_groups_stay_inside_and_escaped(kind):
    rows = [curve(name, kind, n=range(11)) for name in (*NASTY, *map(str, range(5)), "unknown")]
    metrics = frame([value(name, amount=0.8) for name in NASTY] + [withheld("y" * 200)], METRICS)
    picture = (roc if kind == "roc" else calibration)(
        frame(rows, CURVES), metrics, attribute="sex", label=HOSTILE
    )
    assert HOSTILE not in picture
    assert Picture(picture).sound().hovering(HOSTILE)


# --- ranks


def ranks(values, n=17, **more):
    rows = [
        {"analysis": "rank", "metric": "auc", "item": f"model-{place} · probe", "value": rank, "n": n}
        | {"ci_low": None if rank is None else rank - 0.5, "ci_high": None if rank is None else rank + 0.5}
        for place, rank in enumerate(values)
    ]
    return frame([row | more for row in rows], ACROSS)


@pytest.mark.parametrize("models", [2, 3, 10, 40])
def test_critical_difference_shows_every_model_once_without_overlap(models):
    mean = np.random.default_rng(models).permutation(np.linspace(1.2, models - 0.3, models))
    drawn = Picture(critical_difference(ranks(mean), label="CD")).sound()
    leads = drawn.paths("lead")
    assert len(leads) == models
    names = {text.shown for text in drawn.texts if text.shown.startswith("model-")}
    assert names == {f"model-{place} · probe" for place in range(models)}
    best_left = sorted(range(models), key=lambda place: mean[place])
    assert drawn.text(f"model-{best_left[0]} · probe").x < drawn.width / 2
    assert drawn.text(f"model-{best_left[-1]} · probe").x > drawn.width / 2
    for side in (
        [lead for lead in leads if lead[-1][0] < lead[0][0]],
        [e for e in leads if e[-1][0] > e[0][0]],
    ):
        outer_first = sorted(side, key=lambda lead: abs(lead[0][0] - lead[-1][0]))
        rows = [lead[-1][1] for lead in outer_first]
        assert rows == sorted(rows)  # the nearest name stands highest, so that no two lines cross
    starts = sorted(lead[0][0] for lead in leads)
    assert np.allclose(np.diff(starts), np.diff(starts)[0], atol=0.1)


def test_critical_difference_is_that_of_nemenyi():
    drawn = Picture(critical_difference(ranks([1.2, 2.0, 3.1, 4.0, 4.7], n=10), label="CD")).sound()
    assert drawn.shows("CD 1.93")
    bar = drawn.some("line", "zero")[-1]
    axis = drawn.some("line", "axis")[0]
    unit = (number(axis, "x2") - number(axis, "x1")) / 4
    assert number(bar, "x2") - number(bar, "x1") == pytest.approx(1.9288 * unit, abs=0.02)


def test_cliques_join_what_lies_closer_than_the_critical_difference():
    assert cliques([1.0, 2.0, 3.0], 1.0) == ()
    assert cliques([1.0, 1.9, 2.8, 3.6, 9.0], 1.0) == ((0, 1), (1, 2), (2, 3))
    assert cliques([2.0, 2.0, 2.0], 0.5) == ((0, 2),)


def test_critical_difference_draws_a_bar_for_every_clique():
    mean = [1.0, 1.8, 2.6, 5.0]
    drawn = Picture(critical_difference(ranks(mean, n=40), label="CD")).sound()
    bars = drawn.some("line", "clique")
    assert len(bars) == len(cliques(mean, 0.7416)) == 0
    drawn = Picture(critical_difference(ranks(mean, n=20), label="CD")).sound()
    bars = drawn.some("line", "clique")
    assert len(bars) == len(cliques(mean, 1.0488)) == 2
    assert len({number(bar, "y1") for bar in bars}) == 2  # they share a model, so one lies below the other


def test_critical_difference_longer_than_the_axis_says_so():
    drawn = Picture(critical_difference(ranks([1.4, 1.6], n=1), label="CD")).sound()
    assert drawn.shows("more than the axis is long")
    assert len(drawn.some("line", "clique")) == 1


def test_critical_difference_needs_two_models_and_their_datasets():
    assert critical_difference(ranks([1.0]), label="CD") is None
    assert critical_difference(ranks([1.0, None]), label="CD") is None
    assert critical_difference(ranks([1.0, 2.0], n=None), label="CD") is None
    assert critical_difference(ranks([]), label="CD") is None


def test_models_of_equal_ranks_are_all_named():
    drawn = Picture(critical_difference(ranks([2.0, 2.0, 2.0]), label="CD")).sound()
    assert sum(text.shown.startswith("model-") for text in drawn.texts) == 3
    assert len(drawn.some("line", "clique")) == 1


def test_model_without_a_rank_is_named_below_with_its_reason():
    table = ranks([1.2, 1.8, None], reason="missing on one dataset")
    for picture in (critical_difference, rank_intervals):
        drawn = Picture(picture(table, label="x")).sound()
        assert drawn.shows("Without a rank: model-2 · probe (missing on one dataset)")


def test_rank_intervals_stand_in_the_order_of_ranks():
    drawn = Picture(rank_intervals(ranks([2.5, 1.4, 2.1]), label="x")).sound()
    places = [drawn.text(f"model-{place} · probe").y for place in (1, 2, 0)]
    assert places == sorted(places)
    marks = [points(element)[0][0] for element in drawn.some("path", "solid")]
    assert marks == sorted(marks)
    assert drawn.shows("2.50 (2.00 to 3.00)")
    assert rank_intervals(ranks([None]), label="x") is None


def test_rank_without_an_interval_has_no_whisker():
    drawn = Picture(rank_intervals(ranks([1.0]).assign(ci_low=np.nan, ci_high=np.nan), label="x")).sound()
    assert drawn.some("line", "whisker") == []
    assert drawn.shows("1.00")


def test_rank_pictures_of_nasty_names_stay_inside_and_escaped():
    table = ranks([1.0, 2.2, 3.1, 4.0, 5.2, 5.5]).assign(item=NASTY)
    for picture in (critical_difference, rank_intervals):
        markup = picture(table, label=HOSTILE)
        assert HOSTILE not in markup
        assert Picture(markup).sound().hovering(HOSTILE)


# --- differences and shares


def ranked(differing, words_better=1):
    """Return a ranking of a leader and arms with (difference, p), by way of the comparisons table."""
    table = pd.DataFrame(
        [{**arm(f"model-{place}"), "prompt": "", "rank": place + 1, "value": 0.9 - 0.01 * place,
          "ci_low": 0.85, "ci_high": 0.95} for place in range(len(differing) + 1)]
    )  # fmt: skip
    against = {f"against_{name}": value for name, value in arm("model-0").items()}
    rows = [
        {**arm(f"model-{place}"), **against, "difference": words_better * difference, "p_adjusted": p,
         "ci_low": words_better * difference - 0.01, "ci_high": words_better * difference + 0.01, "status": "ok"}
        for place, (difference, p) in enumerate(differing, start=1)
    ]  # fmt: skip
    return with_standing(table, frame(rows, COMPARISONS), arm=ARM, alpha=0.05)


def test_differences_are_muted_where_they_cannot_be_told_apart():
    drawn = Picture(differences(ranked([(-0.005, 0.4), (-0.03, 0.001)]), AUC, label="x")).sound()
    assert "muted" in drawn.text("model-1 · linear probe").css
    assert "muted" not in drawn.text("model-2 · linear probe").css
    tied, worse = (drawn.hovering(f"model-{place}")[0] for place in (1, 2))
    assert tied.endswith("cannot be told from the leader")
    assert worse == "model-2 · linear probe: −0.030 (−0.040 to −0.020), p 0.001; differs from the leader"
    hollow = [e for e in drawn.some("path", "hollow", "grey") if e.find(f"{SVG}title") is not None]
    assert len(hollow) == 1


def test_differences_lie_left_of_the_line_of_no_difference_where_they_are_negative():
    drawn = Picture(differences(ranked([(-0.01, 0.04), (-0.03, 0.001)]), AUC, label="x")).sound()
    zero = number(drawn.some("line", "zero")[0], "x1")
    near, far = (
        points(e)[0][0] for e in drawn.some("path", "solid", "c1") if e.find(f"{SVG}title") is not None
    )
    assert far < near < zero
    assert drawn.shows("right is better")
    worse = Picture(differences(ranked([(-0.01, 0.04)], words_better=-1), BRIER, label="x")).sound()
    assert worse.shows("left is better")


def test_differences_of_equal_arms_are_drawn_at_zero():
    drawn = Picture(differences(ranked([(0.0, 1.0)]), AUC, label="x")).sound()
    assert drawn.hovering("model-1 · linear probe: 0.000")


def test_single_model_has_no_differences():
    assert differences(ranked([]), AUC, label="x") is None
    assert differences(ranked([(math.nan, math.nan)]), AUC, label="x") is None


def test_differences_draw_no_more_than_asked():
    drawn = Picture(
        differences(ranked([(-0.001 * place, 0.01) for place in range(1, 31)]), AUC, label="x", most=5)
    ).sound()
    assert sum(text.shown.startswith("model-") for text in drawn.texts) == 6


def test_difference_of_nasty_names_stays_inside_and_escaped():
    table = ranked([(-0.01, 0.01)] * 5).assign(model=NASTY)
    markup = differences(table, AUC, label="x")
    assert HOSTILE not in markup
    Picture(markup).sound()


def shares(*rows):
    names = ("item", "value", "ci_low", "ci_high", "reason")
    full = [{**dict(zip(names, row, strict=True)), "analysis": "variance", "metric": "auc"} for row in rows]
    return frame(full, ACROSS)


def test_variance_shares_are_bars_as_long_as_the_shares():
    drawn = Picture(
        variance_shares(
            shares(("model", 0.2, 0.1, 0.4, None), ("dataset", 0.6, 0.3, 0.7, None), ("seed", None, None, None, "one seed")),
            label="x",
        )
    ).sound()  # fmt: skip
    long, short = (number(bar, "width") for bar in drawn.some("rect", "bar"))
    assert long == pytest.approx(3 * short)
    assert drawn.text("dataset").y < drawn.text("model").y < drawn.text("seed").y
    assert drawn.shows("60.0 % (30.0 to 70.0)")
    assert "muted" in drawn.text("seed").css
    assert drawn.shows("– one seed")
    assert variance_shares(shares(("seed", None, None, None, "one seed")), label="x") is None


# --- utility against gap


def arms(rows):
    return pd.DataFrame(
        [
            {**arm(f"model-{place}", usage), "prompt": "", "rank": place + 1, "value": utility, "adjusted": gap,
             "raw": gap + 0.02, "null_mean": 0.02, "probability": probability}
            for place, (usage, utility, gap, probability) in enumerate(rows)
        ]
    )  # fmt: skip


USAGES = ("zero_shot", "linear_probe")
POINTS = (
    ("linear_probe", 0.90, 0.10, 0.9), ("zero_shot", 0.85, 0.12, 0.01), ("linear_probe", 0.80, 0.04, 0.6),
    ("zero_shot", 0.75, 0.04, 0.2), ("zero_shot", 0.70, 0.01, math.nan),
)  # fmt: skip


def drawn_front(rows, words=AUC):
    return Picture(trade_off(arms(rows), words, label="x", usages=USAGES, tallest=0.14)).sound()


def test_front_joins_the_arms_that_none_beats():
    drawn = drawn_front(POINTS)
    (line,) = drawn.paths("front")
    marks = {e[0].text.partition(" ·")[0]: e for e in drawn.some("path", "solid")}
    front = [
        (x, y)
        for x, y in line
        if any(abs(x - middle(e)[0]) < 0.1 and abs(y - middle(e)[1]) < 0.1 for e in marks.values())
    ]
    assert len(front) == 3
    assert [x for x, _ in front] == sorted(x for x, _ in front)
    for name in ("model-0", "model-2", "model-4"):
        assert any(math.dist(middle(marks[name]), spot) < 0.1 for spot in front), name


def middle(element):
    """Return the centre of a circle or square mark."""
    corners = points(element)
    radius = re.search(r"a([\d.]+) ", element.get("d"))
    if radius:
        return corners[0][0] + float(radius.group(1)), corners[0][1]
    return tuple(np.mean(corners, axis=0))


def test_front_turns_round_where_less_is_better():
    drawn = drawn_front(
        [("zero_shot", 0.1, 0.1, 1.0), ("zero_shot", 0.2, 0.02, 1.0), ("zero_shot", 0.3, 0.05, 0.0)], BRIER
    )
    (line,) = drawn.paths("front")
    assert drawn.shows("better ↙")
    assert line[0][0] > line[-1][0]  # from little utility, at the right, to much
    assert len(line) == 3


def test_arc_grows_with_the_probability_and_the_hover_tells_it():
    drawn = drawn_front(POINTS)
    assert len(drawn.paths("ring")) == 3  # not for one below 0.05, not for an unknown one
    assert drawn.hovering("model-0 · linear probe")[-1].endswith("on the front with probability 0.90")
    assert "front" not in drawn.hovering("model-4")[-1]
    flags = [re.search(r" 0 (\d) 1 ", e.get("d")).group(1) for e in drawn.some("path", "ring")]
    assert sorted(flags) == ["0", "1", "1"]


def test_certain_member_of_the_front_has_a_closed_ring():
    drawn = drawn_front([("zero_shot", 0.9, 0.1, 1.0)])
    ((start, end),) = drawn.paths("ring")
    assert math.dist(start, end) < 0.2


def test_many_arms_leave_raw_gaps_to_the_hover_text():
    rng = np.random.default_rng(0)
    rows = [("zero_shot", 0.6 + 0.3 * rng.random(), 0.12 * rng.random(), 0.3) for _ in range(60)]
    drawn = drawn_front(rows)
    assert drawn.some("path", "hollow") == []
    assert len(drawn.some("path", "solid")) == 60
    assert all("raw" in hover for hover in drawn.hovers)


def test_equal_arms_are_all_on_the_front():
    assert len(drawn_front([("zero_shot", 0.8, 0.05, 0.5)] * 2).paths("front")[0]) == 3


def test_front_needs_no_probability():
    table = arms(POINTS).drop(columns="probability")
    drawn = Picture(trade_off(table, AUC, label="x", usages=USAGES, tallest=0.14)).sound()
    assert drawn.paths("ring") == []
    assert len(drawn.paths("front")) == 1
    assert Picture(legend(USAGES, USAGES)).sound().shows("front")


# --- map of disadvantage


def gap(dataset, model, adjusted, p, worst="female", *, attribute="sex", target="effusion", seed=0, **more):
    row = {
        **arm(model), "dataset": dataset, "split": "test", "target": target, "seed": seed, "attribute": attribute,
        "metric": "auc", "convention": "default", "kind": "max-min", "adjusted": adjusted, "p_value": p, "p_adjusted": p,
        "worst_group": worst, "best_group": "male", "status": "ok", "reason": None,
    }  # fmt: skip
    return {**row, **more}


def drawn_map(*rows, attribute="sex"):
    return Picture(disadvantage_map(frame(rows, GAPS), attribute=attribute, label="x")).sound()


def cell(drawn, part):
    """Return the group of elements of the one cell whose hover text begins with a part, or has it as a phrase."""
    told = [(e, e.find(f"{SVG}title").text) for e in drawn.root.iter(f"{SVG}g")]
    found = [e for e, hover in told if hover.startswith(part) or f": {part}" in hover]
    assert len(found) == 1, drawn.hovers
    return found[0]


def inside(element):
    return "".join(text.text or "" for text in element.iter(f"{SVG}text"))


def classes(element):
    return {name for part in element.iter() for name in (part.get("class") or "").split()}


def test_map_names_the_worst_group_and_frames_what_was_found():
    drawn = drawn_map(
        gap("cxr", "big", 0.15, 0.001), gap("cxr", "small", 0.03, 0.4, "male"), gap("fundus", "big", 0.0, 1.0)
    )
    found = cell(drawn, "big · linear probe, cxr")
    assert inside(found) == "female"
    assert {"frame", "strong", "gap3"} <= classes(found)
    assert found[0].text.endswith("worst female, best male, adjusted gap 0.150, p 0.001")
    unsure = cell(drawn, "small · linear probe, cxr")
    assert inside(unsure) == "male"
    assert "gap1" in classes(unsure)
    assert not {"frame", "strong"} & classes(unsure)
    assert {"gap0", "muted"} <= classes(cell(drawn, "big · linear probe, fundus"))


def test_map_leaves_what_was_not_run_empty_and_dots_what_cannot_be_judged():
    unjudged = gap("fundus", "big", None, None, None, status="too_small", reason="fewer than two groups")
    drawn = drawn_map(gap("cxr", "big", 0.1, 0.01), gap("cxr", "small", 0.1, 0.01), unjudged)
    dot = cell(drawn, "cannot be judged")
    assert dot[0].text.endswith("cannot be judged: fewer than two groups")
    assert "grey" in classes(dot)
    assert inside(dot) == ""
    empty = cell(drawn, "not run")
    assert empty[0].text.startswith("small")
    assert classes(empty) == {"empty"}


def test_map_never_judges_a_gap_without_a_p_value():
    drawn = drawn_map(gap("cxr", "big", 0.3, None))
    assert "frame" not in classes(cell(drawn, "cannot be judged"))


def test_map_takes_seeds_together_by_their_largest_p():
    rows = [gap("cxr", "big", 0.1 + 0.02 * seed, p, worst, seed=seed) for seed, (p, worst) in
            enumerate([(0.001, "female"), (0.2, "female"), (0.001, "male")])]  # fmt: skip
    drawn = drawn_map(*rows)
    one = cell(drawn, "big · linear probe")
    assert one[0].text.endswith("worst female (in 2 of 3 seeds), best male, adjusted gap 0.120, p 0.200")
    assert "frame" not in classes(one)


def test_map_keeps_targets_of_a_dataset_side_by_side():
    drawn = drawn_map(
        gap("cxr", "big", 0.1, 0.01),
        gap("fundus", "big", 0.1, 0.01),
        gap("cxr", "big", 0.1, 0.01, target="edema"),
    )
    places = [drawn.text(name).x for name in ("cxr · effusion", "cxr · edema", "fundus · effusion")]
    assert places == sorted(places)


def test_map_of_twenty_models_and_seventeen_datasets_stays_readable():
    groups = ["Black or African American", "Native Hawaiian or Pacific Islander", "white", "Hispanic"]
    rows = [
        gap(
            f"dataset-{place} with a long name",
            f"model-{line}",
            0.01 * (place + line % 3),
            0.2,
            groups[(place + line) % 4],
        )
        for line in range(20)
        for place in range(17)
    ]
    drawn = drawn_map(*rows)
    assert len(drawn.some("rect", "cell")) == 20 * 17 + 5  # and the key
    assert drawn.width < 1400
    key = next(text for text in drawn.texts if "BoAA = Black or African American" in text.shown)
    assert key.y > max(number(rect, "y") for rect in drawn.some("rect", "cell"))


def test_map_ignores_other_attributes_and_kinds():
    other = [gap("cxr", "big", 0.1, 0.01, attribute="age"), gap("cxr", "big", 0.1, 0.01, kind="ratio")]
    assert disadvantage_map(frame(other, GAPS), attribute="sex", label="x") is None
    assert disadvantage_map(frame([], GAPS), attribute="sex", label="x") is None


def test_map_of_a_metric_beyond_one_shades_by_the_largest_gap():
    drawn = drawn_map(gap("cxr", "big", 40.0, 0.01), gap("cxr", "small", 3.0, 0.01))
    assert "gap4" in classes(cell(drawn, "big"))
    assert "gap0" in classes(cell(drawn, "small"))


def test_map_of_nasty_names_stays_inside_and_escaped():
    rows = [gap(name, name, 0.1, 0.01, name, target=name) for name in NASTY]
    markup = disadvantage_map(frame(rows, GAPS), attribute="sex", label=HOSTILE)
    assert HOSTILE not in markup
    Picture(markup).sound()


def test_short_names_are_short_and_never_alike():
    names = [
        "female",
        "Black or African American",
        "Black or Asian American",
        "blackcurrant",
        "blackcurrants",
        "",
        "female*60+",
    ]
    short = short_names(names)
    assert short["female"] == "female"
    assert short["female*60+"] == "fem·60+"
    assert len(set(short.values())) == len(names)
    assert all(1 <= len(name) <= 8 for name in short.values())
    assert len(set(short_names(f"{'x' * 20}{place}" for place in range(30)).values())) == 30


# --- intersections


def crossed(*cells, overall=0.8, edges=True):
    """Return rows of sex*age from (group, value or None, subjects, shrunk)."""
    rows = [value("all", amount=overall, attribute="all", n_subjects=400)]
    if edges:
        rows += [value(sex) for sex in ("male", "female")]
        rows += [value(age, attribute="age") for age in ("<60", "60+")]
    for group, amount, subjects, shrunk in cells:
        row = {"attribute": "sex*age", "shrunk": shrunk, "n_subjects": subjects}
        rows.append(
            withheld(group, subjects, **row) if amount is None else value(group, amount=amount, **row)
        )
    return frame(rows, METRICS)


CELLS = (
    ("female*60+", 0.70, 40, 0.72), ("female*<60", 0.81, 60, 0.8), ("male*60+", None, 6, 0.77), ("male*<60", None, 3, None),
)  # fmt: skip


def drawn_crossing(*cells, words=AUC, **more):
    return Picture(intersection_map(crossed(*cells, **more), words, attribute="sex*age", label="x")).sound()


def test_intersection_lays_one_attribute_down_and_the_other_across():
    drawn = drawn_crossing(*CELLS)
    assert drawn.text("male").y < drawn.text("female").y  # as the single attribute has them
    assert drawn.text("<60").x < drawn.text("60+").x
    worst = cell(drawn, "female × 60+")
    assert inside(worst) == "▼ 0.700n 40"
    assert "worse3" in classes(worst)
    assert worst[0].text == "female × 60+: AUC 0.700; 0.650 to 0.750; −0.100 from all samples; 40 subjects, 200 samples; " \
                            "estimate drawn to the mean of the groups 0.720"  # fmt: skip
    assert "even" in classes(cell(drawn, "female × <60"))


def test_small_cells_are_hatched_and_never_show_an_estimate_as_a_value():
    drawn = drawn_crossing(*CELLS)
    small = cell(drawn, "male × 60+")
    assert {"hatch", "italic", "muted"} <= classes(small)
    assert inside(small) == "(0.770)too small, n 6"
    without = cell(drawn, "male × <60")
    assert "hatch" in classes(without)
    assert inside(without) == "too small, n 3"
    assert "minimum 20" in without[0].text


def test_intersection_has_edges_of_single_attributes():
    drawn = drawn_crossing(*CELLS)
    assert inside(cell(drawn, "all × all")) == "0.800n 400"
    assert cell(drawn, "female × all") is not None
    assert cell(drawn, "all × 60+") is not None
    assert not drawn_crossing(*CELLS, edges=False).hovering("female × all")


def test_shades_turn_round_where_less_is_better():
    drawn = drawn_crossing(("female*60+", 0.9, 40, None), ("male*60+", 0.7, 40, None), words=BRIER)
    assert "worse3" in classes(cell(drawn, "female × 60+"))
    assert "better3" in classes(cell(drawn, "male × 60+"))


def test_cells_equal_to_all_samples_are_neither_better_nor_worse():
    drawn = drawn_crossing(("female*60+", 0.8, 40, None), ("male*60+", 0.8, 40, None))
    assert not [text for text in drawn.texts if text.shown.startswith(("▲", "▼"))]


def test_unknown_of_an_intersection_stands_below_the_map():
    drawn = drawn_crossing(*CELLS, ("unknown", 0.6, 12, None))
    assert drawn.shows("Not recorded: AUC 0.600, n 12; takes no part in gaps")
    assert not drawn.hovering("unknown")


def test_intersection_without_a_value_of_all_samples_is_unshaded():
    drawn = drawn_crossing(*CELLS, overall=math.nan)
    assert "even" in classes(cell(drawn, "female × 60+"))


def test_intersection_of_three_runs_the_others_together_across():
    rows = crossed(("f*60+*white", 0.7, 40, None), ("m*60+*white", 0.8, 40, None)).replace(
        "sex*age", "sex*age*race"
    )
    drawn = Picture(intersection_map(rows, AUC, attribute="sex*age*race", label="x")).sound()
    assert drawn.shows("age · race")
    assert drawn.shows("60+ · white")


def test_what_is_no_intersection_is_not_drawn():
    assert intersection_map(crossed(*CELLS), AUC, attribute="sex", label="x") is None
    assert intersection_map(crossed(*CELLS), AUC, attribute="sex*race", label="x") is None
    assert intersection_map(crossed(("unknown", 0.6, 12, None)), AUC, attribute="sex*age", label="x") is None


def test_group_named_all_is_not_taken_for_an_edge():
    drawn = drawn_crossing(("all*60+", 0.7, 40, None), ("female*60+", 0.8, 40, None))
    assert len(drawn.hovering("all × 60+: AUC")) == 2


def test_intersection_of_nasty_groups_stays_inside_and_escaped():
    cells = [(f"{one}*{other}", 0.7, 30, None) for one in NASTY for other in NASTY]
    markup = intersection_map(crossed(*cells), AUC, attribute="sex*age", label=HOSTILE)
    assert HOSTILE not in markup
    Picture(markup).sound()


# --- shapes


def test_broad_characters_are_cut_sooner():
    assert fit("東京" * 10, 67) == "東京東京…"
    assert fit("tokyo" * 4, 67) == "tokyotoky…"


@pytest.mark.parametrize("size", [(30, 10), (10, 30), (22, 14), (5, 5)])
def test_hatching_stays_inside_its_rectangle(size):
    draw = Drawing(100, 100, "x")
    draw.hatch(20, 30, *size, "hatch")
    ends = Picture(draw.markup()).paths("hatch")[0]
    for (x1, y1), (x2, y2) in zip(ends[::2], ends[1::2], strict=True):
        assert x1 - x2 == pytest.approx(y2 - y1)  # at 45 degrees
        for x, y in ((x1, y1), (x2, y2)):
            assert 20 <= x <= 20 + size[0]
            assert 30 <= y <= 30 + size[1]
