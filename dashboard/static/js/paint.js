// Chart.js as this page uses it: the colours of the style sheet, and a table for each chart.

import { element } from "./dom.js";

export const { Chart } = window;

// Every colour of a chart is a function of these, so that one update repaints it in another theme.
export const colours = {};
const NAMES = ["accent", "wash", "ink", "muted", "line", "good", "gap", "gap-fill", "bad", "surface"];

export const paint = (name) => () => colours[name];

export function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of NAMES) colours[name] = style.getPropertyValue(`--${name}`).trim();
}

// What is to be drawn: one in each frame, or several charts would take longer than a frame has.
const due = new Set();

function drawSoon(draw) {
  if (due.size === 0) requestAnimationFrame(drawNext);
  due.add(draw);
}

function drawNext() {
  const [draw] = due;
  due.delete(draw);
  if (due.size) requestAnimationFrame(drawNext);
  draw();
}

const OUT_OF_SIGHT_MS = 4_000;

/**
 * Returns a function that has a chart drawn anew: soon while it is in sight, else now and then, and
 * when it comes into sight or is printed; so that what nobody sees costs next to nothing.
 */
export function drawnInSight(chart) {
  let isSeen = false;
  let isDue = false;
  let drawnAt = -Infinity;
  const update = () => {
    isDue = false;
    drawnAt = performance.now();
    chart.update("none");
  };
  const draw = () => {
    isDue = true;
    if (isSeen || performance.now() > drawnAt + OUT_OF_SIGHT_MS) drawSoon(update);
  };
  new IntersectionObserver((entries) => {
    isSeen = entries.at(-1).isIntersecting;
    if (isSeen && isDue) draw();
  }).observe(chart.canvas);
  window.addEventListener("beforeprint", () => isDue && update());
  return draw;
}

/** Returns a function that rebuilds the table of a chart if it is open. */
export const tableOf = (id, rowsOf) =>
  tableIn(document.querySelector(`[data-table-of="${id}"]`), rowsOf);

/** The same for a table in `details` that was made by a script. */
export function tableIn(details, rowsOf) {
  const body = details.querySelector("tbody");
  const build = () => {
    if (!details.open) return;
    const rows = rowsOf().map(([name, ...values]) => element("tr", {},
      element("th", { scope: "row" }, name),
      ...values.map((value) => element("td", { class: "num" }, value))));
    body.replaceChildren(...rows);
  };
  details.addEventListener("toggle", build);
  return build;
}
