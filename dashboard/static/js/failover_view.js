// The failover as a picture: answers in each quarter of a second, and what was struck when.

import { element, keyed, setText } from "./dom.js";
import * as format from "./format.js";
import { tableIn } from "./paint.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;
const DONE = { kill: "killed", stop: "stopped", pause: "paused" };

/** Draws `job.spans` as bars, and each strike as a line; the width is the whole time of the load. */
export function drawTimeline(place, { spans = [], spanMs = 250, strikes = [], parameters, load }) {
  place.hidden = !spans.length;
  if (!spans.length) return;
  const count = Math.max(spans.length, Math.round((parameters.seconds * 1000) / spanMs));
  const highest = Math.max(...spans, 1);
  const picture = svg("svg", {
    viewBox: `0 0 ${count} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `Answers over time; ${format.plural(strikes.length, "strike", "strikes")}, ` +
      `${format.count(load?.failed)} requests failed.`,
  });
  const bars = spans.map((value, at) => {
    const height = (value / highest) * (HEIGHT - 4);
    return `M${at + 0.08} ${HEIGHT}v${-height}h0.84v${height}z`;
  });
  picture.append(svg("path", { class: "bar", d: bars.join("") }));
  for (const { atMs } of strikes) {
    const x = atMs / spanMs;
    picture.append(svg("path", { class: "strike", d: `M${x} 0V${HEIGHT}` }));
  }
  const caption = element("p", { class: "hint" },
    `Answers in each quarter of a second, ${format.measure((count * spanMs) / 1000)} s; highest ` +
    `${format.count(highest)}.`, ...(strikes.length ? [" ", element("span", { class: "struck" }, "│"), " struck"] : []));
  place.replaceChildren(picture, caption);
}

/** The same as a table; `show(job)` brings it up to date. */
export function timelineTable() {
  const heads = ["From", "Answers", "Struck"].map((name, at) =>
    element("th", { scope: "col", class: at ? "num" : "" }, name));
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}));
  const place = { class: "scroll short", tabindex: 0, role: "region", "aria-label": "Answers over time, as a table" };
  const node = element("details", { "data-table-of": "failover" },
    element("summary", {}, "As a table"), element("div", place, table));
  let shown = {};
  const build = tableIn(node, () => rowsOf(shown));
  const show = (job) => {
    shown = job;
    node.hidden = !job.spans?.length;
    build();
  };
  return { node, show };
}

function rowsOf({ spans = [], spanMs, strikes = [] }) {
  return spans.map((value, at) => {
    const struck = strikes.filter(({ atMs }) => Math.floor(atMs / spanMs) === at);
    const names = struck.map(({ name, action }) => `${name} ${DONE[action] ?? action}`);
    return [`${format.measure((at * spanMs) / 1000)} s`, format.count(value), names.join(", ")];
  });
}

/** One line for each strike, and below it what came after, in milliseconds. */
export function showStrikes(list, strikes) {
  const keyOf = ({ name, atMs }) => `${name} ${atMs}`;
  keyed(list, strikes, keyOf, build, (row, strike) => {
    const { name, action, atMs, wasLeader, firstSuccessMs, marks } = strike;
    const who = wasLeader ? `${name}, the leader of etcd,` : name;
    setText(row.children[0], `${who} ${DONE[action] ?? action} at ${format.measure(atMs / 1000)} s`);
    setText(row.children[1], firstSuccessMs == null
      ? "nobody served since"
      : `served again after ${format.count(firstSuccessMs)} ms`);
    const all = [{ what: DONE[action] ?? action, afterMs: 0 }, ...marks];
    keyed(row.children[2], all, ({ what }) => what, ({ what }) =>
      element("li", {}, element("b", {}), ` ${what}`),
    (mark, { afterMs }) => setText(mark.firstElementChild, `${format.count(afterMs)} ms`));
  });
  list.hidden = strikes.length === 0;
}

function build({ kind, action }) {
  return element("li", { "data-kind": kind, "data-action": action },
    element("b", { class: "strike-who" }), element("span", { class: "strike-served" }),
    element("ol", { class: "marks" }));
}

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}
