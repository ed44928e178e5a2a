// Bars: how the numbers are distributed.

import { setAttribute } from "./dom.js";
import * as format from "./format.js";
import { Chart, colours, drawnInSight, paint, tableOf } from "./paint.js";

/** Numbers issued by site, partition and type: as bars with their exact numbers. */
export function barCharts(feed) {
  return [...document.querySelectorAll("canvas[data-field]")].map((canvas) => {
    const labels = JSON.parse(canvas.dataset.labels);
    const chart = barChart(canvas, labels);
    const draw = drawnInSight(chart);
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
      draw();
      table();
    });
    return chart;
  });
}

function barChart(canvas, labels) {
  const dataset = { data: [], maxBarThickness: 22, borderRadius: 3, backgroundColor: paint("accent") };
  return new Chart(canvas, {
    type: "bar",
    data: { labels, datasets: [dataset] },
    options: {
      indexAxis: "y", maintainAspectRatio: false, layout: { padding: { right: 72 } },
      plugins: { legend: { display: false }, tooltip: { enabled: false } },
      scales: {
        x: { beginAtZero: true, suggestedMax: 4, display: false },
        y: { ticks: { color: paint("muted") }, grid: { display: false }, border: { color: paint("line") } },
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
