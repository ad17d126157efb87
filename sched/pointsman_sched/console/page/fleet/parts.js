/** Small parts of the page: elements, and lists and tables that keep their rows. */

import { count } from "./words.js";

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page lacks #${id}`);
  return found;
}

/**
 * @param {string} name @param {string} [className] @param {(Node | string)[]} children
 * @returns {HTMLElement}
 */
export function element(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/**
 * Write a text where it is another one.
 * @param {Element} where @param {string} text
 */
export function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

/**
 * A share of a whole as a bar with its figures beside it.
 * @param {HTMLElement} where
 */
export function bar(where, /** @type {number} */ part, /** @type {number} */ whole, words = `${count(part)} of ${count(whole)}`) {
  let [track, text] = where.children;
  if (!track || !text) {
    track = element("span", "track", element("span"));
    track.setAttribute("aria-hidden", "true");
    text = element("span", "figures");
    where.replaceChildren(track, text);
  }
  const fill = /** @type {HTMLElement} */ (track.firstElementChild);
  const share = whole ? Math.min(1, part / whole) : 0;
  const transform = `scaleX(${share.toFixed(3)})`;
  if (fill.style.transform !== transform) fill.style.transform = transform;
  fill.classList.toggle("full", share >= 1);
  say(text, words);
}

/**
 * Rows by key: those that stay keep their element, and with it the focus and the selection.
 * @template T
 */
export class Rows {
  #parent;
  #make;
  #fill;
  /** @type {Map<string | number, HTMLElement>} */
  #rows = new Map();

  /**
   * @param {Element} parent
   * @param {() => HTMLElement} make
   * @param {(row: HTMLElement, item: T) => void} fill
   */
  constructor(parent, make, fill) {
    this.#parent = parent;
    this.#make = make;
    this.#fill = fill;
  }

  /** @param {[string | number, T][]} items */
  show(items) {
    const before = this.#rows;
    this.#rows = new Map();
    /** @type {Element | null} */
    let last = null;
    for (const [key, item] of items) {
      const row = before.get(key) ?? this.#make();
      before.delete(key);
      this.#rows.set(key, row);
      this.#fill(row, item);
      const place = /** @type {Element | null} */ (last ? last.nextElementSibling : this.#parent.firstElementChild);
      if (row !== place) this.#parent.insertBefore(row, place);
      last = row;
    }
    for (const row of before.values()) row.remove();
  }
}

/**
 * A row of so many cells, the first of which is its header.
 * @param {number} cells
 */
export function tableRow(cells) {
  const row = element("tr", "", element("th"));
  row.firstElementChild?.setAttribute("scope", "row");
  for (let cell = 1; cell < cells; cell += 1) row.append(element("td"));
  return row;
}

/** @param {HTMLElement} row @param {number} index @returns {HTMLElement} */
export function cellOf(row, index) {
  const cell = row.children[index];
  if (!(cell instanceof HTMLElement)) throw new Error(`a row has no cell ${index}`);
  return cell;
}
