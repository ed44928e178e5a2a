// Reads series, counts and reservations again and again, and tells the panels.

import { read } from "../api.js";
import { showWarnings } from "../cluster.js";
import { byId, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { ADMIN, DOCUMENTS } from "./calls.js";

const PAUSE_MS_MIN = 2_000;
const BACK_OFF_MS_MAX = 15_000;
const PAGE = 200;
const PAGES_MAX = 5;
const WARNINGS_EVERY = 8; // rounds
const QUIET = 4; // reading takes a fifth of the time at most, however many counts there are

export class Shelf {
  #listeners = new Map();
  #failures = 0;
  #lastGood = Date.now();
  #busy = false;
  #wanted = false;
  #timer;
  #rounds = 0;

  /** `listener(value)` hears "templates", "sequences" or "reservations" each time they are read. */
  on(name, listener) {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
  }

  start() {
    byId("live-retry").addEventListener("click", () => this.poke());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) say("paused", "Paused while hidden");
      this.poke();
    });
    this.poke();
  }

  /** Reads at once, or right after the round under way: for use after a change. */
  poke() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    if (this.#busy) this.#wanted = true;
    else void this.#round();
  }

  async #round() {
    this.#busy = true;
    this.#wanted = false;
    const began = performance.now();
    let problem;
    try {
      this.#tell("templates", (await read(`${ADMIN}/templates`)).data.templates);
      this.#tell("reservations", (await read(`${DOCUMENTS}/reservations?limit=500`)).data);
      this.#tell("sequences", await allSequences());
      if (this.#rounds % WARNINGS_EVERY === 0) showWarnings((await read("/api/v1/cluster")).warnings ?? []);
      this.#rounds += 1;
      this.#lastGood = Date.now();
    } catch (error) {
      problem = error;
    }
    this.#busy = false;
    byId("work").removeAttribute("data-waiting");
    this.#failures = problem ? this.#failures + 1 : 0;
    const pause = problem
      ? Math.min(PAUSE_MS_MIN * 2 ** this.#failures, BACK_OFF_MS_MAX)
      : Math.max(PAUSE_MS_MIN, QUIET * (performance.now() - began));
    if (document.hidden) return;
    this.#sayHow(problem);
    this.#timer = setTimeout(() => this.poke(), this.#wanted ? 0 : pause);
  }

  #sayHow(problem) {
    byId("live-retry").hidden = !problem;
    setAttribute(byId("live"), "data-events", this.#rounds);
    if (!problem) say("live", "Live");
    else say("stale", "Stale", `since ${format.clock(this.#lastGood)} · ${problem.detail ?? problem.message}`);
  }

  /** Tells listeners something that was learnt otherwise than by reading. */
  tell(name, value) {
    this.#tell(name, value);
  }

  #tell(name, value) {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(value);
      } catch (error) {
        console.error(`showing ${name}`, error); // one panel's bug must not stop the others
      }
    }
  }
}

function say(state, text, why = "") {
  setAttribute(byId("live"), "data-state", state);
  setText(byId("live-text"), text);
  setText(byId("live-age"), why);
}

async function allSequences() {
  const sequences = [];
  let cursor = "";
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const from = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    const { data } = await read(`${ADMIN}/sequences?limit=${PAGE}${from}`);
    sequences.push(...data.sequences);
    cursor = data.next_cursor;
    if (!cursor) break;
  }
  return { sequences, more: Boolean(cursor) };
}
