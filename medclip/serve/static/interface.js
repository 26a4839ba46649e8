// The API, as /api/openapi.json describes it.

import { attempt, byId, element, getJson } from "./api.js";
import { inline } from "./run.js";

export function showApi() {
  attempt(null, async () => {
    const api = await getJson("/api/openapi.json");
    const address = `${location.origin}/api`;
    const parts = [
      element("h2", {}, "For programs"),
      element("p", {}, "The same requests that this page makes. Described in ", element("a", { href: "/api/openapi.json" }, "/api/openapi.json"), " (OpenAPI)."),
      element("pre", {}, `curl -F files=@chest.dcm ${address}/classify\ncurl -F files=@chest.png -F 'sentences=There is edema. | No edema.' ${address}/classify\ncurl -F files=@chest.png -F observation=Edema -F form=png ${address}/heatmap > map.png\ncurl -H 'Content-Type: application/json' -d '{"text": "No pleural effusion."}' ${address}/label`),
    ];
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) parts.push(described(api, path, method, operation));
    }
    byId("api").replaceChildren(element("div", { class: "prose" }, ...parts));
  });
}

function described(api, path, method, operation) {
  const content = Object.values(operation.requestBody?.content ?? {})[0]?.schema;
  const schema = content?.$ref ? api.components.schemas[content.$ref.split("/").at(-1)] : content;
  const fields = [
    ...(operation.parameters ?? []).map((one) => [one.name, one.description ?? ""]),
    ...Object.entries(schema?.properties ?? {}).map(([name, one]) => [name, one.description ?? ""]),
  ];
  const list = fields.map(([name, text]) => element("li", {}, element("code", {}, name), text ? ` ${text}` : ""));
  return element(
    "section", {},
    element("h3", {}, `${method.toUpperCase()} ${path}: ${operation.summary}`),
    element("p", {}, ...inline(operation.description ?? "")),
    list.length ? element("ul", {}, ...list) : null,
  );
}
