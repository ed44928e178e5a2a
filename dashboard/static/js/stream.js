// The one connection to the node: a stream, resumed where it broke; polling when no stream comes
// through. Runs in a worker that all tabs share, or in the page where there is no such worker.

import { read } from "./api.js";
import { after, fromSnapshot } from "./state.js";

const EVENTS = "/api/v1/events";
const POLL_MS = 2_000;
const FAILURES_BEFORE_POLLING = 3;
const STREAM_AGAIN_MS = 30_000;
const BACK_OFF_MS_MAX = 10_000;
const SILENT_MS_MAX = 6_000; // events come twice a second: a connection without any is dead
const OPEN_MS_MAX = 8_000;

/**
 * Tells `tell({ kind: "state" | "event" | "link", ... })` what comes. `state` is everything,
 * `event` a change to it, `link` how the connection is: connecting, open, lost, polling or paused.
 */
export class Stream {
  #tell;
  #source = null;
  #timer;
  #watchdog;
  #failures = 0;
  #lastId = "";
  #running = false;
  state = null;
  link = { name: "connecting", since: Date.now() };

  constructor(tell) {
    this.#tell = tell;
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#failures = 0;
    this.#open();
  }

  /** Ends the connection; `start` goes on after the last event that came. */
  pause() {
    this.#running = false;
    this.#close();
    this.#say("paused");
  }

  /** Tries at once what would be tried later; in a poll, reads at once. */
  poke() {
    if (!this.#running || this.link.name === "open") return;
    clearTimeout(this.#timer);
    if (this.link.name === "polling") void this.#poll();
    else this.#open();
  }

  #open() {
    this.#close();
    if (typeof EventSource === "undefined") {
      void this.#poll();
      return;
    }
    const query = this.#lastId ? `?lastEventId=${encodeURIComponent(this.#lastId)}` : "";
    const source = new EventSource(EVENTS + query);
    this.#source = source;
    this.#watch(OPEN_MS_MAX);
    source.addEventListener("snapshot", (event) => this.#take(event, (body) => {
      this.state = fromSnapshot(body);
      this.#tell({ kind: "state", state: this.state });
    }));
    for (const name of ["tick", "stale"]) {
      source.addEventListener(name, (event) => this.#take(event, (body) => {
        if (!this.state) return;
        this.state = after(this.state, body).state;
        this.#tell({ kind: "event", body });
      }));
    }
    source.addEventListener("error", () => this.#failed());
  }

  #take(event, use) {
    this.#lastId = event.lastEventId;
    this.#failures = 0;
    this.#watch(SILENT_MS_MAX);
    this.#say("open");
    use(JSON.parse(event.data));
  }

  /** A browser tries again by itself unless it was refused; from here both go the same way. */
  #failed() {
    this.#close();
    if (!this.#running) return;
    this.#failures += 1;
    if (this.#failures >= FAILURES_BEFORE_POLLING) {
      void this.#poll();
      return;
    }
    this.#again();
  }

  #again() {
    const pause = Math.min(500 * 2 ** this.#failures, BACK_OFF_MS_MAX) * (0.5 + Math.random());
    this.#say("lost");
    this.#timer = setTimeout(() => this.#open(), pause);
  }

  #watch(milliseconds) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#failed(), milliseconds);
  }

  #close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    this.#source?.close();
    this.#source = null;
  }

  /** Reads everything as a snapshot would have it; tries a stream again now and then. */
  async #poll() {
    this.#close();
    let streamAgain = Date.now() + STREAM_AGAIN_MS;
    const round = async () => {
      try {
        const state = await readAll();
        if (!this.#running) return;
        this.state = state;
        this.#say("polling");
        this.#tell({ kind: "state", state });
      } catch (problem) {
        if (!this.#running) return;
        this.#say(problem.status ? "polling" : "lost");
        if (!problem.status) streamAgain = 0; // the node was away: it was not the stream's fault
        if (problem.status && this.state) {
          const since = this.state.stale?.since ?? Date.now();
          const body = { stale: { since, why: problem.detail ?? problem.title } };
          this.state = after(this.state, body).state;
          this.#tell({ kind: "event", body });
        }
      }
      const isAnswering = this.link.name === "polling";
      const due = isAnswering && Date.now() > streamAgain && typeof EventSource !== "undefined";
      this.#timer = setTimeout(due ? () => this.#open() : round, due ? 0 : POLL_MS);
    };
    await round();
  }

  #say(name) {
    if (this.link.name === name) return;
    this.link = { name, since: Date.now() };
    this.#tell({ kind: "link", link: this.link });
  }
}

/** One request at a time: a page takes one of the few connections that a browser gives a host. */
async function readAll() {
  const stats = await read("/api/v1/sequence/stats");
  const gaps = await read("/api/v1/sequence/gaps");
  const records = await read("/api/v1/sequence/audit?limit=25");
  const cluster = await read("/api/v1/cluster");
  const timeline = await read(`/api/v1/timeline?from=${Date.now() - 600_000}`);
  const time = Date.parse(stats.statisticsTime);
  return fromSnapshot({
    stats, gaps, records, cluster, timeline, time, markers: timeline.markers, proof: null,
    lasts: {}, stale: null, // only the stream has the last numbers: older ones would not be true
  });
}
