/** The conformance transform of batches. */
import { batchTransform } from "../../sdk-js/alluvium.js";
import { copies, fails, open } from "./transform.js";

export const batches = batchTransform((config, schema) => {
  const { mode, n, greeting, inputs, outputs } = open(config, schema);

  function apply(batch, output) {
    if (mode === "filter" || mode === "repeat") output.origin = [];
    for (let row = 0; row < batch.rows; row++) {
      const number = batch.columns[n].get(row);
      if (fails(mode, number)) output.fail(row, `n is ${number}`);
      for (let left = copies(mode, number); left > 0; left--) {
        output.origin?.push(row);
        output.columns.forEach((column, i) => column.push(greeting ?? batch.columns[i].get(row)));
      }
    }
  }
  return { inputs, outputs, apply };
});
