/** HTML to the text that a reader sees. Knows nothing of the host, so that it is tested by itself. */
import { Parser } from "htmlparser2";

/** What never shows as text. */
const HIDDEN = new Set(
  "head script style noscript template svg math iframe object canvas audio video select button textarea".split(" "),
);

/** What stands around the text of a page rather than in it. */
const BOILERPLATE = new Set(["nav", "aside", "form", "dialog", "menu"]);

/** What does too, unless it is an article's own. */
const AROUND_ARTICLES = new Set(["header", "footer"]);

/** What begins a line of its own. */
const BLOCKS = new Set(
  ("address article aside blockquote body caption dd details dialog div dl dt fieldset figcaption figure footer form " +
    "h1 h2 h3 h4 h5 h6 header hr html legend li main menu nav ol optgroup option p pre search section summary table " +
    "tbody tfoot thead tr ul br").split(" "),
);

/** What stands apart from what is before and after it. */
const PARAGRAPHS = new Set("article blockquote dl figure h1 h2 h3 h4 h5 h6 hr ol p pre section table ul".split(" "));

const CELLS = new Set(["td", "th"]);

const ARTICLES = new Set(["article", "main"]);

/** Gathers lines. */
class Lines {
  #done = [];
  #line = "";
  #gap = false;

  add(text) {
    this.#line += text;
  }

  /** Ends the line. Runs of space become one, and no line is left of nothing, unless it is `exact`. */
  end(exact = false) {
    const line = exact ? this.#line.trimEnd() : this.#line.replace(/[\s\u00a0]+/g, " ").trim();
    this.#line = "";
    if (!line && !exact) return;
    if (this.#gap && this.#done.length > 0) this.#done.push("");
    this.#gap = false;
    this.#done.push(line);
  }

  /** Ends the line, and sets the next one apart with an empty one. */
  part() {
    this.end();
    this.#gap = true;
  }

  /** Text whose spaces and lines stay as they are. */
  addExact(text) {
    const [first, ...more] = text.split("\n");
    this.add(first);
    for (const line of more) {
      this.end(true);
      this.add(line);
    }
  }

  finish() {
    this.end();
    return this.#done.join("\n").trimEnd();
  }
}

/** Walks over a page as its parser reads it. */
class Page {
  title = "";
  #options;
  #lines = new Lines();
  #links = []; // the addresses of the links around
  #inTitle = false;
  #hidden = 0; // how deep in an element that is left out
  #articles = 0;
  #preformatted = 0;

  constructor(options) {
    this.#options = options;
  }

  onopentag(name, attributes) {
    this.#inTitle = name === "title" && !this.title;
    if (this.#hidden || this.#isLeftOut(name, attributes)) {
      this.#hidden++;
      return;
    }
    this.#breakAt(name);
    if (ARTICLES.has(name)) this.#articles++;
    if (name === "pre") this.#preformatted++;
    if (name === "a") this.#links.push(attributes.href ?? "");
    if (name === "li") this.#lines.add("- ");
    if (CELLS.has(name)) this.#lines.add(" ");
    if (name === "img" && attributes.alt) this.#lines.add(attributes.alt);
  }

  ontext(text) {
    if (this.#inTitle) this.title += text;
    if (this.#hidden) return;
    if (this.#preformatted) this.#lines.addExact(text);
    else this.#lines.add(text);
  }

  onclosetag(name) {
    this.#inTitle = false;
    if (this.#hidden) {
      this.#hidden--;
      return;
    }
    if (name === "a") this.#endLink(this.#links.pop());
    if (name === "pre") this.#preformatted--;
    if (ARTICLES.has(name)) this.#articles--;
    this.#breakAt(name);
  }

  get text() {
    return this.#lines.finish();
  }

  #isLeftOut(name, attributes) {
    if (HIDDEN.has(name) || "hidden" in attributes) return true;
    if (this.#options.boilerplate) return false;
    return BOILERPLATE.has(name) || (AROUND_ARTICLES.has(name) && !this.#articles);
  }

  #breakAt(name) {
    if (PARAGRAPHS.has(name)) this.#lines.part();
    else if (BLOCKS.has(name)) this.#lines.end();
  }

  #endLink(address) {
    if (this.#options.links && /^https?:/i.test(address ?? "")) this.#lines.add(` (${address})`);
  }
}

/**
 * The text and the title of a page; the title is null where there is none.
 *
 * `boilerplate`: whether navigation, asides, forms, and headers and footers outside of articles are kept.
 * `links`: whether the address of a link follows its text, in parentheses.
 */
export function cleanHtml(html, { boilerplate = false, links = false } = {}) {
  const page = new Page({ boilerplate, links });
  const parser = new Parser(page);
  parser.write(html);
  parser.end();
  return { title: page.title.replace(/\s+/g, " ").trim() || null, text: page.text };
}
