// Asking about films: choose them, ask, look at answers and maps, save.

import { attempt, byId, element, fillTable, postForm, save, say, toCsv } from "./api.js";
import { addFiles, films, forget, held, heldFetch, renew, setLimits } from "./films.js";
import { asPicture, setMap, show } from "./viewer.js";

let about;
let current = null;
let asked = null;

export function startAsking(given) {
  about = given;
  setLimits(about.limits);
  byId("prompts").replaceChildren(
    ...about.prompt_sets.map((name) => element("option", { value: name }, name.replace(/^.*[\\/]/, ""))),
  );
  const drop = byId("drop");
  byId("files").addEventListener("change", (event) => take(event.target));
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) add(event.dataTransfer.files);
    });
  }
  byId("question").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(event.submitter, ask);
  });
  byId("sentences").addEventListener("focus", () => (kind("sentences").checked = true));
  byId("prompts").addEventListener("change", () => (kind("prompts").checked = true));
  byId("order").addEventListener("change", list);
  byId("forget").addEventListener("click", (event) => attempt(event.target, removeAll));
  byId("film-list").addEventListener("keydown", move);
  byId("save-csv").addEventListener("click", saveCsv);
  byId("save-json").addEventListener("click", saveJson);
  byId("save-png").addEventListener("click", async () => save("medclip-film.png", await asPicture()));
}

const kind = (value) => document.querySelector(`input[name="kind"][value="${value}"]`);

function take(input) {
  const files = [...input.files];
  input.value = "";
  if (files.length) add(files);
}

async function add(files) {
  const given = [...files];
  const before = performance.now();
  await attempt(null, async () => {
    say(`Reading ${given.length} ${given.length === 1 ? "file" : "files"} ...`);
    const problems = await addFiles(given, (done, total) => say(`${done} of ${total} files read`));
    tell(problems);
    list();
    const seconds = ((performance.now() - before) / 1000).toFixed(1);
    const bad = problems.length ? `, ${problems.length} cannot be read` : "";
    const read = given.length - problems.length;
    say(`${read} ${read === 1 ? "film" : "films"} read in ${seconds} s${bad}.`, problems.length > 0);
    if (!current && films.length) await choose(films[0]);
    if (asked && films.some((film) => !film.answers)) await ask();
  });
}

function tell(problems) {
  const box = byId("problems");
  if (!problems.length) return;
  box.hidden = false;
  box.querySelector("ul").append(...problems.map((row) => element("li", {}, `${row.name}: ${row.error}`)));
  const count = box.querySelectorAll("li").length;
  box.querySelector("summary").textContent = `${count} ${count === 1 ? "file" : "files"} that cannot be read`;
  box.open = count <= 5;
}

async function removeAll() {
  await forget();
  current = asked = null;
  byId("problems").hidden = true;
  byId("problems").querySelector("ul").replaceChildren();
  byId("answer").hidden = byId("nearest").hidden = true;
  await show(null);
  list();
  say("All films are removed, here and in the service.");
}

function list() {
  const order = byId("order").value;
  const rank = (film) => film.answers?.find((one) => label(one) === order)?.[measure(film)] ?? -2;
  const sorted = order ? [...films].sort((a, b) => rank(b) - rank(a)) : films;
  byId("film-tools").hidden = !films.length;
  byId("film-list").replaceChildren(...sorted.map((film) => element("li", {}, entry(film, order))));
}

function entry(film, order) {
  const best = order ? film.answers?.find((one) => label(one) === order) : film.answers?.[0];
  const said = best ? `${label(best)} ${number(best)}` : film.dicom ? "DICOM" : `${film.width} × ${film.height}`;
  const picture = element("img", { alt: "", loading: "lazy" });
  thumbnail(film, picture);
  const words = element("span", {}, film.name, element("small", {}, said));
  const attributes = { type: "button", "aria-current": film === current ? "true" : "false", onclick: () => choose(film) };
  const button = element("button", attributes, picture, words);
  film.button = button;
  return button;
}

async function thumbnail(film, picture) {
  film.thumbnail ??= heldFetch(film, (id) => `/api/films/${id}/image?side=160`).then((response) => response.blob());
  try {
    const address = URL.createObjectURL(await film.thumbnail);
    picture.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    picture.src = address;
  } catch {
    delete film.thumbnail; // tried again when the list is drawn again
  }
}

function move(event) {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  const buttons = [...byId("film-list").querySelectorAll("button")];
  const place = buttons.indexOf(document.activeElement);
  if (!step || place < 0) return;
  event.preventDefault();
  buttons[Math.min(buttons.length - 1, Math.max(0, place + step))].focus();
}

async function choose(film) {
  current = film;
  for (const other of films) other.button?.setAttribute("aria-current", other === film ? "true" : "false");
  showAnswers();
  await attempt(null, () => show(film));
  if (about.search) await attempt(null, showNearest);
}

