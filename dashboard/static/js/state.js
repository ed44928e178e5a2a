// What the stream has told so far: a snapshot, and each change since. The same in worker and page.

const RECORDS_MAX = 25;
const POINTS_MAX = 1_500;
const MARKERS_MAX = 256;
const KEPT_WHOLE = ["cluster", "proof", "gaps", "time"];
const KEPT_BY_NAME = ["stats", "lasts"];

/** Returns the state of a snapshot. Points become objects, with `x` as their time. */
export function fromSnapshot(snapshot) {
  const { fields, points } = snapshot.timeline;
  return {
    ...snapshot,
    timeline: undefined,
    fields,
    points: points.map((values) => pointOf(fields, values)),
  };
}

/** Returns the state after one more event; `changed` names the parts that differ. */
export function after(state, body) {
  const next = { ...state, stale: body.stale ?? null };
  const changed = new Set(["link"]);
  for (const name of KEPT_WHOLE) {
    // The time of what is shown stands still while nothing can be seen.
    if (!(name in body) || (name === "time" && body.stale)) continue;
    next[name] = body[name];
    changed.add(name);
  }
  for (const name of KEPT_BY_NAME) {
    if (!body[name]) continue;
    next[name] = { ...state[name], ...body[name] };
    changed.add(name);
  }
  if (body.records) {
    next.records = recordsAfter(state.records ?? [], body.records);
    changed.add("records");
  }
  if (body.points?.length) {
    next.points = pointsAfter(state.points, body.points.map((v) => pointOf(state.fields, v)));
    changed.add("points");
  }
  if (body.markers) {
    next.markers = markersAfter(state.markers, body.markers);
    changed.add("points");
  }
  return { state: next, changed };
}

export function pointOf(fields, values) {
  const point = {};
  fields.forEach((name, index) => (point[name] = values[index]));
  point.x = point.time_ms;
  return point;
}

const second = ({ x }) => Math.floor(x / 1_000);

/** A point stands for its second: a later one of the same second takes its place. */
export function pointsAfter(points, fresh, most = POINTS_MAX) {
  const first = second(fresh[0]);
  let end = points.length;
  while (end && second(points[end - 1]) >= first) end -= 1;
  return [...points.slice(Math.max(0, end + fresh.length - most), end), ...fresh];
}

/** What happened may be told late, and a snapshot may have had it already. */
function markersAfter(before, fresh) {
  const isSame = (one, other) => one.time === other.time && one.kind === other.kind && one.who === other.who;
  const news = fresh.filter((marker) => !before.some((known) => isSame(known, marker)));
  return [...before, ...news].sort((a, b) => a.time - b.time).slice(-MARKERS_MAX);
}

function recordsAfter(before, { all, new: fresh, changed }) {
  if (all) return all;
  const other = new Map(changed.map((record) => [record.auditId, record]));
  const kept = before.map((record) => other.get(record.auditId) ?? record);
  return [...fresh, ...kept].slice(0, RECORDS_MAX);
}
