// The chart of runs: how long each took, in the colour of how it ended.
"use strict";

{
  const tones = { completed: "--good", partial: "--warn", failed: "--bad", cancelled: "--still" };
  const charts = new Set();

  const took = (seconds) => {
    if (seconds == null) return "–";
    if (seconds < 60) return `${numbers.format(seconds)} s`;
    return seconds < 3600 ? `${numbers.format(seconds / 60)} min` : `${numbers.format(seconds / 3600)} h`;
  };

  function draw(block) {
    const place = block.previousElementSibling;
    const { runs, words } = JSON.parse(block.textContent);
    const sorted = runs.toSorted((one, other) => one.at - other.at);
    const data = [sorted.map((run) => run.at)];
    const ink = colour("--soft");
    const axis = { stroke: ink, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const series = [{ label: words.when, value: (_, at) => (at == null ? "–" : absolute.format(new Date(at * 1000))) }];
    for (const [status, tone] of Object.entries(tones)) {
      data.push(sorted.map((run) => (run.status === status ? run.seconds : null)));
      const fill = colour(tone);
      series.push({ label: words[status], stroke: fill, paths: () => null, points: { show: true, size: 6, fill, stroke: fill }, value: (_, seconds) => took(seconds) });
    }
    const chart = new uPlot({
      width: place.clientWidth, height: 190, series,
      axes: [
        { ...axis, values: (_, ticks, _axis, _space, step) => ticks.map((at) => new Date(at * 1000).toLocaleString(language, step >= 86400 ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", ...(step < 60 && { second: "2-digit" }) })) },
        { ...axis, size: 64, values: (_, ticks) => ticks.map(took) },
      ],
      scales: { y: { range: (_, least, most) => [0, Math.max(1, most * 1.15)] } },
      cursor: { y: false },
    }, data, place);
    charts.add({ chart, place });
  }

  function drawAll() {
    for (const one of charts) {
      one.chart.destroy();
      charts.delete(one);
    }
    document.querySelectorAll('[data-chart="runs"]').forEach(draw);
  }

  onceDrawn(drawAll);
  document.addEventListener("refreshed", drawAll);
  document.addEventListener("htmx:afterSwap", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("resize", () => charts.forEach(({ chart, place }) => chart.setSize({ width: place.clientWidth, height: 190 })));
}
