// Requests to the service, and small helpers that all panels share. Text is always set as text, never as HTML.

export class ServiceError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ServiceError("The service does not answer. Is medclip-serve still running?", 0);
  }
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new ServiceError(said.error ?? `The service answered ${response.status}.`, response.status);
  }
  return response;
}

export const getJson = async (path) => (await request(path)).json();

export async function postJson(path, body, method = "POST") {
  const options = { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return (await request(path, options)).json();
}

export async function postForm(path, entries) {
  const form = new FormData();
  for (const [name, value] of entries) form.append(name, value);
  return (await request(path, { method: "POST", body: form })).json();
}

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

export function say(message, problem = false) {
  const status = byId("status");
  status.textContent = message;
  status.classList.toggle("problem", problem);
}

/** Runs what a button asks for; the button waits, and a failure is said. */
export async function attempt(button, work) {
  if (button) button.disabled = true;
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
    if (!(error instanceof ServiceError)) console.error(error);
  } finally {
    if (button) button.disabled = false;
  }
}

export function fillTable(table, caption, heads, rows) {
  table.querySelector("caption").textContent = caption;
  table.querySelector("thead").replaceChildren(
    element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head))),
  );
  table.querySelector("tbody").replaceChildren(...rows);
}

export function save(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Returns CSV; a cell that a spreadsheet would take for a formula is marked as text. */
export function toCsv(rows) {
  const cell = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
