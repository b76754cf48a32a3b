// The plotly pictures. Each is drawn again from the state; only a new selection moves what is there.
const LOOKS = {
  "average": ["square", "average", 11], "task arithmetic": ["circle-open", "average", 8], "ties": ["triangle-up", "ties", 10],
  "dare": ["triangle-down", "dare", 10], "tuned alone": ["star", "ink", 13], "base": ["x", "ink", 10],
};

function layout(more) {
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 60, r: 12, t: 16, b: 48 }, hovermode: "closest",
    font: { color: colour("ink"), family: "system-ui, Liberation Sans, sans-serif", size: 12 },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: colour("ink") },
    ...more, xaxis: { ...axis, ...(more.xaxis || {}) }, yaxis: { ...axis, ...(more.yaxis || {}) },
  };
}

function draw(id, traces, more) {
  // plotly would offer to send the chart to a server of its makers
  const options = { showSendToCloud: false, plotlyServerURL: "", typesetMath: false, responsive: true, displaylogo: false, displayModeBar: id === "chart-front" ? "hover" : false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  return Plotly.react(id, traces, layout(more), options);
}

function scoresText(head, scores) {
  return [`<b>${plain(head)}</b>`, ...scores.map((score, task) => `${taskName(task)} ${shown(score)}`)].join("<br>");
}

function pair(row) {
  return view.tasks.length > 1 ? [row[state.first], row[state.second]] : [row[0], 0];
}

function cloud(name, rows, texts, symbol, tint, size, more) {
  const spots = rows.map(pair);
  return {
    type: "scatter", mode: "markers", name, x: spots.map((spot) => spot[0]), y: spots.map((spot) => spot[1]), hovertext: texts, hoverinfo: "text",
    marker: { symbol, color: colour(tint), size, ...(more || {}) },
  };
}

function predictedTrace() {
  const kept = view.points.map((_, n) => passes(n));
  const rows = view.points.map((point) => point.predicted);
  const texts = view.points.map((point, n) => scoresText(`point ${n}, predicted`, point.predicted));
  const trace = cloud("front, predicted", rows, texts, "circle", "front", 7, { opacity: kept.map((keep) => (keep ? 1 : 0.12)) });
  const arms = (task) => ({
    type: "data", symmetric: false, thickness: 0.7, width: 0, color: colour("front") + "55",
    array: view.points.map((point, n) => (kept[n] ? Math.max(0, point.high[task] - point.predicted[task]) : 0)),
    arrayminus: view.points.map((point, n) => (kept[n] ? Math.max(0, point.predicted[task] - point.low[task]) : 0)),
  });
  return { ...trace, error_x: arms(state.first), ...(view.tasks.length > 1 ? { error_y: arms(state.second) } : {}), points: view.points.map((_, n) => n) };
}

function frontTraces() {
  const traces = [];
  if (state.split === "search") traces.push(cloud("samples", view.samples, view.samples.map((row) => scoresText("sample", row)), "circle", "sample", 5, { opacity: 0.6 }));
  for (const label of new Set(view.references.map((one) => one.label))) {
    const found = view.references.filter((one) => one.label === label && one[state.split]);
    const [symbol, tint, size] = LOOKS[label] || ["cross", "other", 10];
    const texts = found.map((one) => scoresText(one.label === one.name ? one.name : `${one.name} (${one.label})`, one[state.split]));
    if (found.length) traces.push(cloud(plain(label), found.map((one) => one[state.split]), texts, symbol, tint, size));
  }
  traces.push(predictedTrace());
  const verified = view.points.map((_, n) => n).filter((n) => view.points[n][state.split]);
  const rows = verified.map((n) => view.points[n][state.split]);
  const texts = verified.map((n) => scoresText(`point ${n}, measured (${state.split} split)`, view.points[n][state.split]));
  const look = { line: { width: 2, color: colour("verified") }, opacity: 1 };
  traces.push({ ...cloud("front, verified", rows, texts, "diamond-open", "verified", 10, look), points: verified });
  return [...traces, { ...cloud("selected", [view.points[state.point].predicted], [""], "circle-open", "ink", 18, { line: { width: 2.5 } }), hoverinfo: "skip" }];
}

// Baselines that collapse and far samples do not set the scale: a double click shows them all
function shownRange(task) {
  const weighed = view.references.filter((one) => ["average", "base", "tuned alone"].includes(one.label)).map((one) => one[state.split]);
  const measured = view.points.map((point) => point[state.split]);
  const scores = [...view.points.map((point) => point.predicted), ...weighed, ...measured].filter(Boolean).map((row) => row[task]).filter((score) => score !== null);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const margin = low < high ? 0.06 * (high - low) : 0.5;
  return [low - margin, high + margin];
}

function drawFront() {
  const two = view.tasks.length > 1;
  const traces = frontTraces();
  draw("chart-front", traces, {
    height: two ? 560 : 280, legend: { orientation: "h", y: two ? -0.14 : -0.35, yanchor: "top" }, uirevision: `${state.first} ${state.second} ${state.split}`,
    xaxis: { title: { text: axisTitle(state.first, "→") }, range: shownRange(state.first) },
    yaxis: two ? { title: { text: axisTitle(state.second, "↑") }, range: shownRange(state.second) } : { visible: false },
  });
  // the traces that carry numbers of points can select them
  numbers = traces.map((trace) => trace.points || null);
}

let numbers = [];

function moveSelection() {
  const [x, y] = pair(view.points[state.point].predicted);
  Plotly.restyle("chart-front", { x: [[x]], y: [[y]] }, [numbers.length - 1]);
  const place = orderedPoints().indexOf(state.point);
  for (const id of ["chart-cost", "chart-coefficients"]) Plotly.relayout(id, { shapes: [columnMark(place)] });
}

function columnMark(place) {
  return { type: "rect", xref: "x", yref: "paper", x0: place - 0.5, x1: place + 0.5, y0: 0, y1: 1, line: { color: colour("ink"), width: 1.5 }, fillcolor: "rgba(0,0,0,0)" };
}

function alongFront(order) {
  const step = Math.max(1, Math.ceil(order.length / 20));
  const ticks = order.map((_, place) => place).filter((place) => place % step === 0);
  const direction = view.tasks[state.order].maximize ? "rising" : "falling";
  return {
    title: { text: `points, by ${direction} predicted score on ${taskName(state.order)}` }, tickvals: ticks, ticktext: ticks.map((place) => String(order[place])),
    range: [-0.5, order.length - 0.5], showgrid: false, zeroline: false,
  };
}

function rowsAxis(labels) {
  return { tickvals: labels.map((_, row) => row), ticktext: labels, showgrid: false, zeroline: false, autorange: "reversed" };
}

function drawCost() {
  const order = orderedPoints();
  const loss = view.tasks.map((_, task) => order.map((n) => (view.points[n].share[task] === null ? null : 100 * (1 - view.points[n].share[task]))));
  const far = Math.max(1, ...loss.flat().filter((z) => z !== null).map(Math.abs));
  const texts = view.tasks.map((_, task) => order.map((n) => `point ${n}, ${taskName(task)}: ${percent(view.points[n].share[task] === null ? null : 1 - view.points[n].share[task])}`));
  const map = {
    type: "heatmap", z: loss, hovertext: texts, hoverinfo: "text", zmin: -far, zmax: far, xgap: order.length > 60 ? 0 : 1, ygap: 2,
    colorscale: [[0, colour("front")], [0.5, colour("neutral")], [1, colour("verified")]],
    colorbar: { title: { text: "lost", side: "right" }, ticksuffix: " %", thickness: 12, len: 1, outlinewidth: 0 },
  };
  const verified = order.map((n, place) => [n, place]).filter(([n]) => view.points[n].search || view.points[n].report);
  const marks = { type: "scatter", mode: "markers", x: verified.map(([, place]) => place), y: verified.map(() => -0.85), hoverinfo: "text", hovertext: verified.map(([n]) => `point ${n}, verified`), marker: { symbol: "diamond", size: 8, color: colour("verified") } };
  draw("chart-cost", [map, marks], {
    height: 120 + 34 * view.tasks.length, showlegend: false, shapes: [columnMark(order.indexOf(state.point))],
    xaxis: alongFront(order), yaxis: { ...rowsAxis(view.tasks.map((_, task) => taskName(task))), autorange: false, range: [view.tasks.length - 0.5, -1.3] },
  });
}

function drawCoefficients() {
  const order = orderedPoints();
  const names = view.columns.map((name) => plain(short(name)));
  const values = view.columns.map((_, column) => order.map((n) => view.points[n].c[column]));
  const shapes = [columnMark(order.indexOf(state.point))];
  if (view.tasks.length <= 2 && names.length <= 6) {
    const dashes = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
    const tints = ["front", "verified", "average", "ties", "dare", "ink"];
    const lines = values.map((row, column) => ({ type: "scatter", mode: "lines", name: names[column], y: row, line: { color: colour(tints[column]), dash: dashes[column], width: 2.2 }, hoverinfo: "text", hovertext: row.map((value, place) => `point ${order[place]}, ${names[column]}: ${shown(value)}`) }));
    draw("chart-coefficients", lines, { height: 300, shapes, showlegend: true, xaxis: alongFront(order), yaxis: { title: { text: "coefficient" } } });
    return;
  }
  const low = Math.min(0, ...values.flat());
  const texts = values.map((row, column) => row.map((value, place) => `point ${order[place]}, ${names[column]}: ${shown(value)}`));
  const scale = low < 0 ? [[0, colour("verified")], [0.5, colour("neutral")], [1, colour("front")]] : [[0, colour("neutral")], [1, colour("front")]];
  const far = Math.max(1e-9, -low, ...values.flat());
  const map = { type: "heatmap", z: values, hovertext: texts, hoverinfo: "text", zmin: low < 0 ? -far : 0, zmax: far, colorscale: scale, xgap: order.length > 60 ? 0 : 1, ygap: names.length > 20 ? 0 : 2, colorbar: { title: { text: "coefficient", side: "right" }, thickness: 12, len: 1, outlinewidth: 0 } };
  draw("chart-coefficients", [map], { height: 100 + (names.length > 20 ? 15 : 32) * names.length, shapes, xaxis: alongFront(order), yaxis: rowsAxis(names) });
}

function drawFits() {
  view.fits.forEach((fit, index) => {
    const id = `chart-fit-${index}`;
    if (!element(id)) element("chart-fits").append(make("div", { id, class: "chart", role: "img", "aria-label": `Predicted against measured: ${fit.task}` }));
    const task = view.tasks.findIndex((found) => found.name === fit.task);
    const verified = view.points.filter((point) => point.search);
    const every = [...fit.predicted, ...fit.measured, ...verified.flatMap((point) => [point.predicted[task], point.search[task]])].filter((score) => score !== null);
    const ends = [Math.min(...every), Math.max(...every)];
    const line = (shift, look) => ({ type: "scatter", mode: "lines", x: ends, y: ends.map((end) => end + shift), line: look, hoverinfo: "skip" });
    const rmse = fit.rmse === null ? 0 : fit.rmse;
    const traces = [
      line(-rmse, { width: 0 }), { ...line(rmse, { width: 0 }), fill: "tonexty", fillcolor: colour("front") + "22" }, line(0, { color: colour("soft"), width: 1 }),
      { type: "scatter", mode: "markers", x: fit.predicted, y: fit.measured, marker: { color: colour("front"), size: 5 }, hoverinfo: "x+y" },
      {
        type: "scatter", mode: "markers", x: verified.map((point) => point.predicted[task]), y: verified.map((point) => point.search[task]), hoverinfo: "x+y",
        marker: { symbol: "diamond-open", color: colour("verified"), size: 8, line: { width: 1.5 } },
        error_x: { type: "data", symmetric: false, width: 0, thickness: 1, color: colour("verified"), array: verified.map((point) => Math.max(0, point.high[task] - point.predicted[task])), arrayminus: verified.map((point) => Math.max(0, point.predicted[task] - point.low[task])) },
      },
    ];
    draw(id, traces, {
      height: 270, showlegend: false, margin: { l: 50, r: 8, t: 42, b: 44 },
      title: { text: `<b>${plain(short(fit.task))}</b><br>LOO error ${shown(fit.rmse)}`, font: { size: 12 }, x: 0.02, xanchor: "left" },
      xaxis: { title: { text: "predicted" } }, yaxis: { title: { text: "measured" } },
    });
  });
}

function drawProgress() {
  if (!view.progress.length) return;
  const [x, y] = [0, 1].map((part) => view.progress.map((step) => step[part]));
  const trace = { type: "scatter", mode: "lines+markers", x, y: y.map((share) => 100 * share), line: { color: colour("front"), shape: "hv" }, marker: { size: 5 }, hoverinfo: "x+y" };
  draw("chart-progress", [trace], { height: 260, xaxis: { title: { text: "evaluations on the search split" }, rangemode: "tozero" }, yaxis: { title: { text: "hypervolume, % of the last" }, rangemode: "tozero" } });
}
