// Brings the state of the cluster to the panels. Panels subscribe by name; what came between two
// frames reaches them together, so that however much happens each is drawn once a frame at most.

import { after } from "./state.js";
import { Stream } from "./stream.js";

const STALE_MS = 4_000;
const WORKER = "/dashboard/static/js/worker.js";
const PARTS = { stats: "stats", lasts: "lasts", gaps: "gaps", records: "audit", cluster: "cluster", proof: "proof" };

export class Feed {
  #listeners = new Map();
  #state = null;
  #changed = new Set();
  #link = { name: "connecting", since: Date.now() };
  #framed = false;
  #source;
  #events = 0;

  on(name, listener) {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
  }

  start() {
    this.#source = sourceFor((message) => this.#hear(message));
    document.addEventListener("visibilitychange", () => this.#appear());
    window.addEventListener("pageshow", ({ persisted }) => persisted && this.#appear());
    window.addEventListener("pagehide", () => this.#source.leave());
    window.addEventListener("online", () => this.poke());
    setInterval(() => this.#soon("link"), 1_000); // its age grows, or nothing comes any more
    this.#appear();
  }

  /** For use after a change: what it led to comes by itself, unless the connection is bad. */
  poke() {
    this.#source.poke();
  }

  #appear() {
    if (document.hidden) {
      this.#source.hide();
      this.#link = { name: "paused", since: Date.now() };
      this.#emit("state", this.#health()); // no frame comes while nobody looks
    } else {
      this.#source.show();
    }
  }

  #hear(message) {
    if (document.hidden) return;
    if (message.kind === "link") {
      this.#link = message.link;
    } else if (message.kind === "state") {
      this.#state = message.state;
      for (const part of [...Object.keys(PARTS), "points"]) this.#changed.add(part);
      this.#changed.add("history");
      this.#events += 1;
    } else if (this.#state) {
      const { state, changed } = after(this.#state, message.body);
      this.#state = state;
      for (const part of changed) this.#changed.add(part);
      this.#events += 1;
    }
    this.#soon("link");
  }

  #soon(part) {
    this.#changed.add(part);
    if (this.#framed || document.hidden) return;
    this.#framed = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#framed = false;
    const changed = this.#changed;
    this.#changed = new Set();
    const state = this.#state;
    if (state && (changed.has("points") || changed.has("history"))) {
      const { points, markers, fields } = state;
      this.#emit("points", { points, markers, fields, isWhole: changed.has("history") });
    }
    for (const [part, name] of Object.entries(PARTS)) {
      if (changed.has(part) && state?.[part]) this.#emit(name, state[part]);
    }
    this.#emit("state", this.#health());
  }

  /** Returns how current the page is: `age` in ms is that of the figures, null without any. */
  #health() {
    const time = this.#state?.time;
    const age = time ? Math.max(0, Date.now() - time) : null;
    const { name: link, since } = this.#link;
    const told = { age, since, events: this.#events, link };
    if (link === "paused") return { ...told, name: "paused" };
    if (link === "lost") return { ...told, name: "reconnecting" };
    if (link === "connecting" || age === null) return { ...told, name: "connecting" };
    const stale = this.#state.stale;
    if (stale) return { ...told, name: "stale", why: stale.why };
    if (age > STALE_MS + (link === "polling" ? 4_000 : 0)) {
      return { ...told, name: "stale", why: "the node sends nothing" };
    }
    return { ...told, name: "live" };
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

/** Where tabs cannot share a worker each has a stream of its own. */
function sourceFor(hear) {
  if (typeof SharedWorker === "undefined") return ownStream(hear);
  const worker = new SharedWorker(WORKER, { type: "module", name: "stream" });
  let own = null;
  worker.port.addEventListener("message", ({ data }) => hear(data));
  worker.addEventListener("error", () => { // its script cannot be loaded, or run
    own ??= ownStream(hear);
    if (!document.hidden) own.show();
  });
  worker.port.start();
  const say = (word) => (own ? own[word]() : worker.port.postMessage(word));
  return Object.fromEntries(["show", "hide", "leave", "poke"].map((w) => [w, () => say(w)]));
}

function ownStream(hear) {
  const stream = new Stream(hear);
  const hide = () => stream.pause();
  const show = () => {
    if (stream.state) hear({ kind: "state", state: stream.state });
    stream.start();
  };
  return { show, hide, leave: hide, poke: () => stream.poke() };
}
