// Releasing the numbers of one answer: named, asked for, and each a request of its own with its own
// key. What was refused stays to be read, and only that is sent again.

import { change, newKey } from "./api.js";
import { offerCurl } from "./curl.js";
import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { factsOf } from "./problems.js";
import { openQuestion } from "./question.js";
import { RELEASE, releaseOf } from "./release.js";

const AT_ONCE = 4; // a browser has six connections to a node, and one is the stream's
const STATES = { waiting: "", sending: "being released", released: "released", refused: "not released" };

/** Numbers that were issued together, and how far their release is. */
export function batchOf(numbers, site, partition) {
  const each = numbers.map((number) => ({ number, key: newKey(), state: "waiting", problem: null }));
  return { each, site, partition, reason: "", stage: "asking", isStopping: false };
}

export const isReleased = ({ state }) => state === "released";
const isRefused = ({ problem, state }) => problem !== null && state !== "released";

/** Returns `ask(batch, changed)`, which opens the confirmation; `changed()` hears of each end. */
export function mountReleaseMany(feed) {
  const dialog = byId("many-dialog");
  const reason = byId("many-reason");
  let shown;
  let tell = () => {};
  const show = (batch) => batch === shown && showBatch(batch);
  const run = async (batch) => {
    const ended = tell;
    Object.assign(batch, { stage: "running", isStopping: false });
    show(batch);
    byId("many-keep").focus();
    const left = batch.each.filter((one) => !isReleased(one)).values();
    const sendSome = async () => {
      for (const one of left) { // all of them draw from the same rest
        if (batch.isStopping) return;
        await send(batch, one, () => show(batch));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, sendSome));
    batch.stage = "ended";
    show(batch);
    ended();
    feed.poke();
    if (dialog.open && batch === shown) byId(batch.each.every(isReleased) ? "many-keep" : "many-go").focus();
  };
  byId("many").addEventListener("submit", (event) => {
    event.preventDefault();
    if (shown.stage === "running") return;
    // Fixed from here on: another reason would be another request, and need another key.
    if (shown.stage === "asking") shown.reason = reason.value.trim();
    void run(shown);
  });
  byId("many-keep").addEventListener("click", () => {
    if (shown.stage === "running") shown.isStopping = true;
    else dialog.close();
  });
  dialog.addEventListener("cancel", (event) => {
    if (shown.stage !== "running") return;
    event.preventDefault(); // it is seen to its end
    shown.isStopping = true;
  });
  dialog.addEventListener("close", () => {
    shown.isStopping = true;
    if (document.activeElement === document.body) byId("release-title").focus();
  });
  offerCurl(byId("many-curl"), () => shown.each.filter((one) => !isReleased(one))
    .map(({ number }) => requestOf(shown, number, shown.reason || reason.value)), "these releases, one a line");
  return (batch, changed) => {
    shown = batch;
    tell = changed;
    reason.value = batch.reason;
    showBatch(batch);
    openQuestion(dialog, byId("many-go"));
    (batch.stage === "asking" ? reason : byId("many-title")).focus();
  };
}

const requestOf = ({ site, partition }, number, reason) =>
  ({ path: RELEASE, body: releaseOf({ number, site, partition }, reason) });

async function send(batch, one, changed) {
  one.state = "sending";
  changed();
  const { path, body } = requestOf(batch, one.number, batch.reason);
  try {
    await change(path, body, one.key);
    Object.assign(one, { state: "released", problem: null });
  } catch (problem) {
    Object.assign(one, { state: "refused", problem });
  }
  changed();
}

function showBatch(batch) {
  const { each, site, partition, stage } = batch;
  const done = each.filter(isReleased).length;
  const many = format.count(each.length);
  const left = each.length - done;
  const isOver = stage === "ended" && left === 0;
  setText(byId("many-title"), {
    asking: `Release ${many} numbers?`,
    running: `Releasing ${many} numbers…`,
    ended: `${format.count(done)} of ${many} numbers are released`,
  }[stage]);
  setText(byId("many-where"), `${site} / ${partition}`);
  setText(byId("many-ranges"), format.ranges(each.map(({ number }) => number), Infinity));
  keyed(byId("many-numbers"), each, ({ number }) => number, buildNumber, (row, { state }) => {
    setAttribute(row, "data-state", state);
    setText(row.lastElementChild, STATES[state]);
  });
  byId("many-warning").hidden = stage !== "asking";
  byId("many-reason").readOnly = stage !== "asking";
  byId("many-progress").hidden = stage === "asking";
  Object.assign(byId("many-bar"), { max: each.length, value: done });
  setText(byId("many-done"), `${format.count(done)} of ${many}`);
  setText(byId("many-said"), stage === "ended" ? summaryOf(each) : "");
  const refused = each.filter(isRefused);
  byId("many-refused").hidden = refused.length === 0;
  keyed(byId("many-refused"), refused, ({ number }) => number, buildRefused, showRefused);
  byId("many-curl").hidden = stage === "running" || isOver;
  setText(byId("many-keep"), { asking: "Keep them", running: "Stop", ended: "Close" }[stage]);
  byId("many-go").hidden = stage === "running" || isOver;
  setText(byId("many-go"), stage === "asking"
    ? `Release ${many} numbers` : `Try again for ${format.count(left)}`);
}

function summaryOf(each) {
  const numbersOf = (some) => format.ranges(some.map(({ number }) => number), Infinity);
  const released = each.filter(isReleased);
  const unsent = each.filter(({ state }) => state === "waiting");
  const refused = each.filter(({ state }) => state === "refused");
  const parts = [
    released.length && `Released: ${numbersOf(released)}.`,
    refused.length && `Not released: ${numbersOf(refused)}.`,
    unsent.length && `Not sent: ${numbersOf(unsent)}.`,
  ];
  return parts.filter(Boolean).join(" ");
}

const buildNumber = ({ number }) =>
  element("li", {}, format.count(number), " ", element("span", { class: "unseen" }));

const buildRefused = ({ number }) => element("li", { "data-refused": number },
  element("b", {}, format.count(number)), " ", element("span", {}), element("p", { class: "problem-facts" }));

function showRefused(row, { problem }) {
  setText(row.children[1], problem.detail || problem.title);
  setText(row.lastElementChild, factsOf(problem));
}
