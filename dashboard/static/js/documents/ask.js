// Asks before what cannot be taken back: by name, and with the way out first.

import { offerCurl } from "../curl.js";
import { byId, element, setText } from "../dom.js";
import { openQuestion } from "../question.js";

/**
 * Shows the question; `action(reason)` runs when it is answered with yes. `curl` is the request that
 * yes would send, or a function of the reason that returns it; with `reason`, its label, one is asked for.
 */
export function ask({ title, lines, yes, curl, reason = "" }, action) {
  const dialog = byId("ask");
  const before = document.activeElement;
  const given = byId("ask-reason");
  setText(byId("ask-title"), title);
  byId("ask-text").replaceChildren(...lines.map((line) => element("p", {}, line)));
  setText(byId("ask-reason-label"), reason);
  given.closest("label").hidden = !reason;
  given.required = Boolean(reason);
  given.value = "";
  byId("ask-curl").replaceChildren();
  const request = () => (typeof curl === "function" ? curl(given.value.trim()) : curl);
  if (curl) offerCurl(byId("ask-curl"), request, title);
  setText(byId("ask-do"), yes);
  dialog.returnValue = "";
  byId("ask-do").value = "yes";
  byId("ask-keep").onclick = () => dialog.close();
  dialog.onclose = () => {
    if (before?.isConnected) before.focus();
    if (dialog.returnValue === "yes") action(given.value.trim());
  };
  openQuestion(dialog, byId("ask-do"));
  (reason ? given : byId("ask-keep")).focus();
}
