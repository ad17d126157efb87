/**
 * The nodes: a legend, cells, and a table that can be searched, sorted and turned page by page.
 *
 * @typedef {import("./feed.js").Feed} Feed
 * @typedef {object} Node
 * @property {number} row
 * @property {string} name
 * @property {string} shown its state, or "paused"
 * @property {number} slots
 * @property {number} used
 * @property {number} busiest of its processors and memory, in percent, -1 when unknown
 * @property {number} silentSince 0 while it is heard
 * @property {string} services
 * @property {string} languages
 * @property {string} pools
 * @property {string} notes
 */

import { Grid } from "./grid.js";
import { bar, byId, cellOf, element, Rows, say, tableRow } from "./parts.js";
import { ago, count, MARKED, OVERLOADED, PAUSED, REMOTE, STATES, stateWords } from "./words.js";

const PAGE_ROWS = 25;
const LEGEND = ["ready", "paused", "degraded", "suspect", "draining", "registering", "offline"];
const WORST_FIRST = ["suspect", "degraded", "draining", "registering", "offline", "paused", "ready"];
const names = new Intl.Collator("en", { numeric: true });

/** @type {{title: string, order: (a: Node, b: Node) => number}[]} */
const COLUMNS = [
  { title: "Node", order: (a, b) => names.compare(a.name, b.name) },
  { title: "State", order: (a, b) => WORST_FIRST.indexOf(a.shown) - WORST_FIRST.indexOf(b.shown) },
  { title: "Slots in use", order: (a, b) => share(b) - share(a) || b.used - a.used },
  { title: "Load", order: (a, b) => b.busiest - a.busiest },
  { title: "Heartbeat", order: (a, b) => (a.silentSince || Infinity) - (b.silentSince || Infinity) },
  { title: "Can do", order: (a, b) => names.compare(a.services + a.languages, b.services + b.languages) },
];

/** @param {Node} node */
function share(node) {
  return node.slots ? node.used / node.slots : 0;
}

export class Nodes {
  #feed;
  #grid = new Grid(byId("grid", HTMLCanvasElement));
  #words = byId("node-words", HTMLInputElement);
  #state = byId("node-state", HTMLSelectElement);
  #sorted = 0;
  #isReversed = false;
  #first = 0;
  /** @type {Map<number, Node>} */
  #nodes = new Map();
  /** @type {Rows<Node>} */
  #rows;
  /** @type {Rows<{name: string, number: number}>} */
  #legend;
  /** @type {HTMLElement[]} */
  #heads = [];

  /** @param {Feed} feed */
  constructor(feed) {
    this.#feed = feed;
    const body = byId("nodes", HTMLTableElement).tBodies[0];
    if (!body) throw new Error("the page lacks the rows of nodes");
    this.#rows = new Rows(body, () => tableRow(COLUMNS.length), (row, node) => this.#fill(row, node));
    this.#legend = new Rows(byId("legend", HTMLUListElement), legendLine, fillLegend);
    this.#makeHeads();
    this.#state.append(new Option("any", ""), ...LEGEND.map((name) => new Option(stateWords(name), name)));
    for (const field of [this.#words, this.#state]) field.addEventListener("input", () => this.#turn(0));
    byId("node-filter", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
    byId("nodes-before", HTMLButtonElement).addEventListener("click", () => this.#turn(this.#first - PAGE_ROWS));
    byId("nodes-after", HTMLButtonElement).addEventListener("click", () => this.#turn(this.#first + PAGE_ROWS));
    this.#grid.addEventListener("point", (event) => this.#point(/** @type {CustomEvent} */ (event).detail));
    this.#grid.addEventListener("choose", (event) => {
      const node = /** @type {CustomEvent<Node | undefined>} */ (event).detail;
      if (node) this.find(node.name);
    });
  }

  #makeHeads() {
    const row = byId("nodes", HTMLTableElement).tHead?.rows[0];
    COLUMNS.forEach((column, at) => {
      const button = element("button", "sort", column.title);
      button.setAttribute("type", "button");
      button.addEventListener("click", () => this.#sort(at));
      const head = element("th", "", button);
      head.setAttribute("scope", "col");
      this.#heads.push(head);
      row?.append(head);
    });
    this.#tellOrder();
  }

  /** @param {number} column */
  #sort(column) {
    this.#isReversed = this.#sorted === column && !this.#isReversed;
    this.#sorted = column;
    this.#tellOrder();
    this.#turn(0);
  }

  #tellOrder() {
    this.#heads.forEach((head, at) => {
      if (at !== this.#sorted) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", this.#isReversed ? "descending" : "ascending");
    });
  }

  /**
   * Show only nodes with these words.
   * @param {string} words
   */
  find(words) {
    this.#words.value = words;
    this.#state.value = "";
    this.#turn(0);
    this.#words.focus();
  }

