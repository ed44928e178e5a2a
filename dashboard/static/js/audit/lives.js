// The lives of gaps: who released a number, when and why, and who got it next.

import { read } from "../api.js";
import { byId, element, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { showProblem } from "../problems.js";
import { callFor } from "./address.js";
import { cell } from "./records.js";

const PAGE = 50;
const READ_MS_MAX = 30_000;
const PATH = "/api/v1/sequence/gaps/life";
const EMPTY = {
  all: "No number was ever released here.",
  open: "No gap is open: every number up to the highest is in use.",
  refilled: "No gap has been refilled yet.",
};
const EMPTY_SO_FAR = "None was refilled by the newest entries of the ledger. More looks further back.";

export class Lives {
  #asked = {};
  #told = null;
  #chosen = "all";
  #serial = 0;
  #linkOf;

  /** `choose(gaps)` is called when somebody wants others to be shown. */
  constructor(linkOf, choose) {
    this.#linkOf = linkOf;
    for (const button of document.querySelectorAll("[data-gaps]")) {
      button.addEventListener("click", () => choose(button.dataset.gaps));
    }
    byId("lives-more").addEventListener("click", () => void this.#read(this.#next()));
  }

  choose(gaps) {
    this.#chosen = Object.hasOwn(EMPTY, gaps) ? gaps : "all"; // an address may say anything
    for (const button of document.querySelectorAll("[data-gaps]")) {
      setAttribute(button, "aria-pressed", button.dataset.gaps === this.#chosen);
    }
    if (this.#told) this.#show();
  }

  /** Reads them again: those of the counters that are searched. */
  load({ counter, documentType }) {
    this.#asked = { limit: PAGE, ...(counter ? { counter } : documentType ? { documentType } : {}) };
    return this.#read({});
  }

  async #read(next) {
    const serial = ++this.#serial;
    byId("lives-scroll").setAttribute("aria-busy", "true");
    try {
      const told = await read(callFor(PATH, { ...this.#asked, ...next }), READ_MS_MAX);
      if (serial !== this.#serial) return; // others are asked for meanwhile
      this.#told = together(this.#told, told, next);
      this.#show();
    } catch (problem) {
      if (serial === this.#serial) showProblem(byId("lives-problems"), problem, () => void this.#read(next));
    } finally {
      if (serial === this.#serial) byId("lives-scroll").setAttribute("aria-busy", "false");
    }
  }

  /** Returns where the lists that are shown go on: the open ones first, as they stand first. */
  #next() {
    const { openNext: open, refilledNext: refilled } = this.#told ?? {};
    if (open && this.#chosen !== "refilled") return { open };
    return refilled && this.#chosen !== "open" ? { refilled } : null;
  }

  #show() {
    const { open, openTotal, openNext, refilled, refilledNext } = this.#told;
    const lists = { all: [...open, ...refilled], open, refilled };
    const shown = lists[this.#chosen];
    byId("lives").replaceChildren(...shown.map((life) => this.#row(life)));
    byId("lives-empty").hidden = shown.length > 0;
    const more = byId("lives-more");
    // It goes from under the person who has pressed it.
    if (!this.#next() && more === document.activeElement) byId("lives-scroll").focus({ preventScroll: true });
    more.hidden = !this.#next();
    setText(byId("lives-empty"), this.#next() ? EMPTY_SO_FAR : EMPTY[this.#chosen]);
    const lowest = openNext ? ` (the lowest ${format.count(open.length)} are here)` : "";
    const latest = refilledNext ? "the latest " : "";
    const filled = `${latest}${format.count(refilled.length)} refilled`;
    setText(byId("lives-count"), `${format.count(openTotal)} open${lowest} · ${filled}`);
  }

  #row(life) {
    const { released, issued } = life;
    const now = issued
      ? element("span", { class: "tag", "data-operation": "RECOVER" }, "refilled")
      : element("span", { class: "tag gap" }, "open");
    const text = released?.documentNumber ?? format.count(life.sequenceNumber);
    const cells = [
      ["Number", this.#linkOf(life.sequenceNumber, life.counter, text), { class: "num" }],
      ["Now", now],
      ["Released", format.dayAndClock(life.releasedAt), { title: format.full(life.releasedAt) }],
      ["By", released ? whoOf(released) : "(no longer in the store)", { class: "cut" }],
      ["Reason", released?.reason, { class: "cut reason", title: released?.reason }],
      ["Open for", spanOf(life.openMs)],
      ["Issued again", issued && format.dayAndClock(issued.at), { title: format.full(issued?.at) }],
      ["To", issued && whoOf(issued), { class: "cut" }],
    ];
    return element("tr", {}, ...cells.map(cell));
  }
}

/** What was told before, with more of one of its lists; without `next` it begins anew. */
function together(before, told, { open, refilled }) {
  if (open) return { ...before, open: [...before.open, ...told.open], openNext: told.openNext };
  if (!refilled) return told;
  return { ...before, refilled: [...before.refilled, ...told.refilled], refilledNext: told.refilledNext };
}

function whoOf({ siteId: site, partitionId: partition, invoiceType, user }) {
  const place = site ? `${site} / ${partition}` : invoiceType;
  return [place, user].filter(Boolean).join(" · ");
}

/** Most gaps are refilled at once. */
const spanOf = (ms) => (ms < 1_000 ? `${format.count(ms)} ms` : format.duration(ms));
