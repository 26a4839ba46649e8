// Reading a report: what it says, coloured where it says it.

import { attempt, byId, element, fillTable, postJson, save, say, toCsv } from "./api.js";

const EXAMPLES = {
  en: `INDICATION: Cough and fever, question pneumonia.
COMPARISON: Chest radiograph of two weeks ago.
FINDINGS: The heart is mildly enlarged. There is a small left pleural effusion, increased since the prior study. No pneumothorax. Patchy opacity in the right lower lobe may represent pneumonia or atelectasis. A 6 mm nodule in the left upper lobe is unchanged.
IMPRESSION: 1. Possible right lower lobe pneumonia.
2. Small left effusion, larger than before.`,
  zh: `检查所见：两肺纹理增多、增粗，右下肺可见斑片状模糊影，考虑肺炎可能。左侧少量胸腔积液，较前增多。未见气胸。心影增大。
印象：1. 右下肺炎可能。2. 左侧少量胸腔积液。`,
};
const SIGNS = { positive: "+", negative: "−", uncertain: "?" };
let read = null;

export function startReading(about) {
  byId("vocabulary").append(...about.vocabularies.map((name) => element("option", { value: name }, name)));
  byId("report-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(event.submitter, readReport);
  });
  byId("report").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("report-form").requestSubmit();
  });
  for (const [name, text] of Object.entries(EXAMPLES)) {
    byId(`example-${name}`).addEventListener("click", () => {
      byId("report").value = text;
      byId("report-form").requestSubmit();
    });
  }
  byId("report-json").addEventListener("click", () => {
    save("medclip-report.json", JSON.stringify(read.result, null, 2), "application/json");
  });
  byId("report-csv").addEventListener("click", saveCsv);
  byId("report-fhir").addEventListener("click", (event) => attempt(event.target, saveFhir));
}

async function readReport() {
  const text = byId("report").value;
  const result = await postJson("/api/label", { text, vocabulary: byId("vocabulary").value });
  read = { text, result };
  byId("reading").hidden = false;
  // Python counts characters where JavaScript counts halves of some.
  mark([...text], result);
  showFindings(result);
  say(`${result.findings.length} findings in ${result.sentences.length} sentences, by ${result.labeler}.`);
}

async function saveFhir() {
  const bundle = await postJson("/api/label", { text: read.text, vocabulary: byId("vocabulary").value, form: "fhir" });
  save("medclip-report.fhir.json", JSON.stringify(bundle, null, 2), "application/fhir+json");
}

function saveCsv() {
  const heads = ["observation", "state", "certainty", "mention", "cue", "side", "location", "severity", "size_mm", "course", "section", "sentence"];
  const rows = read.result.findings.map((one) =>
    heads.map((head) => (Array.isArray(one[head]) ? one[head].join(" ") : one[head])),
  );
  save("medclip-findings.csv", toCsv([heads, ...rows]), "text/csv");
}

/** Shows the text in runs of characters that have the same marks. */
function mark(characters, result) {
  const cuts = new Set([0, characters.length]);
  const spans = [
    ...result.findings.map((one) => ({ span: one.span, finding: one })),
    ...result.findings.filter((one) => one.cue_span).map((one) => ({ span: one.cue_span, cue: one })),
    ...result.findings.flatMap((one) => one.attributes.map((attribute) => ({ span: attribute.span, attribute }))),
    ...result.sections.map((section) => ({ span: section.span, section })),
  ];
  for (const { span } of spans) cuts.add(span[0]).add(span[1]);
  const places = [...cuts].filter((place) => place <= characters.length).sort((a, b) => a - b);
  const nodes = [];
  for (let i = 0; i + 1 < places.length; i++) {
    const [start, end] = [places[i], places[i + 1]];
    const over = spans.filter(({ span }) => span[0] <= start && end <= span[1]);
    const section = spans.find((one) => one.section && one.span[0] === start);
    if (section && result.sections.length > 1) nodes.push(element("span", { class: "section" }, section.section.name));
    nodes.push(run(characters.slice(start, end).join(""), over, end));
  }
  byId("marked").replaceChildren(...nodes);
}

function run(text, over, end) {
  const findings = over.filter((one) => one.finding).map((one) => one.finding);
  const classes = [];
  if (over.some((one) => one.cue)) classes.push("cue");
  if (over.some((one) => one.attribute)) classes.push("attribute");
  if (over.some((one) => one.section && !one.section.read)) classes.push("silent");
  const titles = [
    ...new Set(findings.map((one) => `${one.observation}: ${one.state}`)),
    ...over.filter((one) => one.cue).map((one) => `cue for ${one.cue.observation}`),
    ...over.filter((one) => one.attribute).map((one) => `${one.attribute.kind} ${one.attribute.value}`.trim()),
  ];
  if (!findings.length) return classes.length ? element("span", { class: classes.join(" "), title: titles.join("; ") }, text) : text;
  classes.push(findings[0].state);
  const last = findings.some((one) => one.span[1] === end);
  const sign = last ? element("sup", { "aria-hidden": "true" }, `\u2060${SIGNS[findings[0].state]}`) : null;
  return element("mark", { class: classes.join(" "), title: titles.join("; ") }, text, sign);
}

function showFindings(result) {
  const heads = ["Observation", "State", "Words", "Cue", "Attributes", "Section"];
  const rows = result.findings.map((one) => {
    const attributes = [one.side, one.location.join(", "), one.severity, one.size_mm.length ? `${one.size_mm.join(" x ")} mm` : "", one.course, one.comparison];
    return element(
      "tr", {},
      element("th", { scope: "row" }, one.observation),
      element("td", {}, element("mark", { class: one.state }, `${one.state} ${SIGNS[one.state]}`), ` ${one.certainty}`),
      element("td", {}, one.mention), element("td", {}, one.cue),
      element("td", {}, attributes.filter(Boolean).join("; ")), element("td", {}, one.section),
    );
  });
  const states = Object.entries(result.states).map(([name, state]) => `${name} ${{ 1: "+", 0: "−", "-1": "?" }[state]}`);
  fillTable(byId("findings"), `In all: ${states.join(", ") || "nothing is mentioned"}`, heads, rows);
}
