// Errors are shown where they arose, with all an operator needs to report them, until dismissed.

import { element } from "./dom.js";

const SHOWN_MAX = 5;

/** Shows `problem` in `slot`; with `retry` it offers to send the identical request again. */
export function showProblem(slot, problem, retry) {
  const card = element("div", { class: "problem", role: "alert" });
  const label = { type: "button", class: "quiet", "aria-label": "Dismiss" };
  const dismiss = element("button", label, "×");
  dismiss.addEventListener("click", () => card.remove());
  card.append(
    element("div", { class: "problem-text" }, ...describe(problem)),
    ...(retry && problem.retryable ? [retryButton(card, retry)] : []),
    dismiss,
  );
  slot.prepend(card);
  while (slot.children.length > SHOWN_MAX) slot.lastElementChild.remove();
}

function describe(problem) {
  const lines = [element("strong", {}, problem.title || "Something went wrong")];
  const detail = problem.detail || (problem.title ? "" : problem.message);
  if (detail) lines.push(element("p", {}, detail));
  if (problem.errors?.length) {
    const items = problem.errors.map(({ field, message }) =>
      element("li", {}, field ? `${field}: ${message}` : String(message)),
    );
    lines.push(element("ul", {}, ...items));
  }
  const facts = factsOf(problem);
  if (facts) lines.push(element("p", { class: "problem-facts" }, facts));
  return lines;
}

/** What an operator needs to report a problem. */
export function factsOf({ code, status, requestId }) {
  const facts = [code && `code ${code}`, status && `HTTP ${status}`, requestId && `request ${requestId}`];
  return facts.filter(Boolean).join(" · ");
}

function retryButton(card, retry) {
  const button = element("button", { type: "button" }, "Try again");
  button.addEventListener("click", () => {
    card.remove();
    retry();
  });
  return button;
}
