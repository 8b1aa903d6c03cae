// The charts of a product: its price, its stock, and its place for the buy button. Each value holds until the next one.
"use strict";

{
  const formats = {
    sale_price: (currency) => new Intl.NumberFormat(language, currency ? { style: "currency", currency, maximumFractionDigits: 4 } : { maximumFractionDigits: 4 }),
    general_stock: () => new Intl.NumberFormat(language),
    buy_button_rank: () => new Intl.NumberFormat(language, { maximumFractionDigits: 0 }),
  };
  const height = 180;
  const drawn = [];

  // What was not said to change is as before; while the offer is removed it has no value at all.
  function course(points, name) {
    const times = [], values = [];
    let value = null, gone = false;
    for (const point of points) {
      if (name in point) value = point[name];
      if (point.kind === "removed" || point.kind === "restored") gone = point.kind === "removed";
      times.push(point.at);
      values.push(gone ? null : value);
    }
    times.push(Date.now() / 1000);
    values.push(gone ? null : value);
    return [times, values];
  }

  function day(at, step) {
    const shape = step >= 86400 ? { day: "numeric", month: "short" } : step >= 60 ? { hour: "2-digit", minute: "2-digit" } : { minute: "2-digit", second: "2-digit" };
    return new Date(at * 1000).toLocaleString(language, shape);
  }

  function draw(place, { points, currency, words }) {
    const name = place.dataset.series;
    const data = course(points, name);
    if (!data[1].some((value) => value != null)) {
      place.replaceChildren(Object.assign(document.createElement("p"), { className: "soft", textContent: words.nothing }));
      return;
    }
    const format = formats[name](currency);
    const say = (_, value) => (value == null ? "–" : format.format(value));
    const whole = name !== "sale_price";
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const line = colour("--accent");
    drawn.push([place, new uPlot({
      width: place.clientWidth, height,
      legend: { live: true },
      cursor: { y: false, points: { size: 7 } },
      scales: {
        y: {
          dir: name === "buy_button_rank" ? -1 : 1, // the first place is on top
          range: (_, least, most) => {
            const room = Math.max((most - least) * 0.1, whole ? 1 : Math.abs(most) * 0.05 || 1);
            return [Math.max(name === "buy_button_rank" ? 0.5 : 0, least - room), most + room]; // there is no place 0
          },
        },
      },
      axes: [
        { ...axis, space: 70, values: (_, ticks, _axis, _space, step) => ticks.map((at) => day(at, step)) },
        { ...axis, size: 70, incrs: whole ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000, 1000000] : undefined, values: (_, ticks) => ticks.map((value) => (name === "sale_price" ? numbers.format(value) : format.format(value))) },
      ],
      series: [
        { label: words.when, value: (_, at) => (at == null ? "–" : absolute.format(new Date(at * 1000))) },
        { label: words[name], stroke: line, width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: points.length < 60, size: 6, fill: line }, value: say },
      ],
    }, data, place)]);
  }

  function drawAll() {
    for (const [, chart] of drawn.splice(0)) chart.destroy();
    const block = document.getElementById("points");
    if (!block) return;
    const content = JSON.parse(block.textContent);
    for (const place of document.querySelectorAll("[data-series]")) draw(place, content);
  }

  onceDrawn(drawAll);
  document.addEventListener("refreshed", (event) => { if (event.detail.id === "points") drawAll(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("resize", () => { for (const [place, chart] of drawn) chart.setSize({ width: place.clientWidth, height }); });
}
