"""The page in a real browser that has no network: what runs, what overflows, what prints."""

import base64
import dataclasses
import hashlib
import html
import json
import re
import shutil
import subprocess

import pytest

from evaluator.report.html import render

CHROMIUM = next(
    filter(
        None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    ),
    None,
)
pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found (Debian: apt-get install chromium)"),
]
HIT = "document.documentElement.dataset.hit=1"
HOSTILE = (
    f"<script>{HIT}</script>", f'<img src=x onerror="{HIT}">', f'"><svg onload="{HIT}"></svg>',
    f"' onmouseover='{HIT}' autofocus onfocus='{HIT}", f"</style><script>{HIT}</script>", f"{{{{{HIT}}}}}",
)  # fmt: skip
LONG = "x" * 300
PROBE = """
addEventListener("load", () => {
  const root = document.documentElement;
  const overflow = () => root.scrollWidth - root.clientWidth;
  const told = {
    width: innerWidth, folded: overflow(), hit: root.dataset.hit ?? null, scripts: document.scripts.length,
    sections: [...document.querySelectorAll("main section[id]")].map((section) => section.id),
    loaded: performance.getEntriesByType("resource").map((entry) => entry.name),
    open: document.querySelectorAll("details[open]").length, details: document.querySelectorAll("details").length,
  };
  const bottom = (selector) => document.querySelector(selector)?.getBoundingClientRect().bottom ?? null;
  told.overviewEnds = bottom(".overview");
  told.answerEnds = bottom("article.answer");
  told.answerStarts = document.querySelector("article.answer .best").getBoundingClientRect().top;
  const column = () => [...document.querySelectorAll("#q1 table tbody tr")].slice(0, 4).map((row) => row.cells[1].innerText);
  told.ranked = column();
  document.querySelectorAll("#q1 thead button")[1].click();
  document.querySelectorAll("#q1 thead button")[1].click();
  told.resorted = column();
  const shown = (rows) => [...rows].filter((row) => row.offsetParent !== null).length;
  const ranking = document.querySelector("#q1 table");
  const choose = (name, value) => {
    const select = document.querySelector(`select[data-filter=${name}]`);
    if (!select) return;
    select.value = value;
    select.dispatchEvent(new Event("change"));
  };
  const claims = document.querySelectorAll("#answer-q1 .claims li");
  told.all = [shown(ranking.tBodies[0].rows), shown(claims)];
  choose("model", "tiny-clip");
  choose("attribute", "sex");
  told.chosen = [shown(ranking.tBodies[0].rows), shown(claims)];
  choose("model", "");
  choose("attribute", "");
  told.again = [shown(ranking.tBodies[0].rows), shown(claims)];
  const box = document.querySelector("#q1 .tools input");
  if (box) {
    box.value = "BIOMED lora";
    box.dispatchEvent(new Event("input"));
    told.filtered = shown(ranking.tBodies[0].rows);
    box.value = "";
    box.dispatchEvent(new Event("input"));
  }
  const figure = document.querySelector("#q1 figure .scroll");
  if (figure) {
    const press = (key) => figure.dispatchEvent(new KeyboardEvent("keydown", { key }));
    press("ArrowRight");
    told.tip = document.getElementById("tip").textContent;
    press("Escape");
    told.tipHidden = document.getElementById("tip").hidden;
  }
  told.titles = document.querySelectorAll("svg title").length;
  told.copies = document.querySelectorAll(".tools button").length;
  told.tables = document.querySelectorAll("table.sortable").length;
  document.getElementById("unfold").click();
  told.unfolded = document.querySelectorAll("details[open]").length;
  told.wide = overflow();
  const clipped = (box) => box.scrollWidth > box.clientWidth + 1;
  setTimeout(() => {
    told.unhinted = [...document.querySelectorAll(".scroll")].filter((box) => {
      const hint = box.hint ?? null;
      return box.clientWidth > 0 && clipped(box) !== (hint !== null && hint.offsetParent !== null);
    }).map((box) => box.getAttribute("aria-label"));
    told.shaded = getComputedStyle(document.querySelector(".scroll")).backgroundImage.split("linear-gradient").length - 1;
    told.clipped = [...document.querySelectorAll(".scroll")].filter(clipped).map((box) => box.getAttribute("aria-label"));
    parent.postMessage(told, "*");
  }, 200);
});
"""
PARENT = """<!doctype html><body><pre id="told"></pre><script>
const all = [];
addEventListener("message", (event) => {
  all.push(event.data);
  document.getElementById("told").textContent = JSON.stringify(all);
});
</script>
<iframe src="page.html" style="width:1280px;height:900px;border:0"></iframe>
<iframe src="page.html" style="width:420px;height:900px;border:0"></iframe>
<iframe src="paper.html" style="width:703px;height:900px;border:0"></iframe>
</body>"""


