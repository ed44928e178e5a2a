// The integrity strip: figures, the ledger proof, and whether any of it is current.

import { read } from "./api.js";
import { announce, byId, element, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { showProblem } from "./problems.js";

const FINDINGS_SHOWN_MAX = 20;
const FEED_NAMES = { stats: "figures", gaps: "gaps", audit: "records", cluster: "cluster" };
const PROOF_MS_MAX = 120_000; // it reads the whole ledger

export function mountStrip(feed, history) {
  const figures = new Map();
  for (const figure of document.querySelectorAll("[data-figure]")) {
    figures.set(figure.dataset.figure, figure);
  }
  feed.on("stats", (stats) => showFigures(figures, stats, history.latest));
  feed.on("state", showState);
  byId("live-retry").addEventListener("click", () => feed.poke());
  byId("verify").addEventListener("click", verify);
}

function showFigures(figures, stats, rate) {
  const show = (key, text, value) => {
    const figure = figures.get(key);
    setText(figure.querySelector(".value"), text);
    setAttribute(figure, "data-value", value ?? "");
  };
  for (const key of [
    "currentCounter", "availableGaps", "totalGenerated", "totalReleased", "totalGapsRecovered",
  ]) {
    show(key, format.count(stats[key]), stats[key]);
  }
  const nextGap = stats.nextAvailableGap > 0 ? stats.nextAvailableGap : null;
  show("nextAvailableGap", nextGap ? format.count(nextGap) : "none", nextGap);
  show("rate", format.measure(rate), rate);
  const latency = stats.totalRequests === 0 ? null : stats.averageLatencyMs;
  show("averageLatencyMs", format.measure(latency), latency);
  const nodes = `${format.count(stats.activeNodes)} of ${format.count(stats.totalNodes)}`;
  show("nodes", nodes, stats.activeNodes);
  setAttribute(figures.get("availableGaps"), "data-tone", stats.availableGaps > 0 ? "gap" : "");
  const complete = stats.activeNodes >= stats.totalNodes;
  setAttribute(figures.get("nodes"), "data-tone", complete ? "" : "bad");
}

function showState(state) {
  setAttribute(byId("live"), "data-state", state.name);
  byId("live-retry").hidden = state.name !== "stale";
  setText(byId("live-text"), stateText(state));
  for (const panel of document.querySelectorAll("[data-feed]")) {
    panel.classList.toggle("stale", state.failed?.has(panel.dataset.feed) ?? false);
  }
}

function stateText(state) {
  if (state.name === "live") return "Live";
  if (state.name === "paused") return "Paused while hidden";
  const names = [...state.failed.keys()].map((name) => FEED_NAMES[name]);
  const what = state.all ? "" : ` (${names.join(", ")} only)`;
  const word = state.never ? "No data since" : "Stale since";
  const since = `${word} ${format.clock(state.since)}${what}`;
  const [error] = state.failed.values();
  const why = [error.title, error.code, error.requestId && `request ${error.requestId}`];
  return `${since} · ${why.filter(Boolean).join(", ")} · trying every ${state.pause / 1000} s`;
}

async function verify() {
  const button = byId("verify");
  button.disabled = true;
  showProof("running", "Verifying the ledger…", "Recounting every entry of the hash chain.");
  try {
    showVerdict(await read("/api/v1/sequence/validate", PROOF_MS_MAX));
  } catch (problem) {
    showProof("unknown", "Ledger not verified", "The check itself did not finish.");
    showProblem(byId("strip-problems"), problem, verify);
  } finally {
    button.disabled = false;
    button.focus({ preventScroll: true });
  }
}

function showVerdict(answer) {
  const time = format.clock(Date.now());
  const findings = (answer.findings ?? []).slice(0, FINDINGS_SHOWN_MAX).map(describeFinding);
  const detail = [time, answer.summary].filter(Boolean).join(" · ");
  if (answer.valid) showProof("good", "Ledger proven", detail);
  else showProof("bad", "Ledger broken", detail);
  const list = byId("findings");
  keyed(list, findings, (text) => text, (text) => element("li", {}, text));
  list.hidden = answer.valid || !findings.length;
  announce(`${byId("proof-text").textContent}: ${detail}`);
}

function describeFinding(finding) {
  if (typeof finding === "string") return finding;
  const known = Object.entries(finding).filter(([, value]) => value != null && value !== "");
  return known.map(([name, value]) => `${name} ${value}`).join(" · ");
}

function showProof(state, text, detail) {
  setAttribute(byId("proof"), "data-state", state);
  setText(byId("proof-text"), text);
  setText(byId("proof-detail"), detail);
  byId("proof-detail").title = detail;
}
