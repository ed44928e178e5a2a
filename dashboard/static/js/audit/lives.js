// The lives of gaps: who released a number, when and why, and who got it next.

import { read } from "../api.js";
import { byId, element, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { showProblem } from "../problems.js";
import { callFor } from "./address.js";
import { cell } from "./records.js";

const SHOWN_MAX = 100;
const READ_MS_MAX = 30_000;
const EMPTY = {
  all: "No number was ever released here.",
  open: "No gap is open: every number up to the highest is in use.",
  refilled: "No gap has been refilled yet.",
};

export class Lives {
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
  }

  choose(gaps) {
    this.#chosen = gaps in EMPTY ? gaps : "all";
    for (const button of document.querySelectorAll("[data-gaps]")) {
      setAttribute(button, "aria-pressed", button.dataset.gaps === this.#chosen);
    }
    if (this.#told) this.#show();
  }

  /** Reads them again: those of the counters that are searched. */
  async load({ counter, documentType }) {
    const serial = ++this.#serial;
    const asked = { limit: SHOWN_MAX };
    if (counter) asked.counter = counter;
    else if (documentType) asked.documentType = documentType;
    byId("lives-scroll").setAttribute("aria-busy", "true");
    try {
      const told = await read(callFor("/api/v1/sequence/gaps/life", asked), READ_MS_MAX);
      if (serial !== this.#serial) return;
      this.#told = told;
      this.#show();
    } catch (problem) {
      if (serial !== this.#serial) return;
      showProblem(byId("lives-problems"), problem, () => void this.load({ counter, documentType }));
    } finally {
      if (serial === this.#serial) byId("lives-scroll").setAttribute("aria-busy", "false");
    }
  }

  #show() {
    const { open, openTotal, refilled } = this.#told;
    const lists = { all: [...open, ...refilled], open, refilled };
    const shown = lists[this.#chosen];
    byId("lives").replaceChildren(...shown.map((life) => this.#row(life)));
    byId("lives-empty").hidden = shown.length > 0;
    setText(byId("lives-empty"), EMPTY[this.#chosen]);
    const lowest = openTotal > open.length ? ` (the lowest ${format.count(open.length)} are here)` : "";
    const latest = refilled.length < SHOWN_MAX ? "" : "the latest ";
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

function whoOf({ siteId: site, partitionId: partition, invoiceType, user }) {
  const place = site ? `${site} / ${partition}` : invoiceType;
  return [place, user].filter(Boolean).join(" · ");
}

/** Most gaps are refilled at once. */
const spanOf = (ms) => (ms < 1_000 ? `${format.count(ms)} ms` : format.duration(ms));
