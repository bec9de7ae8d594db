/** The conformance transform (../README.md), but for what differs between the worlds. */
import { Failure, asset, field, find, log, withDefaults } from "../../sdk-js/alluvium.js";

const MODES = ["identity", "filter", "repeat", "fail", "error", "trap", "asset", "missing-asset", "log"];

/** Reads the configuration and the schema; `greet` is for the mode `asset`. */
export function open(config, schema) {
  const { mode } = withDefaults(config, { mode: null });
  if (!MODES.includes(mode)) throw new Failure(`mode \`${mode}\` is not known`);
  const n = schema.indexOf(find(schema, "n", "int32"));
  if (mode === "missing-asset") asset("parting");
  if (mode === "log") log("warn", "opened: é 深い 🦀");
  if (mode !== "asset") return { mode, n, inputs: schema, outputs: schema };
  const greeting = decodeURIComponent(escape(String.fromCharCode(...asset("greeting"))));
  return { mode, n: 0, greeting, inputs: [schema[n]], outputs: [field("greeting", "utf8", { nullable: false })] };
}

/** How often a row goes out. Throws where it is one that costs the whole call. */
export function copies(mode, n) {
  if (mode === "error" && n === 13) throw new Failure("13 is unlucky");
  if (mode === "trap" && n === 13) n.crash();
  if (mode === "filter") return n !== null && n % 2 === 0 ? 1 : 0;
  return mode === "repeat" ? Math.max(n, 0) : 1;
}

/** Whether a row fails by itself. */
export function fails(mode, n) {
  return mode === "fail" && n % 2 !== 0;
}
