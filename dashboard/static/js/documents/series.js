// All series, how full their counts are and how long they will last.

import { byId, element, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { isReadOnly } from "../mode.js";
import { steady } from "./steady.js";

const FULL_PERCENT = 90;

/**
 * `edit(type)`, `reserve(type)` and `adjust(counter)` lead to the other panels; a page to be read has
 * only the first of them.
 */
export function mountSeries(shelf, { edit, create, reserve, adjust }) {
  const filter = byId("series-filter");
  let templates;
  let counted; // without it, it would be said that nothing is counted
  const update = (row, item) => row.show(item);
  const list = steady(byId("series"), {
    keyOf: ({ template }) => template.document_type,
    build: ({ template }) => buildSeries(template.document_type, { edit, reserve, adjust }),
    update,
  });
  const show = (force) => {
    if (!templates || !counted) return;
    const shown = templates.filter((each) => matches(each, filter.value));
    list(shown.map((template) => withCounters(template, counted.sequences)), { force });
    byId("series-empty").hidden = shown.length > 0;
    setText(byId("series-empty"), templates.length
      ? "No series has this in its name or template. Empty the field to see them all."
      : `No series yet.${isReadOnly ? "" : " Press New series to define the first."}`);
    byId("series-more").hidden = !counted.more;
    setText(byId("series-more"), `The first ${format.count(counted.sequences.length)} counts are shown.`);
  };
  shelf.on("templates", (value) => { templates = value; show(); });
  shelf.on("sequences", (value) => { counted = value; show(); });
  filter.addEventListener("input", () => show(true));
  if (!isReadOnly) byId("series-new").addEventListener("click", create);
}

function matches({ document_type, template }, text) {
  return `${document_type} ${template}`.toLowerCase().includes(text.trim().toLowerCase());
}

function withCounters(template, sequences) {
  const counters = sequences.filter((each) => each.document_type === template.document_type);
  const open = counters.filter((each) => !each.closed);
  const fullest = open.reduce((a, b) => (a && a.utilization >= b.utilization ? a : b), undefined);
  return { template, counters, open, fullest };
}

function buildSeries(type, { edit, reserve, adjust }) {
  const counters = element("ul", { class: "counters", id: `counters-${type}`, hidden: true });
  const name = element("span", {}, type);
  const toggle = element("button", {
    type: "button", class: "toggle", "aria-expanded": "false", "aria-controls": counters.id,
  }, name);
  const [template, forecast] = [element("code", { class: "template" }), element("p", { class: "forecast" })];
  const [bar, flag] = [useBar(`Use of ${type}`), element("span", { class: "tag flag" })];
  const none = element("li", { class: "empty", "data-key": "" },
    `Nothing was counted yet${isReadOnly ? "." : ": reserve its first number."}`);
  toggle.addEventListener("click", () => {
    counters.hidden = !counters.hidden;
    setAttribute(toggle, "aria-expanded", String(!counters.hidden));
  });
  const row = element("li", { class: "one-series" },
    element("div", { class: "series-head" },
      element("p", { class: "series-name" }, toggle, flag), template, bar.node, forecast,
      element("p", { class: "buttons" },
        isReadOnly
          ? button("Template", `Template of series ${type}`, () => edit(type))
          : button(`Edit`, `Edit series ${type}`, () => edit(type)),
        ...(isReadOnly ? [] : [button("Reserve", `Reserve a number of ${type}`, () => reserve(type))]))),
    counters);
  const list = steady(counters, {
    keyOf: (each) => each?.counter ?? "",
    build: (each) => (each ? buildCounter(each, adjust) : none),
    update: (node, each) => each && node.show(each),
  });
  row.show = (item) => {
    setText(template, item.template.template);
    const state = stateOf(item.fullest);
    setText(flag, state.text);
    flag.hidden = !state.text;
    setAttribute(flag, "data-tone", state.tone);
    bar.show(item.fullest, item.open.length || item.counters.length ? null : item.template.start);
    setText(forecast, inShort(item));
    list(item.counters.length ? item.counters : [null]);
  };
  return row;
}

function inShort({ counters, open, fullest }) {
  const closed = counters.length - open.length;
  if (!counters.length) return "nothing counted yet";
  const parts = [format.plural(counters.length, "count", "counts")];
  if (closed) parts.push(`${format.count(closed)} closed`);
  return `${parts.join(", ")}${fullest ? ` · ${lasts(fullest)}` : ""}`;
}

function buildCounter(first, adjust) {
  const what = first.scope_value ?? "one count for everything";
  const last = element("span", { class: "last" });
  const [bar, flag] = [useBar(`Use of ${first.counter}`), element("span", { class: "tag flag" })];
  const [forecast, rest] = [element("p", { class: "forecast" }), element("p", { class: "rest hint" })];
  const change = button("Adjust or close", `Adjust or close ${first.counter}`, () => adjust(current));
  let current = first;
  const row = element("li", { class: "counter" },
    element("p", { class: "counter-name" }, element("b", {}, what), flag, last),
    bar.node, forecast, rest, element("p", { class: "buttons" }, change));
  row.show = (each) => {
    current = each;
    const state = stateOf(each);
    setText(flag, state.text);
    flag.hidden = !state.text;
    setAttribute(flag, "data-tone", state.tone);
    setAttribute(row, "data-counter", each.counter);
    setText(last, `last ${each.document_number ?? format.count(each.current_value)}`);
    bar.show(each);
    setText(forecast, each.closed ? "closed: gives out no more numbers" : lasts(each));
    setText(rest, aside(each));
    change.hidden = each.closed || isReadOnly;
  };
  return row;
}

/** A gap is issued again before any fresh number. */
function nextOf({ closed, left, gaps, current_value }) {
  if (closed || left <= 0) return "no next one";
  return gaps ? `next a gap of ${format.count(gaps)}` : `next ${format.count(current_value + 1)}`;
}

/** A bar, and beside it what it says: how full, and which number comes next. */
function useBar(label) {
  const bar = element("progress", { max: 100, value: 0, "aria-label": label });
  const [used, next] = [element("span", { class: "hint used" }), element("span", { class: "next-number" })];
  const node = element("p", { class: "use" }, bar, used, next);
  const show = (counter, start = null) => {
    bar.value = counter?.utilization ?? 0;
    setAttribute(node, "data-tone", stateOf(counter).tone);
    setText(used, counter ? `${percent(counter.utilization)} · ${format.count(counter.left)} left` : "unused");
    setText(next, counter ? nextOf(counter) : start === null ? "" : `next ${format.count(start)}`);
  };
  return { node, show };
}

function stateOf(counter) {
  if (!counter) return { tone: "", text: "" };
  if (counter.closed) return { tone: "closed", text: "closed" };
  if (counter.left <= 0) return { tone: "bad", text: "exhausted" };
  if (counter.utilization >= FULL_PERCENT) return { tone: "gap", text: "nearly full" };
  return { tone: "", text: "" };
}

function percent(value) {
  if (value > 0 && value < 0.01) return "< 0.01 %";
  return `${format.measure(value)} %`;
}

/** How long a count lasts, and what that goes by. */
function lasts({ left, runs_out_on, per_day, observed_days, window_days }) {
  if (left <= 0) return "nothing is left: raise its last number";
  if (!per_day) return `unused for ${window_days} days`;
  const pace = `at ${format.measure(per_day)} a day`;
  const goes = observed_days < 1 ? `${pace} so far` : pace;
  if (!runs_out_on) return `lasts over 100 years ${goes}`;
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
  return `runs out about ${day.format(new Date(runs_out_on))} ${goes}`;
}

function aside({ gaps, open_reservations, voided, last_used_at }) {
  const parts = [
    open_reservations && `${format.count(open_reservations)} reserved`,
    gaps && format.plural(gaps, "gap", "gaps"),
    voided && `${format.count(voided)} void`,
    last_used_at && `changed ${format.full(last_used_at)}`,
  ];
  return parts.filter(Boolean).join(" · ");
}

function button(text, label, run) {
  const node = element("button", { type: "button", class: "quiet small", "aria-label": label }, text);
  node.addEventListener("click", run);
  return node;
}
