// The history behind the charts: what the server kept, and each second since. Its range is part of
// the address, so that a link or a reload shows the same.

import { read } from "./api.js";
import { pointOf } from "./state.js";

export const RANGES = new Map([
  ["1m", 60_000], ["5m", 300_000], ["15m", 900_000], ["1h", 3_600_000], ["6h", 21_600_000],
]);
const USUAL = "5m";
const SHOWN_MAX = 600;
const IN_SNAPSHOT_MS = 300_000; // a snapshot has ten minutes; what is longer is asked for
const HOLE_MS = 30_000; // a longer pause is a hole in a line, not a mean

export class History {
  #points = [];
  #markers = [];
  #listeners = [];
  #serial = 0;
  range = rangeOfAddress();

  constructor(feed) {
    feed.on("points", ({ points, markers, isWhole }) => {
      this.#markers = markers;
      if (isWhole && this.milliseconds > IN_SNAPSHOT_MS) void this.#load();
      this.#points = this.milliseconds > IN_SNAPSHOT_MS ? merge(this.#points, points) : points;
      this.#tell();
    });
    window.addEventListener("popstate", () => this.choose(rangeOfAddress(), false));
  }

  get milliseconds() {
    return RANGES.get(this.range);
  }

  /** Calls back whenever there is more to show, or another range. */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  choose(range, isNew = true) {
    if (range === this.range) return;
    this.range = range;
    const address = new URL(location.href);
    address.searchParams.set("range", range);
    if (isNew) window.history.pushState(null, "", address);
    this.#tell();
    void this.#load();
  }

  async #load() {
    const serial = ++this.#serial;
    const from = Date.now() - this.milliseconds;
    try {
      const { fields, points } = await read(`/api/v1/timeline?from=${from}&points=${SHOWN_MAX}`);
      if (serial !== this.#serial) return; // another range was chosen meanwhile
      const loaded = points.map((values) => pointOf(fields, values));
      this.#points = merge(loaded, this.#points.filter(({ x }) => x > (loaded.at(-1)?.x ?? 0)));
      this.#tell();
    } catch {
      // The figures say that the node cannot be reached; the next snapshot loads again.
    }
  }

  /** Returns what a chart shows: at most some hundred points, and its window. */
  view() {
    const max = Math.max(this.#points.at(-1)?.x ?? Date.now(), this.#markers.at(-1)?.time ?? 0);
    const min = max - this.milliseconds;
    const first = this.#points.findIndex(({ x }) => x >= min);
    const some = first < 0 ? [] : this.#points.slice(Math.max(0, first - 1));
    const steps = stepsOf(thinned(some, this.milliseconds));
    return { min, max, steps, markers: this.#markers.filter(({ time }) => time >= min) };
  }

  /** Returns numbers per second, and latencies of the newest second that had requests. */
  get latest() {
    const steps = stepsOf(this.#points.slice(-4));
    const answered = this.#points.slice(-30).findLast((point) => point.p99_us > 0);
    return { rate: steps.at(-1)?.rate ?? null, p50: answered?.p50_us, p99: answered?.p99_us };
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}

function rangeOfAddress() {
  const range = new URL(location.href).searchParams.get("range");
  return RANGES.has(range) ? range : USUAL;
}

/** Two stretches of the same history, of which the second is newer or finer where they overlap. */
function merge(older, newer) {
  if (!newer.length) return older;
  const first = older.findIndex(({ x }) => x >= newer[0].x);
  const all = [...(first < 0 ? older : older.slice(0, first)), ...newer];
  return all.length > 4 * SHOWN_MAX ? thinned(all, all.at(-1).x - all[0].x) : all;
}

/** Totals grow, so the last point of a span tells all; of latencies the worst must stay. */
function thinned(points, span) {
  if (points.length <= SHOWN_MAX) return points;
  const width = Math.ceil(span / SHOWN_MAX);
  const kept = [];
  for (const point of points) {
    const last = kept.at(-1);
    if (last && Math.floor(last.x / width) === Math.floor(point.x / width)) {
      const p50_us = Math.max(last.p50_us, point.p50_us);
      kept[kept.length - 1] = { ...point, p50_us, p99_us: Math.max(last.p99_us, point.p99_us) };
    } else {
      kept.push(point);
    }
  }
  return kept;
}

/** What happened from each point to the next, a second; null where nothing is known. */
function stepsOf(points) {
  return points.slice(1).map((point, index) => {
    const before = points[index];
    const seconds = (point.x - before.x) / 1000;
    const known = point.x - before.x <= HOLE_MS && point.issued >= before.issued;
    const per = (name) => (known ? (point[name] - before[name]) / seconds : null);
    return {
      x: point.x, rate: per("issued"), opened: per("released"), refilled: per("reused"),
      p50: point.p99_us ? point.p50_us / 1000 : null,
      p99: point.p99_us ? point.p99_us / 1000 : null,
    };
  });
}
