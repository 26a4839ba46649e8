// One film on the canvas: its picture, a window over the values of DICOM, and a heatmap over both.

import { byId } from "./api.js";
import { heldFetch } from "./films.js";

const canvas = byId("canvas");
const state = { film: null, picture: null, map: null, levels: null, window: null, number: 0 };

/** Shows a film; its heatmap, if it has one, comes with it. */
export async function show(film) {
  const number = ++state.number;
  Object.assign(state, { film, picture: null, map: null, levels: null, window: null });
  byId("film-title").textContent = film ? film.name : "No film yet";
  byId("window-tools").hidden = true;
  showMapTools();
  if (!film) return draw();
  const picture = await createImageBitmap(await (await heldFetch(film, (id) => `/api/films/${id}/image`)).blob());
  if (number !== state.number) return;
  state.picture = picture;
  [canvas.width, canvas.height] = [picture.width, picture.height];
  if (film.map) await setMap(film.map);
  draw();
  if (film.dicom) await readLevels(film, number);
}

export async function setMap(map) {
  state.film.map = map;
  state.map = map && (await createImageBitmap(pngOf(map.image)));
  showMapTools();
  draw();
}

function pngOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}

/** Returns the picture as it is shown, with colour bar, phrase and a note below it, as a PNG blob. */
export function asPicture() {
  const { film, map } = state;
  const lines = [film.name, map ? `${film.map.text}: ${film.map.low} to ${film.map.high} (cosine of text and place)` : ""];
  lines.push(...(film.answers ?? []).slice(0, 3).map((one) => `${one.observation ?? one.sentence}: ${one.value ?? one.cosine}`));
  lines.push(film.meaning ?? "", "Research software. Not a medical device.");
  const width = Math.max(canvas.width, 640);
  const size = Math.max(13, Math.round(width / 60));
  const made = document.createElement("canvas");
  const pen = made.getContext("2d");
  pen.font = `${size}px sans-serif`;
  const wrapped = lines.filter(Boolean).flatMap((line) => wrap(pen, line, width - 2 * size));
  const bar = map ? 2 * size : 0;
  [made.width, made.height] = [width, canvas.height + bar + (wrapped.length + 1) * size * 1.4];
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, made.width, made.height);
  pen.drawImage(canvas, (width - canvas.width) / 2, 0);
  if (map) drawBar(pen, size, canvas.height + size / 2, width - 2 * size, size);
  pen.font = `${size}px sans-serif`;
  pen.fillStyle = "#000";
  wrapped.forEach((line, i) => pen.fillText(line, size, canvas.height + bar + (i + 1) * size * 1.4));
  return new Promise((resolve) => made.toBlob(resolve, "image/png"));
}

function wrap(pen, text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (pen.measureText(longer).width > width && lines.at(-1)) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

function drawBar(pen, x, y, width, height) {
  const stops = ["#000004", "#1b0c41", "#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4"];
  const gradient = pen.createLinearGradient(x, 0, x + width, 0);
  stops.forEach((colour, i) => gradient.addColorStop(i / (stops.length - 1), colour));
  pen.fillStyle = gradient;
  pen.fillRect(x, y, width, height);
}

function showMapTools() {
  const map = state.film?.map;
  byId("map-tools").hidden = !map;
  byId("map-text").textContent = map ? said(map) : "";
  byId("map-low").textContent = map ? map.low.toFixed(3) : "";
  byId("map-high").textContent = map ? map.high.toFixed(3) : "";
}

function said(map) {
  if (map.low === map.high) return `“${map.text}” is as similar everywhere: the model sees the film as one place.`;
  return `Where “${map.text}” is most similar to the film`;
}

async function readLevels(film, number) {
  const response = await heldFetch(film, (id) => `/api/films/${id}/levels`).catch(() => null);
  if (!response || number !== state.number) return; // a film in colour has no windows
  const facts = JSON.parse(response.headers.get("X-Levels"));
  const levels = new Uint16Array(await response.arrayBuffer());
  if (number !== state.number) return;
  const highest = facts.lowest + 65535 * facts.step;
  state.levels = { ...facts, levels, highest };
  const step = Math.max((highest - facts.lowest) / 1000, 1e-6);
  Object.assign(byId("window-center"), { min: facts.lowest, max: highest, step, value: (facts.low + facts.high) / 2 });
  Object.assign(byId("window-width"), { min: step, max: highest - facts.lowest, step, value: facts.high - facts.low });
  showWindow();
  byId("window-tools").hidden = false;
  canvas.classList.add("windowed");
}

function showWindow() {
  byId("center-value").textContent = Math.round(byId("window-center").value);
  byId("width-value").textContent = Math.round(byId("window-width").value);
}

function changeWindow() {
  state.window = { center: Number(byId("window-center").value), width: Number(byId("window-width").value) };
  showWindow();
  requestAnimationFrame(draw);
}

function windowed() {
  const { levels, width, height, lowest, step, inverted } = state.levels;
  const table = new Uint8ClampedArray(65536);
  for (let level = 0; level < 65536; level++) {
    const grey = ((lowest + step * level - state.window.center) / state.window.width + 0.5) * 255;
    table[level] = inverted ? 255 - Math.min(255, Math.max(0, grey)) : grey;
  }
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < levels.length; i++) pixels[i] = 0xff000000 | (table[levels[i]] * 0x010101);
  return image;
}

function draw() {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (!state.film?.dicom) canvas.classList.remove("windowed");
  if (!state.picture) return;
  if (state.window && state.levels) {
    const image = windowed();
    [canvas.width, canvas.height] = [image.width, image.height];
    pen.putImageData(image, 0, 0);
  } else {
    pen.drawImage(state.picture, 0, 0, canvas.width, canvas.height);
  }
  if (!state.map) return;
  pen.globalAlpha = byId("opacity").value / 100;
  pen.imageSmoothingEnabled = true;
  pen.drawImage(state.map, 0, 0, canvas.width, canvas.height);
  pen.globalAlpha = 1;
}

byId("opacity").addEventListener("input", () => requestAnimationFrame(draw));
byId("map-off").addEventListener("click", () => setMap(null));
byId("window-center").addEventListener("input", changeWindow);
byId("window-width").addEventListener("input", changeWindow);
byId("window-reset").addEventListener("click", () => {
  state.window = null;
  draw();
});
canvas.addEventListener("pointerdown", (event) => {
  if (state.levels) canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!state.levels || !canvas.hasPointerCapture(event.pointerId)) return;
  const range = (state.levels.highest - state.levels.lowest) / canvas.clientWidth;
  byId("window-width").value = Number(byId("window-width").value) + event.movementX * range;
  byId("window-center").value = Number(byId("window-center").value) + event.movementY * range;
  changeWindow();
});
