// Whether dashboards are such by the model that Grafana publishes: `node check.mjs DASHBOARD.json...`.
//
// No Grafana is needed: its own types of a dashboard, of its panels and of their options are given to
// the compiler, and the file as a literal of them. A field that Grafana does not know, one that it
// needs, and a word that it does not understand are errors. Prints "ok FILE" or what is wrong with it.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const folder = dirname(fileURLToPath(import.meta.url));
const place = join(folder, "dashboard.ts");
const panels = "@grafana/schema/dist/esm/raw/composable";
const model = `
import type * as grafana from "@grafana/schema";
import type { Options as Stat } from "${panels}/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { Options as TimeSeries, FieldConfig as Lines } from "${panels}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// JSON has no enumerations: it has the words that they stand for.
type Json<T> = T extends string ? \`\${T}\`
  : T extends number | boolean | null | undefined ? T
  : T extends readonly (infer Item)[] ? Json<Item>[]
  : T extends object ? { [Field in keyof T]: Json<T[Field]> }
  : T;

// What a panel of Prometheus asks; its own package is not published for others.
type Query = {
  datasource: { type: "prometheus"; uid: string };
  expr: string;
  legendFormat: string;
  refId: string;
  editorMode: "code" | "builder";
  range?: boolean;
  instant?: boolean;
};

type Field<Custom> = Omit<Json<grafana.FieldConfig>, "custom"> & { custom?: Json<Custom> };
type Panel<Type, Options, Custom> =
  & Omit<Json<grafana.Panel>, "type" | "title" | "options" | "fieldConfig" | "targets" | "gridPos">
  & {
    id: number;
    type: Type;
    title: string;
    gridPos: Json<grafana.GridPos>;
    options: Json<Options>;
    fieldConfig: { defaults: Field<Custom>; overrides: Json<grafana.FieldConfigSource["overrides"]> };
    targets: Query[];
  };
type Dashboard = Omit<Json<grafana.Dashboard>, "panels"> & {
  title: string;
  uid: string;
  panels: (Json<grafana.RowPanel> | Panel<"stat", Stat, never> | Panel<"timeseries", TimeSeries, Lines>)[];
};
export const dashboard: Dashboard = `;

const options = {
  strict: true,
  noEmit: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  types: [],
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
};

let former;
for (const file of process.argv.slice(2)) {
  const text = model + readFileSync(file, "utf8");
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (name) => name === place || fileExists(name);
  host.getSourceFile = (name, ...rest) => name === place ? ts.createSourceFile(name, text, rest[0]) : getSourceFile(name, ...rest);
  const program = ts.createProgram([place], options, host, former);
  former = program;
  const found = ts.getPreEmitDiagnostics(program);
  for (const { messageText, start } of found) {
    const line = start === undefined ? "" : text.slice(start).split("\n", 1)[0].trim();
    console.log(`${file}: ${line}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`);
  }
  console.log(`${found.length ? "not ok" : "ok"} ${file}`);
  if (found.length) process.exitCode = 1;
}
