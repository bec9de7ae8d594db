/** An Alluvium transform. */
import { Failure, field, find, recordTransform, withDefaults } from "./sdk/alluvium.js";

export const records = recordTransform((config, schema) => {
  const { suffix } = withDefaults(config, { suffix: "!" });
  if (typeof suffix !== "string") throw new Failure("`suffix` is not a text");

  function apply([text]) {
    return [[text === null ? null : text + suffix]];
  }
  return { inputs: [find(schema, "text", "utf8")], outputs: [field("shout", "utf8")], apply };
});
