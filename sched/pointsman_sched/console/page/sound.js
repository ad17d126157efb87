/** Sounds as the service takes them: WAV, 16-bit mono at 16 kHz. */

const RATE = 16_000;
const LONGEST_S = 20;

/**
 * Bytes of a WAV file.
 * @param {Int16Array} samples 16 kHz mono
 */
export function wavOf(samples) {
  const header = new DataView(new ArrayBuffer(44));
  /** @param {number} at @param {string} text */
  const write = (at, text) => [...text].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  write(0, "RIFF");
  header.setUint32(4, 36 + samples.byteLength, true);
  write(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // mono
  header.setUint32(24, RATE, true);
  header.setUint32(28, 2 * RATE, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  write(36, "data");
  header.setUint32(40, samples.byteLength, true);
  const file = new Uint8Array(44 + samples.byteLength);
  file.set(new Uint8Array(header.buffer));
  file.set(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength), 44);
  return file;
}

/**
 * Read any sound file that the browser can, and make it small. Throws Error with words for people.
 * @param {File} file
 */
export async function wavFrom(file) {
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} is no sound that this browser can read; a WAV file will do.`);
  }
  if (sound.duration > LONGEST_S) {
    throw new Error(
      `${file.name} lasts ${Math.round(sound.duration)} s; an utterance has at most ${LONGEST_S} s.`,
    );
  }
  const frames = Math.max(1, Math.ceil(sound.duration * RATE));
  const context = new OfflineAudioContext(1, frames, RATE); // mixes down and resamples
  const source = new AudioBufferSourceNode(context, { buffer: sound });
  source.connect(context.destination);
  source.start();
  const floats = (await context.startRendering()).getChannelData(0);
  const samples = Int16Array.from(floats, (value) => Math.max(-1, Math.min(1, value)) * 32_767);
  return wavOf(samples);
}
