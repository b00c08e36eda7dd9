"""A study's content as one self-contained HTML page, with LaTeX and CSV tables beside it.

Guarantee: the page asks the network for nothing (a content security policy forbids it and allows only our own
script, by hash), is complete without JavaScript, and shows all text from data escaped. Equal content gives
equal bytes. Trade-off: figures are inline, so a study of hundreds of arms makes a page of some megabytes;
details are folded.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from evaluator.report.content import StudyContent
from evaluator.report.feature_grids import feature_grid, feature_group_grid
from evaluator.report.gap_grids import gap_grid
from evaluator.report.grid import Grid, arm_name, records
from evaluator.report.group_grids import group_grid
from evaluator.report.latex import to_latex
from evaluator.report.markdown import to_markdown
from evaluator.report.page import build, counts_text
from evaluator.report.questions import compared_grids, question_title
from evaluator.report.ranking_grids import ranking_grid
from evaluator.report.references import cited_in
from evaluator.report.tables import ARM, Ranked, gap_table, rank_all, tidy, to_csv, whole_counts
from evaluator.report.words import clean, metric_words, readable
from shards.files import write_text

_HERE = Path(__file__).parent


def render(content: StudyContent) -> str:
    """Return the page of a study as HTML."""
    return _page(content, _rank(content))


def _rank(content: StudyContent) -> tuple[Ranked, ...]:
    return rank_all(content.metrics, content.gaps, content.comparisons, alpha=content.alpha)


def _page(content: StudyContent, ranked: Sequence[Ranked]) -> str:
    script = _asset("page.js")
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(readable=readable, counts=counts_text)
    template = environment.get_template("page.html")
    return template.render(
        view=build(content, ranked),
        style=Markup(_asset("page.css") + _asset("pictures.css")),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=hashed,
        references=cited_in(content.methods_text),
    )


def write(content: StudyContent, folder: Path) -> Path:
    """Write ``report.html`` and its tables as CSV, LaTeX and Markdown, each file whole or not at all.

    Parameters
    ----------
    content
        What to show.
    folder
        Where to; made if absent. Files of these names are replaced.

    Returns
    -------
    pathlib.Path
        The page.
    """
    tables, ranked = folder / "tables", _rank(content)
    for name, frame in _flat_tables(content, ranked).items():
        write_text(tables / f"{name}.csv", to_csv(whole_counts(frame)))
    for name, grids in _paper_tables(content, ranked).items():
        parts = [to_latex(grid, label=f"tab:{name}-{place + 1}") for place, grid in enumerate(grids)]
        write_text(tables / f"{name}.tex", _TEX_HEAD + "\n".join(parts))
        write_text(tables / f"{name}.md", "\n".join(map(to_markdown, grids)))
    page = folder / "report.html"
    write_text(page, _page(content, ranked))
    return page


_TEX_HEAD = "% needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs}\n"


def _flat_tables(content: StudyContent, ranked: Sequence[Ranked]) -> dict[str, pd.DataFrame]:
    flat = []
    for question in ranked:
        for measure, table in question.rankings.items():
            keys = {**question.part.question._asdict(), **measure._asdict()}
            flat.append(table.assign(**keys)[[*keys, *table.columns]])
    tasks = pd.DataFrame([vars(task) for task in content.tasks])
    return {
        "ranking": pd.concat(flat, ignore_index=True) if flat else pd.DataFrame(),
        "groups": content.metrics,
        "gaps": content.gaps,
        "findings": content.findings,
        "failures": content.failures,
        "tasks": tasks,
        **{name: frame for name, frame in _optional(content).items() if len(frame)},
    }


def _optional(content: StudyContent) -> dict[str, pd.DataFrame]:
    return {
        "curves": content.curves,
        "comparisons": content.comparisons,
        "across": content.across,
        "selection": content.selection,
        "features": content.representation,
    }


def _paper_tables(content: StudyContent, ranked: Sequence[Ranked]) -> dict[str, list[Grid]]:
    """Lay out, for the primary measure of each question, the ranking, the leader's groups, all gaps and comparisons."""
    grids: dict[str, list[Grid]] = {"ranking": [], "groups": [], "gaps": []}
    selection = tidy(content.selection)
    for question in ranked:
        _add_paper_tables(grids, question, content)
        for name, found in compared_grids(question, selection).items():
            grids.setdefault(name, []).extend(found)
    features = [feature_grid(rows := tidy(content.representation)), feature_group_grid(rows)]
    if any(features):
        grids["features"] = [grid for grid in features if grid]
    return grids


def _add_paper_tables(grids: dict[str, list[Grid]], ranked: Ranked, content: StudyContent) -> None:
    part, measure = ranked.part, ranked.primary
    words, at = metric_words(measure.metric), part.at(measure)
    title = f"{part.question.dataset}, {question_title(part.question)}"
    table = ranked.rankings[measure]
    seen = content.contaminated(part.question.dataset)
    grids["ranking"].append(
        ranking_grid(table, measure, caption=f"Ranking for {title} by {words.label}", seen=seen)
    )
    gaps = gap_table(at.gaps)
    if len(gaps):
        grids["gaps"].append(
            gap_grid(gaps, measure, caption=f"Gaps in {words.label} between groups for {title}")
        )
    for leader in records(table.head(1)):
        rows = at.of_arm(tuple(str(leader[name]) for name in ARM)).metrics
        for _, mine in rows.groupby("seed", dropna=False):
            caption = f"{words.label} of {arm_name(leader)} by group for {title}"
            grids["groups"].append(group_grid(mine, measure, caption=caption))


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _finalize(value: Any) -> Any:
    """Take unprintable characters out of every text that is not markup of our own."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
