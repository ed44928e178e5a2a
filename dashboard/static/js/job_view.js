// How a job looks while it runs and afterwards: progress, steps turning green or red, its result.

import { offerCurl } from "./curl.js";
import { announce, element, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { cancel, cancelOf, isOver, resultPath } from "./jobs.js";
import { isReadOnly, sameMode } from "./mode.js";
import { showProblem } from "./problems.js";

const VERDICTS = {
  running: "Running", succeeded: "Success", failed: "Failed", cancelled: "Cancelled",
};
const TONES = { running: "running", succeeded: "good", failed: "bad", cancelled: "cancelled" };

/** Makes the view of one job in `place`; returns `update(job)`. `extra` is put above the steps. */
export function jobView(place, extra = []) {
  let shown;
  const verdict = element("b", {});
  const took = element("span", { class: "took" });
  const bar = element("progress", { max: 1, "aria-label": "Progress" });
  const stop = element("button", { type: "button", class: "quiet small" }, "Cancel");
  const command = element("span", {});
  const controls = element("span", { class: "controls" }, stop, command);
  if (!isReadOnly) offerCurl(command, () => cancelOf(shown), "an early end of this job");
  const download = element("a", { class: "download", download: true }, "Result (JSON)");
  const summary = element("p", { class: "summary" });
  const numbers = element("span", {});
  const ending = element("p", { class: "ending" }, numbers, download);
  const steps = element("ol", { class: "steps", tabindex: 0, "aria-label": "Steps" });
  const problems = element("div", { class: "problems" });
  place.replaceChildren(
    element("p", { class: "verdict" }, verdict, took, controls),
    bar, summary, ...extra, steps, ending, problems,
  );
  stop.addEventListener("click", async () => {
    stop.disabled = true;
    try {
      await cancel(shown);
    } catch (problem) {
      stop.disabled = false;
      showProblem(problems, problem);
    }
  });
  let said;
  return (job) => {
    shown = job;
    const over = isOver(job);
    const text = `${job.name}: ${VERDICTS[job.state] ?? job.state}`;
    if (said !== text) announce(text);
    said = text;
    place.hidden = false;
    setAttribute(place, "data-state", TONES[job.state] ?? "bad");
    setAttribute(place, "data-job", job.id);
    setText(verdict, job.stopping && !over ? "Ending" : (VERDICTS[job.state] ?? job.state));
    setText(took, describe(job, over));
    controls.hidden = over || isReadOnly;
    if (job.stopping) stop.disabled = true;
    bar.hidden = over;
    bar.max = Math.max(1, job.total);
    bar.value = job.total ? job.done : 0;
    ending.hidden = !over;
    setAttribute(download, "href", resultPath(job));
    setText(summary, job.summary);
    summary.hidden = !job.summary;
    showSteps(steps, job, over);
    setText(numbers, `${format.plural(job.numbers, "number", "numbers")} issued`);
  };
}

function describe(job, over) {
  const where = ` on ${job.node}`;
  const seconds = `${format.measure(job.durationMs / 1000)} s`;
  if (over) return `${where} in ${seconds}, ended ${format.clock(job.endedAt)}`;
  const done = job.total && job.unit !== "tenths of a second"
    ? ` · ${format.count(job.done)} of ${format.count(job.total)} ${job.unit}` : "";
  return `${where} · ${seconds}${done}`;
}

/** Checks that will come are there from the beginning: nothing moves when they are made. */
function showSteps(list, job, over) {
  const rows = [
    ...job.steps.map((step) => ({ ...step, state: step.ok ? "true" : "false" })),
    ...(over ? [] : job.pending.map((name) => ({ name, detail: "", state: "pending" }))),
  ];
  keyed(list, rows, ({ name }) => name, build, (row, { name, detail, state }) => {
    setAttribute(row, "data-ok", state);
    setText(row.children[0], { true: "passed: ", false: "failed: ", pending: "still to come: " }[state]);
    setText(row.children[1], name);
    setText(row.children[2], detail ? ` ${detail}` : "");
  });
  list.hidden = rows.length === 0;
}

function build() {
  return element("li", {},
    element("span", { class: "unseen" }), element("span", {}), element("span", { class: "hint" }));
}

/** Says that the job's node is silent, and at which nodes the page can be gone on with. */
export function awayNotice(place, nodes) {
  const text = element("span", {});
  const links = element("span", { class: "elsewhere" });
  place.replaceChildren(text, links);
  return (problem, id) => {
    place.hidden = !problem;
    if (!problem) return;
    setText(text, problem.status
      ? `${problem.detail} `
      : "This page's node does not answer just now; the page tries again by itself. ");
    const others = problem.status ? [] : nodes();
    keyed(links, others, ({ url }) => url, ({ nodeId, url }) =>
      element("a", { rel: "noreferrer" }, `Go on at ${nodeId}`, element("span", { class: "unseen" }, url)),
    (link, { url }) => setAttribute(link, "href", sameMode(`${url}/dashboard#job=${encodeURIComponent(id)}`)));
  };
}
