// The controls, the panel of the selected point, and who is told of what.
const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, `'"'"'`)}'`);

function options(id, selected, act) {
  const list = element(id);
  view.tasks.forEach((task, index) => list.append(make("option", { value: index }, task.name)));
  list.value = selected;
  list.addEventListener("change", () => act(Number(list.value)));
}

function scoresTable(point) {
  const head = ["task", "predicted", "search", "report", "kept"].map((name) => make("th", { scope: "col" }, name));
  const rows = view.tasks.map((task, index) => {
    const interval = make("small", {}, `${shown(point.low[index])} to ${shown(point.high[index])}`);
    const kept = point.report ? point.report_share[index] : point.share[index];
    const cells = [make("td", {}, shown(point.predicted[index]), make("br", {}), interval), make("td", {}, shown(point.search && point.search[index])), make("td", {}, shown(point.report && point.report[index])), make("td", {}, percent(kept))];
    return make("tr", {}, make("th", { scope: "row", title: task.name }, task.name), ...cells);
  });
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

function coefficientBars(point) {
  const every = view.points.flatMap((one) => one.c);
  const [low, high] = [Math.min(0, ...every), Math.max(1e-9, ...every)];
  return point.c.map((value, index) => {
    const [from, to] = [Math.min(0, value), Math.max(0, value)];
    const fill = make("i", {});
    fill.style.left = `${(100 * (from - low)) / (high - low)}%`;
    fill.style.width = `${(100 * (to - from)) / (high - low)}%`;
    const name = make("span", { title: view.columns[index] }, view.columns[index]);
    return make("div", { class: "bar" }, name, make("span", { class: "track" }, fill), make("span", {}, shown(value)));
  });
}

function showPoint() {
  const point = view.points[state.point];
  if (!point) return;
  element("point").value = state.point;
  element("point-number").textContent = state.point;
  const measured = point.search || point.report;
  element("point-what").textContent = [state.point === view.balanced ? "The balanced point." : "", measured ? "Verified by evaluation." : "Predicted only: not evaluated.", "Kept: share of the own tuned model, " + (point.report ? "report split." : "predicted.")].join(" ").trim();
  element("point-scores").replaceChildren(scoresTable(point));
  element("point-coefficients").replaceChildren(make("h3", {}, "Coefficients"), ...coefficientBars(point));
  const at = point.c.join(",");
  element("command").textContent = `mergefront merge ${quote(view.source)} --at${at.startsWith("-") ? "=" : " "}${at} --out merged`;
}

function buildLimits() {
  view.tasks.forEach((task, index) => {
    const input = make("input", { type: "number", step: "any", id: `limit-${index}` });
    input.addEventListener("change", () => {
      const bound = input.value === "" ? null : Number(input.value);
      state.limits[index] = bound === null ? null : task.maximize ? [bound, Infinity] : [-Infinity, bound];
      tell("filter");
    });
    element("limits").append(make("label", {}, `${task.name} ${task.maximize ? "≥" : "≤"} `, input));
  });
}

function showLimits() {
  const wishes = [];
  view.tasks.forEach((task, index) => {
    const limit = state.limits[index];
    const bound = limit === null ? null : task.maximize ? limit[0] : limit[1];
    if (document.activeElement !== element(`limit-${index}`)) element(`limit-${index}`).value = bound === null ? "" : shown(bound);
    if (bound !== null) wishes.push(`--require ${quote(`${task.name}${task.maximize ? ">=" : "<="}${shown(bound)}`)}`);
  });
  const kept = view.points.filter((_, n) => passes(n)).length;
  element("kept").textContent = wishes.length ? `${kept} of ${view.points.length} points pass: ${wishes.join(" ")}` : "";
}

function start() {
  if (!view.points.length) return;
  const many = view.tasks.length > 2;
  for (const id of ["parallel-box", "first-pick", "second-pick"]) element(id).hidden = !many;
  options("first", state.first, (task) => { state.first = task; tell("scores"); });
  options("second", state.second, (task) => { state.second = task; tell("scores"); });
  options("order", state.order, (task) => { state.order = task; tell("order"); });
  document.querySelectorAll("input[name=split]").forEach((radio) => radio.addEventListener("change", () => { state.split = radio.value; tell("scores"); }));
  element("point").addEventListener("input", (event) => choose(Number(event.target.value)));
  element("copy").addEventListener("click", copyCommand);
  on("point", showPoint);
  on("point", moveSelection);
  on("scores filter theme", drawFront);
  on("order theme", () => { drawCost(); drawCoefficients(); });
  on("theme", () => { drawFits(); drawProgress(); });
  if (many) {
    buildLimits();
    buildParallel();
    on("point filter", paintParallel);
    on("filter", showLimits);
    paintParallel();
  }
  showPoint();
  tell("theme");
  listen();
}

function listen() {
  const chosen = (event, numberOf) => { const point = numberOf(event.points[0]); if (Number.isInteger(point)) choose(point); };
  const onFront = (hit) => (numbers[hit.curveNumber] ? numbers[hit.curveNumber][hit.pointNumber] : null);
  element("chart-front").on("plotly_hover", (event) => chosen(event, onFront));
  element("chart-front").on("plotly_click", (event) => chosen(event, onFront));
  for (const id of ["chart-cost", "chart-coefficients"]) element(id).on("plotly_click", (event) => chosen(event, (hit) => orderedPoints()[Math.round(hit.x)]));
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", () => tell("theme"));
}

async function copyCommand() {
  const button = element("copy");
  try {
    await navigator.clipboard.writeText(element("command").textContent);
    button.textContent = "Copied";
  } catch {
    // pages opened from a file may not write to the clipboard: the text is selected instead
    getSelection().selectAllChildren(element("command"));
    button.textContent = "Selected";
  }
}

start();
