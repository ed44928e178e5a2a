// What happened to a number, as a person says it.

import { sameMode } from "./mode.js";

export const OPERATIONS = new Map([
  ["GENERATE", "issued"], ["RECOVER", "reissued"], ["RELEASE", "released"],
  ["RESERVE", "reserved"], ["CONFIRM", "confirmed"], ["CANCEL", "cancelled"],
  ["EXPIRE", "expired"], ["VOID", "void"], ["MANUAL_OVERRIDE", "set by hand"],
  ["IMPORT", "imported"], ["ADJUST", "adjusted"], ["RESET", "reset"],
]);

export const operationName = (type) => OPERATIONS.get(type) ?? type;

/** Where the whole history of a number is to be seen; `counter` where several may have it. */
export function historyOf(number, counter) {
  const asked = new URLSearchParams({ show: number });
  if (counter) asked.set("of", counter);
  return sameMode(`/dashboard/audit?${asked}`);
}
