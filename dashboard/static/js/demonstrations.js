// The four demonstrations. One at a time: each checks the sequence as it leaves it.

import { demonstrate } from "./api.js";
import { element } from "./dom.js";
import * as format from "./format.js";
import { showProblem } from "./problems.js";

export function mountDemonstrations(feed) {
  const forms = [...document.querySelectorAll("[data-demo]")];
  const buttons = forms.map((form) => form.querySelector("button[type=submit]"));
  for (const form of forms) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (buttons[0].disabled) return;
      buttons.forEach((button) => (button.disabled = true));
      await run(form);
      buttons.forEach((button) => (button.disabled = false));
      if (document.activeElement === document.body) event.submitter?.focus({ preventScroll: true });
      feed.poke();
    });
  }
}

async function run(form) {
  const outcome = form.querySelector(".outcome");
  const query = new URLSearchParams(new FormData(form)).toString();
  const path = `/api/v1/demo/${form.dataset.demo}${query ? `?${query}` : ""}`;
  const began = performance.now();
  outcome.hidden = false;
  outcome.dataset.state = "running";
  outcome.replaceChildren(element("p", { class: "verdict" }, "Running…"));
  try {
    const answer = await demonstrate(path);
    outcome.dataset.state = answer.success ? "good" : "bad";
    outcome.replaceChildren(...describe(answer, performance.now() - began));
  } catch (problem) {
    outcome.hidden = true;
    outcome.dataset.state = "bad";
    showProblem(form.querySelector(".problems"), problem);
  }
}

function describe(answer, milliseconds) {
  const verdict = answer.success ? "Success" : "Failed";
  const ended = format.clock(answer.timestamp);
  const took = `in ${format.measure(milliseconds / 1000)} s, ended ${ended}`;
  const numbers = (answer.sequences ?? []).flatMap(numbersOf);
  const lines = [
    element("p", { class: "verdict" }, element("b", {}, verdict), ` ${took}`),
    element("p", {}, answer.summary ?? ""),
    element("ol", { class: "steps" }, ...(answer.steps ?? []).map(describeStep)),
  ];
  if (numbers.length) {
    const many = format.plural(numbers.length, "number", "numbers");
    lines.push(element("p", { class: "hint" }, `${many} listed: ${format.ranges(numbers, 8)}`));
  }
  return lines;
}

function describeStep({ name, ok, detail }) {
  return element("li", { "data-ok": String(ok === true) },
    element("span", { class: "unseen" }, ok ? "passed: " : "failed: "),
    element("span", {}, name),
    element("span", { class: "hint" }, detail ? ` ${detail}` : ""),
  );
}

/** A sequence is a number, or an answer that holds some. */
function numbersOf(sequence) {
  if (typeof sequence === "number") return [sequence];
  return sequence.sequenceNumbers ?? [sequence.sequenceNumber].filter(Number.isFinite);
}
