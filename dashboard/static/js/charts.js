// All charts, in the colours of the theme.

import { barCharts } from "./bars.js";
import { Chart, readColours } from "./paint.js";
import { timeCharts } from "./timecharts.js";

export function mountCharts(feed, history) {
  Chart.defaults.animation = false;
  Chart.defaults.plugins.colors.enabled = false; // the colours are the style sheet's
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  readColours();
  const charts = [...timeCharts(history), ...barCharts(feed)];
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    charts.forEach((chart) => chart.update("none"));
  });
}
