// Questions before what cannot be taken back.

const HASTE_MS = 400; // the other half of a double click is no answer to what it has opened
const latest = new WeakMap(); // dialog -> the moment of its last opening

/** Opens the dialog of a question; `yes`, the button that does it, is deaf for a moment. */
export function openQuestion(dialog, yes) {
  const moment = AbortSignal.timeout(HASTE_MS);
  const refuse = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  const listen = () => latest.get(dialog) === moment && yes.removeAttribute("aria-disabled");
  latest.set(dialog, moment);
  yes.setAttribute("aria-disabled", "true");
  dialog.addEventListener("submit", refuse, { capture: true, signal: moment });
  moment.addEventListener("abort", listen);
  dialog.showModal();
}
