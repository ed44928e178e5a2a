// The integrity strip: figures, the ledger proof, and whether any of it is current.

import { read } from "./api.js";
import { offerCurl } from "./curl.js";
import { announce, byId, element, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { showProblem } from "./problems.js";

const VALIDATE = "/api/v1/sequence/validate";
const FINDINGS_SHOWN_MAX = 20;
const PROOF_MS_MAX = 120_000; // it reads the whole ledger
const TOTALS = [
  "currentCounter", "watermark", "availableGaps", "openReservations", "voided", "totalGenerated",
  "totalReleased", "totalGapsRecovered",
];
const STATES = {
  live: "Live", stale: "Stale", reconnecting: "Reconnecting", connecting: "Connecting…",
  paused: "Paused while hidden",
};

export function mountStrip(feed, history) {
  const figures = new Map();
  for (const figure of document.querySelectorAll("[data-figure]")) {
    figures.set(figure.dataset.figure, figure);
  }
  const show = (key, text, value, tone = "") => {
    const figure = figures.get(key);
    setText(figure.querySelector(".value"), text);
    setAttribute(figure, "data-value", value ?? "");
    setAttribute(figure, "data-tone", tone);
  };
  const prover = new Prover(show);
  feed.on("stats", (stats) => showFigures(show, stats));
  feed.on("cluster", (cluster) => showStore(show, figures.get("etcd"), cluster));
  feed.on("proof", (proof) => prover.take(proof));
  history.onChange(() => showPace(show, history.latest));
  feed.on("state", (state) => {
    showState(state);
    prover.age();
  });
  byId("live-retry").addEventListener("click", () => feed.poke());
  byId("verify").addEventListener("click", () => prover.verify());
  offerCurl(byId("verify-curl"), () => ({ path: VALIDATE, method: "GET" }), "verify the ledger");
}

function showFigures(show, stats) {
  for (const key of TOTALS) show(key, format.count(stats[key]), stats[key]);
  const gaps = stats.availableGaps;
  show("availableGaps", format.count(gaps), gaps, gaps > 0 ? "gap" : "");
  const nodes = `${format.count(stats.activeNodes)} of ${format.count(stats.totalNodes)}`;
  const complete = stats.activeNodes >= stats.totalNodes;
  show("nodes", nodes, stats.activeNodes, complete ? "" : "bad");
}

function showPace(show, { rate, p50, p99 }) {
  show("rate", format.measure(rate), rate);
  const milliseconds = [p50, p99].map((us) => format.measure(us === undefined ? null : us / 1000));
  show("latency", p99 === undefined ? format.NONE : milliseconds.join(" / "), p99);
}

/** A quorum is more than half of the members; the leader is one that answers. */
function showStore(show, figure, { store }) {
  const members = store?.members ?? [];
  const answering = members.filter(({ answers }) => answers).length;
  const leader = members.find((member) => member.leader);
  if (!members.length) {
    show("etcd", format.NONE);
    return;
  }
  const hasQuorum = answering > members.length / 2;
  const tone = answering === members.length ? "" : hasQuorum ? "gap" : "bad";
  show("etcd", `${answering} of ${members.length}`, answering, tone);
  const address = leader?.url.replace(/^https?:\/\//, "");
  const text = !hasQuorum ? "no quorum" : leader ? `leader ${shortened(address, members)}` : "quorum";
  setText(figure.querySelector(".unit"), text);
  setAttribute(figure, "title", leader ? `leader ${address}` : "no leader known");
}

/** Members on one host differ by their ports only. */
function shortened(address, members) {
  const hosts = new Set(members.map(({ url }) => new URL(url).hostname));
  return hosts.size === 1 ? address.slice(address.lastIndexOf(":")) : address;
}

function showState(state) {
  const live = byId("live");
  setAttribute(live, "data-state", state.name);
  setAttribute(live, "data-events", state.events);
  setAttribute(live, "data-link", state.link);
  byId("live-retry").hidden = !["stale", "reconnecting"].includes(state.name);
  const polled = state.link === "polling" && state.name === "live";
  setText(byId("live-text"), polled ? "Live (polling)" : STATES[state.name]);
  setText(byId("live-age"), ageText(state));
  for (const panel of document.querySelectorAll("[data-feed]")) {
    panel.classList.toggle("stale", ["stale", "reconnecting"].includes(state.name));
  }
}

/** Apart from the state: it changes every second, which nobody wants to have read out. */
function ageText({ name, age, why }) {
  if (!["stale", "reconnecting"].includes(name)) return "";
  const old = age === null ? "no figures yet" : `figures are ${format.duration(age)} old`;
  return [old, why].filter(Boolean).join(" · ");
}

/** What is known of the ledger: the node's last proof, or the one that was asked for here. */
class Prover {
  #show;
  #proof = null;
  #isRunning = false;

  constructor(show) {
    this.#show = show;
  }

  take(proof) {
    if (this.#proof && Date.parse(proof.timestamp) <= Date.parse(this.#proof.timestamp)) return;
    this.#proof = proof;
    const { valid, duplicates, findings = [] } = proof;
    this.#show("duplicates", format.count(duplicates), duplicates, duplicates ? "bad" : "");
    const texts = findings.slice(0, FINDINGS_SHOWN_MAX).map(describeFinding);
    const list = byId("findings");
    keyed(list, texts, (text) => text, (text) => element("li", {}, text));
    list.hidden = valid || !texts.length;
    this.age();
  }

  age() {
    if (!this.#proof || this.#isRunning) return;
    const { valid, upTo, summary, timestamp } = this.#proof;
    const ago = format.duration(Math.max(0, Date.now() - Date.parse(timestamp)));
    const entry = `up to entry ${format.count(upTo)}, ${ago} ago`;
    const exactly = `${format.full(timestamp)}: ${summary}`;
    if (valid) showProof("good", "Ledger verified", entry, exactly);
    else showProof("bad", "Ledger broken", `${ago} ago · ${summary}`, exactly);
  }

  async verify() {
    const button = byId("verify");
    button.disabled = true;
    this.#isRunning = true;
    showProof("running", "Verifying the ledger…", "Recounting every entry of the hash chain.", "");
    try {
      const answer = await read(VALIDATE, PROOF_MS_MAX);
      this.#isRunning = false;
      const trimmed = Object.values(answer.trimmed ?? {}).reduce((a, b) => a + b, 0);
      const duplicates = answer.duplicates?.length ?? 0;
      this.take({ ...answer, upTo: answer.entries + trimmed, duplicates });
      this.age();
      announce(`${byId("proof-text").textContent}: ${answer.summary}`);
    } catch (problem) {
      this.#isRunning = false;
      showProof("unknown", "Ledger not verified", "The check itself did not finish.", "");
      showProblem(byId("strip-problems"), problem, () => this.verify());
    } finally {
      button.disabled = false;
      button.focus({ preventScroll: true });
    }
  }
}

function describeFinding(finding) {
  if (typeof finding === "string") return finding;
  const known = Object.entries(finding).filter(([, value]) => value != null && value !== "");
  return known.map(([name, value]) => `${name} ${value}`).join(" · ");
}

function showProof(state, text, detail, title) {
  setAttribute(byId("proof"), "data-state", state);
  setText(byId("proof-text"), text);
  setText(byId("proof-detail"), detail);
  setAttribute(byId("proof-detail"), "title", title);
}
