// One number: all that ever happened to it, and the proof of each of its entries.

import { read, readPage } from "../api.js";
import { announce, byId, element, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { operationName } from "../operations.js";
import { showProblem } from "../problems.js";
import { callFor } from "./address.js";
import { canProve, proveEntry } from "./proof.js";

const READ_MS_MAX = 30_000;
const PROVEN_AT_ONCE = 10;
const CONTENT_SHOWN_MAX = 6_000;
const MARKS = { good: "✓", bad: "✗", unknown: "○" };
const MARK_WORDS = { good: "proven: ", bad: "wrong: ", unknown: "cannot be told: " };
const OUTCOMES = {
  good: "fits the chain", bad: "does not fit the chain", unknown: "was not checked",
  beside: "fits the chain, but its neighbour does not",
};

export class Drawer {
  #dialog = byId("drawer");
  #serial = 0;
  #number = null;
  #left = []; // entries that are not proven yet
  #outcomes = [];

  /** `closed()` is called whenever it has been closed, whatever closed it. */
  constructor(closed) {
    byId("drawer-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", ({ target }) => {
      if (target === this.#dialog) this.#dialog.close(); // beside it
    });
    this.#dialog.addEventListener("close", () => {
      this.#serial += 1;
      this.#number = null;
      // What opened it may have gone meanwhile, and a link opened it without anything here.
      const { activeElement: focused, body } = document;
      if (focused === body || this.#dialog.contains(focused)) byId("records-title").focus();
      closed();
    });
    byId("prove-more").addEventListener("click", () => void this.#proveSome(this.#serial));
  }

  /** Shows a number, or none. */
  show(shown) {
    if (!shown) {
      if (this.#dialog.open) this.#dialog.close();
      return;
    }
    const key = `${shown.counter} ${shown.number}`;
    if (this.#dialog.open && this.#number === key) return;
    this.#number = key;
    this.#clear(shown);
    if (!this.#dialog.open) this.#dialog.showModal();
    byId("drawer-title").focus();
    void this.#load(shown, ++this.#serial);
  }

  #clear({ number, counter }) {
    setText(byId("drawer-title"), `Number ${format.count(Number(number))}`);
    setText(byId("drawer-where"), counter || "all counters of invoices");
    byId("drawer-status").hidden = byId("drawer-trimmed").hidden = byId("prove-more").hidden = true;
    byId("drawer-problems").replaceChildren();
    byId("life").replaceChildren();
    this.#left = [];
    this.#outcomes = [];
    this.#say("running", "Reading its history…");
  }

  async #load(shown, serial) {
    const { number, counter } = shown;
    const path = `/api/v1/sequence/audit/${encodeURIComponent(number)}`;
    try {
      const page = await readPage(callFor(path, counter ? { counter } : {}), READ_MS_MAX);
      if (serial !== this.#serial) return;
      this.#showLife(page, Number(number));
      await this.#proveSome(serial);
    } catch (problem) {
      if (serial !== this.#serial) return;
      this.#say("unknown", "Nothing is proven");
      const again = () => void this.#load(shown, ++this.#serial);
      showProblem(byId("drawer-problems"), problem, again);
    }
  }

  #showLife({ body: records, headers }, number) {
    const last = records.at(-1);
    const counters = new Set(records.map(({ counter }) => counter));
    const document = records.findLast(({ documentNumber }) => documentNumber)?.documentNumber;
    setText(byId("drawer-where"), [document, ...counters].filter(Boolean).join(" · "));
    const status = byId("drawer-status");
    status.hidden = counters.size > 1; // each of them has a state of its own
    setText(status, last.status.toLowerCase());
    setAttribute(status, "data-status", last.status);
    const trimmed = headers.get("X-Trimmed-Through");
    byId("drawer-trimmed").hidden = !trimmed;
    setText(byId("drawer-trimmed"),
      `Older records stood in entries up to ${trimmed}, which have left the store.`);
    const proofs = new Map();
    const rows = records.map((record) => {
      const key = `${record.counter} ${record.entryIndex}`;
      const isFirst = !proofs.has(key); // some entries say two things of a number
      if (isFirst) proofs.set(key, { record, number, place: element("div", { class: "proof-place" }) });
      return eventOf(record, counters.size > 1, isFirst ? proofs.get(key).place : null);
    });
    byId("life").replaceChildren(...rows);
    this.#left = [...proofs.values()].reverse(); // what happened last first
  }

  async #proveSome(serial) {
    byId("prove-more").hidden = true;
    if (!canProve()) {
      this.#say("unknown", "Not checked: browsers have SHA-256 for pages from https or from localhost "
        + "only, and this is neither. Open the page there, or use `coordinator validate`.");
      return;
    }
    this.#say("running", "Computing the hashes in this browser…");
    const some = this.#left.splice(0, PROVEN_AT_ONCE);
    const reader = readerOfEntries();
    for (const { record, number, place } of some) {
      const outcome = await outcomeOf(record, number, reader);
      if (serial !== this.#serial) return; // another number is shown
      this.#outcomes.push(outcome);
      showOutcome(place, record, outcome, this.#outcomes.length === 1);
    }
    byId("prove-more").hidden = this.#left.length === 0;
    this.#conclude();
  }

  #conclude() {
    const blamed = [...new Set(this.#outcomes.flatMap(({ blame }) => blame))].sort((a, b) => a - b);
    const unknown = this.#outcomes.filter(({ state }) => state === "unknown");
    const many = format.plural(this.#outcomes.length, "entry", "entries");
    const left = this.#left.length;
    if (blamed.length) {
      const which = blamed.map(format.count).join(", ");
      const entries = blamed.length === 1 ? `entry ${which} does` : `entries ${which} do`;
      this.#say("bad", `The ledger is not as it was committed: ${entries} not fit the chain of hashes.`);
    } else if (unknown.length) {
      this.#say("unknown", "Not proven: some entries could not be read just now.");
    } else if (left) {
      this.#say("unknown", `The last ${many} are proven; ${format.count(left)} more are not checked.`);
    } else {
      this.#say("good", `Proven in this browser: ${many} as committed, and in the chain of hashes.`);
    }
    announce(byId("drawer-proof").textContent);
  }

  #say(state, text) {
    setAttribute(byId("drawer-proof"), "data-state", state);
    setText(byId("drawer-proof"), text);
  }
}

/** Neighbours are asked for twice: by their own proof, and by that of the entry after them. */
function readerOfEntries() {
  const asked = new Map();
  return (counter) => (index) => {
    const key = `${counter} ${index}`;
    const path = callFor(`/api/v1/sequence/entries/${index}`, { counter });
    const none = (problem) => {
      if (problem.status === 404) return null;
      throw problem;
    };
    if (!asked.has(key)) asked.set(key, read(path, READ_MS_MAX).catch(none));
    return asked.get(key);
  };
}

async function outcomeOf(record, number, reader) {
  const index = record.entryIndex;
  try {
    const proof = await proveEntry(record, number, reader(record.counter));
    const { blame } = proof;
    const state = blame.includes(index) ? "bad" : blame.length ? "beside" : "good";
    return { ...proof, index, state };
  } catch (problem) {
    const request = problem.requestId ? ` (request ${problem.requestId})` : "";
    const text = `${problem.message}${request}`;
    return { index, content: "", blame: [], state: "unknown", steps: [{ ok: null, text, hashes: [] }] };
  }
}

function showOutcome(place, { entryIndex }, { steps, content, state }, isFirst) {
  const lines = steps.map(({ ok, text, hashes }) => {
    const name = ok === null ? "unknown" : ok ? "good" : "bad";
    const mark = element("span", { class: "mark", "aria-hidden": "true" }, MARKS[name]);
    const codes = hashes.map((hash) => element("code", { title: hash }, short(hash)));
    return element("li", { "data-state": name },
      mark, element("span", {}, element("span", { class: "unseen" }, MARK_WORDS[name]), text, ...codes));
  });
  const summary = element("summary", {}, `Entry ${format.count(entryIndex)} ${OUTCOMES[state]}`);
  const open = isFirst || state === "bad";
  const steps_ = element("details", { class: "steps", open, "data-state": state, "data-entry": entryIndex },
    summary, element("ol", {}, ...lines));
  if (content) steps_.append(bytesOf(content));
  place.replaceChildren(steps_);
}

function bytesOf(content) {
  const more = content.length > CONTENT_SHOWN_MAX ? "…" : "";
  const attributes = { class: "code bytes", tabindex: "0", role: "region", "aria-label": "Bytes" };
  return element("details", {}, element("summary", {}, "Its bytes"),
    element("pre", attributes, content.slice(0, CONTENT_SHOWN_MAX) + more));
}

const short = (hash) => (hash.length > 20 ? `${hash.slice(0, 16)}…` : hash);

function eventOf(record, withCounter, proofPlace) {
  const { siteId: site, partitionId: partition, invoiceType, user, ipAddress, nodeId } = record;
  const place = site ? `${site} / ${partition} · ${invoiceType}` : invoiceType;
  const facts = [
    ["for", place], ["by", [user, ipAddress].filter(Boolean).join(", ")], ["reason", record.reason],
    ["request", record.requestId], ["node", nodeId], ["counter", withCounter && record.counter],
  ].filter(([, value]) => value);
  const tag = { class: "tag", "data-operation": record.operationType };
  return element("li", {},
    element("p", { class: "event" },
      element("span", tag, operationName(record.operationType)),
      element("time", { datetime: record.timestamp }, format.full(record.timestamp))),
    element("p", {}, record.description),
    element("dl", { class: "facts" },
      ...facts.map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    ...(proofPlace ? [proofPlace] : []),
  );
}
