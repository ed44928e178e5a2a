// Charts over time: throughput, latency, gaps; with what happened to the cluster as lines.

import { byId, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { Chart, colours, drawnInSight, paint, tableOf } from "./paint.js";
import { RANGES } from "./history.js";

const SECOND_MS = 1_000;
const TICKS = { "1m": 15, "5m": 60, "15m": 180, "1h": 600, "6h": 3_600 }; // seconds between them
const LABEL_GAP = 6;
const LABEL_HEIGHT = 13;
const LABEL_ROWS = 3;
const ROWS = Array.from({ length: LABEL_ROWS }, (_, row) => row);

const WORDS = {
  "node-gone": ["gone", "bad"], "node-came": ["up", "good"],
  "member-gone": ["gone", "bad"], "member-came": ["up", "good"],
  killed: ["killed", "bad"], stopped: ["stopped", "bad"], died: ["died", "bad"],
  paused: ["paused", "gap"], restarted: ["restarted", "muted"], resumed: ["goes on", "good"],
  "new-leader": ["leads", "muted"], "turn-moved": ["commits for all", "muted"],
};

const CHARTS = [
  { id: "throughput", unit: "numbers/s", suggestedMax: 10, markers: true, lines: [
    { key: "rate", label: "issued", colour: "accent", fill: "wash" }] },
  { id: "latency", unit: "ms", suggestedMax: 5, lines: [
    { key: "p99", label: "p99", colour: "gap-fill", isLonely: true },
    { key: "p50", label: "p50", colour: "accent", isLonely: true }] },
  { id: "gap-flow", unit: "gaps/s", suggestedMax: 2, lines: [
    { key: "opened", label: "opened", colour: "gap-fill" },
    { key: "refilled", label: "refilled", colour: "good" }] },
];

export function timeCharts(history) {
  mountRanges(history);
  const mounted = CHARTS.map((about) => mountChart(about, history));
  const draw = () => {
    const view = history.view();
    mounted.forEach(({ show }) => show(view));
    const last = view.markers.at(-1);
    setText(byId("happened"), last ? `Last: ${format.clock(last.time)} ${describe(last)}` : "");
  };
  history.onChange(draw);
  draw();
  return mounted.map(({ chart }) => chart);
}

function mountRanges(history) {
  const buttons = [...document.querySelectorAll("[data-range]")];
  const show = () => {
    for (const button of buttons) {
      setAttribute(button, "aria-pressed", button.dataset.range === history.range);
    }
  };
  for (const button of buttons) {
    button.addEventListener("click", () => history.choose(button.dataset.range));
  }
  history.onChange(show);
  show();
}

function mountChart(about, history) {
  const datasets = about.lines.map(({ label, fill }) => ({
    label, data: [], borderWidth: 1.5, pointRadius: 0, pointHitRadius: 8, fill: Boolean(fill),
  }));
  const canvas = byId(about.id);
  const chart = new Chart(canvas, {
    type: "line",
    data: { datasets },
    options: {
      parsing: false, normalized: true, maintainAspectRatio: false,
      layout: { padding: { top: about.markers ? LABEL_ROWS * LABEL_HEIGHT : 4 } },
      interaction: { mode: "nearest", axis: "x", intersect: false },
      plugins: {
        legend: { display: false }, happened: { markers: [], hasLabels: about.markers },
        tooltip: { displayColors: datasets.length > 1, callbacks: {
          title: ([item]) => format.clock(item?.parsed.x),
          label: ({ dataset, parsed }) =>
            `${dataset.label} ${format.measure(parsed.y)} ${about.unit}`,
        } },
      },
      scales: { x: timeAxis(history), y: valueAxis(about) },
    },
    plugins: [happened, coloursOf(about, datasets)],
  });
  const draw = drawnInSight(chart);
  const table = tableOf(about.id, () => rowsOf(about, history.view()));
  const show = (view) => {
    about.lines.forEach(({ key, isLonely }, index) => {
      datasets[index].data = view.steps.map((step) => ({ x: step.x, y: step[key] }));
      // A value between two seconds without any is no line: it is shown as a point.
      const hasHoles = isLonely && view.steps.some((step) => step[key] == null);
      datasets[index].pointRadius = hasHoles ? radiusOf : 0;
    });
    const quiet = view.steps.every((step) => about.lines.every(({ key }) => !step[key]));
    byId(`${about.id}-empty`).hidden = !quiet;
    Object.assign(chart.options.scales.x, { min: view.min, max: view.max });
    chart.options.plugins.happened.markers = view.markers;
    setAttribute(canvas, "aria-label", summaryOf(about, view));
    draw();
    table();
  };
  return { chart, show };
}

/** Colours as they are, not as functions: those are asked again for each point of a line. */
const coloursOf = ({ lines }, datasets) => ({
  id: "colours",
  beforeUpdate() {
    lines.forEach(({ colour, fill }, index) => Object.assign(datasets[index], {
      borderColor: colours[colour], pointBackgroundColor: colours[colour],
      backgroundColor: colours[fill ?? colour],
    }));
  },
});

function radiusOf({ dataIndex, dataset }) {
  const near = [dataset.data[dataIndex - 1], dataset.data[dataIndex + 1]];
  const isAlone = dataset.data[dataIndex]?.y != null && near.every((step) => step?.y == null);
  return isAlone ? 2 : 0;
}

function summaryOf({ id, unit, lines }, { steps }) {
  const last = steps.at(-1);
  const values = lines.map(({ key, label }) => `${label} ${format.measure(last?.[key])}`);
  return `${byId(`${id}-title`).textContent} over time; now ${values.join(", ")} ${unit}`;
}

function rowsOf({ lines, markers: isWithMarkers }, { steps, markers }) {
  const rows = steps.map((step) => ({
    x: step.x, cells: [format.clock(step.x), ...lines.map(({ key }) => format.measure(step[key]))],
  }));
  if (isWithMarkers) {
    rows.forEach(({ cells }) => cells.push(""));
    rows.push(...markers.map((marker) => ({
      x: marker.time, cells: [format.clock(marker.time), format.NONE, describe(marker)],
    })));
  }
  return rows.sort((a, b) => b.x - a.x).map(({ cells }) => cells);
}

/** Time without a date adapter: ticks on full minutes or hours, whatever the window begins with. */
function timeAxis(history) {
  return {
    type: "linear",
    afterBuildTicks(axis) {
      const step = TICKS[history.range] * SECOND_MS;
      axis.ticks = [];
      const first = Math.ceil(axis.min / step) * step;
      for (let value = first; value <= axis.max; value += step) axis.ticks.push({ value });
    },
    ticks: { color: paint("muted"), maxRotation: 0, autoSkipPadding: 14, callback: (value) =>
      (RANGES.get(history.range) > 60_000 ? format.minute(value) : format.clock(value)) },
    grid: { color: paint("line") }, border: { color: paint("line") },
  };
}

function valueAxis({ suggestedMax, unit }) {
  return {
    beginAtZero: true, suggestedMax,
    title: { display: true, text: unit, color: paint("muted") },
    ticks: { color: paint("muted"), maxTicksLimit: 5, callback: format.measure },
    grid: { color: paint("line") }, border: { color: paint("line") },
  };
}

function describe({ kind, who }) {
  const what = WORDS[kind]?.[0] ?? kind;
  // Members of etcd are known by their address; on this host by its port.
  const address = who.replace(/^https?:\/\/(127\.0\.0\.1|localhost)?/, "");
  return who === address ? `${who} ${what}` : `etcd ${address} ${what}`;
}

/** Vertical lines where something happened; their labels in a few rows, as many as find room. */
const happened = {
  id: "happened",
  afterDraw(chart, _, { markers, hasLabels }) {
    const { ctx, chartArea: { top, bottom, left, right }, scales: { x } } = chart;
    ctx.save();
    ctx.font = `600 11px ${Chart.defaults.font.family}`;
    ctx.textBaseline = "bottom";
    ctx.setLineDash([4, 3]);
    const lines = (markers ?? []).map((marker) => ({ ...marker, ...lookOf(marker), row: -1,
      at: Math.round(x.getPixelForValue(marker.time)) + 0.5 })).filter(({ at }) => at >= left && at <= right);
    const labels = hasLabels ? labelled(lines, right, (text) => ctx.measureText(text).width) : [];
    for (const { at, row, colour } of lines) {
      ctx.strokeStyle = colours[colour];
      ctx.beginPath();
      ctx.moveTo(at, top - Math.max(0, row) * LABEL_HEIGHT);
      ctx.lineTo(at, bottom);
      ctx.stroke();
    }
    for (const { text, colour, start, end, row } of labels) {
      const base = top - row * LABEL_HEIGHT;
      ctx.fillStyle = colours.surface; // no line crosses a label
      ctx.fillRect(start, base - LABEL_HEIGHT, end - start, LABEL_HEIGHT - 1);
      ctx.fillStyle = colours[colour];
      ctx.fillText(text, start, base - 1);
    }
    ctx.restore();
  },
};

const lookOf = (marker) => ({ text: describe(marker), colour: WORDS[marker.kind]?.[1] ?? "muted" });

/** Gives a row to each label that finds room: what went away comes first, and of that the newest. */
export function labelled(lines, right, widthOf) {
  const isBad = ({ colour }) => Number(colour === "bad");
  const labels = [];
  for (const line of [...lines].sort((a, b) => isBad(b) - isBad(a) || b.time - a.time)) {
    const width = widthOf(line.text);
    const start = Math.min(line.at, right - width);
    const end = start + width;
    const isFree = (row) => labels.every((other) =>
      other.row !== row || start > other.end + LABEL_GAP || end < other.start - LABEL_GAP);
    line.row = ROWS.findIndex(isFree);
    if (line.row >= 0) labels.push(Object.assign(line, { start, end }));
  }
  return labels;
}
