// Parallel coordinates with brushing, in SVG: it needs no WebGL, follows the theme, and prints.
const SPACE = { width: 1200, height: 380, top: 52, bottom: 34, side: 70 };
const svg = (tag, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};
const axisX = (task) => SPACE.side + (task * (SPACE.width - 2 * SPACE.side)) / Math.max(1, view.tasks.length - 1);

// [worst, best] score on each axis
const ends = view.tasks.map((task, index) => {
  const scores = view.points.map((point) => point.predicted[index]);
  let [low, high] = [Math.min(...scores), Math.max(...scores)];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  return task.maximize ? [low, high] : [high, low];
});

function axisY(task, score) {
  const [worst, best] = ends[task];
  return SPACE.height - SPACE.bottom - ((score - worst) / (best - worst)) * (SPACE.height - SPACE.top - SPACE.bottom);
}

function scoreAt(task, y) {
  const [worst, best] = ends[task];
  const share = (SPACE.height - SPACE.bottom - y) / (SPACE.height - SPACE.top - SPACE.bottom);
  return worst + Math.min(1, Math.max(0, share)) * (best - worst);
}

function lineColour(point) {
  const [worst, best] = ends[0];
  const share = (view.points[point].predicted[0] - worst) / (best - worst);
  // one hue family from dark to light reads in grey too; the ends differ for every colour vision
  const stops = [[68, 58, 150], [38, 140, 141], [190, 190, 50]];
  const [from, to, part] = share < 0.5 ? [stops[0], stops[1], share * 2] : [stops[1], stops[2], share * 2 - 1];
  return `rgb(${from.map((value, index) => Math.round(value + part * (to[index] - value))).join(",")})`;
}

function buildParallel() {
  const root = svg("svg", { viewBox: `0 0 ${SPACE.width} ${SPACE.height}` });
  view.points.forEach((point, n) => {
    const path = point.predicted.map((score, task) => `${task ? "L" : "M"}${axisX(task).toFixed(1)},${axisY(task, score).toFixed(1)}`).join("");
    root.append(svg("path", { d: path, class: "line", stroke: lineColour(n), "data-point": n }));
  });
  view.tasks.forEach((task, index) => root.append(...axisParts(task, index)));
  element("parallel").replaceChildren(root);
  root.addEventListener("pointermove", (event) => { if (!event.buttons) nearest(root, event); });
}

function axisParts(task, index) {
  const [x, top, bottom] = [axisX(index), SPACE.top, SPACE.height - SPACE.bottom];
  const text = (y, content, kind) => Object.assign(svg("text", { x, y, class: kind }), { textContent: content });
  const name = task.name.length > 20 ? task.name.slice(0, 19) + "…" : task.name;
  const brush = svg("rect", { x: x - 7, y: 0, width: 14, height: 0, class: "brush", "data-task": index });
  const hit = svg("rect", { x: x - 16, y: top, width: 32, height: bottom - top, class: "hit" });
  hit.addEventListener("pointerdown", (event) => startBrush(event, index, hit));
  return [
    svg("line", { x1: x, x2: x, y1: top, y2: bottom, class: "axis" }), text(16, name, "name"), text(31, task.metric, "end"),
    text(top - 6, shown(ends[index][1]), "end"), text(bottom + 15, shown(ends[index][0]), "end"), brush, hit,
  ];
}

const localY = (event, shape) => new DOMPoint(event.clientX, event.clientY).matrixTransform(shape.getScreenCTM().inverse());

function startBrush(event, task, hit) {
  const from = localY(event, hit).y;
  hit.setPointerCapture(event.pointerId);
  const move = (moved) => {
    const to = localY(moved, hit).y;
    const scores = [scoreAt(task, from), scoreAt(task, to)].sort((a, b) => a - b);
    state.limits[task] = Math.abs(to - from) > 3 ? scores : null;
    tell("filter");
  };
  hit.addEventListener("pointermove", move);
  hit.addEventListener("pointerup", (ended) => { move(ended); hit.removeEventListener("pointermove", move); }, { once: true });
}

// hovering selects the line that passes nearest, within reach
function nearest(root, event) {
  const spot = localY(event, root);
  const gap = (SPACE.width - 2 * SPACE.side) / Math.max(1, view.tasks.length - 1);
  const left = Math.min(view.tasks.length - 2, Math.max(0, Math.floor((spot.x - SPACE.side) / gap)));
  const part = (spot.x - axisX(left)) / gap;
  let [best, reach] = [-1, 9];
  view.points.forEach((point, n) => {
    if (!passes(n)) return;
    const y = (1 - part) * axisY(left, point.predicted[left]) + part * axisY(left + 1, point.predicted[left + 1]);
    if (Math.abs(y - spot.y) < reach) [best, reach] = [n, Math.abs(y - spot.y)];
  });
  if (best >= 0) choose(best);
}

function paintParallel() {
  const lines = [...document.querySelectorAll("#parallel path")];
  for (const line of lines) {
    const point = Number(line.dataset.point);
    line.classList.toggle("out", !passes(point));
    line.classList.toggle("chosen", point === state.point);
  }
  const chosen = lines.find((line) => Number(line.dataset.point) === state.point);
  const axes = document.querySelector("#parallel .axis");
  if (chosen) axes.before(chosen);
  document.querySelectorAll("#parallel .brush").forEach((brush) => {
    const limit = state.limits[Number(brush.dataset.task)];
    const heights = limit === null ? [0, 0] : limit.map((score) => clampedY(Number(brush.dataset.task), score)).sort((a, b) => a - b);
    brush.setAttribute("y", heights[0]);
    brush.setAttribute("height", heights[1] - heights[0]);
  });
}

const clampedY = (task, score) => Math.min(SPACE.height - SPACE.bottom, Math.max(SPACE.top, axisY(task, score)));
