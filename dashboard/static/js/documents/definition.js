// What stands in the editor's form, as the API takes it, and back.

const FORMAT = ["template", "prefix", "scopes", "start", "max_value", "time_zone", "fiscal_month", "tokens"];
const DEFAULTS = {
  document_type: "", template: "", prefix: "", scopes: ["GLOBAL"], start: 1, max_value: 999_999,
  gap_policy: "void", allow_manual_override: false, reservation_s: 300, time_zone: "UTC",
  fiscal_month: 1, tokens: {}, metadata: null,
};

/** Writes a series into the form; none is a new one. */
export function fill(form, series = DEFAULTS) {
  const { elements } = form;
  for (const name of ["document_type", "template", "prefix", "start", "max_value", "gap_policy",
    "reservation_s", "time_zone", "fiscal_month"]) elements[name].value = series[name];
  elements.allow_manual_override.checked = series.allow_manual_override;
  for (const box of elements.scopes) box.checked = series.scopes.includes(box.value);
  elements.tokens.value = Object.entries(series.tokens)
    .map(([name, values]) => `${name} = ${Array.isArray(values) ? values.join(" | ") : values}`)
    .join("\n");
}

/** Returns the whole definition in the form; `base` is the series that is changed, if there is one. */
export function definition(form, base) {
  const { elements } = form;
  const scopes = [...elements.scopes].filter((box) => box.checked).map((box) => box.value);
  const prefix = elements.prefix.value.trim();
  return {
    template: elements.template.value.trim(),
    ...(prefix || base?.prefix === "" ? { prefix } : {}),
    scopes: scopes.length ? scopes : ["GLOBAL"],
    start: whole(elements.start),
    max_value: whole(elements.max_value),
    time_zone: elements.time_zone.value.trim(),
    fiscal_month: whole(elements.fiscal_month),
    tokens: tokensIn(elements.tokens.value),
    gap_policy: elements.gap_policy.value,
    allow_manual_override: elements.allow_manual_override.checked,
    reservation_s: whole(elements.reservation_s),
    metadata: base?.metadata ?? null,
  };
}

/** The part of a definition that says how its numbers are written and counted. */
export const formatOf = (defined) =>
  Object.fromEntries(FORMAT.filter((name) => name in defined).map((name) => [name, defined[name]]));

/** Tells whether two definitions say the same, in whatever order. */
export const same = (one, other) => JSON.stringify(ordered(one)) === JSON.stringify(ordered(other));

function ordered(value) {
  if (Array.isArray(value)) return [...value].sort();
  if (value === null || typeof value !== "object") return value;
  return Object.keys(value).sort().map((name) => [name, ordered(value[name])]);
}

/** An empty field is null, not the default: the server says what is wrong with it. */
function whole(field) {
  return Number.isNaN(field.valueAsNumber) ? null : field.valueAsNumber;
}

function tokensIn(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(lines.map((line) => {
    const at = line.indexOf("=");
    const name = (at < 0 ? line : line.slice(0, at)).trim();
    const kind = at < 0 ? "" : line.slice(at + 1).trim();
    const isList = kind.includes("|");
    return [name, isList ? kind.split("|").map((each) => each.trim()).filter(Boolean) : kind];
  }));
}
