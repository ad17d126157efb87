/** The page: what is typed, said or dropped goes out, and comes back translated. */

import { Languages } from "./languages.js";
import { Microphone, MicrophoneError } from "./microphone.js";
import { PointsmanError, Session } from "./pointsman.js";
import { Room } from "./room.js";
import { wavFrom } from "./sound.js";
import { askForToken, tokenInit } from "./token.js";
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
const session = new Session(undefined, tokenInit());
/** @type {Map<string, Travel>} */
const travels = new Map(); // by utterance id, that of others behind their session's
const room = new Room(session, languages, {
  room: byId("room", HTMLDivElement),
  invite: byId("invite", HTMLButtonElement),
  leave: byId("leave", HTMLButtonElement),
  copy: byId("copy", HTMLButtonElement),
  link: byId("link", HTMLInputElement),
  members: byId("members", HTMLParagraphElement),
});
const tokenForm = byId("token", HTMLFormElement);
askForToken(session, {
  form: tokenForm,
  field: byId("token-field", HTMLInputElement),
  why: byId("token-why", HTMLParagraphElement),
  page: form,
});
const invited = asked.get("room");
if (invited) room.enter(invited);
/** @type {Travel[]} */
const cards = [];

// ---- the session

session.addEventListener("state", (event) => {
  const { state } = detailOf(event);
  const line = byId("state", HTMLParagraphElement);
  const isAsked = state === "closed" && !tokenForm.hidden;
  line.dataset.state = isAsked ? "connecting" : state;
  line.textContent = isAsked ? "A token is needed" : STATES[/** @type {keyof typeof STATES} */ (state)];
  if (state !== "lost") return;
  for (const travel of travels.values()) {
    if (!travel.isEnded) travel.step("lost", "connection lost; it goes on without us");
  }
});
session.addEventListener("accepted", (event) => {
  const { accepted } = detailOf(event);
  const { durability = "memory" } = accepted; // a field at its default is left out
  const held = durability === "memory" ? ", kept in memory" : `, kept in the ${durability}`;
  travels.get(accepted.request_id)?.step("accepted", `accepted${held}`);
});
session.addEventListener("step", (event) => {
  const { message } = detailOf(event);
  // How others hear us is a step of our own sentence.
  const travel = message.listener ? travels.get(message.utterance_id) : travelOf(message);
  travel?.event(message);
});
session.addEventListener("result", (event) => {
  const result = detailOf(event);
  const { speaker, request_id } = result.message;
  if (!speaker) return; // that is for whoever said it: see say()
  const utterance_id = request_id.split(":")[0];
  const travel = travelOf({ speaker, utterance_id });
  travel.played = (event) => session.send({ type: "ui_event", utterance_id, event, speaker });
  travel.ended(result, aloud.checked);
});

/**
 * The card of an utterance; what another person says gets one when it is first heard of.
 * @param {{speaker?: string, utterance_id: string}} message
 */
function travelOf({ speaker, utterance_id }) {
  const key = speaker ? `${speaker}/${utterance_id}` : utterance_id;
  let travel = travels.get(key);
  if (!travel) {
    const src = room.others.find((member) => member.session === speaker)?.lang ?? "";
    travel = new Travel({ src, tgt: languages.src, words: "", who: "The other person" }, announce);
    if (speaker) keep(key, travel);
  }
  return travel;
}

/** @param {string} key @param {Travel} travel */
function keep(key, travel) {
  travels.set(key, travel);
  show(travel);
  for (const old of travels.keys()) {
    if (travels.size <= CARDS_MAX) break;
    travels.delete(old);
  }
}

/** @param {Event} event */
function detailOf(event) {
  return /** @type {CustomEvent} */ (event).detail;
}

// ---- saying something

/**
 * Begin an utterance: its card, and what is said of it to the service.
 * @param {string} shown @param {boolean} isSound
 */
function begin(shown, isSound) {
  const { src } = languages;
  const tgt = room.others[0]?.lang || languages.tgt;
  trouble("");
  const travel = new Travel({ src, tgt, words: shown }, announce);
  const utterance_id = [...crypto.getRandomValues(new Uint32Array(2))].join("-");
  keep(utterance_id, travel);
  const services = languages.services(isSound, aloud.checked, tgt);
  // In a room the others decide what it is translated into.
  const target = room.isShared ? {} : { tgt_lang: tgt };
  return { travel, fields: { utterance_id, src_lang: src, ...target, services, explain: true } };
}

/** @param {Travel} travel @param {Promise<Result>} promise */
async function follow(travel, promise) {
  try {
    travel.ended(await promise, aloud.checked && !room.isShared);
  } catch (error) {
    if (!(error instanceof PointsmanError)) throw error;
    travel.failed(error);
  }
}

/** @param {string} shown @param {string | Uint8Array} payload */
function say(shown, payload) {
  if (!languages.src || !languages.tgt) return trouble("Choose both languages first.");
  const isSound = typeof payload !== "string";
  const { travel, fields } = begin(shown, isSound);
  const more = isSound ? { content_type: "audio/wav" } : {};
  void follow(travel, session.say(payload, { ...fields, ...more }));
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
  say(text, text);
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
    say(`(${file.name})`, await wavFrom(file));
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
  /** @type {import("./pointsman.js").Speech | null} */
  let speech = null;
  opened.addEventListener("level", (event) => showLevel(detailOf(event)));
  opened.addEventListener("starts", (event) => {
    const { travel, fields } = begin("(you speak)", true);
    speech = session.speak({ ...fields, content_type: "audio/pcm;rate=16000", partials: true });
    void follow(travel, speech.result);
    for (const chunk of detailOf(event)) speech.push(bytesOf(chunk));
    listening("I hear you…");
  });
  opened.addEventListener("chunk", (event) => speech?.push(bytesOf(detailOf(event))));
  opened.addEventListener("ends", () => {
    speech?.end();
    speech = null;
    listening("Listening. Speak; a pause ends a sentence.");
  });
  opened.addEventListener("lost", (event) => void stopListening(detailOf(event)));
  try {
    if (!(await opened.open())) return;
    speak.setAttribute("aria-pressed", "true");
    speak.textContent = "Stop";
    listening("Listening. Speak; a pause ends a sentence.");
  } catch (error) {
    if (!(error instanceof MicrophoneError)) throw error;
    if (microphone === opened) await stopListening(error.message);
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

/** @param {Int16Array} samples */
function bytesOf(samples) {
  return new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
}
