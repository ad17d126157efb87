/** What was decided of late; a button on each line opens why. */

import { askedWords } from "./lists.js";
import { byId, cellOf, element, Rows, say, tableRow } from "./parts.js";
import { ago, duration, reasonWords } from "./words.js";
import { explanation } from "./why.js";

/** @typedef {import("./feed.js").Feed} Feed */

const PATIENCE_MS = 10_000;

export class Decisions {
  #feed;
  /** @type {Rows<any>} */
  #rows;
  #dialog = byId("why", HTMLDialogElement);
  #asked = 0;

  /** @param {Feed} feed */
  constructor(feed) {
    this.#feed = feed;
    const body = byId("decisions", HTMLTableElement).tBodies[0];
    if (!body) throw new Error("the page lacks the rows of decisions");
    this.#rows = new Rows(body, () => this.#row(), (row, item) => this.#fill(row, item));
  }

  show() {
    const decisions = [...this.#feed.table("decision")].sort(([, a], [, b]) => b.at - a.at);
    this.#rows.show(decisions);
    byId("decisions-note", HTMLParagraphElement).hidden = decisions.length > 0;
  }

  #row() {
    const row = tableRow(5);
    const button = element("button", "quiet small", "Why");
    button.setAttribute("type", "button");
    button.addEventListener("click", () => void this.#open(row.dataset.request ?? ""));
    cellOf(row, 4).append(button);
    return row;
  }

  /** @param {HTMLElement} row @param {any} decision */
  #fill(row, decision) {
    row.dataset.request = decision.request_id;
    say(cellOf(row, 0), `${ago(this.#feed.age(decision.at))} ago`);
    say(cellOf(row, 1), askedWords(decision));
    const refusal = `refused: ${reasonWords(decision.reason || decision.code.toLowerCase())}`;
    const again = decision.attempt > 1 ? `, attempt ${decision.attempt}` : "";
    say(cellOf(row, 2), decision.node_id ? `${decision.node_id}${again}` : refusal);
    cellOf(row, 2).classList.toggle("refused", !decision.node_id);
    const waited = decision.waited_ms >= 1 ? `waited ${duration(decision.waited_ms * 1_000)}` : "";
    const took = decision.taken_us ? duration(decision.taken_us) : "";
    say(cellOf(row, 3), [took, waited].filter(Boolean).join(", ") || "–");
    const label = `Why ${askedWords(decision)} came to ${decision.node_id || "nobody"}`;
    const button = row.querySelector("button");
    if (button && button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
  }

  /** @param {string} request */
  async #open(request) {
    const words = byId("why-words", HTMLDivElement);
    const turn = (this.#asked += 1);
    words.replaceChildren(element("p", "note", "Asking the workers…"));
    if (!this.#dialog.open) this.#dialog.showModal();
    const shown = await answerTo(request);
    if (turn === this.#asked) words.replaceChildren(...shown);
  }
}

/** @param {string} request @returns {Promise<HTMLElement[]>} */
async function answerTo(request) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  try {
    const asked = { signal: patience.signal, cache: /** @type {RequestCache} */ ("no-store") };
    const answer = await fetch(`why?${new URLSearchParams({ request })}`, asked);
    if (!answer.ok) return [element("p", "trouble", await answer.text())];
    return explanation(await answer.json());
  } catch {
    return [element("p", "trouble", "The service does not answer; try again.")];
  } finally {
    clearTimeout(timer);
  }
}
