// What the page shows is its address: the search, the gaps, and the number in the drawer. So the
// back button, a reload and a shared link show the same.

import { sameMode } from "../mode.js";

/** The fields of a search: the API calls them the same. */
export const FIELDS = [
  "number", "documentNumber", "operationType", "siteId", "partitionId", "invoiceType", "from", "to",
  "user", "requestId", "documentType", "counter",
];
const USUAL_GAPS = "all";

/** Returns what the address says: `query` by field, `gaps`, and `shown`, a number or null. */
export function fromAddress() {
  const found = new URLSearchParams(location.search);
  const query = {};
  for (const field of FIELDS) {
    if (found.get(field)) query[field] = found.get(field);
  }
  const number = found.get("show");
  const shown = number ? { number, counter: found.get("of") ?? "" } : null;
  return { query, gaps: found.get("gaps") ?? USUAL_GAPS, shown };
}

/** Returns the address that shows this. */
export function addressOf({ query, gaps = USUAL_GAPS, shown = null }) {
  return sameMode(plainAddressOf({ query, gaps, shown }));
}

function plainAddressOf({ query, gaps, shown }) {
  const told = new URLSearchParams(query);
  if (gaps !== USUAL_GAPS) told.set("gaps", gaps);
  if (shown) told.set("show", shown.number);
  if (shown?.counter) told.set("of", shown.counter);
  const text = String(told);
  return text ? `?${text}` : location.pathname;
}

/** Makes it the address: a new step for the back button, unless it is the same. */
export function go(place, state = null) {
  const address = new URL(addressOf(place), location.href);
  if (address.href !== location.href) history.pushState(state, "", address);
}

export function replace(place) {
  history.replaceState(null, "", addressOf(place));
}

/** Returns the address of a call for a search, with more of its own. */
export function callFor(path, query, more = {}) {
  const asked = new URLSearchParams({ ...query, ...more });
  const text = String(asked);
  return text ? `${path}?${text}` : path;
}
