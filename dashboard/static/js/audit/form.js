// The search form. Moments are shown in the reader's own time, and kept in the address as UTC.

import { byId, element } from "../dom.js";
import { OPERATIONS } from "../operations.js";
import { FIELDS } from "./address.js";

const MOMENTS = new Set(["from", "to"]);
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const DAY_MS = 86_400_000;

/** `search(query)` is called when somebody asks. Returns `fill(query)`. */
export function mountForm(search) {
  const form = byId("search");
  const operations = form.elements.operationType;
  operations.append(...Array.from(OPERATIONS, ([value, name]) => element("option", { value }, name)));
  const fill = (query) => {
    for (const field of FIELDS) put(form.elements[field], field, query[field] ?? "");
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search(queryOf(form));
  });
  byId("clear").addEventListener("click", () => {
    fill({});
    search({});
    form.elements.number.focus();
  });
  return fill;
}

function queryOf(form) {
  const query = {};
  for (const field of FIELDS) {
    const value = form.elements[field].value.trim();
    if (value) query[field] = MOMENTS.has(field) ? inUtc(value) : value;
  }
  return query;
}

function put(control, field, value) {
  if (MOMENTS.has(field)) {
    control.value = inOwnTime(value, field);
    return;
  }
  const isChoice = control.tagName === "SELECT";
  const known = !isChoice || [...control.options].some((option) => option.value === value);
  if (!known) control.append(element("option", {}, value)); // a link may name what is no more
  control.value = value;
}

const inUtc = (value) => new Date(value).toISOString().replace(".000Z", "Z");

function inOwnTime(value, field) {
  if (!value) return "";
  const end = DAY.test(value) && field === "to" ? DAY_MS : 0; // a day is in both of its ends
  const moment = Date.parse(value) + end;
  if (Number.isNaN(moment)) return "";
  const offset = new Date(moment).getTimezoneOffset() * 60_000;
  return new Date(moment - offset).toISOString().slice(0, 19);
}
