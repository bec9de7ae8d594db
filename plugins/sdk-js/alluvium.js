/**
 * Writes an Alluvium transform in JavaScript: a module that exports `batches` or `records`, made by
 * `batchTransform` or `recordTransform`. See README.md.
 *
 * Values are plain: boolean, number, string; BigInt for int64 and timestamp (microseconds since
 * 1970-01-01 UTC), Uint8Array for binary, Float32Array for vector; null.
 */
import host from "alluvium:transform/host@0.1.0";
import { Builder, Column } from "./column.js";

export { Builder, Column };

/** What a transform throws to refuse its configuration, or to fail a record or a batch. Whatever
 * else is thrown does the same, and leaves its stack in the host's log. */
export class Failure extends Error {}

/** Writes a line to the host's log; `level` is trace, debug, info, warn or error. */
export function log(level, message) {
  host.log(level, String(message).toWellFormed());
}

/** The bytes of an asset that was granted; throws a `Failure` that names those that there are. */
export function asset(name) {
  try {
    return host.asset(name);
  } catch (error) {
    throw new Failure(reason(error));
  }
}

/** A field; `dim` is a vector's length. */
export function field(name, kind, { nullable = true, dim = 0 } = {}) {
  return { name, kind, nullable, dim };
}

/** The field `name` of a schema, which must be of `kind`. */
export function find(schema, name, kind) {
  const found = schema.find((field) => field.name === name);
  if (found?.kind === kind) return found;
  const there = schema.map((field) => `\`${field.name}\` (${field.kind})`).join(", ");
  throw new Failure(`an ${kind} column \`${name}\` is needed; there are: ${there || "none"}`);
}

/** The configuration over the defaults. A key that has none is refused: it may be misspelt. */
export function withDefaults(config, defaults) {
  for (const key of Object.keys(config)) {
    if (!Object.hasOwn(defaults, key)) {
      throw new Failure(`option \`${key}\` is not known; there are: ${Object.keys(defaults).join(", ")}`);
    }
  }
  return { ...defaults, ...config };
}

/** What `apply` makes of a batch. */
export class Output {
  #outputs;

  constructor(outputs) {
    this.#outputs = outputs;
    /** A builder for each of the plan's outputs: push a value for every row, null where one failed. */
    this.columns = outputs.map((output) => new Builder(output));
    /** The input row that each output row comes from, for a transform that filters or repeats rows:
     * set it to `[]`, and push a row's number with its values. null: the rows are one to one. */
    this.origin = null;
    this.failures = [];
  }

  /** Reports an input row as failed. */
  fail(row, message) {
    this.failures.push({ row, message: String(message).toWellFormed() });
  }

  /** The contract's `output`. */
  finish(rows) {
    return {
      rows: this.origin ? this.origin.length : rows,
      origin: this.origin,
      columns: this.columns.map((column) => column.finish()),
      failures: this.failures,
    };
  }
}

/** The export `batches`. `open(config, schema)` returns `{ inputs, outputs, apply }`: the fields to read
 * and to make, and `apply({ rows, columns }, output)` with a `Column` for each input and an `Output`. */
export function batchTransform(open) {
  let transform;
  return {
    open: (config, schema) => guarded(() => planOf((transform = open(parseConfig(config), schema)))),
    apply: (rows, columns) =>
      guarded(() => {
        const output = new Output(transform.outputs);
        const views = columns.map((column, i) => new Column(transform.inputs[i], rows, column));
        transform.apply({ rows, columns: views }, output);
        return output.finish(rows);
      }),
  };
}

/** The export `records`. As `batchTransform`, but `apply(values)` is given one record, an array of the
 * values of `inputs`, and returns an array of records, each an array of the values of `outputs`.
 * A record with an int64 or timestamp beyond 2^53 fails: the runtime would round it on its way. */
export function recordTransform(open) {
  let transform;
  return {
    open: (config, schema) => guarded(() => planOf((transform = open(parseConfig(config), schema)))),
    apply: (values) =>
      guarded(() => {
        const records = transform.apply(values.map(fromValue));
        return records.map((record) => record.map((value, i) => toValue(transform.outputs[i], value)));
      }),
  };
}

function planOf({ inputs, outputs }) {
  return { inputs, outputs };
}

function parseConfig(config) {
  let parsed;
  try {
    parsed = JSON.parse(config || "{}");
  } catch (error) {
    throw new Failure(`the configuration is refused: ${error.message}`);
  }
  if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed)) {
    throw new Failure("the configuration is refused: it is no JSON object");
  }
  return parsed;
}

/** Calls a transform; what it throws becomes the contract's error, which is a string. */
function guarded(call) {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof Failure)) log("error", `${reason(error)}\n${error?.stack ?? ""}`);
    throw reason(error);
  }
}

function reason(error) {
  return String(error?.message ?? error?.payload ?? error).toWellFormed();
}

/** componentize-qjs has integers cross as numbers, which hold 53 bits. */
function exact(number) {
  if (Number.isSafeInteger(number)) return number;
  throw new Failure("an integer beyond 2^53 cannot cross in a record in JavaScript; use the world batch-transform");
}

function fromValue({ tag, val }) {
  switch (tag) {
    case "null":
      return null;
    case "int64":
    case "timestamp":
      return BigInt(exact(val));
    case "vector":
      return Float32Array.from(val);
    default:
      return val;
  }
}

function toValue({ kind }, value) {
  if (value === null || value === undefined) return { tag: "null" };
  switch (kind) {
    case "int64":
    case "timestamp":
      return { tag: kind, val: exact(Number(value)) };
    case "utf8":
      return { tag: kind, val: String(value).toWellFormed() };
    case "vector":
      return { tag: kind, val: Array.from(value) };
    default:
      return { tag: kind, val: value };
  }
}
