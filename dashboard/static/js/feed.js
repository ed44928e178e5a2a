// Brings the state of the cluster to the panels. Panels subscribe by name and do not know that it
// is polled, so that a stream can take this module's place.

import { read } from "./api.js";

const PERIOD_MS = 1_000;
const PAUSE_MS_MIN = 250;
const BACK_OFF_MS_MAX = 15_000;

export class Feed {
  #sources;
  #listeners = new Map();
  #lastGood = new Map();
  #startedAt = Date.now();
  #failures = 0;
  #busy = false;
  #wanted = false;
  #timer;

  /** `sources`: name of a feed to the path that it is read from. */
  constructor(sources) {
    this.#sources = Object.entries(sources);
  }

  on(name, listener) {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
  }

  start() {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#emit("state", { name: "paused" });
      this.poke();
    });
    window.addEventListener("online", () => this.poke());
    this.poke();
  }

  /** Reads at once, or right after the round that is under way: for use after a change. */
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
    const failed = await this.#readAll();
    this.#busy = false;
    this.#failures = failed.size ? this.#failures + 1 : 0;
    const pause = failed.size
      ? Math.min(PERIOD_MS * 2 ** this.#failures, BACK_OFF_MS_MAX)
      : Math.max(PAUSE_MS_MIN, PERIOD_MS - (performance.now() - began));
    if (document.hidden) return;
    this.#emit("state", this.#state(failed, pause));
    this.#timer = setTimeout(() => this.poke(), this.#wanted ? 0 : pause);
  }

  /** One request at a time: a page takes one of the few connections that a browser gives a host. */
  async #readAll() {
    const failed = new Map();
    for (const [name, path] of this.#sources) {
      try {
        const value = await read(path);
        this.#lastGood.set(name, Date.now());
        this.#emit(name, value);
      } catch (error) {
        failed.set(name, error);
        if (!error.status) return this.#allFailed(error);
      }
    }
    return failed;
  }

  /** Nobody answered: asking for the rest would only wait as long again. */
  #allFailed(error) {
    return new Map(this.#sources.map(([name]) => [name, error]));
  }

  #state(failed, pause) {
    if (!failed.size) return { name: "live", failed };
    const since = Math.min(...[...failed.keys()].map((name) => this.#lastGood.get(name) ?? 0));
    const all = failed.size === this.#sources.length;
    return { name: "stale", failed, all, since: since || this.#startedAt, never: !since, pause };
  }

  #emit(name, value) {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(value);
      } catch (error) {
        console.error(`showing ${name}`, error); // one panel's bug must not stop the others
      }
    }
  }
}
