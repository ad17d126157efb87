/**
 * Runs beside the sound: turns what the microphone gives into 16-bit mono at 16 kHz, and posts it
 * in chunks of 100 ms. Each new sample is the mean of those that it stands for.
 */

const RATE = 16_000;
const CHUNK = RATE / 10;

class VoiceTap extends AudioWorkletProcessor {
  #chunk = new Int16Array(CHUNK);
  #filled = 0;
  #sum = 0;
  #count = 0;
  #phase = 0;

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const channels = inputs[0] ?? [];
    const first = channels[0];
    if (!first) return true;
    for (let at = 0; at < first.length; at++) {
      let mixed = 0;
      for (const channel of channels) mixed += channel[at] ?? 0;
      this.#take(mixed / channels.length);
    }
    return true;
  }

  /** @param {number} value */
  #take(value) {
    this.#sum += value;
    this.#count += 1;
    this.#phase += RATE;
    while (this.#phase >= sampleRate) {
      this.#phase -= sampleRate;
      if (this.#count) this.#emit(this.#sum / this.#count);
      else this.#emit(value);
      [this.#sum, this.#count] = [0, 0];
    }
  }

  /** @param {number} value */
  #emit(value) {
    this.#chunk[this.#filled++] = Math.max(-1, Math.min(1, value)) * 32_767;
    if (this.#filled < CHUNK) return;
    this.port.postMessage(this.#chunk, [this.#chunk.buffer]);
    this.#chunk = new Int16Array(CHUNK);
    this.#filled = 0;
  }
}

registerProcessor("voice-tap", VoiceTap);
