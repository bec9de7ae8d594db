/** The conformance transform of records. */
import { Failure, recordTransform } from "../../sdk-js/alluvium.js";
import { copies, fails, open } from "./transform.js";

export const records = recordTransform((config, schema) => {
  const { mode, n, greeting, inputs, outputs } = open(config, schema);

  function apply(values) {
    if (fails(mode, values[n])) throw new Failure(`n is ${values[n]}`);
    return Array(copies(mode, values[n])).fill(greeting === undefined ? values : [greeting]);
  }
  return { inputs, outputs, apply };
});