async function ask() {
  if (!films.length) throw new Error("Choose a film first.");
  const by = document.querySelector('input[name="kind"]:checked').value;
  const lines = byId("sentences").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (by === "sentences" && !lines.length) throw new Error("Type a sentence first.");
  const question = by === "sentences" ? lines.map((line) => ["sentences", line]) : [["prompts", byId("prompts").value]];
  const before = performance.now();
  for (let start = 0; start < films.length; start += 64) await askSome(films.slice(start, start + 64), question);
  asked = question;
  const names = (films[0].answers ?? []).map(label);
  const chosen = byId("order").value;
  byId("order").replaceChildren(
    element("option", { value: "" }, "as given"),
    ...names.sort().map((name) => element("option", { value: name }, name)),
  );
  byId("order").value = names.includes(chosen) ? chosen : "";
  list();
  showAnswers();
  say(`${films.length} ${films.length === 1 ? "film" : "films"} answered in ${((performance.now() - before) / 1000).toFixed(2)} s.`);
}

async function askSome(some, question) {
  const send = () => postForm("/api/classify", [...question, ...some.map((film) => ["film", film.id])]);
  let answer = await send();
  const missing = some.filter((_, i) => answer.films[i].missing);
  if (missing.length) {
    for (const film of missing) await renew(film);
    answer = await send();
  }
  answer.films.forEach((row, i) => Object.assign(some[i], { answers: row.answers, meaning: answer.meaning, calibrated: answer.calibrated }));
}

const label = (answer) => answer.observation ?? answer.sentence;
const measure = (film) => (film.answers?.[0]?.sentence === undefined ? "value" : "cosine");
const number = (answer) => {
  const value = answer.value ?? answer.cosine;
  return value === null || value === undefined ? "–" : value.toFixed(3);
};

function showAnswers() {
  const answers = current?.answers;
  byId("answer").hidden = !answers;
  if (!answers) return;
  byId("meaning").textContent = current.meaning;
  const free = answers[0]?.sentence !== undefined;
  const heads = free ? ["Sentence", "Cosine", "Share"] : ["Observation", current.calibrated ? "Probability" : "Rank value"];
  if (!free && current.calibrated) heads.push("Threshold");
  if (about.heatmaps) heads.push("Where");
  const legend = !free && current.calibrated ? "; ● is at or above the threshold" : "";
  fillTable(byId("answer-table"), `Answers about ${current.name}${legend}`, heads, answers.map((answer) => answerRow(answer, free)));
}

function answerRow(answer, free) {
  const cells = [element("th", { scope: "row" }, label(answer))];
  if (free) {
    cells.push(element("td", { class: "number" }, answer.cosine.toFixed(3)), bar(answer.share));
  } else {
    cells.push(bar(answer.value, answer.present, answer.note));
    if (current.calibrated) {
      cells.push(element("td", { class: "number" }, answer.threshold === undefined ? "–" : answer.threshold.toFixed(3)));
    }
  }
  if (about.heatmaps) cells.push(element("td", {}, whereButton(answer, free)));
  return element("tr", {}, ...cells);
}

function bar(value, present = false, note = "") {
  if (value === null || value === undefined) return element("td", { class: "value", title: note }, note ? "not calibrated" : "–");
  const fill = element("i", { "aria-hidden": "true" });
  fill.style.width = `${100 * value}%`;
  return element("td", { class: "value" }, fill, element("b", {}, value.toFixed(3)), present ? reached() : null);
}

/** Marks a value that is at or above its threshold, for eyes and for screen readers. */
function reached() {
  const hidden = element("span", { class: "unseen" }, "threshold reached");
  return element("b", { title: "at or above its threshold" }, element("span", { "aria-hidden": "true" }, "●"), hidden);
}

function whereButton(answer, free) {
  const film = current;
  const show = async () => {
    const what = free ? [["sentence", answer.sentence]] : [["observation", answer.observation], ["prompts", asked[0][1]]];
    const map = await held(film, (id) => postForm("/api/heatmap", [...what, ["film", id]]));
    if (film !== current) return;
    await setMap(map);
    say(`The map shows where “${label(answer)}” is most similar to the film.`);
  };
  const attributes = { type: "button", "aria-label": `Where is ${label(answer)}?`, onclick: (event) => attempt(event.target, show) };
  return element("button", attributes, "map");
}

async function showNearest() {
  const film = current;
  const found = await held(film, (id) => postForm("/api/search", [["film", id], ["k", "6"]]));
  if (film !== current) return;
  const { sheet } = await import("./search.js");
  byId("nearest").hidden = false;
  sheet(byId("nearest").querySelector("ol"), found);
}

function saveCsv() {
  const rows = films.flatMap((film) =>
    (film.answers ?? []).map((one) => [film.name, label(one), one.value ?? one.cosine, one.share, one.threshold, film.meaning]),
  );
  save("medclip-answers.csv", toCsv([["file", "question", "value", "share", "threshold", "meaning"], ...rows]), "text/csv");
}

function saveJson() {
  const rows = films.map((film) => ({ file: film.name, answers: film.answers ?? null }));
  const content = { note: about.note, meaning: current.meaning, calibrated: current.calibrated, films: rows };
  save("medclip-answers.json", JSON.stringify(content, null, 2), "application/json");
}
