"use strict";
// What the page shows, and how its parts hear of a change. Text of the study reaches the page only through textContent or `plain`.
const view = JSON.parse(document.getElementById("view").textContent);
const state = { point: view.balanced, split: "search", first: 0, second: Math.min(1, view.tasks.length - 1), order: 0, limits: view.tasks.map(() => null) };
const listeners = { point: [], filter: [], scores: [], order: [], theme: [] };

const on = (names, act) => names.split(" ").forEach((name) => listeners[name].push(act));
const tell = (name) => listeners[name].forEach((act) => act());
const element = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const shown = (score) => (score === null || score === undefined ? "–" : Number(score.toPrecision(4)).toString());
const percent = (share) => (share === null || share === undefined ? "–" : (100 * share).toFixed(1) + " %");
// plotly reads a little HTML in every text: a name is never meant as that
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const short = (name) => (name.length > 28 ? name.slice(0, 27) + "…" : name);
const taskName = (index) => plain(short(view.tasks[index].name));
const axisTitle = (index, arrow) => {
  const task = view.tasks[index];
  const better = task.maximize ? arrow : { "→": "←", "↑": "↓" }[arrow];
  return `${taskName(index)}, ${plain(task.metric)} (better ${better})`;
};

function choose(point) {
  if (point === state.point || point < 0 || point >= view.points.length) return;
  state.point = point;
  tell("point");
}

function passes(point) {
  return state.limits.every((limit, task) => {
    const score = view.points[point].predicted[task];
    return limit === null || (score >= limit[0] && score <= limit[1]);
  });
}

// numbers of the points, from the worst predicted score on the ordering task to the best
function orderedPoints() {
  const sign = view.tasks[state.order].maximize ? 1 : -1;
  return view.points.map((_, n) => n).sort((a, b) => sign * (view.points[a].predicted[state.order] - view.points[b].predicted[state.order]));
}

function make(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
