// The model that answers: its card, its evaluations and its training curves.

import { attempt, byId, element, getJson } from "./api.js";

export function showRun() {
  attempt(null, async () => {
    const run = await getJson("/api/run");
    const parts = [];
    if (run.card) parts.push(element("section", { class: "prose" }, ...markdown(run.card)));
    if (run.curves.length) parts.push(element("h2", {}, "Training curves"), ...curves(run.curves));
    for (const name of run.evaluations) {
      parts.push(element("h2", {}, `Evaluation on ${name}`));
      parts.push(element("iframe", { src: `/run/evaluation/${encodeURIComponent(name)}`, title: `Evaluation on ${name}`, sandbox: "" }));
    }
    if (!parts.length) parts.push(element("p", {}, "Nothing is written beside this model: no card, no evaluation, no curves."));
    byId("run").replaceChildren(...parts);
  });
}

/** Turns the Markdown of model cards into elements: headings, lists, tables, code and paragraphs. */
function markdown(text) {
  const lines = text.replace(/^---\n[\s\S]*?\n---\n/, "").split("\n");
  const made = [];
  while (lines.length) {
    if (!lines[0].trim()) lines.shift();
    else if (lines[0].startsWith("```")) made.push(code(lines));
    else made.push(block(takeWhile(lines, (line) => line.trim() && !line.startsWith("```"))));
  }
  return made;
}

function takeWhile(lines, test) {
  const end = lines.findIndex((line) => !test(line));
  return lines.splice(0, end < 0 ? lines.length : end);
}

function code(lines) {
  lines.shift();
  const content = takeWhile(lines, (line) => !line.startsWith("```"));
  lines.shift();
  return element("pre", {}, content.join("\n"));
}

function block(lines) {
  const heading = lines.length === 1 && lines[0].match(/^(#+) (.*)/);
  if (heading) return element(`h${Math.min(4, heading[1].length + 1)}`, {}, heading[2]);
  if (lines[0].startsWith("- ")) {
    const items = lines.join("\n").split(/\n(?=- )/);
    return element("ul", {}, ...items.map((item) => element("li", {}, ...inline(item.slice(2).replace(/\s+/g, " ")))));
  }
  if (lines.length > 2 && lines[0].startsWith("|")) return table(lines);
  return element("p", {}, ...inline(lines.join(" ")));
}

function table(lines) {
  const cells = (line) => line.replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const [head, , ...rows] = lines.map(cells);
  return element(
    "table", {},
    element("thead", {}, element("tr", {}, ...head.map((cell) => element("th", { scope: "col" }, cell)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, ...inline(cell)))))),
  );
}

/** Turns bold words and code of Markdown into elements. */
export function inline(text) {
  return text.split(/(\*\*[^*]+\*\*|`[^`]+`)/).map((part) => {
    if (part.startsWith("**")) return element("strong", {}, part.slice(2, -2));
    return part.startsWith("`") ? element("code", {}, part.slice(1, -1)) : part;
  });
}

/** Shows the loss and the means of the validation; what there is for each observation is folded away. */
function curves(all) {
  const first = all.filter(({ name }) => /loss$|mean$|accuracy$/.test(name));
  const rest = all.filter((one) => !first.includes(one));
  const more = element("details", {}, element("summary", {}, `${rest.length} more curves`), element("div", { class: "curves" }, ...rest.map(curve)));
  return [element("div", { class: "curves" }, ...first.map(curve)), rest.length ? more : null].filter(Boolean);
}

const NAMESPACE = "http://www.w3.org/2000/svg";

function drawn(name, attributes, text = "") {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function curve({ name, steps, values }) {
  const [width, height, left, bottom] = [340, 180, 52, 24];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const last = Math.max(...steps) || 1;
  const x = (step) => left + ((width - left - 8) * step) / last;
  const y = (value) => height - bottom - ((height - bottom - 10) * (value - low)) / (high - low || 1);
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img", "aria-label": `${name}: from ${values[0]} to ${values.at(-1)}` });
  const points = steps.map((step, i) => `${x(step).toFixed(1)},${y(values[i]).toFixed(1)}`).join(" ");
  picture.append(
    drawn("polyline", { points: `${left},8 ${left},${height - bottom} ${width - 8},${height - bottom}`, fill: "none", stroke: "currentColor", opacity: 0.35 }),
    drawn("polyline", { points, fill: "none", stroke: "var(--accent)", "stroke-width": 2 }),
    drawn("text", { x: left - 4, y: 16, "text-anchor": "end", "font-size": 11, fill: "currentColor" }, high.toPrecision(3)),
    drawn("text", { x: left - 4, y: height - bottom, "text-anchor": "end", "font-size": 11, fill: "currentColor" }, low.toPrecision(3)),
    drawn("text", { x: width - 8, y: height - 6, "text-anchor": "end", "font-size": 11, fill: "currentColor" }, `step ${last}`),
  );
  return element("figure", {}, picture, element("figcaption", {}, name));
}
