// Puts the page of the audit together: what it shows follows its address.

import { copy, curl } from "../curl.js";
import { announce, byId, element, setText } from "../dom.js";
import { addressOf, fromAddress, go, replace } from "./address.js";
import { Drawer } from "./drawer.js";
import { mountForm } from "./form.js";
import { Lives } from "./lives.js";
import { Records } from "./records.js";

const DRAWER = "drawer"; // the step in the browser's history that opened it
let searched = null;

const fill = mountForm((query) => {
  go({ ...fromAddress(), query, shown: null });
  void searchAgain();
});
const records = new Records(linkTo);
const lives = new Lives(linkTo, (gaps) => {
  go({ ...fromAddress(), gaps });
  lives.choose(gaps);
});
const drawer = new Drawer(() => {
  if (!fromAddress().shown) return; // the back button has closed it
  if (history.state === DRAWER) history.back();
  else replace({ ...fromAddress(), shown: null });
});

/** A link, so that it can be copied and opened in another tab; a click opens the drawer here. */
function linkTo(number, counter, text) {
  const shown = { number, counter };
  const link = element("a", { href: addressOf({ ...fromAddress(), shown }) }, text);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go({ ...fromAddress(), shown }, DRAWER);
    drawer.show(shown);
  });
  return link;
}

function searchAgain() {
  const { query } = fromAddress();
  searched = JSON.stringify(query);
  return Promise.all([records.search(query), lives.load(query)]);
}

function follow() {
  const { query, gaps, shown } = fromAddress();
  if (JSON.stringify(query) !== searched) {
    fill(query);
    void searchAgain();
  }
  lives.choose(gaps);
  drawer.show(shown);
}

byId("curl").addEventListener("click", async () => {
  const command = curl({ path: records.call, method: "GET" });
  const copied = await copy(command, byId("curl"));
  setText(byId("curl-text"), command);
  byId("curl-text").hidden = copied;
  setText(byId("curl"), copied ? "Copied" : "Copy as curl");
  announce(copied ? "Copied" : "It cannot be copied from here; it is shown below.");
});
byId("curl").addEventListener("blur", () => setText(byId("curl"), "Copy as curl"));
window.addEventListener("popstate", follow);
follow();
