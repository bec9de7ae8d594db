/** The Alluvium transform. See README.md. */
import { Failure, batchTransform, field, find, withDefaults } from "../sdk-js/alluvium.js";
import { cleanHtml } from "./text.js";

export const batches = batchTransform((config, schema) => {
  const options = withDefaults(config, { boilerplate: false, links: false });
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== "boolean") throw new Failure(`option \`${name}\` is neither true nor false`);
  }

  function apply(batch, output) {
    const [text, title] = output.columns;
    for (let row = 0; row < batch.rows; row++) {
      const html = batch.columns[0].get(row);
      const page = html === null ? { text: null, title: null } : cleanHtml(html, options);
      text.push(page.text);
      title.push(page.title);
    }
  }
  return {
    inputs: [find(schema, "html", "utf8")],
    outputs: [field("text", "utf8"), field("title", "utf8")],
    apply,
  };
});
