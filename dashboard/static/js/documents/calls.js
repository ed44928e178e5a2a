// What the panels ask of the public API, and the same as a command that anybody can repeat.

import { change, newKey, upload } from "../api.js";
import { announce, element, setText } from "../dom.js";
import { showProblem } from "../problems.js";

export const DOCUMENTS = "/api/v1/document-numbering";
export const ADMIN = "/api/v1/admin/document-numbering";
const SAID_MS = 2_000;

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

/** Returns a request as a command of a shell. Changes carry a key of their own, new each time. */
export function curl({ path, body, fields, method = "POST" }) {
  const words = ["curl"];
  if (method !== "GET" && !(method === "POST" && (body || fields))) words.push("-X", method);
  words.push(quoted(location.origin + path));
  if (method !== "GET") words.push("-H", quoted(`Idempotency-Key: ${newKey()}`));
  if (body) words.push("-H", quoted("Content-Type: application/json"), "-d", quoted(JSON.stringify(body)));
  for (const field of fields ?? []) words.push("-F", quoted(field));
  return words.join(" ");
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Puts "Copy as curl" in `place`; `describe()` returns the request as it stands in the form now. */
export function offerCurl(place, describe, of) {
  const label = element("span", {}, "Copy as curl");
  const attributes = { type: "button", class: "quiet small curl", "aria-label": `Copy as curl: ${of}` };
  const button = element("button", attributes, label);
  let timer;
  button.addEventListener("click", async () => {
    const copied = await copy(curl(describe()), button);
    setText(label, copied ? "Copied" : "Not copied");
    announce(copied ? "The command is in the clipboard." : "The browser does not let pages copy.");
    clearTimeout(timer);
    timer = setTimeout(() => setText(label, "Copy as curl"), SAID_MS);
  });
  place.append(button);
}

/** Pages on plain HTTP have no clipboard of their own, but may copy what is selected. */
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", { class: "unseen", "aria-hidden": "true", readonly: true });
    area.value = text;
    button.after(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    button.focus();
    return copied;
  }
}
