// The rows of a file, page by page: what each is, and whether it comes in.

import { byId, element, keyed, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";

const PAGE = 25;
const TEXTS = { "comes in": "comes in", "left out": "left out", wrong: "cannot", imported: "imported" };

/** Returns `show(rows)`. `choose(rows, isOut)` is told which rows a person takes or leaves out. */
export function mountRows({ stateOf, choose }) {
  const place = byId("import-rows");
  const wrongOnly = place.querySelector("[data-errors-only]");
  const pages = [...place.querySelectorAll("[data-page]")];
  let rows = [];
  let at = 0;
  const draw = () => {
    const shown = wrongOnly.checked ? rows.filter((row) => row.errors.length) : rows;
    const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1);
    at = Math.min(Math.max(at, 0), last);
    const page = shown.slice(at * PAGE, (at + 1) * PAGE);
    keyed(place.querySelector("tbody"), page, (row) => row.row, (row) => build(row, choose), (node, row) => node.show(row, stateOf(row)));
    place.hidden = rows.length === 0;
    const span = page.length ? `${format.count(at * PAGE + 1)}–${format.count(at * PAGE + page.length)} of ${format.count(shown.length)}` : "none";
    setText(place.querySelector("[data-pages]"), span);
    for (const button of pages) {
      const isEnd = Number(button.dataset.page) < 0 ? at === 0 : at === last;
      if (isEnd) setAttribute(button, "aria-disabled", "true");
      else button.removeAttribute("aria-disabled");
    }
    place.querySelector(".pager").hidden = last === 0 && !wrongOnly.checked;
  };
  for (const button of pages) {
    button.addEventListener("click", () => {
      at += Number(button.dataset.page);
      draw();
    });
  }
  wrongOnly.addEventListener("change", draw);
  return {
    show(all) {
      rows = all;
      draw();
    },
  };
}

function build(first, choose) {
  const take = element("input", { type: "checkbox", "aria-label": `Take row ${first.row}` });
  take.addEventListener("change", () => choose([first.row], !take.checked));
  const cells = ["num", "", "row-number", "", "", "wide-cell"].map((kind) => element("td", { class: kind }));
  const [row, type, number, count, state, wrong] = cells;
  const tag = element("span", { class: "tag" });
  state.append(tag);
  const node = element("tr", {}, element("td", { class: "take" }, take), ...cells);
  node.show = (item, what) => {
    setText(row, format.count(item.row));
    setText(type, item.document_type ?? "");
    setText(number, item.document_number ?? "");
    setText(count, item.counter ?? "");
    setText(tag, TEXTS[what]);
    setAttribute(node, "data-state", what);
    take.checked = what !== "left out";
    take.disabled = what === "imported";
    setText(wrong, item.errors.map(({ column, message }) => (column ? `${column}: ${message}` : message)).join(" · "));
  };
  return node;
}
