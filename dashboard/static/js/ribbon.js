// The newest numbers as a row of squares: a hole in the sequence cannot hide in it.

import { byId, element, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";

const SQUARES = 120;

export function mountRibbon(feed) {
  const ribbon = byId("ribbon");
  let stats;
  let gaps;
  let drawn = {};
  ribbon.addEventListener("pointerover", ({ target }) => tellNumber(target, drawn));
  feed.on("stats", (value) => (stats = value));
  feed.on("gaps", (value) => (gaps = value));
  // Last in each frame: the highest number and the gaps come apart, and must be drawn together.
  feed.on("state", () => {
    if (!stats || !gaps) return;
    // One row of squares is one sequence; a sequence for each site would need a row for each.
    byId("ribbon-panel").hidden = stats.currentStrategy !== "GLOBAL_SEQUENTIAL";
    const highest = stats.currentCounter;
    if (byId("ribbon-panel").hidden || (highest === drawn.highest && gaps === drawn.gaps)) return;
    draw(ribbon, highest, drawn.highest ?? highest, gaps);
    const other = (stats.openReservations ?? 0) + (stats.voided ?? 0) > 0;
    setText(byId("ribbon-issued"), other ? "issued, reserved or void" : "issued");
    drawn = { highest, gaps };
  });
}

function draw(ribbon, highest, highestBefore, answer) {
  const first = Math.max(1, highest - SQUARES + 1);
  const length = Math.max(0, highest - first + 1);
  while (ribbon.children.length < SQUARES) ribbon.append(element("span", { class: "square" }));
  const gaps = new Set(answer.gaps);
  // A paged answer holds the lowest gaps only: beyond its end the ribbon knows nothing.
  const known = answer.gaps.length < answer.count ? answer.gaps.at(-1) : Infinity;
  [...ribbon.children].forEach((square, index) => {
    const number = first + index;
    const kind = kindOf(number, { highest, highestBefore, gaps, known });
    setAttribute(square, "class", `square ${kind}`);
  });
  const shown = answer.gaps.filter((gap) => gap >= first && gap <= highest).length;
  const range = length ? `${format.count(first)}–${format.count(highest)}` : "none issued yet";
  setText(byId("ribbon-range"), range);
  setAttribute(ribbon, "aria-label", `Numbers ${range}, of which ${shown} are open gaps`);
}

/** Said when somebody points at it: with each new number all squares stand for others. */
function tellNumber(square, { highest }) {
  const at = [...square.parentElement.children].indexOf(square);
  if (!square.classList.contains("square") || highest === undefined) return;
  const [, kind] = square.classList;
  const number = Math.max(1, highest - SQUARES + 1) + at;
  setAttribute(square, "title", kind === "empty" ? "" : `${format.count(number)}: ${kind}`);
}

function kindOf(number, { highest, highestBefore, gaps, known }) {
  if (number > highest) return "empty";
  if (gaps.has(number)) return "gap";
  if (number > known) return "unknown";
  return number > highestBefore ? "fresh" : "issued";
}
