// Chart.js, fed from own arrays. Every chart has its table, built only while it is open.

import { byId, element, setAttribute } from "./dom.js";
import * as format from "./format.js";

const { Chart } = window;
const MINUTE_MS = 60_000;

// Every colour below is a function of these, so that one update repaints a chart in another theme.
const colours = {};

export function mountCharts(feed, history) {
  Chart.defaults.animation = false;
  Chart.defaults.plugins.colors.enabled = false; // the colours are the style sheet's
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  readColours();
  const charts = [throughput(feed, history), ...bars(feed)];
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    charts.forEach((chart) => chart.update("none"));
  });
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["accent", "wash", "ink", "muted", "line"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

const accent = () => colours.accent;
const muted = () => colours.muted;
const line = () => colours.line;

function throughput(feed, history) {
  const dataset = {
    data: [], fill: true, borderWidth: 1.5, pointRadius: 0, borderColor: accent,
    backgroundColor: () => colours.wash,
  };
  const chart = new Chart(byId("throughput"), {
    type: "line",
    data: { datasets: [dataset] },
    options: {
      parsing: false, normalized: true, maintainAspectRatio: false,
      interaction: { mode: "nearest", axis: "x", intersect: false },
      plugins: { legend: { display: false }, tooltip: { displayColors: false, callbacks: {
        title: ([item]) => format.clock(item.parsed.x),
        label: (item) => `${format.measure(item.parsed.y)} numbers/s`,
      } } },
      scales: { x: timeAxis(), y: rateAxis() },
    },
  });
  const table = tableOf("throughput", () =>
    history.points.slice().reverse().map(({ x, y }) => [format.clock(x), format.measure(y)]));
  feed.on("stats", () => {
    byId("throughput-empty").hidden = history.points.some(({ y }) => y > 0);
    dataset.data = history.points;
    Object.assign(chart.options.scales.x, history.window);
    chart.update("none");
    table();
  });
  return chart;
}

/** Time without a date adapter: a tick on every full minute, whatever the window begins with. */
function timeAxis() {
  return {
    type: "linear",
    afterBuildTicks(axis) {
      axis.ticks = [];
      const first = Math.ceil(axis.min / MINUTE_MS) * MINUTE_MS;
      for (let value = first; value <= axis.max; value += MINUTE_MS) axis.ticks.push({ value });
    },
    ticks: { color: muted, maxRotation: 0, autoSkipPadding: 14, callback: format.minute },
    grid: { color: line }, border: { color: line },
  };
}

function rateAxis() {
  return {
    beginAtZero: true, suggestedMax: 10,
    title: { display: true, text: "numbers/s", color: muted },
    ticks: { color: muted, maxTicksLimit: 5, callback: format.count },
    grid: { color: line }, border: { color: line },
  };
}

function bars(feed) {
  return [...document.querySelectorAll("canvas[data-field]")].map((canvas) => {
    const labels = JSON.parse(canvas.dataset.labels);
    const chart = barChart(canvas, labels);
    const values = chart.data.datasets[0].data;
    const table = tableOf(canvas.id, () =>
      labels.map((label, index) => [label, format.count(values[index])]));
    feed.on("stats", (stats) => {
      const totals = stats[canvas.dataset.field] ?? {};
      const fresh = labels.map((label) => totals[label] ?? 0);
      if (fresh.every((value, index) => value === values[index])) return;
      values.splice(0, values.length, ...fresh);
      const text = labels.map((label, index) => `${label} ${format.count(fresh[index])}`);
      setAttribute(canvas, "aria-label", `Numbers issued: ${text.join(", ")}`);
      chart.update("none");
      table();
    });
    return chart;
  });
}

function barChart(canvas, labels) {
  const dataset = { data: [], maxBarThickness: 22, borderRadius: 3, backgroundColor: accent };
  return new Chart(canvas, {
    type: "bar",
    data: { labels, datasets: [dataset] },
    options: {
      indexAxis: "y", maintainAspectRatio: false, layout: { padding: { right: 72 } },
      plugins: { legend: { display: false }, tooltip: { enabled: false } },
      scales: {
        x: { beginAtZero: true, suggestedMax: 4, display: false },
        y: { ticks: { color: muted }, grid: { display: false }, border: { color: line } },
      },
    },
    plugins: [valueLabels],
  });
}

/** The exact number at the end of each bar: there is no axis to read it from. */
const valueLabels = {
  id: "valueLabels",
  afterDatasetsDraw(chart) {
    const { ctx } = chart;
    ctx.save();
    ctx.fillStyle = colours.ink;
    ctx.textBaseline = "middle";
    ctx.font = `600 12px ${Chart.defaults.font.family}`;
    chart.getDatasetMeta(0).data.forEach((bar, index) => {
      ctx.fillText(format.count(chart.data.datasets[0].data[index]), bar.x + 8, bar.y);
    });
    ctx.restore();
  },
};

/** Returns a function that rebuilds the table of a chart if it is open. */
function tableOf(id, rowsOf) {
  const details = document.querySelector(`[data-table-of="${id}"]`);
  const body = details.querySelector("tbody");
  const build = () => {
    if (!details.open) return;
    const rows = rowsOf().map(([name, value]) => element("tr", {},
      element("th", { scope: "row" }, name), element("td", { class: "num" }, value)));
    body.replaceChildren(...rows);
  };
  details.addEventListener("toggle", build);
  return build;
}
