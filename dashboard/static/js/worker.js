// Shared by all tabs of a browser at this node: one connection for all of them, and none while
// every one of them is hidden.

import { Stream } from "./stream.js";

const tabs = new Map(); // port -> whether the tab is visible
const PAUSE_AFTER_MS = 3_000;
let pausing;

const stream = new Stream((message) => {
  for (const [port, visible] of tabs) if (visible) port.postMessage(message);
});

function runWhileSomebodyLooks() {
  clearTimeout(pausing);
  if ([...tabs.values()].some(Boolean)) stream.start();
  else pausing = setTimeout(() => stream.pause(), PAUSE_AFTER_MS);
}

const says = {
  show(port) {
    tabs.set(port, true);
    if (stream.state) port.postMessage({ kind: "state", state: stream.state });
    runWhileSomebodyLooks();
    port.postMessage({ kind: "link", link: stream.link });
  },
  hide(port) {
    tabs.set(port, false);
    runWhileSomebodyLooks();
  },
  leave(port) {
    tabs.delete(port);
    runWhileSomebodyLooks();
  },
  poke() {
    stream.poke();
  },
};

self.addEventListener("connect", ({ ports: [port] }) => {
  port.addEventListener("message", ({ data }) => says[data]?.(port));
  port.start();
});
