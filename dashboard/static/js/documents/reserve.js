// Reserving a number: asks for what its series needs, and shows how the next one would read.

import { act } from "../api.js";
import { offerCurl } from "../curl.js";
import { announce, byId, setText } from "../dom.js";
import * as format from "../format.js";
import { DOCUMENTS, isJustServed, perform } from "./calls.js";
import { about, debounced, latest, scopeFields } from "./fields.js";
import { remember } from "./own.js";

/** Returns `reserve(type)`, which leads a person to the form. */
export function mountReserve(shelf) {
  const form = byId("reserve");
  const { document_type: type, issue_date: date } = form.elements;
  const scope = scopeFields(form.querySelector("[data-scope]"));
  const next = form.querySelector("[data-next]");
  const asked = latest();
  let templates = [];
  const body = () => about(type.value, scope.values(), date.value);

  const preview = debounced(() => {
    if (!type.value) return;
    const missing = scope.missing();
    if (missing.length) {
      setText(next, `give the ${missing.join(" and the ")} first`);
      return;
    }
    void asked(
      () => act(`${DOCUMENTS}/preview`, body()),
      ({ data }) => setText(next, data.numbers[0] ?? "none: the series is exhausted"),
      (problem) => setText(next, problem.errors[0]?.message ?? problem.detail ?? problem.title),
    );
  });
  const changed = () => {
    const series = templates.find((each) => each.document_type === type.value);
    if (series) scope.show(series);
    preview();
  };
  shelf.on("templates", (value) => { templates = value; changed(); });
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (isJustServed(form)) return;
    void perform(form, { path: `${DOCUMENTS}/reserve`, body: body() }, ({ data }) => {
      remember(data);
      const text = `${data.document_number} is reserved until ${format.clock(data.expires_at)}.`;
      setText(form.querySelector("[data-result]"), text);
      announce(text);
      preview();
      const lasts = templates.find((each) => each.document_type === data.document_type)?.reservation_s ?? 0;
      shelf.tell("reserved", { ...data, seconds_left: lasts, reserved_at: Date.now() });
      shelf.poke();
    });
  });
  const request = () => ({ path: `${DOCUMENTS}/reserve`, body: body() });
  offerCurl(form.querySelector("[data-curl]"), request, "reserve");
  return (wantedType) => {
    type.value = wantedType;
    changed();
    type.focus();
  };
}
