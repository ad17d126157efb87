/**
 * The two fields that choose languages: what the fleet covers, and any other by its code.
 *
 * @typedef {{src: string, tgt: string, speech: boolean}} Pair
 *   one that a node translates; `speech`: one node hears, translates and speaks it
 * @typedef {{pairs: Pair[], hears: string[], speaks: string[], nodes: number, error?: string}} Fleet
 */

const OTHER = "other";
const USUAL = ["en", "es"]; // offered while nobody says what there is
const LOOK_AGAIN_MS = 15_000;
const names = new Intl.DisplayNames(["en"], { type: "language" });

/**
 * What people call a language.
 * @param {string} code
 */
export function nameOf(code) {
  try {
    return names.of(code) ?? code;
  } catch {
    return code; // no code of a language: it is shown as it was given
  }
}

/**
 * Some pools are named after a hundred languages: of those the first and how many, as the command
 * line has it.
 * @param {string} name
 */
export function poolWords(name) {
  const parts = name.split("-");
  return name.length > 40 && parts.length > 4 ? `${parts.slice(0, 2).join("-")}-…(${parts.length})` : name;
}

/** Choosing a pair. Events: "change" (another pair, or the fleet can do something else). */
export class Languages extends EventTarget {
  /** @type {Fleet} */
  fleet = { pairs: [], hears: [], speaks: [], nodes: 0 };
  isKnown = false;
  /** @type {Record<"src" | "tgt", {select: HTMLSelectElement, other: HTMLElement, input: HTMLInputElement}>} */
  #fields;
  /** @type {HTMLElement} */
  #note;

  /**
   * @param {HTMLElement} form holds the fields
   * @param {{src?: string, tgt?: string}} wanted chosen at first
   */
  constructor(form, wanted) {
    super();
    this.#note = find(form, "#fleet");
    this.#fields = { src: fieldOf(form, "src"), tgt: fieldOf(form, "tgt") };
    find(form, "#swap").addEventListener("click", () => this.choose(this.tgt, this.src));
    for (const { select, input } of Object.values(this.#fields)) {
      select.addEventListener("change", () => this.#changed());
      input.addEventListener("input", () => this.#changed());
    }
    this.choose(wanted.src || "en", wanted.tgt || "es");
    void this.#look(wanted);
  }

  get src() {
    return valueOf(this.#fields.src);
  }

  get tgt() {
    return valueOf(this.#fields.tgt);
  }

  /**
   * The services of an utterance: it is not spoken where no node speaks the language.
   * @param {boolean} isSound @param {boolean} isAloud @param {string} tgt
   */
  services(isSound, isAloud, tgt) {
    const isCovered = this.fleet.pairs.some((pair) => pair.src === this.src && pair.tgt === tgt);
    const isSilent = this.isKnown && isCovered && !this.fleet.speaks.includes(tgt);
    return [...(isSound ? ["asr"] : []), "nmt", ...(isAloud && !isSilent ? ["tts"] : [])];
  }

  /** @param {string} src @param {string} tgt */
  choose(src, tgt) {
    this.#fill("src", src);
    this.#fill("tgt", tgt);
    this.#changed();
  }

  #isCovered() {
    return this.fleet.pairs.some((pair) => pair.src === this.src && pair.tgt === this.tgt);
  }

  /**
   * Ask again and again what the fleet can do.
   * @param {{src?: string, tgt?: string}} wanted
   */
  async #look(wanted) {
    try {
      const answer = await fetch("languages.json");
      /** @type {Fleet} */
      const fleet = await answer.json();
      const [first] = fleet.pairs;
      const isFirstLook = !this.isKnown;
      this.fleet = fleet;
      this.isKnown = !fleet.error;
      const isFree = isFirstLook && !wanted.src && !wanted.tgt && !this.#isCovered();
      if (isFree && first) this.choose(first.src, first.tgt);
      else this.choose(this.src, this.tgt);
    } catch {
      // The session says whether the service is there; until then the old list serves.
    }
    setTimeout(() => void this.#look(wanted), this.fleet.nodes ? LOOK_AGAIN_MS : 2_000);
  }

  /** @param {"src" | "tgt"} side @param {string} code */
  #fill(side, code) {
    const { select, input } = this.#fields[side];
    const covered = this.fleet.pairs.map((pair) => pair[side]);
    const known = [...new Set(covered.length ? covered : USUAL)].sort();
    const options = known.map((known) => new Option(nameOf(known), known));
    // Who types one may be on the way to a longer one.
    const isTyped = select.value === OTHER && document.activeElement === input;
    select.replaceChildren(...options, new Option("Another…", OTHER));
    select.value = known.includes(code) && !isTyped ? code : OTHER;
    if (select.value === OTHER && !isTyped) input.value = code;
  }

  #changed() {
    for (const { select, other } of Object.values(this.#fields)) other.hidden = select.value !== OTHER;
    const others = this.#fields.src.other.parentElement;
    if (others) others.hidden = this.#fields.src.other.hidden && this.#fields.tgt.other.hidden;
    const note = this.#words();
    if (this.#note.textContent !== note) this.#note.textContent = note;
    this.dispatchEvent(new Event("change"));
  }

  #words() {
    if (this.fleet.error) return this.fleet.error;
    if (!this.isKnown) return "";
    if (!this.fleet.pairs.length) {
      return "No node that translates is connected. Start one: pointsman node --engines speech";
    }
    const pair = `${nameOf(this.src)} to ${nameOf(this.tgt)}`;
    if (!this.#isCovered()) {
      const offers = this.fleet.pairs.slice(0, 6).map(({ src, tgt }) => `${src} → ${tgt}`);
      return `No node translates ${pair} now. The fleet has ${offers.join(", ")}.`;
    }
    const lacks = [];
    if (!this.fleet.hears.includes(this.src)) lacks.push(`understands spoken ${nameOf(this.src)}`);
    if (!this.fleet.speaks.includes(this.tgt)) lacks.push(`speaks ${nameOf(this.tgt)}`);
    return lacks.length ? `${pair}, in writing: no node ${lacks.join(" or ")}.` : "";
  }
}

/** @param {HTMLElement} form @param {string} side */
function fieldOf(form, side) {
  const other = find(form, `#${side}-other`);
  const select = /** @type {HTMLSelectElement} */ (find(form, `#${side}`));
  return { select, other, input: /** @type {HTMLInputElement} */ (find(other, "input")) };
}

/** @param {{select: HTMLSelectElement, input: HTMLInputElement}} field */
function valueOf({ select, input }) {
  return (select.value === OTHER ? input.value : select.value).trim().toLowerCase();
}

/** @param {HTMLElement} inside @param {string} selector @returns {HTMLElement} */
function find(inside, selector) {
  const found = inside.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`the page lacks ${selector}`);
  return found;
}
