// What is reserved, and for how long. Those of this tab can be settled here.

import { change, newKey } from "../api.js";
import { offerCurl } from "../curl.js";
import { announce, byId, element, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { isReadOnly } from "../mode.js";
import { showProblem } from "../problems.js";
import { ask } from "./ask.js";
import { DOCUMENTS } from "./calls.js";
import { forget, tokenOf } from "./own.js";
import { steady } from "./steady.js";

const TICK_MS = 250;
const FRESH_MS = 10_000;
const SETTLED_KEPT_MAX = 5;
const SOON_S = 60;

/** `lookUp(number)` shows the whole life of a number. */
export function mountReservations(shelf, lookUp) {
  const list = byId("reservations");
  const settled = []; // newest first: what was settled here stays in sight
  let known = { reservations: [], total: 0, all_seen: true };
  let held = 0;
  const fresh = new Map(); // reserved here, and not in the list yet: it is read a moment later
  const mine = new Map(); // what was last known of those of this tab
  const actions = { lookUp, settle: (row, how, reason = "") => void settle(row, how, reason, { settled, shelf, render: () => show() }) };
  const update = (row, item) => row.show(item);
  const rows = steady(list, {
    keyOf: ({ document_number }) => document_number,
    build: (item) => build(item, actions),
    update,
    held: (changes) => { held = changes; },
  });
  const show = () => {
    const now = performance.now();
    const listed = new Set(known.reservations.map((each) => each.document_number));
    for (const [number, item] of fresh) if (listed.has(number) || now > item.freshUntil) fresh.delete(number);
    const all = [...known.reservations, ...fresh.values()];
    for (const each of all) if (tokenOf(each.document_number)) mine.set(each.document_number, each);
    for (const [number, item] of mine) {
      const isOver = now >= item.endsAt;
      if (listed.has(number) || fresh.has(number) || !(isOver || isWhole(known))) continue;
      mine.delete(number);
      if (!tokenOf(number)) continue;
      if (isOver) keepSettled(settled, { ...item, outcome: "expired", when: item.expires_at });
      else forget(number); // it was settled elsewhere, with a command that was copied, say
    }
    dropReissued(settled, all);
    const over = new Set(settled.map((each) => each.document_number));
    const open = all.filter((each) => !over.has(each.document_number));
    const isOthers = (each) => (tokenOf(each.document_number) ? 0 : 1);
    open.sort((one, other) => isOthers(one) - isOthers(other));
    rows([...settled, ...open]);
    byId("reservations-empty").hidden = open.length + settled.length > 0;
    setText(byId("reservations-state"), state(known, open, held));
  };
  shelf.on("reservations", (value) => {
    const now = performance.now();
    known = value;
    for (const each of known.reservations) each.endsAt = now + each.seconds_left * 1_000;
    show();
  });
  shelf.on("reserved", (item) => {
    const now = performance.now();
    fresh.set(item.document_number, { ...item, endsAt: now + item.seconds_left * 1_000, freshUntil: now + FRESH_MS });
    show();
  });
  setInterval(() => {
    if (document.hidden) return;
    for (const row of list.children) row.tick();
  }, TICK_MS);
}

const isWhole = ({ reservations, total, all_seen }) => all_seen && total <= reservations.length;

/** A number that was given up may be reserved again: then the earlier reservation is no news. */
function dropReissued(settled, open) {
  const deadlines = new Map(open.map((each) => [each.document_number, each.expires_at]));
  const isGone = ({ document_number: number, expires_at }) =>
    deadlines.has(number) && deadlines.get(number) !== expires_at;
  settled.splice(0, settled.length, ...settled.filter((each) => !isGone(each)));
}

function state({ reservations, total, all_seen }, open, held) {
  const parts = [];
  if (total) parts.push(`${format.count(total)} open${all_seen ? "" : " at least"}`);
  if (total > reservations.length) parts.push(`the first ${format.count(reservations.length)} are shown`);
  if (held) parts.push(`held while in use · ${format.plural(held, "change", "changes")} to come`);
  return parts.join(" · ");
}

async function settle(row, how, reason, { settled, shelf, render }) {
  const { item } = row;
  if (row.dataset.busy) return;
  row.dataset.busy = "true";
  const { path, body } = requestOf(item.document_number, how, reason);
  const named = `${how} ${reason}`; // another reason is another request: the same key would be refused
  const key = (row.keys[named] ??= newKey());
  try {
    const answer = await change(path, body, key);
    const when = how === "confirm" ? answer.data.confirmed_at : Date.now();
    const outcome = { ...item, outcome: how === "confirm" ? "confirmed" : "cancelled", when };
    keepSettled(settled, outcome);
    row.show(outcome);
    row.leadOn();
    announce(`${item.document_number} is ${outcome.outcome}.`);
    render();
    shelf.poke();
  } catch (problem) {
    const again = () => void settle(row, how, reason, { settled, shelf, render });
    showProblem(byId("reservations-problems"), problem, again);
  } finally {
    delete row.dataset.busy;
  }
}

function keepSettled(settled, outcome) {
  forget(outcome.document_number);
  settled.unshift(outcome);
  settled.length = Math.min(settled.length, SETTLED_KEPT_MAX);
}

const requestOf = (number, how, reason = "") => ({
  path: `${DOCUMENTS}/${how}`,
  body: { token: tokenOf(number), ...(how === "cancel" ? { reason } : {}) },
});

function build(first, { lookUp, settle: end }) {
  const number = first.document_number;
  const [left, who] = [element("span", { class: "left" }), element("p", { class: "hint who" })];
  const confirm = element("button", { type: "button", class: "small", "aria-label": `Confirm ${number}` }, "Confirm");
  const cancel = element("button", { type: "button", class: "quiet small", "aria-label": `Cancel ${number}` }, "Cancel");
  const look = element("button", { type: "button", class: "quiet small", "aria-label": `Look up ${number}` }, "Look up");
  const elsewhere = element("span", { class: "tag" }, "reserved elsewhere");
  const command = element("span", {});
  const buttons = element("p", { class: "buttons" }, elsewhere, confirm, cancel, command, look);
  const row = element("li", { class: "reservation" },
    element("p", { class: "reservation-head" }, element("b", {}, number), left), who, buttons);
  offerCurl(command, () => requestOf(number, "confirm"), `confirm ${number}`);
  confirm.addEventListener("click", () => end(row, "confirm"));
  cancel.addEventListener("click", () => ask({
    title: `Cancel the reservation of ${number}?`,
    lines: ["Nobody can confirm it any more. Its series says whether the number is void, or issued again."],
    reason: "Reason",
    yes: `Cancel ${number}`,
    curl: (reason) => requestOf(number, "cancel", reason),
  }, (reason) => end(row, "cancel", reason)));
  look.addEventListener("click", () => lookUp(number));
  row.keys = {};
  row.leadOn = () => {
    const at = document.activeElement;
    if (at === document.body || row.contains(at)) look.focus(); // whoever went on is left in peace
  };
  row.tick = () => {
    const { outcome, when, endsAt } = row.item;
    const seconds = Math.max(0, Math.ceil((endsAt - performance.now()) / 1_000));
    const over = !outcome && seconds === 0;
    setText(left, outcome ? `${outcome} at ${format.clock(when)}` : over ? "expired" : `${countdown(seconds)} left`);
    setAttribute(row, "data-state", outcome ?? (over ? "expired" : seconds <= SOON_S ? "soon" : "open"));
    const mine = !isReadOnly && !outcome && !over && Boolean(tokenOf(number));
    if (!mine && buttons.contains(document.activeElement)) look.focus(); // before what it is on goes
    for (const node of [confirm, cancel, command]) node.hidden = !mine;
    elsewhere.hidden = mine || Boolean(outcome) || over;
  };
  row.show = (item) => {
    const isSame = row.item?.expires_at === item.expires_at;
    if (isSame && row.item.outcome && !item.outcome) return; // the list was read before it was settled
    row.item = item;
    if (!isSame) row.keys = {};
    setText(who, [item.user, item.ip_address, item.reserved_at && `since ${format.clock(item.reserved_at)}`]
      .filter(Boolean).join(" · "));
    row.tick();
  };
  return row;
}

/** 4:59, 1:00:00, 2 d 03:00:00: to the second. */
function countdown(seconds) {
  const two = (value) => String(value).padStart(2, "0");
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24];
  const [minutes, rest] = [Math.floor(seconds / 60) % 60, two(seconds % 60)];
  if (days) return `${days} d ${two(hours)}:${two(minutes)}:${rest}`;
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}
