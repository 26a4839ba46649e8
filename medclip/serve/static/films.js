// The films of the page. The page keeps the files; the service holds them for a while, and gets them again when needed.

import { postForm, request, ServiceError } from "./api.js";

export const films = [];
let limits = { files: 32, megabytes: 64 };

export const setLimits = (given) => (limits = given);

/** Sends files in parts the service takes; calls `progress(done, total)`. Returns the files it cannot read, and why. */
export async function addFiles(files, progress) {
  const problems = [];
  const parts = cut([...files]);
  let done = 0;
  const next = async () => {
    for (let part = parts.shift(); part; part = parts.shift()) {
      for (const row of await sendPart(part)) {
        if (row.error) problems.push(row);
        else films.push(row);
      }
      done += part.length;
      progress(done, files.length);
    }
  };
  await Promise.all([next(), next()]);
  const place = new Map([...files].map((file, i) => [file, i]));
  films.sort((a, b) => (place.get(a.file) ?? -1) - (place.get(b.file) ?? -1));
  return problems;
}

/** Cuts a list of files into parts of few megabytes, so that progress is seen and no request is too large. */
function cut(files) {
  const parts = [];
  let size = Infinity;
  for (const file of files) {
    if (size + file.size > 32e6 || parts.at(-1).length >= Math.min(limits.files, 8)) {
      parts.push([]);
      size = 0;
    }
    parts.at(-1).push(file);
    size += file.size;
  }
  return parts;
}

async function sendPart(part) {
  const small = part.filter((file) => file.size <= limits.megabytes * 1e6);
  const large = part.filter((file) => !small.includes(file));
  const rows = large.map((file) => ({ file, name: file.name, error: `larger than ${limits.megabytes} MB` }));
  if (!small.length) return rows;
  try {
    const answer = await postForm("/api/films", small.map((file) => ["files", file]));
    return [...rows, ...answer.films.map((row, i) => ({ ...row, file: small[i] }))];
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return [...rows, ...small.map((file) => ({ file, name: file.name, error: error.message }))];
  }
}

/** Sends a film again that the service holds no more. */
export async function renew(film) {
  const [row] = (await postForm("/api/films", [["files", film.file]])).films;
  if (row.error) throw new ServiceError(row.error, 422);
  film.id = row.id;
}

/** Does what needs a film to be held, and does it again after sending the film where it is not. */
export async function held(film, work) {
  try {
    return await work(film.id);
  } catch (error) {
    if (error.status !== 404) throw error;
    await renew(film);
    return work(film.id);
  }
}

export const heldFetch = (film, path) => held(film, (id) => request(path(id)));

/** Forgets all films, here and in the service. */
export async function forget() {
  const ids = films.splice(0).map((film) => film.id);
  if (ids.length) await drop(ids);
}

function drop(ids) {
  return request("/api/films", {
    method: "DELETE",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ids }),
    keepalive: true,
  });
}

addEventListener("pagehide", () => {
  if (films.length) drop(films.map((film) => film.id)).catch(() => {});
});

