// Sites × partitions × types: counts, and one click to issue.

import { change, newKey } from "./api.js";
import { offerCurl } from "./curl.js";
import { announce, byId, element, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { showProblem } from "./problems.js";
import { batchOf, isReleased } from "./release_many.js";

const ISSUED_SHOWN_MAX = 4;
const NEXT = "/api/v1/sequence/next";

export function showMatrix(feed) {
  feed.on("stats", (stats) => showCounts(byId("matrix"), stats));
  feed.on("lasts", (lasts) => showLasts(byId("matrix"), lasts));
}

/**
 * One click issues. `release(number, site, partition)` asks for the release of a number that was issued here, and
 * `releaseMany(batch)` for that of several.
 */
export function mountIssuing(feed, release, releaseMany) {
  const matrix = byId("matrix");
  const count = byId("count");
  count.addEventListener("input", () => {
    if (!count.validity.valid) return;
    for (const step of matrix.querySelectorAll(".cell-step")) setText(step, count.value);
  });
  matrix.addEventListener("click", (event) => {
    const button = event.target.closest("[data-generate]");
    if (!button || !count.reportValidity()) return;
    const cell = button.closest(".cell");
    // Nobody means two by a double click, nor by a click while nothing has come of the one before.
    if (event.detail === 2 || Number(cell.dataset.waiting ?? 0)) return;
    void issue({ cell, count: count.valueAsNumber, key: newKey(), feed, release, releaseMany });
  });
  mountCurl(matrix, count);
}

/** One command for all cells: of the one that was clicked or focused last. */
function mountCurl(matrix, count) {
  let chosen = matrix.querySelector(".cell");
  const choose = (cell) => {
    chosen = cell ?? chosen;
    const { site, partition, type } = chosen.dataset;
    setText(byId("issue-chosen"), `${site} / ${partition} · ${type}`);
  };
  for (const name of ["focusin", "click"]) {
    matrix.addEventListener(name, ({ target }) => choose(target.closest(".cell")));
  }
  choose(chosen);
  const describe = () =>
    count.reportValidity() ? { path: NEXT, body: bodyOf(chosen, count.valueAsNumber) } : null;
  offerCurl(byId("issue-curl"), describe, "issue numbers for the place named beside");
}

function bodyOf({ dataset: { site, partition, type } }, count) {
  return { siteId: site, partitionId: partition, invoiceType: type, count };
}

function showCounts(matrix, stats) {
  const perCell = stats.sequencesBySitePartitionType;
  const perLane = stats.sequencesBySitePartition;
  for (const lane of matrix.querySelectorAll(".lane")) {
    const name = `${lane.dataset.site}:${lane.dataset.partition}`;
    setText(lane.querySelector(".lane-total"), format.count(total(perLane, name)));
    for (const cell of lane.querySelectorAll(".cell")) {
      const value = total(perCell, `${name}:${cell.dataset.type}`);
      setText(cell.querySelector(".cell-count"), format.count(value));
      setAttribute(cell, "data-value", value ?? "");
    }
  }
}

/** The last number of each place; none is told of one that was served too long ago. */
function showLasts(matrix, lasts) {
  for (const cell of matrix.querySelectorAll(".cell")) {
    const { site, partition, type } = cell.dataset;
    const last = lasts[`${site}:${partition}:${type}`];
    setText(cell.querySelector(".cell-last"), last ? `last ${format.count(last)}` : "");
    setAttribute(cell, "data-last", last ?? "");
  }
}

/** Totals leave out what never happened; totals that are missing altogether are unknown, not 0. */
const total = (totals, name) => (totals ? (totals[name] ?? 0) : undefined);

async function issue(request) {
  const { cell, count, key, feed } = request;
  const waiting = Number(cell.dataset.waiting ?? 0);
  cell.dataset.waiting = waiting + 1;
  try {
    const began = performance.now();
    const answer = await change(NEXT, bodyOf(cell, count), key);
    const milliseconds = performance.now() - began; // as a caller sees it, with the commit
    showResult(cell, answer);
    addIssued(cell.dataset, answer, milliseconds, request);
  } catch (problem) {
    showProblem(byId("matrix-problems"), problem, () => void issue(request));
  } finally {
    cell.dataset.waiting -= 1;
    feed.poke();
  }
}

function showResult(cell, answer) {
  const numbers = answer.sequenceNumbers;
  const result = cell.querySelector(".cell-result");
  setText(result, format.ranges(numbers, 3));
  setAttribute(result, "title", format.ranges(numbers, 50));
  setAttribute(result, "data-numbers", numbers.join(" "));
  result.classList.toggle("reused", answer.gapFilled === true);
  const { site, partition, type } = cell.dataset;
  const how = answer.gapFilled ? "reused" : "issued";
  announce(`${how} ${format.ranges(numbers)} for ${site}, ${partition}, ${type}`);
}

function addIssued({ site, partition, type }, answer, milliseconds, { release, releaseMany }) {
  const numbers = answer.sequenceNumbers;
  const took = `by ${answer.nodeId} in ${format.measure(milliseconds)} ms`;
  const origin = [`${site} / ${partition}`, type, took].join(" · ");
  const row = element("li", {},
    element("span", { class: "issued-number" }, format.ranges(numbers, 6)),
    element("span", { class: "hint" }, origin),
  );
  if (answer.gapFilled) {
    const reused = numbers.length === 1 ? "gap reused" : "with reused gaps";
    row.children[0].after(element("span", { class: "tag gap" }, reused));
  }
  const button = element("button", { type: "button", class: "quiet" }, "Release…");
  const done = () => button.replaceWith(element("span", { class: "tag" }, "released"));
  const batch = batchOf(numbers, site, partition);
  button.addEventListener("click", () => {
    if (numbers.length === 1) release(numbers[0], site, partition, "", done);
    else releaseMany(batch, () => (batch.each.every(isReleased) ? done() : setText(button, "Release the rest…")));
  });
  row.append(button);
  const list = byId("issued");
  list.prepend(row);
  while (list.children.length > ISSUED_SHOWN_MAX) list.lastElementChild.remove();
  byId("issued-empty").hidden = true;
}
