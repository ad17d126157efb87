/** Who translates what: a table of language pairs, from the rows, to the columns. */

import { nameOf } from "../languages.js";
import { byId, element, say } from "./parts.js";
import { counted } from "./words.js";

/** @typedef {import("./feed.js").Feed} Feed */
/** @typedef {Map<string, Map<string, [number, boolean]>>} Pairs by source, by target */

const LANGUAGES_MAX = 40;

export class Coverage {
  #feed;
  #service = byId("coverage-service", HTMLSelectElement);
  #words = byId("coverage-words", HTMLInputElement);
  #weak = byId("coverage-weak", HTMLInputElement);
  #drawn = "";

  /** @param {Feed} feed */
  constructor(feed) {
    this.#feed = feed;
    for (const field of [this.#service, this.#words, this.#weak]) field.addEventListener("input", () => this.show());
    byId("coverage-filter", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
  }

  show() {
    this.#offerServices();
    const pairs = this.#pairs();
    const sources = [...pairs.keys()].sort();
    const targets = [...new Set([...pairs.values()].flatMap((row) => [...row.keys()]))].sort();
    this.#tell(sources.length, targets.length);
    const rows = sources.slice(0, LANGUAGES_MAX);
    const columns = targets.slice(0, LANGUAGES_MAX);
    const state = JSON.stringify([rows, columns, rows.map((src) => columns.map((tgt) => pairs.get(src)?.get(tgt)))]);
    if (state === this.#drawn) return;
    this.#drawn = state;
    const table = byId("coverage", HTMLTableElement);
    const corner = element("td", "corner", rows.length ? "from \\ to" : "");
    table.tHead?.replaceChildren(element("tr", "", corner, ...columns.map((code) => head("col", code))));
    const body = rows.map((src) => {
      const cells = columns.map((tgt) => cell(src, tgt, pairs.get(src)?.get(tgt)));
      return element("tr", "", head("row", src), ...cells);
    });
    table.tBodies[0]?.replaceChildren(...body);
  }

  #offerServices() {
    const offered = /** @type {string[]} */ (this.#feed.now("coverage")?.services ?? []);
    const known = [...this.#service.options].map((option) => option.value);
    if (offered.join() === known.join()) return;
    const chosen = this.#service.value;
    this.#service.replaceChildren(...offered.map((name) => new Option(serviceWords(name), name)));
    if (offered.includes(chosen)) this.#service.value = chosen;
  }

  #pairs() {
    /** @type {Pairs} */
    const found = new Map();
    const wanted = this.#words.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    for (const [key, value] of this.#feed.table("pair")) {
      const [service, pair = ""] = String(key).split(" ");
      const [src = "", tgt = ""] = pair.split(">");
      if (service !== this.#service.value) continue;
      if (wanted.length && !wanted.some((word) => isLike(src, word) || isLike(tgt, word))) continue;
      if (this.#weak.checked && !isWeak(value)) continue;
      const row = found.get(src) ?? new Map();
      found.set(src, row.set(tgt, value));
    }
    return found;
  }

  /** @param {number} sources @param {number} targets */
  #tell(sources, targets) {
    const note = byId("coverage-note", HTMLParagraphElement);
    const all = [...this.#feed.table("pair").keys()].length;
    const lines = [];
    if (!all) lines.push(this.#othersWords());
    else if (!sources) lines.push("No pair is like that.");
    if (Math.max(sources, targets) > LANGUAGES_MAX) {
      lines.push(`The first ${LANGUAGES_MAX} of ${Math.max(sources, targets)} languages; name some above to see others.`);
    }
    if (this.#feed.now("coverage")?.truncated) lines.push("There are more pairs than are counted here.");
    say(note, lines.join(" "));
  }

  /** A fleet that does other work than translating has services and no pairs. */
  #othersWords() {
    const services = [...this.#feed.table("service")];
    const words = services.map(([name, [nodes]]) => `${name} (${counted(nodes, "node")})`).join(", ");
    return `No node that translates is connected${words ? `; there is ${words}` : ""}.`;
  }
}

/** @param {string} code @param {string} word */
function isLike(code, word) {
  return code === word || code.startsWith(`${word}-`) || nameOf(code).toLowerCase().startsWith(word);
}

/** @param {[number, boolean]} value */
function isWeak([nodes, hasFree]) {
  return nodes < 2 || !hasFree;
}

/** @param {string} name */
function serviceWords(name) {
  return name === "nmt" ? "translation" : name === "asr+nmt+tts" ? "speech to speech" : name;
}

/** @param {string} scope @param {string} code */
function head(scope, code) {
  const made = element("th", "", code);
  made.setAttribute("scope", scope);
  made.title = nameOf(code);
  return made;
}

/** @param {string} src @param {string} tgt @param {[number, boolean] | undefined} value */
function cell(src, tgt, value) {
  if (!value) return element("td", src === tgt ? "cell same" : "cell none", src === tgt ? "" : "–");
  const made = element("td", isWeak(value) ? "cell weak" : "cell good", String(value[0]));
  const room = value[1] ? "a slot is free" : "no slot is free";
  made.title = `${nameOf(src)} to ${nameOf(tgt)}: ${counted(value[0], "node")}, ${room}`;
  made.append(element("span", "unseen", value[1] ? "" : ", full"));
  return made;
}
