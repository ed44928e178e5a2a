// Why the server refuses what stands in a form: said beside the field that it is about.

import { element, setAttribute, setText } from "../dom.js";

/** Returns `show(errors)`, which returns those that are about no field of the form. */
export function refusalsIn(form) {
  return (errors) => {
    const rest = [];
    const said = new Map();
    for (const error of errors) {
      const control = controlOf(form, String(error.field ?? ""));
      if (control) said.set(control, [...(said.get(control) ?? []), error.message]);
      else rest.push(error);
    }
    for (const slot of form.querySelectorAll(".wrong")) {
      if (!said.has(slot.control)) clear(slot);
    }
    for (const [control, sentences] of said) tell(control, sentences.join("; "));
    return rest;
  };
}

/** `tokens.PROJECT.str` is about the tokens; `PROJECT` about the value that is tried for it. */
function controlOf(form, field) {
  const name = field.split(".")[0];
  const token = name.toUpperCase();
  const found = form.elements[name] ?? form.querySelector(`[data-token="${CSS.escape(token)}"]`);
  const control = found instanceof RadioNodeList ? found[0] : found;
  return control && !control.closest("[hidden]") ? control : null;
}

function tell(control, sentence) {
  let slot = slotOf(control);
  if (!slot) {
    slot = element("span", { class: "wrong", id: `wrong-${control.name || control.dataset.token}` });
    slot.control = control;
    (control.closest("fieldset") ?? control.closest("label")).append(slot);
  }
  setText(slot, sentence);
  setAttribute(control, "aria-invalid", "true");
  setAttribute(control, "aria-describedby", slot.id);
}

function clear(slot) {
  slot.control.removeAttribute("aria-invalid");
  slot.control.removeAttribute("aria-describedby");
  slot.remove();
}

function slotOf(control) {
  const place = control.closest("fieldset") ?? control.closest("label");
  return [...place.querySelectorAll(".wrong")].find((slot) => slot.control === control);
}
