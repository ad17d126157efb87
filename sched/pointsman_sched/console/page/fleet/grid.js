/**
 * Every node as a cell: its colour is its state, its filling the slots in use.
 *
 * One canvas, so that 3,000 cells cost one drawing; what it shows is said by the legend and the
 * table as well.
 */

/** @typedef {import("./nodes.js").Node} Node */

const COLOURS = ["signal", "signal-soft", "amber", "trouble", "edge", "faint", "ground"];
const GAP = 2;
const SIZES = [28, 22, 18, 14, 11, 9, 7, 5];
const HEIGHT_MAX = 230;

export class Grid extends EventTarget {
  #canvas;
  /** @type {Node[]} */
  #nodes = [];
  #size = 0;
  #columns = 1;
  /** @type {Record<string, string>} */
  #colours = {};

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    super();
    this.#canvas = canvas;
    this.#readColours();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#readColours();
      this.show(this.#nodes);
    });
    new ResizeObserver(() => this.show(this.#nodes)).observe(canvas.parentElement ?? canvas);
    canvas.addEventListener("pointermove", (event) => this.#tell("point", this.#nodeAt(event)));
    canvas.addEventListener("pointerleave", () => this.#tell("point", undefined));
    canvas.addEventListener("click", (event) => this.#tell("choose", this.#nodeAt(event)));
  }

  /** A canvas knows no custom properties: an element that does lends its colour. */
  #readColours() {
    const probe = document.createElement("span");
    document.body.append(probe);
    for (const name of COLOURS) {
      probe.style.color = `var(--${name})`;
      this.#colours[name] = getComputedStyle(probe).color;
    }
    probe.remove();
  }

  /** @param {string} type @param {Node | undefined} node */
  #tell(type, node) {
    this.#canvas.style.cursor = node ? "pointer" : "";
    this.dispatchEvent(new CustomEvent(type, { detail: node }));
  }

  /** @param {MouseEvent} event */
  #nodeAt(event) {
    const step = this.#size + GAP;
    const column = Math.floor(event.offsetX / step);
    if (column >= this.#columns) return undefined;
    return this.#nodes[Math.floor(event.offsetY / step) * this.#columns + column];
  }

  /** @param {Node[]} nodes in the order in which they are drawn */
  show(nodes) {
    this.#nodes = nodes;
    const width = this.#canvas.parentElement?.clientWidth ?? 0;
    const style = getComputedStyle(this.#canvas.parentElement ?? this.#canvas);
    const inner = width - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (inner <= 0) return;
    const fits = (/** @type {number} */ size) =>
      Math.ceil(nodes.length / Math.floor(inner / (size + GAP))) * (size + GAP) <= HEIGHT_MAX;
    this.#size = SIZES.find(fits) ?? 5;
    const step = this.#size + GAP;
    this.#columns = Math.max(1, Math.floor(inner / step));
    const height = Math.ceil(nodes.length / this.#columns) * step;
    this.#canvas.hidden = !nodes.length;
    const scale = devicePixelRatio || 1;
    const [wide, high] = [Math.round(inner * scale), Math.round(height * scale)];
    if (this.#canvas.width !== wide) this.#canvas.width = wide;
    if (this.#canvas.height !== high) this.#canvas.height = high;
    this.#canvas.style.width = `${inner}px`;
    this.#canvas.style.height = `${height}px`;
    const context = this.#canvas.getContext("2d");
    if (!context) return;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, inner, height);
    nodes.forEach((node, at) => this.#draw(context, node, at));
  }

  /** @param {CanvasRenderingContext2D} context @param {Node} node @param {number} at */
  #draw(context, node, at) {
    const step = this.#size + GAP;
    const size = this.#size;
    const x = (at % this.#columns) * step;
    const y = Math.floor(at / this.#columns) * step;
    const colour = (/** @type {string} */ name) => this.#colours[name] ?? "gray";
    if (node.shown === "ready") {
      const filled = Math.round(size * (node.slots ? Math.min(1, node.used / node.slots) : 0));
      context.fillStyle = colour("signal-soft");
      context.fillRect(x, y, size, size - filled);
      context.fillStyle = colour("signal");
      context.fillRect(x, y + size - filled, size, filled);
      return;
    }
    if (node.shown === "offline" || node.shown === "paused") {
      context.strokeStyle = colour(node.shown === "paused" ? "signal" : "edge");
      context.lineWidth = 1;
      context.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
      return;
    }
    const names = /** @type {Record<string, string>} */ ({ suspect: "trouble", degraded: "amber" });
    context.fillStyle = colour(names[node.shown] ?? "faint");
    context.fillRect(x, y, size, size);
    if (node.shown === "suspect" && size > 6) {
      context.fillStyle = colour("ground");
      context.fillRect(x + size / 2 - 1, y + 2, 2, size - 4);
    }
  }
}
