/** The figures of now, each with its last minutes as a line. */

import { element, say } from "./parts.js";
import { count, counted, duration, rate } from "./words.js";

/** @typedef {import("./feed.js").Feed} Feed */
/** @typedef {[number, number, number, number, number, number, number]} Point */

const WIDTH = 120;
const HEIGHT = 28;
const MINUTES_POINTS = 72;
const SVG = "http://www.w3.org/2000/svg";

/** @type {{title: string, at: number, text: (value: number, feed: Feed) => string, more: (feed: Feed) => string}[]} */
const TILES = [
  {
    title: "Nodes ready",
    at: 6,
    text: (value) => count(value),
    more: (feed) => `of ${count(feed.table("load").size)}`,
  },
  {
    title: "Slots in use",
    at: 0,
    text: (value) => count(value),
    more: (feed) => `of ${count(feed.now("fleet")?.slots ?? 0)}`,
  },
  { title: "Jobs waiting", at: 2, text: (value) => count(value), more: (feed) => sessions(feed) },
  { title: "Jobs done", at: 3, text: (value) => `${rate(value)}/s`, more: () => "" },
  { title: "Jobs refused", at: 4, text: (value) => `${rate(value)}/s`, more: () => "" },
  {
    title: "Node chosen within",
    at: 5,
    text: (value) => (value ? duration(value) : "–"),
    more: () => "95 of 100",
  },
];

/** @param {Feed} feed */
function sessions(feed) {
  let sum = 0;
  for (const [, open] of feed.table("worker").values()) sum += open;
  return counted(sum, "session");
}

export class Tiles {
  #tiles;

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#tiles = TILES.map((kind) => {
      const value = element("span", "value");
      const more = element("span", "more");
      const line = document.createElementNS(SVG, "svg");
      line.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
      line.setAttribute("preserveAspectRatio", "none");
      line.setAttribute("role", "img");
      const area = line.appendChild(document.createElementNS(SVG, "path"));
      const path = line.appendChild(document.createElementNS(SVG, "path"));
      area.setAttribute("class", "area");
      path.setAttribute("class", "line");
      list.append(element("div", "tile", element("dt", "", kind.title), element("dd", "", value, more, line)));
      return { kind, value, more, line, area, path };
    });
  }

  /** @param {Feed} feed */
  show(feed) {
    /** @type {Point[]} */
    const points = [...feed.table("point")].sort(([a], [b]) => Number(a) - Number(b)).map(([, point]) => point);
    const fleet = feed.now("fleet");
    const waiting = [...feed.table("worker").values()].reduce((sum, worker) => sum + worker[3], 0);
    for (const { kind, value, more, line, area, path } of this.#tiles) {
      const values = points.map((point) => point[kind.at] ?? 0);
      /** @type {Record<number, number>} */
      const fresh = { 0: fleet?.held ?? 0, 2: waiting, 6: fleet?.states.ready ?? 0 };
      const now = fresh[kind.at] ?? values.at(-1) ?? 0;
      say(value, kind.text(now, feed));
      say(more, kind.more(feed));
      const highest = Math.max(...values, now, kind.at === 0 ? (fleet?.slots ?? 0) : 0);
      const drawn = pathOf(values, highest);
      path.setAttribute("d", drawn);
      area.setAttribute("d", drawn && `${drawn}V${HEIGHT}H${firstX(values).toFixed(1)}Z`);
      const words = `${kind.title} over the last six minutes: highest ${kind.text(Math.max(0, ...values), feed)}`;
      if (line.getAttribute("aria-label") !== words) line.setAttribute("aria-label", words);
    }
  }
}

/** @param {number[]} values */
function firstX(values) {
  return WIDTH - ((values.length - 1) * WIDTH) / (MINUTES_POINTS - 1);
}

/** @param {number[]} values @param {number} highest */
function pathOf(values, highest) {
  if (values.length < 2) return "";
  const step = WIDTH / (MINUTES_POINTS - 1);
  const first = firstX(values);
  const places = values.map((value, at) => {
    const y = HEIGHT - 2 - (highest ? (value / highest) * (HEIGHT - 4) : 0);
    return `${(first + at * step).toFixed(1)} ${y.toFixed(1)}`;
  });
  return `M${places.join("L")}`;
}
