// Asks before what cannot be taken back: by name, and with the way out first.

import { byId, element, setText } from "../dom.js";

/** Shows the question; `action` runs when it is answered with yes. */
export function ask({ title, lines, yes, harmless = false }, action) {
  const dialog = byId("ask");
  const before = document.activeElement;
  setText(byId("ask-title"), title);
  byId("ask-text").replaceChildren(...lines.map((line) => element("p", {}, line)));
  setText(byId("ask-do"), yes);
  byId("ask-do").classList.toggle("danger", !harmless);
  dialog.returnValue = "";
  byId("ask-do").value = "yes";
  byId("ask-keep").onclick = () => dialog.close();
  dialog.onclose = () => {
    if (before?.isConnected) before.focus();
    if (dialog.returnValue === "yes") action();
  };
  dialog.showModal();
  byId("ask-keep").focus();
}
