// Demonstrations as jobs on the server: started here, found again after a reload, followed to their end.

import { act, read } from "./api.js";

const PERIOD_MS = 300;
const AWAY_MS = 700; // between tries while the node, or the one that runs the job, does not answer
const ROOT = "/api/v1/demo/jobs";
const GONE = 404;

export const isOver = (job) => job.state !== "running";
export const resultPath = (job) => `${ROOT}/${encodeURIComponent(job.id)}/result`;

/** Returns the request that brings a job to an early end. */
export const cancelOf = (job) =>
  ({ path: `${ROOT}/${encodeURIComponent(job.id)}/cancel`, body: {}, keyed: false });

export function cancel(job) {
  const { path, body } = cancelOf(job);
  return act(path, body);
}

/** Returns the request that starts a demonstration. */
export const startOf = (name, parameters) => ({ path: ROOT, body: { name, parameters }, keyed: false });

/** Follows one job at a time; `show(job)` hears how it is, `away(problem or null)` of its silence. */
export class Follower {
  #show;
  #away;
  #id;
  #timer;

  constructor(show, away) {
    this.#show = show;
    this.#away = away;
    document.addEventListener("visibilitychange", () => this.#poke());
  }

  /** Starts a demonstration and follows it. Throws the problem when it is refused. */
  async start(name, parameters) {
    const { path, body } = startOf(name, parameters);
    const job = await act(path, body);
    remember(job.id);
    this.follow(job.id);
    this.#show(job);
    return job;
  }

  follow(id) {
    this.#id = id;
    this.#poke();
  }

  #poke() {
    clearTimeout(this.#timer);
    if (this.#id && !document.hidden) this.#timer = setTimeout(() => void this.#look(), PERIOD_MS);
  }

  async #look() {
    const id = this.#id;
    let pause = PERIOD_MS;
    try {
      const job = await read(`${ROOT}/${encodeURIComponent(id)}`);
      if (id !== this.#id) return;
      this.#away(null);
      if (isOver(job)) this.#id = undefined;
      this.#show(job);
    } catch (problem) {
      if (id !== this.#id) return;
      pause = AWAY_MS;
      if (problem.status === GONE) this.#id = undefined;
      this.#away(problem, id);
    }
    if (this.#id && !document.hidden) this.#timer = setTimeout(() => void this.#look(), pause);
  }
}

/** The job in the address, so that a reload and a colleague find it; the page does not move. */
function remember(id) {
  history.replaceState(null, "", `#job=${encodeURIComponent(id)}`);
}

/** Returns the jobs to show after a reload: the one in the address, and those that run. */
export async function findAgain() {
  const named = /^#job=([\w.-]+)$/.exec(location.hash)?.[1]; // an id has no other characters
  const found = [];
  if (named) found.push(...(await readAll([named])));
  try {
    const running = (await read(ROOT)).jobs.filter((job) => !isOver(job));
    found.push(...(await readAll(running.map(({ id }) => id).filter((id) => id !== found[0]?.id))));
  } catch {
    // nobody answers: the strip says so
  }
  return found;
}

/** A node that was restarted has forgotten its jobs: those are left out. */
async function readAll(ids) {
  const found = [];
  for (const id of ids) {
    try {
      found.push(await read(`${ROOT}/${encodeURIComponent(id)}`));
    } catch {
      continue;
    }
  }
  return found;
}
