/**
 * One utterance on the page: what was said, what became of it, and its way through the fleet.
 *
 * @typedef {import("./pointsman.js").PointsmanError} PointsmanError
 * @typedef {import("./pointsman.js").Result} Result
 * @typedef {import("./pointsman.js").ErrorInfo} ErrorInfo
 */

import { nameOf, poolWords } from "./languages.js";

const STEPS_MAX = 40;
/** @type {Record<string, string>} */
const REFUSALS = {
  NO_AVAILABLE_NODE: "No node of the fleet can do this now.",
  QUEUE_TIMEOUT: "Every node that can do this was busy for too long.",
};
/** @type {Record<string, string>} */
const REASONS = {
  lang_pair_unsupported: "without these languages",
  type_unsupported: "without this service",
  no_slots: "busy",
};

/**
 * Seconds or milliseconds, short.
 * @param {number} ms
 */
export function duration(ms) {
  return ms < 9_999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/**
 * Where a job was done and what that took.
 * @param {Result["message"]} message
 */
export function placementWords(message) {
  const { node_id, placement, placement_us, queued_ms, failovers } = message;
  const pool = placement?.pool ? `, pool ${poolWords(placement.pool)}` : "";
  const of = (placement?.candidates ?? 0) > 1 ? ` from ${placement?.candidates} nodes` : "";
  const chosen = placement_us ? `, chosen${of} in ${Math.round(placement_us)} µs` : "";
  const waited = (queued_ms ?? 0) >= 1 ? `, after ${duration(queued_ms ?? 0)} in the queue` : "";
  const again = failovers ? `, after ${failovers} ${failovers === 1 ? "node was" : "nodes were"} lost` : "";
  return `done by ${node_id || "nobody"}${pool}${chosen}${waited}${again}`;
}

/** A card. `who` is empty for what is said here. */
export class Travel {
  #began = performance.now();
  /** @type {Set<string>} */
  #told = new Set();
  #done;
  #said;
  #way;
  #soFar = "";
  #isOurs;
  isEnded = false;
  /**
   * Tells who said it that it is played here.
   * @type {(event: string) => void}
   */
  played = () => {};

  /**
   * @param {{src: string, tgt: string, words: string, who?: string}} utterance
   * @param {(news: string) => void} announce tells a screen reader
   */
  constructor(utterance, announce) {
    const { src, tgt, words, who } = utterance;
    this.announce = announce;
    this.tgt = tgt;
    this.#isOurs = !who;
    this.element = document.createElement("li");
    this.element.className = "card pending";
    this.#said = this.#add("p", "said", "");
    const label = document.createElement("span");
    label.className = "who";
    label.textContent = `${who || "You"}, ${nameOf(src)}: `;
    this.words = document.createElement("span");
    this.words.lang = src;
    this.words.textContent = words;
    this.#said.append(label, this.words);
    this.#done = this.#add("p", "done", "");
    this.#done.lang = tgt;
    this.#way = this.#add("ol", "way", "");
    this.#way.setAttribute("aria-label", "The way of this utterance");
  }

  /**
   * A step that the service tells.
   * @param {Record<string, any>} message a ui_event
   */
  event({ event = "INPUT_STARTED", text, node_id, pool, error }) { // a default is left out of the message
    const where = `${node_id ?? ""}${pool ? `, pool ${poolWords(pool)}` : ""}`;
    if (event === "ASR_PARTIAL") this.#heardSoFar(text ?? "");
    if (event === "ASR_FINAL") this.heard(text ?? "");
    if (event === "INPUT_ENDED" && text) this.heard(text); // somebody else has typed it
    if (event === "NMT_DONE") this.translated(text ?? "");
    // What is said here fails with its answer; of what others say there is none.
    if (event === "ERROR" && error && !this.#isOurs && !this.isEnded) this.failed(error);
    /** @type {Record<string, string>} */
    const words = {
      INPUT_STARTED: `the service hears ${this.#isOurs ? "you" : "them"}`,
      INPUT_ENDED: "the sentence has ended",
      DISPATCHED: `given to ${where}`,
      NODE_ACCEPTED: `${node_id} has begun`,
      ASR_FINAL: "understood",
      NMT_DONE: "translated",
      TTS_PLAY_STARTED: "the other person hears it",
      TTS_PLAY_ENDED: "the other person has heard it",
    };
    const said = words[event];
    if (said) this.step(`${event} ${node_id ?? ""}`, said);
  }

  /**
   * What was recognised, or is being.
   * @param {string} text
   */
  heard(text) {
    if (text.trim()) this.words.textContent = text.trim();
  }

  /**
   * It is recognised from its beginning again and again; words that were shown stay meanwhile.
   * @param {string} text
   */
  #heardSoFar(text) {
    if (text.length < this.#soFar.length) return;
    this.#soFar = text;
    this.heard(text);
  }

  /**
   * The translation, or what there is of it.
   * @param {string} text
   */
  translated(text) {
    this.#done.textContent = text.trim();
  }

  /**
   * A step of the way; the same step is shown once.
   * @param {string} key @param {string} words
   */
  step(key, words, isTrouble = false) {
    if (this.#told.has(key) || this.#told.size >= STEPS_MAX) return;
    this.#told.add(key);
    const item = document.createElement("li");
    if (isTrouble) item.className = "trouble";
    const time = document.createElement("time");
    time.textContent = `+${duration(performance.now() - this.#began)}`;
    const text = document.createElement("span");
    text.textContent = words;
    item.append(time, text);
    this.#way.append(item);
  }

  /**
   * It came through.
   * @param {Result} result @param {boolean} isAloud play its sound at once
   */
  ended(result, isAloud) {
    const { message, payload } = result;
    const meta = /** @type {{heard?: string, said?: string, translation?: string}} */ (message.meta ?? {});
    const isSound = (message.content_type ?? "").startsWith("audio/");
    this.heard(meta.heard ?? meta.said ?? "");
    if (meta.translation || !isSound) this.translated(meta.translation ?? result.text());
    this.step("end", placementWords(message));
    this.#stop();
    if (message.status === "completed_no_text") this.#nothing();
    else this.announce(`${nameOf(this.tgt)}: ${this.#done.textContent}`);
    if (isSound && payload.length) this.#play(payload, isAloud);
  }

  /**
   * It did not.
   * @param {PointsmanError | ErrorInfo} error
   */
  failed(error) {
    this.#stop();
    const reason = REFUSALS[error.code] ?? (error.message || error.code);
    const words = this.#add("p", "trouble", reason);
    words.dataset.code = error.code;
    const fix = error.breakdown?.fix || error.hint;
    if (fix) this.#add("p", "fix", `What would help: ${fix}`);
    const counts = Object.entries(error.breakdown?.counts ?? {});
    const list = counts.map(([why, count]) => `${count} ${REASONS[why] ?? why.replaceAll("_", " ")}`);
    if (list.length) {
      this.#add("p", "note", `Why, node by node: ${list.join(", ")} (of ${error.breakdown?.total_nodes}).`);
    }
    this.step("end", `not done: ${error.code}`, true);
    this.element.append(this.#way);
    this.announce(`Not translated. ${reason} ${fix ? `What would help: ${fix}` : ""}`);
  }

  #stop() {
    this.isEnded = true;
    this.element.classList.remove("pending");
  }

  #nothing() {
    this.translated("");
    this.#done.append(this.#note("Nothing was understood. Say it again, a little louder or closer."));
    this.announce("Nothing was understood.");
  }

  /** @param {Uint8Array} payload @param {boolean} isAloud */
  #play(payload, isAloud) {
    const audio = document.createElement("audio");
    audio.controls = true;
    audio.setAttribute("aria-label", `The translation, spoken in ${nameOf(this.tgt)}`);
    audio.src = URL.createObjectURL(new Blob([/** @type {BlobPart} */ (payload)], { type: "audio/wav" }));
    audio.addEventListener("playing", () => this.step("play", "heard aloud"));
    audio.addEventListener("playing", () => this.played("TTS_PLAY_STARTED"), { once: true });
    audio.addEventListener("ended", () => this.played("TTS_PLAY_ENDED"), { once: true });
    this.#way.before(audio);
    if (isAloud) audio.play().catch(() => {}); // the browser wants a click first: the controls are there
  }

  /** @param {string} text */
  #note(text) {
    const note = document.createElement("span");
    note.className = "note";
    note.textContent = text;
    return note;
  }

  /** @param {string} tag @param {string} name @param {string} text */
  #add(tag, name, text) {
    const made = document.createElement(tag);
    made.className = name;
    made.textContent = text;
    this.element.append(made);
    return made;
  }

  /** Give back what the browser keeps for it. */
  forget() {
    const audio = this.element.querySelector("audio");
    if (audio) URL.revokeObjectURL(audio.src);
    this.element.remove();
  }
}
