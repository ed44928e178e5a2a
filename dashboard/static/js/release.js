// Releasing a number: always confirmed by name, from the form and from any row.

import { change, newKey } from "./api.js";
import { offerCurl } from "./curl.js";
import { announce, byId, setText } from "./dom.js";
import * as format from "./format.js";
import { showProblem } from "./problems.js";
import { openQuestion } from "./question.js";

export const RELEASE = "/api/v1/sequence/release";

/** Returns `ask(number, site, partition, reason)`, which opens the confirmation. */
export function mountRelease(feed) {
  const dialog = byId("release-dialog");
  const reason = byId("release-dialog-reason");
  let current;

  const ask = (number, site, partition, reasonGiven = "", done = () => {}) => {
    current = { number, site, partition, done, key: newKey() };
    const shown = { number: format.count(number), site, partition };
    for (const place of dialog.querySelectorAll("[data-release]")) {
      setText(place, shown[place.dataset.release]);
    }
    reason.value = reasonGiven;
    byId("release-dialog-problems").replaceChildren();
    openQuestion(dialog, byId("release-do"));
    (reasonGiven ? byId("release-keep") : reason).focus(); // a key held down releases nothing
  };

  const send = async (request) => {
    const button = byId("release-do");
    // The dialog may be closed, or ask about another number, by the time the answer comes.
    const asksStill = () => dialog.open && current.key === request.key;
    button.disabled = true;
    try {
      const answer = await change(RELEASE, request.body, request.key);
      if (asksStill()) dialog.close();
      showReleased(request, answer);
    } catch (problem) {
      const slot = byId(asksStill() ? "release-dialog-problems" : "release-problems");
      showProblem(slot, problem, () => void send(request));
    } finally {
      button.disabled = false;
      feed.poke();
    }
  };

  byId("release-confirm").addEventListener("submit", (event) => {
    event.preventDefault();
    const { done } = current;
    const body = releaseOf(current, reason.value);
    // A changed reason is another request: the same key would be refused.
    if (current.sent && current.sent !== body.reason) current.key = newKey();
    current.sent = body.reason;
    void send({ body, done, key: current.key });
  });
  offerCurl(byId("release-curl"), () => ({ path: RELEASE, body: releaseOf(current, reason.value) }), "this release");
  byId("release-keep").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    // The row that opened the dialog may have gone meanwhile, and the focus with it.
    if (document.activeElement === document.body) byId("release-title").focus();
  });
  mountForm(ask);
  return ask;
}

/** Returns the body of a release. */
export const releaseOf = ({ number, site, partition }, reason) =>
  ({ sequenceNumber: number, siteId: site, partitionId: partition, reason: reason.trim() });

function showReleased({ body, done }, answer) {
  const number = format.count(body.sequenceNumber);
  const text = `${number} was released at ${format.clock(answer.timestamp ?? Date.now())}.`;
  setText(byId("release-result"), text);
  announce(text);
  done();
}

function mountForm(ask) {
  const form = byId("release");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { number, site, partition, reason } = form.elements;
    const clear = () => {
      number.value = "";
      reason.value = "";
    };
    ask(number.valueAsNumber, site.value, partition.value, reason.value.trim(), clear);
  });
  byId("gaps-release").addEventListener("click", () => form.elements.number.focus());
}
