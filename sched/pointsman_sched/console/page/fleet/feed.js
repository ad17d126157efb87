/**
 * What the service tells of itself, as tables that follow it, over server-sent events.
 *
 * Read by hand, because a browser's own reader tells neither why it is refused nor that nothing
 * comes any more.  A page that nobody looks at hangs up after a while, as viewers are counted.
 *
 * @typedef {string | number} Key
 * @typedef {any} Value
 * @typedef {"connecting" | "live" | "stale" | "lost" | "refused" | "resting"} State
 */

const STALE_MS = 8_000; // the service says something every 5 s at least
const LOST_MS = 15_000;
const HIDDEN_MS = 60_000;
const AGAIN_MS = [500, 1_000, 2_000, 4_000];
const REFUSED_AGAIN_MS = 10_000;
const EVENT_CHARS_MAX = 1_000_000;

class Refused extends Error {}

/** Events: "state", and "change" with the names of the tables in `detail`. */
export class Feed extends EventTarget {
  /** @type {Map<string, Map<Key, Value>>} */
  tables = new Map();
  /** @type {State} */
  state = "connecting";
  words = ""; // of a refusal
  heardAt = 0; // by the page's clock, 0 before the first time
  #url;
  /** @type {AbortController} */
  #under = new AbortController();
  #failures = 0;
  #isReading = false;
  #hiddenAt = 0;

  /** @param {string} url */
  constructor(url) {
    super();
    this.#url = url;
    document.addEventListener("visibilitychange", () => {
      this.#hiddenAt = document.hidden ? Date.now() : 0;
    });
    setInterval(() => this.#watch(), 1_000);
    void this.#run();
  }

  /** @param {string} name @returns {Map<Key, Value>} */
  table(name) {
    let found = this.tables.get(name);
    if (!found) this.tables.set(name, (found = new Map()));
    return found;
  }

  /**
   * One of the figures of now.
   * @param {string} name
   */
  now(name) {
    return this.table("now").get(name);
  }

  /**
   * Seconds since an instant of the service's clock.
   * @param {number} second
   */
  age(second) {
    return Math.max(0, (this.now("second") ?? second) - second);
  }

  async #run() {
    for (;;) {
      try {
        await this.#listen();
        this.#become("lost");
      } catch (error) {
        this.#under.abort(); // nobody reads the rest of it
        if (error instanceof Refused) this.words = error.message;
        this.#become(error instanceof Refused ? "refused" : "lost");
      }
      this.#isReading = false;
      await this.#pause();
    }
  }

  async #pause() {
    if (this.#isForgotten()) this.#become("resting");
    const again = AGAIN_MS[Math.min(this.#failures, AGAIN_MS.length - 1)] ?? 0;
    this.#failures += 1;
    await sleep(this.state === "refused" ? REFUSED_AGAIN_MS : again * (0.75 + Math.random() / 2));
    while (this.#isForgotten()) await sleep(250);
    if (this.state === "resting") this.#become("connecting");
  }

  #isForgotten() {
    return this.#hiddenAt > 0 && Date.now() - this.#hiddenAt > HIDDEN_MS;
  }

  async #listen() {
    const under = (this.#under = new AbortController());
    const beganAt = Date.now();
    const limit = setTimeout(() => under.abort(), LOST_MS);
    const asked = fetch(this.#url, { signal: under.signal, cache: "no-store" });
    const answer = await asked.finally(() => clearTimeout(limit));
    if (answer.status === 403 || answer.status === 503) throw new Refused(await answer.text());
    if (!answer.ok || !answer.body) throw new Error(`status ${answer.status}`);
    this.heardAt = beganAt;
    this.#isReading = true;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop() ?? "";
      if (rest.length > EVENT_CHARS_MAX) throw new Error("an event without end");
      for (const event of events) if (event.startsWith("data: ")) this.#take(event.slice(6));
    }
  }

  /** @param {string} data */
  #take(data) {
    /** @type {{start?: boolean, items: [string, Key, Value?][]}} */
    const { start, items } = JSON.parse(data);
    if (start) this.tables.clear();
    const changed = new Set(start ? ["now"] : []);
    for (const [name, key, value] of items) {
      changed.add(name);
      if (value === undefined) this.table(name).delete(key);
      else this.table(name).set(key, value);
    }
    this.heardAt = Date.now();
    this.#failures = 0;
    this.#become("live");
    this.dispatchEvent(new CustomEvent("change", { detail: { changed, start: Boolean(start) } }));
  }

  #watch() {
    const silentMs = Date.now() - this.heardAt;
    if (this.#isForgotten()) this.#under.abort();
    if (!this.heardAt || this.state === "refused" || this.state === "resting") return;
    if (silentMs > LOST_MS && this.#isReading) this.#under.abort();
    else if (silentMs > STALE_MS && this.state === "live") this.#become("stale");
    this.dispatchEvent(new Event("tick"));
  }

  /** @param {State} state */
  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
