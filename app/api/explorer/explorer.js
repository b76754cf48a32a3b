"use strict";
const $ = (selector) => document.querySelector(selector);
const keyField = $("#key input");
let cursor = null, shown = null, front = null;

keyField.value = sessionStorage.getItem("key") || "";
$("#key").addEventListener("submit", (event) => event.preventDefault());
keyField.addEventListener("change", () => { sessionStorage.setItem("key", keyField.value); begin(); });
$("#more").addEventListener("click", () => list());
for (const select of document.querySelectorAll("#axes select")) select.addEventListener("change", draw);

function ask(path) {
  return fetch(path, { headers: keyField.value ? { Authorization: `Bearer ${keyField.value}` } : {} });
}

function element(name, text, attributes = {}, place = "http://www.w3.org/1999/xhtml") {
  const made = document.createElementNS(place, name);
  if (text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const svg = (name, attributes, text = null) => element(name, text, attributes, "http://www.w3.org/2000/svg");

function begin() {
  cursor = null;
  $("#studies tbody").replaceChildren();
  $("#study").hidden = true;
  list();
}

async function list() {
  const answer = await ask("/v1/studies?limit=100" + (cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""));
  const body = await answer.json();
  if (!answer.ok) { $("#notice").textContent = body.detail; $("#studies").hidden = true; return; }
  for (const study of body.items) $("#studies tbody").prepend(row(study));
  cursor = body.next;
  $("#more").hidden = cursor === null;
  const some = $("#studies tbody").rows.length > 0;
  $("#studies").hidden = !some;
  $("#notice").textContent = some ? "" : "There is no study yet: create one at /docs, or with mergefront submit.";
}

function row(study) {
  const line = element("tr", null), name = element("td", null), open = element("button", study.name);
  open.addEventListener("click", () => show(study.id));
  name.append(open);
  line.append(name, element("td", study.status), element("td", study.tasks.join(", ")), element("td", study.created.slice(0, 16).replace("T", " ")));
  return line;
}

async function show(id) {
  shown = await (await ask(`/v1/studies/${id}`)).json();
  $("#study").hidden = false;
  $("#study h2").textContent = shown.name;
  const done = shown.trials.finished + shown.trials.failed, all = Object.values(shown.trials).reduce((sum, count) => sum + count);
  $("#state").textContent = `${shown.status}, ${done} of ${all} trials` + (shown.failure ? `: ${shown.failure.message}` : "");
  const answer = await ask(`/v1/studies/${id}/front`);
  front = answer.ok ? await answer.json() : null;
  $("#files").replaceChildren(...(front ? [file("report", "Report"), file("front?format=csv", "front.csv"), file("front", "front.json")] : []));
  choices();
  draw();
}

function file(path, label) {
  const place = `/v1/studies/${shown.id}/${path}`;
  if (!keyField.value) return element("a", label, { href: place, target: "_blank", rel: "noopener" });
  // a link carries no key: what it names is fetched, and kept as a file
  const made = element("button", label);
  made.addEventListener("click", async () => {
    const content = await (await ask(place)).blob();
    const link = element("a", "", { href: URL.createObjectURL(content), download: `${shown.name}-${label.toLowerCase()}` + (label === "Report" ? ".html" : "") });
    link.click();
    URL.revokeObjectURL(link.href);
  });
  return made;
}

function choices() {
  const tasks = front ? front.tasks.map((task) => task.name) : [];
  for (const [place, name] of [[0, "x"], [1, "y"]]) {
    const select = $(`#axes select[name=${name}]`);
    select.replaceChildren(...tasks.map((task) => element("option", task)));
    select.selectedIndex = Math.min(place, tasks.length - 1);
  }
  $("#axes").hidden = !front;
}

function draw() {
  const figure = $("#front");
  figure.replaceChildren();
  $("#point").textContent = "";
  if (!front) return;
  const [x, y] = ["x", "y"].map((name) => $(`#axes select[name=${name}]`).value);
  const across = scale(front.points.map((point) => point.predicted[x].score), 60, 620), up = scale(front.points.map((point) => point.predicted[y].score), 370, 20);
  figure.append(svg("line", { x1: 60, y1: 380, x2: 620, y2: 380 }), svg("line", { x1: 50, y1: 20, x2: 50, y2: 370 }));
  for (const value of across.ends) figure.append(svg("text", { x: across(value), y: 398, "text-anchor": "middle" }, value.toPrecision(3)));
  for (const value of up.ends) figure.append(svg("text", { x: 44, y: up(value) + 4, "text-anchor": "end" }, value.toPrecision(3)));
  figure.append(svg("text", { x: 340, y: 414, "text-anchor": "middle" }, `${x}, predicted`), svg("text", { x: 60, y: 14 }, `${y}, predicted`));
  for (const point of front.points) {
    const place = { cx: across(point.predicted[x].score), cy: up(point.predicted[y].score) };
    const mark = svg("circle", { ...place, r: 4, class: "predicted" });
    mark.addEventListener("click", () => tell(point));
    if (point.splits.length) figure.append(svg("circle", { ...place, r: 7, class: "measured" }));
    figure.append(mark);
  }
}

function scale(values, from, to) {
  const low = Math.min(...values), high = Math.max(...values), extent = high - low || 1;
  return Object.assign((value) => from + ((value - low) / extent) * (to - from), { ends: low === high ? [low] : [low, high] });
}

function tell(point) {
  const scores = front.tasks.map(({ name }) => {
    const found = point.predicted[name];
    return `${name} ${found.score.toFixed(3)} (${found.low.toFixed(3)} to ${found.high.toFixed(3)})`;
  });
  $("#point").textContent = `Point ${point.point}: ${scores.join(", ")}; coefficients ${point.coefficients.map((one) => one.toFixed(3)).join(", ")}`;
}

begin();
