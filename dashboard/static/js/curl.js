// A request of the page as a command of a shell, that anybody can repeat or change.

import { newKey } from "./api.js";
import { announce, element, setText } from "./dom.js";

const SAID_MS = 2_000;

/**
 * Returns a request as a command; several are one a line. Changes carry a key of their own, new each time; what takes no
 * key says so with `keyed: false`.
 */
export const curl = (request) => [request].flat().map(commandOf).join("\n");

function commandOf({ path, body, fields, method = "POST", keyed = true }) {
  const words = ["curl"];
  if (method !== "GET" && !(method === "POST" && (body || fields))) words.push("-X", method);
  words.push(quoted(new URL(path, location.origin).href));
  if (method !== "GET" && keyed) words.push("-H", quoted(`Idempotency-Key: ${newKey()}`));
  if (body) words.push("-H", quoted("Content-Type: application/json"), "-d", quoted(JSON.stringify(body)));
  for (const field of fields ?? []) words.push("-F", quoted(field));
  return words.join(" ");
}

/** Nothing in a quoted word means anything to a shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * Puts "Copy as curl" in `place`; `describe()` returns the request as it stands on the page now (or
 * several), or nothing where the page has said what is wrong with it. A page that changes nothing has
 * no such place.
 */
export function offerCurl(place, describe, of) {
  if (!place) return;
  const label = element("span", {}, "Copy as curl");
  const attributes = { type: "button", class: "quiet small curl", "aria-label": `Copy as curl: ${of}` };
  const button = element("button", attributes, label);
  let timer;
  button.addEventListener("click", async () => {
    const request = describe();
    if (!request) return;
    const copied = await copy(curl(request), button);
    setText(label, copied ? "Copied" : "Not copied");
    announce(copied ? "The command is in the clipboard." : "The browser does not let pages copy.");
    clearTimeout(timer);
    timer = setTimeout(() => setText(label, "Copy as curl"), SAID_MS);
  });
  place.append(button);
}

/** Pages on plain HTTP have no clipboard of their own, but may copy what is selected. */
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", { class: "unseen", "aria-hidden": "true", readonly: true });
    area.value = text;
    button.after(area); // beside it: outside of an open dialog nothing can be selected
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    button.focus();
    return copied;
  }
}
