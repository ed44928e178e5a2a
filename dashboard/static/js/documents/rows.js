// Which rows of a file are left out, in the words of a person: 4, 10-20.

const LAST_ROW = 1_048_576; // of a spreadsheet
const PIECE = /^(\d{1,7})(?:\s*[-–]\s*(\d{1,7}))?$/;

/** Returns the ranges that the text names, ascending and merged; null when it is no such text. */
export function rangesIn(text) {
  const ranges = [];
  for (const piece of text.split(",").map((each) => each.trim()).filter(Boolean)) {
    const match = PIECE.exec(piece);
    if (!match) return null;
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (first < 1 || last < first || last > LAST_ROW) return null;
    ranges.push([first, last]);
  }
  return merged(ranges);
}

export const inWords = (ranges) =>
  ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(", ");

export const has = (ranges, row) => ranges.some(([first, last]) => first <= row && row <= last);

/** Returns the ranges with some rows more, or without them. */
export function changed(ranges, rows, isOut) {
  if (isOut) return merged([...ranges, ...rows.map((row) => [row, row])]);
  const kept = rows.reduce((some, row) => some.flatMap(([first, last]) => {
    if (row < first || row > last) return [[first, last]];
    return [[first, row - 1], [row + 1, last]].filter(([a, b]) => a <= b);
  }), ranges);
  return merged(kept);
}

/** What the API takes: the rows that come in; empty for all of them. */
export function chosen(out) {
  if (!out.length) return "";
  const taken = [];
  let next = 1;
  for (const [first, last] of out) {
    if (first > next) taken.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= LAST_ROW) taken.push([next, LAST_ROW]);
  return inWords(taken).replaceAll(" ", "");
}

function merged(ranges) {
  const all = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const before = all.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else all.push([first, last]);
  }
  return all;
}
