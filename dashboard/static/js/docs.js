// The page of the API is whole without this: it only copies, and puts the address of the browser into the commands.

import { copy } from "./curl.js";
import { announce, setText } from "./dom.js";

const SAID_MS = 2_000;
const written = document.body.querySelector("[data-url]").dataset.url;

for (const place of document.querySelectorAll(".example")) {
  const command = place.querySelector("[data-curl]");
  const button = place.querySelector("[data-copy]");
  const label = button.firstElementChild;
  setText(command, command.textContent.replaceAll(written, location.origin));
  button.hidden = false;
  let timer;
  button.addEventListener("click", async () => {
    const copied = await copy(command.textContent, button);
    setText(label, copied ? "Copied" : "Not copied");
    announce(copied ? "The command is in the clipboard." : "The browser does not let pages copy.");
    clearTimeout(timer);
    timer = setTimeout(() => setText(label, "Copy as curl"), SAID_MS);
  });
}
