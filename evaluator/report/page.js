"use strict";
(() => {
  const page = document;
  const all = (selector, root = page) => [...root.querySelectorAll(selector)];
  const make = (tag, fields = {}, ...inside) => {
    const made = Object.assign(page.createElement(tag), fields);
    made.append(...inside);
    return made;
  };

  // Sorting: every heading of a sortable table becomes a button; rows keep inside their section.
  const compare = (column, sign) => (a, b) => {
    const [x, y] = [a, b].map((row) => row.cells[column].dataset.order);
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    const [p, q] = [Number(x), Number(y)];
    return sign * (Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q);
  };
  const dataRows = (table) => [...table.tBodies].map((body) => [...body.rows].filter((row) => !row.classList.contains("section")));
  const sortBy = (table, heading) => {
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    for (const rows of dataRows(table)) {
      const body = rows[0]?.parentElement;
      rows.sort(compare(heading.cellIndex, sign)).forEach((row) => body.append(row));
    }
  };

  // Copying, also where the clipboard of a page opened from disk is closed to scripts.
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = make("textarea", { value: text, className: "unseen" });
      page.body.append(field);
      field.select();
      page.execCommand("copy");
      field.remove();
    }
  };
  const copyButton = (label, text) => {
    const button = make("button", { type: "button", className: "small", textContent: "Copy" });
    button.setAttribute("aria-label", label);
    button.addEventListener("click", async () => {
      await copy(text());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    return button;
  };
  const asText = (table) => [...table.rows].filter((row) => !row.hidden).map(
    (row) => [...row.cells].map((cell) => cell.innerText.trim().replace(/\s+/g, " ")).join("\t"),
  ).join("\n");

  // Tools of a table: a box that filters its rows where there are many, and a button that copies it.
  const filterRows = (table, wanted) => {
    const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
    for (const rows of dataRows(table)) {
      for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
      const heading = rows[0]?.parentElement.querySelector("tr.section");
      if (heading) heading.hidden = rows.every((row) => row.hidden);
    }
  };
  for (const table of all("table.sortable")) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = make("button", { type: "button" }, ...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sortBy(table, heading));
    }
    const caption = table.caption.innerText.trim();
    const tools = make("div", { className: "tools" });
    if (dataRows(table).flat().length > 8) {
      const box = make("input", { type: "search", placeholder: "Filter rows", autocomplete: "off" });
      box.setAttribute("aria-label", `Filter rows of: ${caption}`);
      box.addEventListener("input", () => filterRows(table, box.value));
      tools.append(box);
    }
    tools.append(copyButton(`Copy table: ${caption}`, () => asText(table)));
    table.parentElement.before(tools);
  }
  for (const [id, label] of [["methods-text", "Copy the methods text"], ["references", "Copy the references"]]) {
    const text = page.getElementById(id);
    if (text) text.before(make("div", { className: "tools" }, copyButton(label, () => text.innerText)));
  }

  // What is broader than the screen says so; its edges are shaded without scripts as well.
  const hints = new ResizeObserver((changes) => {
    for (const { target } of changes) target.hint.hidden = target.scrollWidth <= target.clientWidth + 1;
  });
  for (const box of all(".scroll")) {
    box.hint = make("p", { className: "more", textContent: "scroll sideways for more →", hidden: true });
    box.hint.setAttribute("aria-hidden", "true");
    const before = box.previousElementSibling;
    (before?.classList.contains("tools") ? before : box).before(box.hint);
    hints.observe(box);
  }

  // Filters of the whole page: what is about another model or attribute goes away.
  const chosen = {};
  const apply = () => {
    for (const part of all("[data-model], [data-attribute]")) {
      const other = Object.entries(chosen).some(([name, value]) => value && part.dataset[name] && part.dataset[name] !== value);
      part.classList.toggle("away", other);
    }
  };
  for (const select of all("select[data-filter]")) {
    const follow = () => { chosen[select.dataset.filter] = select.value; apply(); };
    select.addEventListener("change", follow);
    follow();
  }

  // What a mark of a figure stands for: on hover, and with the arrow keys where the figure has the focus.
  const tip = make("div", { id: "tip", hidden: true });
  tip.setAttribute("role", "status");
  page.body.append(tip);
  let shown = null;
  const hide = () => { shown?.classList.remove("shown"); shown = null; tip.hidden = true; };
  const show = (mark) => {
    hide();
    shown = mark;
    mark.classList.add("shown");
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above < 8 ? box.bottom + 8 : above}px`;
  };
  for (const title of all("svg title")) {
    const mark = title.parentElement;
    mark.dataset.tip = title.textContent;
    title.remove();
    mark.addEventListener("pointerenter", () => show(mark));
    mark.addEventListener("pointerleave", hide);
  }
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  for (const figure of all("figure")) {
    const marks = all("[data-tip]", figure);
    if (!marks.length) continue;
    const box = figure.querySelector(".scroll") ?? figure;
    box.tabIndex = 0;
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
      if (!(event.key in steps)) return;
      event.preventDefault();
      const at = marks.indexOf(shown);
      const mark = marks[at < 0 ? 0 : (at + steps[event.key] + marks.length) % marks.length];
      mark.scrollIntoView({ block: "nearest", inline: "nearest" });
      show(mark);
    });
    box.addEventListener("blur", hide);
  }
  addEventListener("scroll", () => { if (shown) show(shown); }, { passive: true, capture: true });

  // Folding: one button for all details, and everything is open on paper.
  const folds = () => all("details");
  page.getElementById("tools").hidden = false;
  const toggle = page.getElementById("unfold");
  toggle.addEventListener("click", () => {
    const open = toggle.getAttribute("aria-pressed") !== "true";
    folds().forEach((fold) => { fold.open = open; });
    toggle.setAttribute("aria-pressed", String(open));
    toggle.textContent = open ? "Fold details" : "Unfold all details";
  });
  let closed = [];
  addEventListener("beforeprint", () => {
    hide();
    closed = folds().filter((fold) => !fold.open);
    closed.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((fold) => { fold.open = false; }));
})();
