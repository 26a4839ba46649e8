// The page: its tabs, and what the service offers.

import { byId, getJson, say } from "./api.js";
import { startAsking } from "./ask.js";
import { startReading } from "./read.js";
import { startSearching } from "./search.js";
import { showRun } from "./run.js";
import { showApi } from "./interface.js";

const first = { run: showRun, api: showApi };

function tabs() {
  const all = [...document.querySelectorAll('[role="tab"]')].filter((tab) => !tab.hidden);
  const choose = (tab, focus = true) => {
    for (const other of document.querySelectorAll('[role="tab"]')) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", chosen);
      other.tabIndex = chosen ? 0 : -1;
      byId(other.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (focus) tab.focus();
    say("");
    const name = tab.id.replace("tab-", "");
    history.replaceState(null, "", `#${name}`);
    first[name]?.();
    delete first[name];
  };
  for (const [i, tab] of all.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const next = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: all.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      choose(all[(next + all.length) % all.length]);
    });
  }
  const named = all.find((tab) => tab.id === `tab-${location.hash.slice(1)}`);
  if (named) choose(named, false);
}

try {
  const about = await getJson("/api/about");
  byId("tab-search").hidden = !about.search;
  startAsking(about);
  startReading(about);
  if (about.search) startSearching(about);
  tabs();
  document.documentElement.dataset.ready = "true";
} catch (error) {
  say(error.message, true);
  console.error(error);
}
