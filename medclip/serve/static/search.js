// Searching the index by text, film or both.

import { attempt, byId, element, postForm, say } from "./api.js";

export function startSearching(about) {
  byId("search-about").textContent = about.index
    ? `${about.index.size.toLocaleString()} ${about.index.images ? "films" : "texts"} of ${about.index.holds || "an index"}.`
    : "";
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(event.submitter, search);
  });
}

async function search() {
  const text = byId("search-text").value.trim();
  const [file] = byId("search-file").files;
  if (!text && !file) throw new Error("Type a text or choose a film first.");
  const entries = [["k", byId("search-k").value]];
  if (text) entries.push(["text", text]);
  if (file) entries.push(["files", file]);
  const found = await postForm("/api/search", entries);
  sheet(byId("found"), found);
  say(`${found.found.length} found.`);
}

/** Shows what was found as a contact sheet, or as a list of texts. */
export function sheet(list, found) {
  list.classList.toggle("texts", !found.images);
  list.replaceChildren(
    ...found.found.map((one, i) => {
      const picture = found.images ? element("img", { src: `/api/index/${one.row}/image`, alt: `Found film ${i + 1}`, loading: "lazy" }) : null;
      return element("li", {}, picture, element("span", {}, `${one.name} `), element("small", {}, `cosine ${one.cosine.toFixed(3)}`));
    }),
  );
}
