/** The microphone, cut into utterances. */

import { BEFORE_CHUNKS, VoiceGate, loudness } from "./voice.js";

/** Why there is no sound, in words for people. */
export class MicrophoneError extends Error {}

/**
 * What is heard. Events, each with a detail: "level" (loudness), "starts" (chunks so far),
 * "chunk" (one), "ends" (nothing), "lost" (why).
 */
export class Microphone extends EventTarget {
  #gate = new VoiceGate();
  /** @type {Int16Array[]} */
  #before = [];
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {AudioContext | null} */
  #context = null;
  #isClosed = false;

  /**
   * Ask for the microphone and listen; false if close() came before there was one.
   * Throws MicrophoneError.
   */
  async open() {
    const stream = (this.#stream = await permitted());
    if (this.#isClosed) {
      await this.close(); // people may take their time to allow it
      return false;
    }
    const context = (this.#context = new AudioContext());
    await context.audioWorklet.addModule("voice-worklet.js");
    if (this.#isClosed) return false;
    const tap = new AudioWorkletNode(context, "voice-tap", { numberOfOutputs: 0 });
    tap.port.onmessage = ({ data }) => this.#heard(data);
    context.createMediaStreamSource(stream).connect(tap);
    for (const track of stream.getAudioTracks()) {
      track.addEventListener("ended", () => this.#tell("lost", "The microphone was taken away."));
    }
    await context.resume();
    return !this.#isClosed;
  }

  /** Stop listening; what is being said ends here. */
  async close() {
    this.#isClosed = true;
    if (this.#gate.isSpeaking) this.#tell("ends", null);
    this.#gate = new VoiceGate();
    this.#before = [];
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    await this.#context?.close();
    this.#stream = this.#context = null;
  }

  /** @param {Int16Array} chunk */
  #heard(chunk) {
    if (!this.#context) return; // it was under way while we closed
    const level = loudness(chunk);
    this.#tell("level", level);
    const verdict = this.#gate.feed(level);
    if (verdict === "quiet") {
      this.#before.push(chunk);
      if (this.#before.length >= BEFORE_CHUNKS) this.#before.shift();
    } else if (verdict === "starts") {
      this.#tell("starts", [...this.#before, chunk]);
      this.#before = [];
    } else {
      this.#tell("chunk", chunk);
      if (verdict === "ends") this.#tell("ends", null);
    }
  }

  /** @param {string} name @param {unknown} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

async function permitted() {
  if (!navigator.mediaDevices?.getUserMedia) {
    const here = globalThis.isSecureContext
      ? "This browser offers no microphone to pages."
      : "The browser gives the microphone only to pages on localhost or behind TLS (https). " +
        "Open this page there, or send a sound file instead.";
    throw new MicrophoneError(here);
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    if (name === "NotAllowedError") {
      throw new MicrophoneError(
        "The microphone is blocked for this page. Allow it in the browser's settings for this " +
          "site, then press Speak again.",
      );
    }
    if (name === "NotFoundError") throw new MicrophoneError("No microphone was found on this device.");
    throw new MicrophoneError(`The microphone cannot be used: ${error}`);
  }
}
