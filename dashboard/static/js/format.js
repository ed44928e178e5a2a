// How values read. Everything shown to a person passes through here, with the browser's locale.

const integer = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const twoDigits = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const timeOfDay = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

const hourAndMinute = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

export const NONE = "–";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export function count(value) {
  return isNumber(value) ? integer.format(value) : NONE;
}

/** Short where digits say nothing (120), exact where they do (3.4, 0.85). */
export function measure(value) {
  if (!isNumber(value)) return NONE;
  if (value >= 100) return integer.format(value);
  return (value >= 10 ? oneDigit : twoDigits).format(value);
}

export function clock(moment) {
  const date = new Date(moment);
  return Number.isNaN(date.getTime()) ? NONE : timeOfDay.format(date);
}

/** 4 s, 12 min, 3 h: as long as it matters. */
export function duration(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 120) return `${count(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 120 ? `${count(minutes)} min` : `${count(Math.floor(minutes / 60))} h`;
}

export function minute(moment) {
  return hourAndMinute.format(new Date(moment));
}

export function full(moment) {
  const date = new Date(moment);
  return Number.isNaN(date.getTime()) ? "" : dateAndTime.format(date);
}

export function plural(value, one, many) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** 3, 7, 43–65: numbers as a person would list them, at most `limit` runs. */
export function ranges(numbers, limit = 12) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const runs = [];
  for (const number of sorted) {
    const run = runs.at(-1);
    if (run && number === run.last + 1) run.last = number;
    else runs.push({ first: number, last: number });
  }
  const shown = runs.slice(0, limit).map(({ first, last }) => {
    if (first === last) return count(first);
    return `${count(first)}–${count(last)}`;
  });
  if (runs.length > limit) shown.push("…");
  return shown.join(", ");
}
