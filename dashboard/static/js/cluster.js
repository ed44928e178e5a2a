// The nodes, the store, and the warnings that stay as long as their cause.

import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { sameMode } from "./mode.js";

export function mountCluster(feed) {
  feed.on("cluster", ({ nodes, store, warnings }) => {
    showNodes(nodes ?? []);
    showStore(store ?? {});
    showWarnings(warnings ?? []);
  });
}

function showNodes(nodes) {
  const list = byId("nodes");
  const sorted = [...nodes].sort((a, b) => a.nodeId.localeCompare(b.nodeId));
  // A restarted node is another instance at perhaps another address: a row of its own.
  const keyOf = (node) => `${node.nodeId} ${node.instanceId} ${node.url}`;
  keyed(list, sorted, keyOf, (node) => build(node, list.dataset.node), (row, node) => {
    setAttribute(row, "data-state", node.active ? "good" : "bad");
    setText(row.querySelector(".node-state"), node.active ? "active" : "not active");
  });
  byId("nodes-empty").hidden = nodes.length > 0;
}

function build(node, own) {
  const since = node.startedAt ? `since ${format.clock(node.startedAt)}` : "";
  return element("li", { title: `instance ${node.instanceId}` },
    element("span", { class: "dot", "aria-hidden": "true" }),
    element("b", {}, node.nodeId),
    element("span", { class: "node-state" }),
    element("span", { class: "hint" }, node.nodeId === own ? "· this page" : ""),
    address(node.url),
    element("span", { class: "hint node-place" }, `${node.site} / ${node.partition} `, since),
  );
}

/** An address is data from elsewhere: only a web address becomes a link. */
function address(url) {
  if (!/^https?:\/\//.test(url ?? "")) {
    return element("span", { class: "hint address" }, url ?? "");
  }
  const href = sameMode(`${url.replace(/\/+$/, "")}/dashboard`);
  const shown = url.replace(/^https?:\/\//, "");
  return element("a", { href, class: "address", rel: "noreferrer" }, shown);
}

function showStore({ healthy, version, endpoints = [] }) {
  setAttribute(byId("store"), "data-state", healthy ? "good" : "bad");
  const state = healthy ? "Healthy" : "Not healthy";
  setText(byId("store"), `${state} · version ${version ?? "unknown"}`);
  keyed(byId("endpoints"), endpoints, (text) => text, (text) => element("li", {}, text));
}

export function showWarnings(warnings) {
  const list = byId("warnings");
  keyed(list, warnings, (text) => text, (text) => element("li", {}, text));
  list.hidden = warnings.length === 0;
}