  /** @param {number} first */
  #turn(first) {
    this.#first = Math.max(0, first);
    this.#showTable();
  }

  /** Take up what is new, and show it. */
  show() {
    const nodes = new Map();
    const [whos, classes, pools] = ["node", "class", "pool"].map((name) => this.#feed.table(name));
    for (const [row, load] of this.#feed.table("load")) {
      const who = whos?.get(row);
      if (who) nodes.set(row, nodeOf(Number(row), who, load, classes?.get(who[1]), pools));
    }
    this.#nodes = nodes;
    const drawn = [...nodes.values()].sort((a, b) => a.row - b.row);
    this.#grid.show(drawn);
    this.#showLegend(drawn);
    this.#showTable();
  }

  /** @param {Node[]} nodes */
  #showLegend(nodes) {
    const counts = new Map(LEGEND.map((name) => [name, 0]));
    for (const { shown } of nodes) counts.set(shown, (counts.get(shown) ?? 0) + 1);
    const there = [...counts].filter(([name, number]) => number || name === "ready");
    this.#legend.show(there.map(([name, number]) => [name, { name, number }]));
    const words = there.map(([name, number]) => `${count(number)} ${stateWords(name)}`).join(", ");
    const label = `Every node as a cell: ${words}. The table below says the same.`;
    const canvas = byId("grid", HTMLCanvasElement);
    if (canvas.getAttribute("aria-label") !== label) canvas.setAttribute("aria-label", label);
  }

  #showTable() {
    const wanted = this.#words.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const state = this.#state.value;
    const found = [...this.#nodes.values()].filter((node) => {
      if (state && node.shown !== state) return false;
      const text = `${node.name} ${node.services} ${node.languages} ${node.pools} ${node.notes}`.toLowerCase();
      return wanted.every((word) => text.includes(word));
    });
    const order = COLUMNS[this.#sorted]?.order ?? (() => 0);
    const sign = this.#isReversed ? -1 : 1;
    found.sort((a, b) => sign * order(a, b) || names.compare(a.name, b.name));
    if (this.#first >= found.length) this.#first = Math.max(0, Math.ceil(found.length / PAGE_ROWS) - 1) * PAGE_ROWS;
    const shown = found.slice(this.#first, this.#first + PAGE_ROWS);
    this.#rows.show(shown.map((node) => [node.row, node]));
    this.#tellPlace(found.length, shown.length);
  }

  /** @param {number} found @param {number} shown */
  #tellPlace(found, shown) {
    const before = byId("nodes-before", HTMLButtonElement);
    const after = byId("nodes-after", HTMLButtonElement);
    before.disabled = this.#first === 0;
    after.disabled = this.#first + shown >= found;
    before.hidden = after.hidden = found <= PAGE_ROWS;
    const all = this.#nodes.size;
    const none = all ? "No node is like that." : "No node is connected. Start one: pointsman node --engines speech";
    const place = `${count(this.#first + 1)} to ${count(this.#first + shown)} of ${count(found)}`;
    const whole = found === all ? "" : `, of ${count(all)} in all`;
    say(byId("nodes-place", HTMLSpanElement), found ? place + whole : none);
  }

  /** @param {Node | undefined} node */
  #point(node) {
    const words = node ? `${node.name}: ${stateWords(node.shown)}, ${slotsWords(node)}. ${node.services}` : "\u00a0";
    say(byId("pointed", HTMLParagraphElement), words);
  }

  /** @param {HTMLElement} row @param {Node} node */
  #fill(row, node) {
    say(cellOf(row, 0), node.name);
    const state = cellOf(row, 1);
    state.className = `state ${node.shown}`;
    say(state, node.notes ? `${stateWords(node.shown)}, ${node.notes}` : stateWords(node.shown));
    bar(cellOf(row, 2), node.used, node.slots);
    say(cellOf(row, 3), node.busiest < 0 ? "–" : `${node.busiest} %`);
    say(cellOf(row, 4), node.silentSince ? `${ago(this.#feed.age(node.silentSince))} ago` : "under 3 s");
    const skills = `${node.services}${node.languages ? `: ${node.languages}` : ""}`;
    const cell = cellOf(row, 5);
    say(cell, skills);
    cell.title = skills;
  }
}

/** @param {Node} node */
function slotsWords(node) {
  return `${node.used} of ${node.slots} slots in use`;
}

/**
 * @param {number} row
 * @param {[string, number, number[], string]} who
 * @param {number[]} load
 * @param {[string, string, string, string, boolean] | undefined} able
 * @param {Map<string | number, any> | undefined} pools
 * @returns {Node}
 */
function nodeOf(row, [name, , poolIds, instance], load, able, pools) {
  const [state = 0, flags = 0, slots = 0, held = 0, foreign = 0, cpu = -1, gpu = -1, memory = -1, silentSince = 0] = load;
  const notes = [];
  if (flags & MARKED) notes.push("a model is marked");
  if (flags & OVERLOADED) notes.push("overloaded");
  if (flags & REMOTE) notes.push(`at ${instance || "another instance"}`);
  const stateName = STATES[state] ?? "registering";
  const isPaused = stateName === "ready" && Boolean(flags & PAUSED);
  return {
    row,
    name,
    shown: isPaused ? "paused" : stateName,
    slots,
    used: held + foreign,
    busiest: Math.max(cpu, gpu, memory),
    silentSince,
    services: able?.[0] ?? "",
    languages: able?.[1] ?? "",
    pools: poolIds.map((id) => pools?.get(id)?.[0] ?? "").join(" "),
    notes: notes.join(", "),
  };
}

function legendLine() {
  return element("li", "", element("span", "swatch"), element("span"));
}

/** @param {HTMLElement} line @param {{name: string, number: number}} item */
function fillLegend(line, { name, number }) {
  cellOf(line, 0).className = `swatch ${name}`;
  say(cellOf(line, 1), `${count(number)} ${stateWords(name)}`);
}
