/** The page: what is typed, said or dropped goes out, and comes back translated. */

import { Languages } from "./languages.js";
import { Microphone, MicrophoneError } from "./microphone.js";
import { PointsmanError, Session } from "./pointsman.js";
import { wavFrom, wavOf } from "./sound.js";
import { Travel } from "./travel.js";

/** @typedef {import("./pointsman.js").Result} Result */

const STATES = {
  connecting: "Connecting…",
  open: "Connected",
  lost: "Connection lost; coming back. Nothing that you said is lost.",
  closed: "The session has ended; reload the page for a new one.",
};
const CARDS_MAX = 100;

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page lacks #${id}`);
  return found;
}

const words = byId("words", HTMLTextAreaElement);
const form = byId("ask", HTMLFormElement);
const speak = byId("microphone", HTMLButtonElement);
const aloud = byId("aloud", HTMLInputElement);
const asked = new URLSearchParams(location.search);
const languages = new Languages(form, { src: asked.get("src") ?? "", tgt: asked.get("tgt") ?? "" });
const session = new Session();
/** @type {Map<string, Travel>} */
const travels = new Map(); // by request id, while they are under way
/** @type {Travel[]} */
const cards = [];

// ---- the session

session.addEventListener("state", (event) => {
  const { state } = detailOf(event);
  const line = byId("state", HTMLParagraphElement);
  line.dataset.state = state;
  line.textContent = STATES[/** @type {keyof typeof STATES} */ (state)];
  if (state !== "lost") return;
  for (const [id, travel] of travels) travel.step(`lost-${id}`, "connection lost; it goes on without us");
});
session.addEventListener("accepted", (event) => {
  const { accepted } = detailOf(event);
  const held = accepted.durability === "memory" ? "" : `, kept in the ${accepted.durability}`;
  travels.get(accepted.request_id)?.step("accepted", `accepted${held}`);
});
session.addEventListener("partial", (event) => {
  const { message, payload } = detailOf(event);
  const travel = travels.get(message.request_id);
  if (!travel) return;
  const text = new TextDecoder().decode(payload);
  if (message.meta?.stage === "asr") {
    travel.heard(text);
    travel.step("asr", "understood");
  } else {
    travel.translated(text);
    travel.step("nmt", "translated");
  }
});

/** @param {Event} event */
function detailOf(event) {
  return /** @type {CustomEvent} */ (event).detail;
}

// ---- saying something

/** @param {string} shown @param {string | Uint8Array} payload */
async function say(shown, payload) {
  const { src, tgt } = languages;
  if (!src || !tgt) return trouble("Choose both languages first.");
  trouble("");
  const travel = new Travel({ src, tgt, words: shown }, announce);
  show(travel);
  const isSound = typeof payload !== "string";
  const request_id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  travels.set(request_id, travel);
  try {
    const result = await session.submit(payload, {
      request_id,
      src_lang: src,
      tgt_lang: tgt,
      services: languages.services(isSound, aloud.checked),
      content_type: isSound ? "audio/wav" : "text/plain",
      priority: "interactive",
      stream: true,
      explain: true,
    });
    travel.ended(result, aloud.checked);
  } catch (error) {
    if (!(error instanceof PointsmanError)) throw error;
    travel.failed(error);
  } finally {
    travels.delete(request_id);
  }
}

/** @param {Travel} travel */
function show(travel) {
  byId("empty", HTMLParagraphElement).hidden = true;
  byId("answers", HTMLOListElement).prepend(travel.element);
  cards.unshift(travel);
  while (cards.length > CARDS_MAX) cards.pop()?.forget();
}

/** @param {string} text */
function announce(text) {
  byId("news", HTMLParagraphElement).textContent = text;
}

/** @param {string} text */
function trouble(text) {
  const line = byId("trouble", HTMLParagraphElement);
  line.hidden = !text;
  line.textContent = text;
}

// ---- typing

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = words.value.trim();
  if (!text) {
    words.focus();
    return trouble("Type something first, or press Speak.");
  }
  void say(text, text);
  words.value = "";
  words.focus();
});
words.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});

// ---- sound files

/** @param {File | undefined} file */
async function sayFile(file) {
  if (!file) return;
  try {
    const wav = await wavFrom(file);
    await say(`(${file.name})`, wav);
  } catch (error) {
    trouble(error instanceof Error ? error.message : String(error));
  }
}
byId("file", HTMLInputElement).addEventListener("change", (event) => {
  const input = /** @type {HTMLInputElement} */ (event.target);
  void sayFile(input.files?.[0]);
  input.value = "";
});
for (const name of ["dragover", "dragleave", "drop"]) {
  form.addEventListener(name, (event) => {
    event.preventDefault();
    form.classList.toggle("dropping", name === "dragover");
    if (event instanceof DragEvent && name === "drop") void sayFile(event.dataTransfer?.files[0]);
  });
}

// ---- the microphone

/** @type {Microphone | null} */
let microphone = null;
speak.addEventListener("click", () => void (microphone ? stopListening() : listen()));

async function listen() {
  trouble("");
  const opened = new Microphone();
  microphone = opened;
  /** @type {Int16Array[]} */
  let chunks = [];
  opened.addEventListener("level", (event) => showLevel(detailOf(event)));
  opened.addEventListener("starts", (event) => {
    chunks = detailOf(event);
    listening("I hear you…");
  });
  opened.addEventListener("chunk", (event) => chunks.push(detailOf(event)));
  opened.addEventListener("ends", () => {
    listening("Listening. Speak; a pause ends a sentence.");
    void say("(speech)", wavOf(joined(chunks)));
  });
  opened.addEventListener("lost", (event) => void stopListening(detailOf(event)));
  try {
    await opened.open();
    speak.setAttribute("aria-pressed", "true");
    speak.textContent = "Stop";
    listening("Listening. Speak; a pause ends a sentence.");
  } catch (error) {
    if (!(error instanceof MicrophoneError)) throw error;
    await stopListening(error.message);
  }
}

async function stopListening(why = "") {
  const opened = microphone;
  microphone = null;
  await opened?.close();
  speak.setAttribute("aria-pressed", "false");
  speak.textContent = "Speak";
  listening("");
  trouble(why);
}

/** @param {string} text */
function listening(text) {
  byId("listening", HTMLDivElement).hidden = !text;
  byId("listening-words", HTMLParagraphElement).textContent = text;
}

/** @param {number} level */
function showLevel(level) {
  const bar = /** @type {HTMLElement} */ (byId("level", HTMLDivElement).firstElementChild);
  bar.style.transform = `scaleX(${Math.min(1, level * 8)})`;
}

/** @param {Int16Array[]} chunks */
function joined(chunks) {
  const all = new Int16Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
