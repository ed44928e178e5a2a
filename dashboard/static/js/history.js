// Throughput, from the difference of two totals: what was committed, not what was attempted.

const SPAN_MS = 5 * 60_000;
const POINTS_MAX = 600;
const STEP_MS_MAX = 5_000; // a longer pause (hidden tab, outage) is a hole in the line, not a mean

export class History {
  #points = [];
  #previous;

  /** Takes one reading and returns the numbers per second since the last, or null. */
  push(stats) {
    const at = Date.parse(stats.statisticsTime) || Date.now();
    const reading = { at, total: stats.totalGenerated };
    const previous = this.#previous;
    if (previous && at <= previous.at) return this.latest;
    this.#previous = reading;
    if (!previous) return null;
    const continuous = at - previous.at <= STEP_MS_MAX && reading.total >= previous.total;
    const seconds = (at - previous.at) / 1000;
    this.#add({ x: at, y: continuous ? (reading.total - previous.total) / seconds : null });
    return this.latest;
  }

  get latest() {
    return this.#points.at(-1)?.y ?? null;
  }

  get points() {
    return this.#points;
  }

  /** The window that a chart shows: it ends at the newest point. */
  get window() {
    const last = this.#points.at(-1)?.x ?? Date.now();
    return { min: last - SPAN_MS, max: last };
  }

  #add(point) {
    this.#points.push(point);
    const oldest = point.x - SPAN_MS;
    while (this.#points.length > POINTS_MAX || this.#points[0].x < oldest) this.#points.shift();
  }
}
