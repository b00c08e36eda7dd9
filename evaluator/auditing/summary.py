"""The audit in plain words, for the terminal and for ``summary.md``: the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from evaluator.auditing.limits import RESULT_KEYS, Verdict
from evaluator.auditing.options import Role
from evaluator.report.grid import records, why
from evaluator.report.words import clean, interval, is_undefined, metric_words, number, p_value, plural
from evaluator.statistics.multiplicity import PRIMARY

if TYPE_CHECKING:
    import pandas as pd

#: With more results than this each has one line; the tables hold the groups.
DETAILED = 4
#: More differences between models than this are left to the tables.
MOST_DIFFERENCES = 10
_HEADLINES = (*PRIMARY, "balanced_accuracy", "accuracy", "iou")


class Result(NamedTuple):
    """The rows of one model's answers to one question.

    Attributes
    ----------
    name
        Model, target, structure, as far as there are any.
    metric, convention
        What it is judged by.
    metrics, claims
        Rows of the metrics and findings tables about that.
    """

    name: str
    metric: str
    convention: str
    metrics: pd.DataFrame
    claims: pd.DataFrame

    @property
    def overall(self) -> pd.Series[Any]:
        """The row of all samples."""
        return self.metrics[self.metrics["attribute"] == "all"].iloc[0]


def results_of(metrics: pd.DataFrame, findings: pd.DataFrame) -> list[Result]:
    """Return the results of an audit in the order of its table, each by its headline metric.

    That is AUC or Dice; where they are not defined, the first of balanced accuracy, accuracy and IoU that is.
    """
    keys = RESULT_KEYS
    rows = metrics[metrics["metric"] != "threshold"]
    filled, claims = (
        t.assign(**{k: t[k].astype(object).where(t[k].notna(), "") for k in keys}) for t in (rows, findings)
    )
    several = ("dataset",) if filled["dataset"].nunique() > 1 else ()
    told = (*several, "target", "structure", "prompt", "model", "usage", "mitigation", "seed")
    found = []
    for values, mine in filled.groupby(keys, sort=False):
        named = dict(zip(keys, values, strict=True))
        overall = mine[mine["attribute"] == "all"]
        metric, convention = _headline(overall)
        chosen = mine[(mine["metric"] == metric) & (mine["convention"] == convention)]
        about = claims[(claims["metric"] == metric) & (claims["convention"] == convention)]
        for key, value in named.items():
            about = about[about[key] == value]
        shown = [str(named[key]) for key in told if named[key] != ""]
        found.append(Result(", ".join(shown), metric, convention, chosen, about))
    return found


def _headline(overall: pd.DataFrame) -> tuple[str, str]:
    defined = overall[overall["status"] == "ok"]
    for name in _HEADLINES:
        rows = defined[defined["metric"] == name]
        if len(rows):
            return name, str(rows["convention"].iloc[0])
    first = (defined if len(defined) else overall).iloc[0]
    return str(first["metric"]), str(first["convention"])


def write_summary(
    name: str,
    metrics: pd.DataFrame,
    failures: pd.DataFrame,
    findings: pd.DataFrame,
    comparisons: pd.DataFrame,
    said: Sequence[Role],
    notes: Sequence[str],
    *,
    alpha: float,
    verdicts: Sequence[Verdict] = (),
) -> str:
    """Say what an audit found, in words and small tables of plain text.

    Parameters
    ----------
    name
        Of the table.
    metrics, failures, findings, comparisons
        What was measured, what could not be, what is claimed, and how models differ.
    said, notes
        What columns were taken for, and what was assumed.
    alpha
        Intervals have level 1 - alpha.
    verdicts
        Limits that were judged.
    """
    results = results_of(metrics, findings)
    parts: list[tuple[str, Iterable[str]]] = [("In short", _short(results))]
    if len(results) > DETAILED:
        parts.append(("Results", _lines(results, alpha)))
    else:
        parts += [
            (f"Result: {result.name}" if result.name else "Result", _detail(result, metrics, alpha))
            for result in results
        ]
    parts += [
        ("Models compared", _differences(results, comparisons, alpha)),
        ("Not measured", _failures(failures)),
        ("How the table was read", _roles(said)),
        ("What to know", (f"- {note}" for note in notes)),
        ("Limits", _limits(verdicts)),
    ]
    lines = [f"# Audit of {name}"]
    for title, body in parts:
        told = list(body)
        if told:
            lines += ["", f"## {title}", "", *told]
    return "\n".join(clean(line) for line in lines) + "\n"


def _short(results: Sequence[Result]) -> Iterator[str]:
    import pandas as pd

    claims = pd.concat([r.claims.assign(result=r.name) for r in results], ignore_index=True)
    if not len(claims):
        yield "There was nothing to compare."
        return
    several = len(results) > 1
    parts = [claims[claims["finding"] == kind] for kind in ("gap found", "no reliable gap", "cannot judge")]
    gaps, none, unclear = (len(part) for part in parts)
    yield (
        f"{plural(len(claims), 'comparison')} of groups: {gaps} with a gap that chance does not explain, {none} without one,"
        f" {unclear} that this table cannot decide."
    )
    for row in parts[0].to_dict("records"):
        where = f"({row['result']}) " if several and row["result"] else ""
        yield f"- GAP {where}{row['sentence']}"
    if none and not several:
        yield f"- no reliable gap by {', '.join(parts[1]['attribute'])}"
    if unclear and not several:
        yield f"- not decided: by {', '.join(parts[2]['attribute'])}; that no gap was found does not show that there is none"
    elif unclear:
        yield "- where it cannot be decided, that no gap was found does not show that there is none"


def _detail(result: Result, metrics: pd.DataFrame, alpha: float) -> Iterator[str]:
    words = metric_words(result.metric)
    row = result.overall
    yield f"{_value(row, result.metric, alpha)}; {_counts(row)}"
    if words.meaning:
        yield f"({words.label}: {words.meaning})"
    others = _others(result, metrics)
    if others:
        yield f"Also, over all samples: {others}"
    for attribute, rows in result.metrics[result.metrics["attribute"] != "all"].groupby(
        "attribute", sort=False
    ):
        yield ""
        yield from _grid(str(attribute), rows, result.metric, alpha)
        claims = result.claims[result.claims["attribute"] == attribute]
        yield from (f"-> {_told(claim)}" for claim in records(claims))


def _told(claim: Mapping[str, Any]) -> str:
    """Say a claim below its group table, without repeating what stands there."""
    text = str(claim["sentence"]).removeprefix(f"{claim['metric']} by {claim['attribute']}: ")
    finding = str(claim["finding"])
    return text if text.startswith((finding, "cannot be judged")) else f"{finding}: {text}"


def _value(row: Any, metric: str, alpha: float) -> str:
    words = metric_words(metric)
    if is_undefined(row["value"]):
        return f"{words.label} is not defined ({why(row)})"
    text = f"{words.label} {number(row['value'], words.decimals)}"
    if is_undefined(row["ci_low"]):
        return text
    return (
        f"{text} ({100 * (1 - alpha):g} % interval {interval(row['ci_low'], row['ci_high'], words.decimals)})"
    )


def _counts(row: Any) -> str:
    text = f"{plural(int(row['n']), 'sample')} of {plural(int(row['n_subjects']), 'subject')}"
    if not is_undefined(row["n_pos"]):
        text += f", {int(row['n_pos']):,} positive"
    return text + (f"; {int(row['n_failed']):,} could not be measured" if row["n_failed"] else "")


def _others(result: Result, metrics: pd.DataFrame) -> str:
    """Say the other common metrics of a result, under their first convention."""
    rows = metrics[metrics["attribute"] == "all"]
    row = result.overall
    for key in RESULT_KEYS:
        rows = rows[rows[key].isna() if row[key] == "" else rows[key] == row[key]]
    told = []
    for metric in ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ece", "iou", "hd95_mm"):
        first = rows[(rows["metric"] == metric) & (rows["status"] == "ok")].head(1)
        if len(first) and metric != result.metric:
            words = metric_words(metric)
            label = words.label.lower() if words.label[1:2].islower() else words.label
            told.append(f"{label} {number(first['value'].iloc[0], words.decimals)}")
    return ", ".join(told) + (f" (decisions: {_decisions(rows)})" if _decisions(rows) else "") if told else ""


def _decisions(rows: pd.DataFrame) -> str:
    cut = rows[rows["metric"] == "threshold"].head(1)
    if not len(cut):
        return ""
    row = cut.iloc[0]
    chosen = (
        f"chosen on val by {row['convention']}"
        if str(row["convention"]).startswith("val:")
        else "fixed beforehand"
    )
    return f"positive from a score of {number(row['value'])}, {chosen}"


def _grid(attribute: str, rows: pd.DataFrame, metric: str, alpha: float) -> Iterator[str]:
    words = metric_words(metric)
    head = (f"by {attribute}", "samples", "subjects", words.label, f"{100 * (1 - alpha):g} % interval", "")
    body = [head]
    for row in records(rows):
        value = "-" if is_undefined(row["value"]) else number(row["value"], words.decimals)
        span = "-" if is_undefined(row["value"]) else interval(row["ci_low"], row["ci_high"], words.decimals)
        told = why(row) if is_undefined(row["value"]) else ""
        failed = f"{int(row['n_failed']):,} not measured" if row["n_failed"] else ""
        note = "; ".join(text for text in (told, failed) if text)
        body.append(
            (clean(str(row["group"])), f"{int(row['n']):,}", f"{int(row['n_subjects']):,}", value, span, note)
        )
    widths = [max(len(cells[place]) for cells in body) for place in range(5)]
    for cells in body:
        first = f"  {cells[0]:<{widths[0]}}"
        middle = "  ".join(f"{cells[place]:>{widths[place]}}" for place in range(1, 4))
        yield f"  {first}  {middle}  {cells[4]:<{widths[4]}}  {cells[5]}".rstrip()


def _lines(results: Sequence[Result], alpha: float) -> Iterator[str]:
    for result in results:
        found = result.claims.loc[result.claims["finding"] == "gap found", "attribute"].tolist()
        unclear = result.claims.loc[result.claims["finding"] == "cannot judge", "attribute"].tolist()
        told = f"gap by {', '.join(found)}" if found else "no gap found"
        more = f"; cannot judge {', '.join(unclear)}" if unclear else ""
        yield f"- {result.name}: {_value(result.overall, result.metric, alpha)}; {_counts(result.overall)}; {told}{more}"
    yield ""
    yield "The groups of each result are in groups.csv and in the report."


def _differences(results: Sequence[Result], comparisons: pd.DataFrame, alpha: float) -> Iterator[str]:
    """Say how far each model is from the one it is compared with, by the headline metrics."""
    measures = {(result.metric, result.convention) for result in results}
    known = comparisons[comparisons["difference"].notna()]
    told = [row for row in records(known) if (row["metric"], row["convention"]) in measures]
    for row in told[:MOST_DIFFERENCES]:
        words = metric_words(row["metric"])
        about = ", ".join(str(row[key]) for key in ("target", "structure") if _there(row[key]))
        span = interval(row["ci_low"], row["ci_high"], words.decimals)
        yield (
            f"- {f'{about}: ' if about else ''}{_arm(row, '')} against {_arm(row, 'against_')}: {words.label} difference"
            f" {number(row['difference'], words.decimals)} ({100 * (1 - alpha):g} % interval {span}, adjusted p"
            f" {p_value(row['p_adjusted'])}): {_standing(row, words.better, alpha)}"
        )
    if len(told) > MOST_DIFFERENCES:
        yield f"- ... {len(told) - MOST_DIFFERENCES:,} more are in tables/comparisons.csv and in the report"


def _standing(row: Mapping[str, Any], direction: str, alpha: float) -> str:
    if is_undefined(row["p_adjusted"]) or row["p_adjusted"] >= alpha:
        return "cannot be told apart"
    return "reliably better" if (row["difference"] > 0) == (direction == "higher") else "reliably worse"


def _arm(row: Mapping[str, Any], prefix: str) -> str:
    names = (row[f"{prefix}{key}"] for key in ("model", "usage", "mitigation", "prompt"))
    return " ".join(str(name) for name in names if _there(name)) or "the unnamed model"


def _there(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _failures(failures: pd.DataFrame) -> Iterator[str]:
    for row in failures.to_dict("records"):
        where = ", ".join(str(row[key]) for key in ("model", "usage") if row[key])
        group = "all samples" if row["attribute"] == "all" else f"{row['attribute']} {row['group']}"
        about = ", ".join(part for part in (where, group) if part)
        yield f"- {about}: {int(row['rows']):,} rows ({100 * row['share']:.1f} %) {row['status']}"


def _roles(said: Sequence[Role]) -> Iterator[str]:
    width = max((len(role.role) for role in said), default=0)
    for role in said:
        columns = ", ".join(role.columns[:8]) + (
            f", ... ({len(role.columns)} columns)" if len(role.columns) > 8 else ""
        )
        option = f" [{role.option}]" if role.option else ""
        yield f"    {role.role:<{width}}  {columns or '-'}: {role.why}{option}"


def _limits(verdicts: Sequence[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        state = "VIOLATED" if verdict.violated else "kept"
        yield f"- {state}: {verdict.limit} ({verdict.result}): {verdict.sentence}"
