// The newest records. The table stands still while a person reads or aims at it.

import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { historyOf, operationName } from "./operations.js";

// A colour that fades is painted again in every frame: where rows come all the time, that is for ever.
const CALM_MS = 3_000;
const pointerHovers = matchMedia("(hover: hover)");
const ISSUING = new Set(["GENERATE", "RECOVER"]);

/** `release(number, site, partition)` asks for the release of a number in use; none: a page to read. */
export function mountEntries(feed, release) {
  let isDown = false; // asked of the element, it would be laid out anew in the middle of a frame
  const scroll = byId("entries-scroll");
  const body = byId("entries");
  let followOnce = false;
  scroll.addEventListener("scroll", () => (isDown = scroll.scrollTop > 0), { passive: true });
  const releaseHere = (number, site, partition) =>
    release(number, site, partition, "", () => {
      followOnce = true; // its row goes, and the person wants to see the release arrive
      scroll.focus({ preventScroll: true });
    });
  let records = [];
  let isBehind = false;
  const refresh = () => {
    const held = (isDown || isUsed(body)) && body.children.length > 0 && !followOnce;
    isBehind = held;
    const state = byId("entries-state");
    setAttribute(state, "data-state", held ? "held" : "live");
    setText(state, held ? `held · ${newer(body, records)}` : "following");
    if (!held) show(body, records, release && releaseHere);
  };
  feed.on("audit", (latest) => {
    records = latest;
    refresh();
    followOnce = false;
  });
  feed.on("state", () => isBehind && refresh()); // nothing new may come when the hold is over
}

/** Somebody points at the rows, or has the focus in them. */
function isUsed(body) {
  // A touch leaves :hover behind where it ended; only a real pointer counts.
  return (pointerHovers.matches && body.matches(":hover")) || body.contains(document.activeElement);
}

function newer(body, records) {
  const top = records.findIndex((record) => keyOf(record) === body.firstElementChild.dataset.key);
  if (top === 0) return "nothing newer";
  return `${top < 0 ? `over ${format.count(records.length)}` : format.count(top)} newer`;
}

function show(body, records, release) {
  const now = performance.now();
  const isCalm = now > Number(body.dataset.arrived ?? Infinity) + CALM_MS;
  const top = body.firstElementChild;
  keyed(body, records, keyOf, (record) => build(record, release, isCalm), (row, record) => {
    const inUse = release && ISSUING.has(record.operationType) && record.status === "ACTIVE";
    row.querySelector("button").hidden = !inUse;
  });
  if (body.firstElementChild !== top) body.dataset.arrived = now;
  byId("entries-empty").hidden = records.length > 0;
}

/** An entry's number is unique in its counter, and a site or partition may have one of its own. */
const keyOf = ({ auditId, siteId, partitionId }) => `${siteId} ${partitionId} ${auditId}`;

function build(record, release, arrived) {
  const { siteId: site, partitionId: partition, sequenceNumber: number } = record;
  const button = element("button", {
    type: "button", class: "quiet", hidden: true, "aria-label": `Release ${format.count(number)}`,
  }, "Release…");
  button.addEventListener("click", () => release(number, site, partition));
  const tag = { class: "tag", "data-operation": record.operationType };
  const reason = record.reason || "";
  return element("tr", { class: arrived ? "arrived" : "" },
    element("td", { title: format.full(record.timestamp) }, format.clock(record.timestamp)),
    element("td", { class: "num" }, numberOf(record)),
    element("td", {}, element("span", tag, operationName(record.operationType))),
    element("td", {}, site ? `${site} / ${partition}` : format.NONE),
    element("td", {}, record.invoiceType || format.NONE),
    element("td", {}, record.nodeId || format.NONE),
    element("td", { class: "reason", title: reason }, reason || format.NONE),
    element("td", { class: "action" }, button),
  );
}

function numberOf({ sequenceNumber: number, counter }) {
  if (number == null) return format.NONE;
  return element("a", { href: historyOf(number, counter) }, format.count(number));
}
