/** An Alluvium transform. */
import { Failure, batchTransform, field, find, withDefaults } from "./sdk/alluvium.js";

export const batches = batchTransform((config, schema) => {
  const { suffix } = withDefaults(config, { suffix: "!" });
  if (typeof suffix !== "string") throw new Failure("`suffix` is not a text");

  function apply({ rows, columns: [texts] }, { columns: [shouts] }) {
    for (let row = 0; row < rows; row++) {
      const text = texts.get(row);
      shouts.push(text === null ? null : text + suffix);
    }
  }
  return { inputs: [find(schema, "text", "utf8")], outputs: [field("shout", "utf8")], apply };
});
