// What the panels ask of the public API.

import { change, newKey, upload } from "../api.js";
import { showProblem } from "../problems.js";

export const DOCUMENTS = "/api/v1/document-numbering";
export const ADMIN = "/api/v1/admin/document-numbering";

const TWICE_MS = 400; // between the two clicks of a double click

/** Tells whether a form was served a moment ago: who presses it again has meant it once. */
export const isJustServed = (form) =>
  performance.now() < Number(form.dataset.servedAt ?? -Infinity) + TWICE_MS;

/**
 * Sends what a form asks for, once: pressing again meanwhile does nothing, and "Try again" sends the
 * same key. `request` has path, body (or form, with a file), and method. `refused(problem)` may take
 * a refusal on itself by returning true.
 */
export async function perform(form, request, done, refused = () => false) {
  if (form.dataset.busy) return;
  const slot = form.querySelector("[data-problems]");
  const sent = { key: newKey(), ...request };
  setBusy(form, true);
  try {
    const answer = await send(sent);
    slot.replaceChildren();
    setBusy(form, false);
    form.dataset.servedAt = performance.now();
    done(answer);
  } catch (problem) {
    setBusy(form, false);
    if (refused(problem)) return;
    showProblem(slot, problem, () => void perform(form, sent, done, refused));
  }
}

const send = ({ path, body, form, method, key }) =>
  form ? upload(path, form, key) : change(path, body, key, method);

/** A button that is switched off loses the focus, so these only say that they are. */
function setBusy(form, busy) {
  if (busy) form.dataset.busy = "true";
  else delete form.dataset.busy;
  for (const button of form.querySelectorAll("button[type=submit]")) {
    if (busy) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
  }
}
