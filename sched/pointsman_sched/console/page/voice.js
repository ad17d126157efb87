/**
 * When somebody speaks: tells from loudness alone where an utterance begins and ends.
 *
 * The floor follows the loudness while nobody speaks, so that a fan does not count as speech. Who
 * speaks is louder than three times the floor for two chunks of 100 ms in a row; who has been below
 * half of that for seven has finished. What was heard just before belongs to the beginning: words
 * begin softly.
 */

export const BEFORE_CHUNKS = 4;
const LOUD_CHUNKS = 2;
const QUIET_CHUNKS = 7;
const LONGEST_CHUNKS = 190; // a second below what the service takes as one utterance
const LOUDNESS_MIN = 0.008;

/**
 * How loud: root of the mean square, 1 is full scale.
 * @param {Int16Array} samples
 */
export function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return samples.length ? Math.sqrt(sum / samples.length) / 32_768 : 0;
}

export class VoiceGate {
  #floor = LOUDNESS_MIN / 3;
  #loud = 0;
  #quiet = 0;
  #chunks = 0;
  isSpeaking = false;

  /**
   * Judge one chunk: "starts" (with those just before it), "goes on", "ends" or "quiet".
   * @param {number} level its loudness
   */
  feed(level) {
    return this.isSpeaking ? this.#speaking(level) : this.#waiting(level);
  }

  #threshold() {
    return Math.max(LOUDNESS_MIN, 3 * this.#floor);
  }

  /** @param {number} level */
  #waiting(level) {
    this.#loud = level > this.#threshold() ? this.#loud + 1 : 0;
    if (this.#loud < LOUD_CHUNKS) {
      if (!this.#loud) this.#floor = 0.9 * this.#floor + 0.1 * level;
      return "quiet";
    }
    [this.isSpeaking, this.#quiet, this.#chunks] = [true, 0, BEFORE_CHUNKS];
    return "starts";
  }

  /** @param {number} level */
  #speaking(level) {
    this.#chunks += 1;
    this.#quiet = level < this.#threshold() / 2 ? this.#quiet + 1 : 0;
    if (this.#quiet < QUIET_CHUNKS && this.#chunks < LONGEST_CHUNKS) return "goes on";
    [this.isSpeaking, this.#loud] = [false, 0];
    return "ends";
  }
}
