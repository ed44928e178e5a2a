// Break things: who runs, to kill, stop, pause and restart them, and a load that shows what it does.

import { act, read } from "./api.js";
import { offerCurl } from "./curl.js";
import { announce, byId, element, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { drawTimeline, showStrikes, timelineTable } from "./failover_view.js";
import { Follower, isOver, startOf } from "./jobs.js";
import { awayNotice, jobView } from "./job_view.js";
import { isReadOnly } from "./mode.js";
import { showProblem } from "./problems.js";
import { openQuestion } from "./question.js";

const PERIOD_MS = 1_000;
const SOON_MS = 250;
const PATH = "/api/v1/demo/processes";
const ACTIONS = isReadOnly ? [] : ["kill", "stop", "pause", "restart"];
const WORDS = { kill: "Kill", stop: "Stop", pause: "Pause", restart: "Restart" };
const STATES = { running: "up", down: "down", paused: "paused", ending: "stopping" };

export function mountBreaking(feed, nodes) {
  const ask = isReadOnly ? null : mountDialog();
  const soon = mountProcesses(ask);
  return mountLoad(feed, nodes, ask, soon);
}

// --- the processes --------------------------------------------------------------------------------

function mountProcesses(ask) {
  const list = byId("processes");
  let timer;
  const poke = (milliseconds) => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(() => void look(), milliseconds);
  };
  const look = async () => {
    try {
      const { configured, how, processes } = await read(PATH);
      byId("processes-how").hidden = configured;
      setText(byId("processes-how"), how ?? "");
      for (const part of document.querySelectorAll("[data-needs-control]")) part.hidden = !configured;
      show(processes);
      list.classList.remove("stale");
    } catch {
      list.classList.add("stale"); // the strip says that nothing answers
    }
    poke(PERIOD_MS);
  };
  const strike = async (process, action, force = false) => {
    const { path, body } = strikeOf(process.name, action, force);
    try {
      await act(path, body);
      announce(`${WORDS[action]}: ${process.name}`);
    } catch (problem) {
      showProblem(byId("processes-problems"), problem);
    }
    poke(SOON_MS);
  };
  const show = (processes) => {
    keyed(list, processes, ({ name }) => name, (process) => build(process, (name, action) => {
      const now = processNamed(name);
      const harmless = action === "restart" && now.state !== "running";
      if (action === "pause" && !byId("pause-seconds").reportValidity()) return;
      const go = () => void strike(now, action, true);
      if (matters(now) && !harmless) ask(now, action, { go, request: strikeOf(name, action, true) });
      else void strike(now, action);
    }), update);
    if (isReadOnly) return;
    curlOfStrikes(list);
    offerTargets(processes);
  };
  const curlOfStrikes = isReadOnly ? null : mountStrikeCurl(list);
  document.addEventListener("visibilitychange", () => poke(0));
  poke(0);
  return () => poke(SOON_MS);
}

function strikeOf(name, action, force = false) {
  const seconds = action === "pause" ? byId("pause-seconds").valueAsNumber : null;
  return { path: `${PATH}/${encodeURIComponent(name)}`, body: { action, seconds, force }, keyed: false };
}

/** One command for all: of the button that was pressed or focused last; a pause, to begin with. */
function mountStrikeCurl(list) {
  let chosen;
  const choose = (button) => {
    chosen = button ?? chosen;
    setText(byId("strike-chosen"), chosen?.getAttribute("aria-label") ?? "");
  };
  for (const name of ["focusin", "click"]) {
    list.addEventListener(name, ({ target }) => choose(target.closest("[data-action]")));
  }
  offerCurl(byId("strike-curl"), () => {
    if (!chosen || !byId("pause-seconds").reportValidity()) return null;
    return strikeOf(chosen.closest("[data-process]").dataset.process, chosen.dataset.action);
  }, "the strike named beside");
  return () => chosen ?? choose(list.querySelector("li:last-child [data-action=pause]"));
}

const processNamed = (name) =>
  byId("processes").querySelector(`[data-key="${CSS.escape(name)}"]`)?.process;

const leading = () =>
  [...byId("processes").children].map((row) => row.process).find((process) => process?.leader);

const matters = (process) => Boolean(process?.risk || process?.thisNode);

function build({ name, kind }, press) {
  const buttons = ACTIONS.map((action) => {
    const label = `${WORDS[action]} ${name}`;
    const button = element("button",
      { type: "button", class: "quiet small", "data-action": action, "aria-label": label },
      WORDS[action]);
    // The second click of a double click would strike what comes back.
    button.addEventListener("click", ({ detail }) => detail < 2 && press(name, action));
    return button;
  });
  return element("li", { "data-process": name, "data-kind": kind },
    element("span", { class: "dot", "aria-hidden": "true" }),
    element("b", {}, name),
    element("span", { class: "process-state" }),
    element("span", { class: "hint process-note" }),
    element("span", { class: "process-actions" }, ...buttons));
}

function update(row, process) {
  row.process = process;
  const { state, backInMs, leader, thisNode, runsJob, deaths } = process;
  setAttribute(row, "data-state", state);
  const back = backInMs > 950 ? ` · back in ${Math.ceil(backInMs / 1000)} s` : "";
  setText(row.querySelector(".process-state"), (STATES[state] ?? state) + back);
  const notes = [
    leader && "leader", thisNode && "this page", runsJob && "runs a demonstration",
    deaths > 0 && (deaths === 1 ? "ended once" : `ended ${format.count(deaths)} times`),
  ];
  setText(row.querySelector(".process-note"), notes.filter(Boolean).join(" · "));
  for (const button of row.querySelectorAll("button")) {
    const { action } = button.dataset;
    button.disabled = action !== "restart" && (state === "down" || state === "ending");
    if (action === "pause" && state === "paused") button.disabled = true;
  }
}

