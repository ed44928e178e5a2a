// One number: what it is, everything that happened to it, and making it void.

import { read } from "../api.js";
import { offerCurl } from "../curl.js";
import { announce, byId, element, keyed, setAttribute, setText } from "../dom.js";
import * as format from "../format.js";
import { isReadOnly } from "../mode.js";
import { showProblem } from "../problems.js";
import { ask } from "./ask.js";
import { ADMIN, DOCUMENTS, perform } from "./calls.js";
import { latest } from "./fields.js";

const IN_USE = new Set(["ISSUED", "CONFIRMED", "OVERRIDDEN", "IMPORTED"]);
const WHY_NOT = {
  RESERVED: "It is reserved only: it can be voided once it is confirmed, or cancelled instead.",
  VOID: "It is void already, and will never be issued again.",
  CANCELLED: "Its reservation was cancelled: it is void, and will never be issued again.",
  EXPIRED: "Its reservation has expired: it is void, and will never be issued again.",
  FREE: "It was given back and waits to be issued again: nothing is to be voided.",
};

const addressOf = (number) => `${DOCUMENTS}/numbers/${encodeURIComponent(number)}`;

/** Returns `lookUp(number)`. */
export function mountLookup(shelf) {
  const form = byId("lookup");
  const field = form.elements.document_number;
  const slot = form.querySelector("[data-problems]");
  const asked = latest();
  const show = (number, then = () => {}) =>
    asked(
      () => read(addressOf(number)),
      ({ data }) => {
        slot.replaceChildren();
        showFound(data, lookUp);
        then();
      },
      (problem) => {
        const isOther = byId("found").dataset.number !== number;
        if (isOther) byId("found").hidden = true; // the words of one number must not stand under another
        if (isOther) byId("found-empty").hidden = false;
        showProblem(slot, problem, () => lookUp(number));
      },
    );
  const lookUp = (number) => {
    field.value = number;
    setText(byId("void-result"), "");
    const address = new URL(location.href);
    address.searchParams.set("number", number);
    history.replaceState(null, "", address);
    void show(number, () => byId("lookup-title").scrollIntoView({ block: "nearest" }));
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    lookUp(field.value.trim());
  });
  offerCurl(form.querySelector("[data-curl]"),
    () => ({ path: addressOf(field.value.trim()), method: "GET" }), "look up");
  if (!isReadOnly) mountVoid(shelf, show, lookUp);
  const named = new URLSearchParams(location.search).get("number");
  if (named) lookUp(named);
  return (number) => {
    lookUp(number);
    byId("lookup-title").focus();
  };
}

function showFound(data, lookUp) {
  byId("found").hidden = false;
  byId("found-empty").hidden = true;
  setText(byId("found-number"), data.document_number);
  setText(byId("found-state"), data.state.toLowerCase());
  setAttribute(byId("found-state"), "data-state", data.state);
  byId("found").dataset.number = data.document_number;
  const facts = [
    ["Series", data.document_type],
    ["Count", data.counter],
    ["Number", format.count(data.sequence_value)],
    data.reason && ["Reason", data.reason],
    data.replaces && ["Replaces", link(data.replaces, lookUp)],
    data.replaced_by && ["Replaced by", link(data.replaced_by, lookUp)],
    data.chain.length > 2 && ["Chain", chainOf(data, lookUp)],
    data.expires_at && ["Reserved until", format.full(data.expires_at)],
    data.imported && ["Imported", imported(data.imported)],
  ];
  byId("found-facts").replaceChildren(...facts.filter(Boolean).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  showHistory(data);
  if (isReadOnly) return;
  const [voids, not] = [byId("void"), byId("void-not")];
  voids.hidden = !IN_USE.has(data.state);
  not.hidden = !voids.hidden;
  setText(not, WHY_NOT[data.state] ?? "It is not in use.");
}

function showHistory({ history: records, history_complete }) {
  const keyOf = ({ auditId, entryIndex, operationType }) => auditId ?? `${entryIndex} ${operationType}`;
  keyed(byId("found-history"), records, keyOf, (record) => {
    const by = [record.user, record.ipAddress, record.nodeId && `by ${record.nodeId}`, record.requestId && `request ${record.requestId}`];
    return element("li", {},
      element("span", { class: "tag", "data-operation": record.operationType }, record.operationType),
      element("time", { datetime: record.timestamp }, format.full(record.timestamp)),
      element("span", {}, record.reason || record.description || ""),
      element("span", { class: "hint" }, by.filter(Boolean).join(" · ")));
  });
  if (!history_complete) {
    byId("found-history").append(element("li", { class: "hint", "data-key": "incomplete" },
      "Some of it stands in entries that have left the store: an older export of the ledger has them."));
  }
}

function link(number, lookUp) {
  const button = element("button", { type: "button", class: "link" }, number);
  button.addEventListener("click", () => lookUp(number));
  return button;
}

function chainOf({ chain, document_number }, lookUp) {
  const steps = chain.map((number) =>
    element("li", {}, number === document_number ? element("b", {}, number) : link(number, lookUp)));
  return element("ol", { class: "chain" }, ...steps);
}

function imported({ source, created_at, metadata }) {
  const parts = [source, created_at && `created ${created_at}`, metadata && JSON.stringify(metadata)];
  return parts.filter(Boolean).join(" · ");
}

function mountVoid(shelf, show, lookUp) {
  const form = byId("void");
  const reason = form.elements.reason;
  const result = byId("void-result");
  const body = (replace) => ({
    document_number: byId("found").dataset.number, reason: reason.value.trim(), replace,
  });
  const path = `${ADMIN}/void-and-replace`;
  const done = ({ data: { voided, replacement } }) => {
    reason.value = "";
    const words = replacement
      ? [`${voided.document_number} is void. In its place: `, link(replacement.document_number, lookUp)]
      : [`${voided.document_number} is void, without a replacement.`];
    result.replaceChildren(...words);
    announce(result.textContent);
    void show(voided.document_number, () => byId("lookup-title").focus());
    shelf.poke();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = body(event.submitter?.value !== "void");
    const number = wanted.document_number;
    const instead = wanted.replace
      ? "The next number of its count is issued in its place, and each names the other."
      : "No number takes its place.";
    ask({
      title: `Void ${number}?`,
      lines: [`${number} will never be issued again. ${instead}`, `Reason: ${wanted.reason}`],
      yes: wanted.replace ? `Void and replace ${number}` : `Void ${number}`,
      curl: { path, body: wanted },
    }, () => void perform(form, { path, body: wanted }, done));
  });
  offerCurl(form.querySelector("[data-curl]"), () => ({ path, body: body(true) }), "void and replace");
}
