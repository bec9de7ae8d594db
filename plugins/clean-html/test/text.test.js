import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { cleanHtml } from "../text.js";

const file = (name) => readFileSync(new URL(name, import.meta.url), "utf8");

test("a page becomes the text that its reader sees", () => {
  const page = cleanHtml(file("article.html"), { links: true });
  assert.equal(page.title, "Tide gauges & the sea — The Harbour Review");
  assert.equal(page.text, file("article.txt").trimEnd());
});

test("boilerplate is kept on demand", () => {
  const { text } = cleanHtml(file("article.html"), { boilerplate: true });
  assert.match(text, /^The Harbour Review\n\n- News\n- Tides\n/);
  assert.match(text, /Subscribe for 3 € a month!/);
  assert.doesNotMatch(text, /track|dataLayer|font:|Menu|example\.org/);
});

test("what is hardly HTML does no harm", () => {
  for (const [html, text] of [
    ["", ""],
    ["plain text", "plain text"],
    ["a < b && c > d", "a < b && c > d"],
    ["<p>un<b>closed", "unclosed"],
    ["</div></div>closed twice", "closed twice"],
    ["<script>only", ""],
    ["&eacute;&#233;&#xe9;&bogus;&", "ééé&bogus;&"],
    ["<br><br><p></p>\n<p> </p>x", "x"],
  ]) {
    assert.deepEqual(cleanHtml(html), { title: null, text }, html);
  }
});