/** The dialog for what matters: no majority left, the load's own node, the node of this page. */
function mountDialog() {
  const dialog = byId("strike-dialog");
  let current;
  byId("strike-confirm").addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close();
    current.go();
  });
  byId("strike-keep").addEventListener("click", () => dialog.close());
  offerCurl(byId("strike-do-curl"), () => current.request, "what is asked here");
  return (process, action, { go, request, also = "" }) => {
    current = { go, request };
    for (const place of dialog.querySelectorAll("[data-strike]")) {
      setText(place, place.dataset.strike === "name" ? process.name : WORDS[action]);
    }
    const lines = also ? [also] : [];
    if (process.risk) lines.push(process.risk);
    if (process.thisNode) {
      lines.push(`${process.name} serves this page. The page goes on by itself when it is back; ` +
        "the other nodes serve the same page meanwhile.");
    }
    byId("strike-why").replaceChildren(...lines.map((text) => element("p", {}, text)));
    openQuestion(dialog, byId("strike-do"));
    byId("strike-keep").focus();
  };
}

function offerTargets(processes) {
  const select = byId("failover-target");
  const names = processes.map(({ name }) => name);
  if (select.dataset.names === names.join()) return;
  select.dataset.names = names.join();
  const chosen = select.value;
  const [none, leader] = select.options;
  select.replaceChildren(none, leader, ...names.map((name) => element("option", { value: name }, name)));
  select.value = chosen;
}

// --- the load -------------------------------------------------------------------------------------

/** Returns `follow(job)`, which shows a load that runs, or has run. */
function mountLoad(feed, nodes, ask, soon) {
  const form = byId("failover");
  const setBusy = (busy) => {
    if (form) form.querySelector("button[type=submit]").disabled = busy;
  };
  const notice = awayNotice(byId("failover-away"), nodes);
  let update;
  let shown;
  const show = (job) => {
    if (shown !== job.id) {
      shown = job.id;
      update = loadView();
    }
    update(job);
    setBusy(!isOver(job));
    if (isOver(job)) feed.poke();
  };
  const follower = new Follower(show, (problem, id) => {
    notice(problem, id);
    if (problem?.status === 404) setBusy(false);
  });
  if (form) mountLoadForm(form, { follower, setBusy, ask, soon });
  return (job) => {
    show(job);
    if (!isOver(job)) follower.follow(job.id);
  };
}

function mountLoadForm(form, { follower, setBusy, ask, soon }) {
  const button = form.querySelector("button[type=submit]");
  const start = async (force) => {
    setBusy(true);
    byId("failover-problems").replaceChildren();
    try {
      await follower.start("failover", { ...parametersIn(form), force });
      soon();
    } catch (problem) {
      setBusy(false);
      showProblem(byId("failover-problems"), problem);
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (button.disabled) return;
    const { target, action } = form.elements;
    const process = target.value === "leader" ? leading() : processNamed(target.value);
    if (!matters(process)) void start(false);
    else {
      const also = process.thisNode ? "Another node runs the load." : "";
      const request = startOf("failover", { ...parametersIn(form), force: true });
      ask(process, action.value, { go: () => void start(true), request, also });
    }
  });
  const describe = () => (form.reportValidity() ? startOf("failover", parametersIn(form)) : null);
  offerCurl(form.querySelector("[data-curl]"), describe, "load and failover");
  form.elements.target.addEventListener("change", () => {
    for (const part of form.querySelectorAll("[data-needs-target]")) {
      part.hidden = !form.elements.target.value;
    }
  });
}

function parametersIn({ elements }) {
  const parameters = {
    requestsPerSecond: elements.requestsPerSecond.valueAsNumber,
    seconds: elements.seconds.valueAsNumber,
  };
  if (!elements.target.value) return parameters;
  const away = elements.awaySeconds.valueAsNumber;
  return {
    ...parameters,
    target: elements.target.value,
    action: elements.action.value,
    ...(Number.isFinite(away) ? { awaySeconds: away } : {}),
  };
}

const FIGURES = [
  ["perSecond", "answers a second"], ["answered", "answered"], ["waiting", "waiting now"],
  ["retried", "retried"], ["failed", "failed"],
];

function loadView() {
  const figures = element("dl", { class: "load-figures" }, ...FIGURES.map(([name, label]) =>
    element("div", { "data-load": name }, element("dt", {}, label), element("dd", {}))));
  const pause = element("div", { "data-load": "pause" },
    element("dt", {}, "longest wait of all"), element("dd", {}));
  figures.append(pause);
  const chart = element("div", { class: "spans" });
  const strikes = element("ol", { class: "strikes", tabindex: 0, "aria-label": "What was struck" });
  const table = timelineTable();
  const update = jobView(byId("failover-outcome"), [figures, chart, table.node, strikes]);
  return (job) => {
    update(job);
    for (const [name] of FIGURES) {
      const cell = figures.querySelector(`[data-load="${name}"]`);
      setText(cell.lastElementChild, format.count(job.load?.[name]));
      setAttribute(cell, "data-value", job.load?.[name] ?? "");
    }
    const longest = job.longestPauseMs;
    setText(pause.lastElementChild, longest == null ? format.NONE : `${format.count(longest)} ms`);
    drawTimeline(chart, job);
    table.show(job);
    showStrikes(strikes, job.strikes ?? []);
  };
}