def chromium(folder, *arguments):
    """Run Chromium where every address is unreachable, and return what it prints."""
    command = [
        CHROMIUM, "--headless", "--hide-scrollbars", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
        "--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def probed(page, *, policy):
    """Return a copy of a page that tells about itself; without its policy, escaping alone protects it."""
    hashed = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    if policy:
        page = page.replace("script-src 'sha256-", f"script-src 'sha256-{hashed}' 'sha256-", 1)
    else:
        page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        assert "Content-Security-Policy" not in page
    return page.replace("</body>", f"<script>{PROBE}</script></body>")


def look(page, folder, *, policy):
    (folder / "page.html").write_text(probed(page, policy=policy), encoding="utf-8")
    # The width between the margins of an A4 page, with the style of paper.
    paper = probed(page.replace("@media print", "@media all"), policy=policy)
    (folder / "paper.html").write_text(paper, encoding="utf-8")
    (folder / "parent.html").write_text(PARENT, encoding="utf-8")
    dom = chromium(
        folder, "--window-size=1400,1000", "--virtual-time-budget=20000", "--dump-dom",
        (folder / "parent.html").as_uri(),
    )  # fmt: skip
    told = re.search(r'<pre id="told">(.*?)</pre>', dom, flags=re.S).group(1)
    return {entry["width"]: entry for entry in json.loads(html.unescape(told))}


@pytest.fixture(scope="module")
def seen(study, tmp_path_factory):
    return look(render(study), tmp_path_factory.mktemp("page"), policy=True)


def test_page_opens_at_both_widths_with_all_sections(seen):
    assert sorted(seen) == [420, 703, 1280]
    for told in seen.values():
        assert {
            "answer",
            "data",
            "run",
            "dataset-1",
            "q1",
            "dataset-2",
            "failures",
            "methods",
            "provenance",
            "glossary",
        } <= set(told["sections"])


def test_nothing_overflows_the_page_folded_or_unfolded(seen):
    assert {width: (told["folded"], told["wide"]) for width, told in seen.items()} == dict.fromkeys(
        seen, (0, 0)
    )


def test_no_table_or_figure_is_clipped_on_paper(seen):
    assert seen[703]["clipped"] == []


@pytest.mark.parametrize("width", [420, 1280])
def test_what_is_broader_than_the_screen_says_so(seen, width):
    assert seen[width]["unhinted"] == []
    assert seen[width]["shaded"] == 4


def test_nothing_is_fetched(seen):
    assert all(told["loaded"] == [] for told in seen.values())


def test_sorting_and_unfolding_work(seen):
    told = seen[1280]
    assert told["ranked"] == ["1", "2", "3", "4"]
    assert told["resorted"] == ["9", "8", "7", "6"]
    assert told["open"] < told["unfolded"] == told["details"]


def test_all_answers_of_a_study_are_on_the_first_screen(seen):
    assert seen[1280]["overviewEnds"] < 800


def test_the_answer_of_one_question_is_on_the_first_screen(small_study, tmp_path):
    told = look(render(small_study), tmp_path, policy=True)
    assert told[1280]["overviewEnds"] is None
    assert told[1280]["answerEnds"] < 800
    assert told[420]["answerStarts"] < 450


def test_page_is_filtered_by_model_and_attribute(seen):
    told = seen[1280]
    assert told["all"] == told["again"] == [9, 4]
    assert told["chosen"] == [3, 1]


def test_rows_of_a_table_are_filtered_by_words(seen):
    assert seen[1280]["filtered"] == 1


def test_marks_of_figures_are_told_by_keyboard(seen):
    told = seen[1280]
    assert "0.9" in told["tip"] or "worst group" in told["tip"]
    assert told["tipHidden"]
    assert told["titles"] == 0


def test_every_table_and_the_methods_text_can_be_copied(seen):
    told = seen[1280]
    assert told["copies"] == told["tables"] + 2


@pytest.mark.parametrize("policy", [True, False])
def test_no_script_from_data_runs(small_study, tmp_path, policy):
    models = dict(zip(small_study.metrics["model"].unique(), HOSTILE, strict=False))
    names = {
        "model": models,
        "dataset": {"phantom-cxr": HOSTILE[3]},
        "group": {"female": HOSTILE[1], "male": LONG},
    }
    study = dataclasses.replace(
        small_study,
        name=HOSTILE[0],
        created=HOSTILE[5],
        skipped=(*HOSTILE, LONG),
        provenance=tuple((text, text) for text in HOSTILE),
        metrics=small_study.metrics.replace(names).fillna({"reason": HOSTILE[4]}),
        gaps=small_study.gaps.replace({name: names[name] for name in ("model", "dataset")}),
        findings=small_study.findings.replace({name: names[name] for name in ("model", "dataset")}).assign(
            sentence=HOSTILE[1]
        ),
    )
    for told in look(render(study), tmp_path, policy=policy).values():
        assert told["hit"] is None
        assert told["scripts"] == 2
        assert told["loaded"] == []
        assert (told["folded"], told["wide"]) == (0, 0)


def test_page_prints_to_pdf(small_study, tmp_path):
    (tmp_path / "report.html").write_text(render(small_study), encoding="utf-8")
    target = tmp_path / "report.pdf"
    chromium(
        tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={target}", (tmp_path / "report.html").as_uri()
    )
    printed = target.read_bytes()
    assert printed.startswith(b"%PDF-")
    boxes = {
        tuple(map(round, map(float, box.split()))) for box in re.findall(rb"/MediaBox \[([^\]]*)\]", printed)
    }
    assert boxes == {(0, 0, 595, 842)}
    assert len(re.findall(rb"/Type /Page\b", printed)) > 10
