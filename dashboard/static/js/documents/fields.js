// What must be said of a document before its number can be written: asked for as its series needs it.

import { byId, element, keyed, setAttribute } from "../dom.js";

const BY_ITSELF = new Set(["PREFIX", "SEQ", "YYYY", "YY", "MM", "FY"]);
const PERIODS = new Set(["YEARLY", "MONTHLY", "FISCAL", "GLOBAL"]);
const DEBOUNCE_MS = 250;

/** Returns the tokens of a series whose values a caller gives; of a count, only those of its scopes. */
export function wanted({ template, scopes }, ofScopesOnly = false) {
  const ofTemplate = [...(template ?? "").matchAll(/\{([A-Z][A-Z0-9_]*)(?::[^{}]*)?\}/g)].map((m) => m[1]);
  const ofScopes = scopes.filter((scope) => !PERIODS.has(scope));
  const names = ofScopesOnly ? ofScopes : [...ofScopes, ...ofTemplate];
  return [...new Set(names)].filter((name) => !BY_ITSELF.has(name));
}

/**
 * Fields for the values of tokens in `place`: `show(series)`, `values()`, `fill(values)`, and
 * `missing()`, the names of those that are empty.
 */
export function scopeFields(place, { ofScopesOnly = false, examples = false } = {}) {
  const controls = () => [...place.querySelectorAll("[data-token]")];
  const show = (series) => {
    const items = wanted(series, ofScopesOnly).map((name) => ({ name, kind: kindOf(series, name) }));
    const keyOf = ({ name, kind }) => `${name} ${JSON.stringify(kind)}`;
    keyed(place, items, keyOf, (item) => field(item, examples));
  };
  const values = () =>
    Object.fromEntries(controls().map((each) => [each.dataset.token.toLowerCase(), each.value.trim()])
      .filter(([, value]) => value));
  const fill = (given) => {
    for (const each of controls()) each.value = given[each.dataset.token.toLowerCase()] ?? "";
  };
  const missing = () =>
    controls().filter((each) => !each.value.trim()).map((each) => each.dataset.token.toLowerCase());
  return { show, values, fill, missing };
}

/** A token of places takes the installation's, unless the series says otherwise. */
function kindOf({ tokens }, name) {
  const listed = { SITE: "sites", PARTITION: "partitions" }[name];
  return tokens?.[name] ?? (listed ? JSON.parse(byId("work").dataset[listed]) : "TEXT");
}

function field({ name, kind }, examples) {
  const label = name.toLowerCase().replaceAll("_", " ");
  if (Array.isArray(kind)) {
    const select = element("select", { "data-token": name },
      ...kind.map((value) => element("option", {}, value)));
    return element("label", {}, capital(label), select);
  }
  const input = element("input", {
    type: "text", maxlength: 200, spellcheck: "false", "data-token": name, placeholder: inWords(kind),
  });
  if (examples) input.value = example(kind);
  return element("label", {}, capital(label), input);
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function inWords(kind) {
  const [name, width] = kind.split(":");
  const what = { CODE: "letters or digits", LETTERS: "letters", DIGITS: "digits" }[name];
  return what ? `${width} ${what}` : `up to ${width ?? 20} characters`;
}

function example(kind) {
  const [name, width] = kind.split(":");
  const letters = { LETTERS: "ABCDEFGHIJKLMNOPQRST", DIGITS: "12345678901234567890" }[name];
  if (letters) return letters.slice(0, Number(width) || 1);
  return name === "CODE" ? "P1AAAAAAAAAAAAAAAAAA".slice(0, Number(width) || 1) : "P1";
}

/** Keeps the series to choose from in all the selects, and what was chosen. */
export function fillSelects(templates) {
  for (const select of document.querySelectorAll("select[data-series]")) {
    const before = select.value;
    const fixed = select.name === "chosen" ? [""] : [];
    const names = [...fixed, ...templates.map((each) => each.document_type)];
    keyed(select, names, (name) => name, (name) => element("option", { value: name }, name || "a new one"));
    const chosen = select.dataset.wants ?? before;
    if (names.includes(chosen)) {
      select.value = chosen;
      delete select.dataset.wants;
    }
    setAttribute(select, "data-filled", "true");
  }
}

/** The body of a question about a document: only what is said. */
export function about(documentType, scope, issueDate) {
  const said = { document_type: documentType };
  if (Object.keys(scope).length) said.scope = scope;
  if (issueDate) said.issue_date = issueDate;
  return said;
}

/** Calls `run` when nothing was typed for a moment; the latest call alone counts. */
export function debounced(run) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, DEBOUNCE_MS);
  };
}

/** Runs one question at a time by its number: an answer that was overtaken is thrown away. */
export function latest() {
  let turn = 0;
  return async (question, answered, refused) => {
    turn += 1;
    const mine = turn;
    try {
      const answer = await question();
      if (mine === turn) answered(answer);
    } catch (problem) {
      if (mine === turn) refused(problem);
    }
  };
}
