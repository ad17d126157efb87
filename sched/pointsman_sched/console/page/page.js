import { Session } from "./pointsman.js";

const STATES = {
  connecting: "Connecting…",
  open: "Connected",
  lost: "The connection was lost; trying again…",
  closed: "The session has ended; reload the page for a new one",
};
const byId = (id) => document.getElementById(id);
const session = new Session();

session.addEventListener("state", ({ detail }) => {
  const line = byId("state");
  line.dataset.state = detail.state;
  line.textContent = STATES[detail.state];
});

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = byId("words").value.trim();
  if (words) void translate(words, byId("src").value.trim(), byId("tgt").value.trim());
});

byId("words").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    byId("ask").requestSubmit();
  }
});

/** One utterance: its text, then its sound, each with where it was done. */
async function translate(words, src, tgt) {
  const answer = new Answer(words, src, tgt);
  const fields = { src_lang: src, tgt_lang: tgt, content_type: "text/plain", explain: true };
  try {
    const text = await session.submit(words, { ...fields, services: ["nmt"] });
    answer.show(text.text(), text.message);
    if (!byId("speak").checked) return;
    const sound = await session.submit(text.payload, { ...fields, src_lang: tgt, services: ["tts"] });
    answer.play(sound.payload, sound.message);
  } catch (error) {
    answer.trouble(error);
  }
}

class Answer {
  constructor(words, src, tgt) {
    this.item = document.createElement("li");
    this.add("p", "said", `${src} → ${tgt}: ${words}`);
    this.done = this.add("p", "done", "…");
    byId("answers").prepend(this.item);
  }

  add(tag, name, text) {
    const made = document.createElement(tag);
    made.className = name;
    made.textContent = text;
    this.item.append(made);
    return made;
  }

  show(text, message) {
    this.done.textContent = text;
    this.way("translated", message);
  }

  way(verb, { node_id, placement, placement_us, queued_ms }) {
    const pool = placement?.pool ? ` of pool ${placement.pool}` : "";
    const waited = queued_ms >= 1 ? `, after ${Math.round(queued_ms)} ms in the queue` : "";
    const chosen = placement_us ? `, chosen in ${Math.round(placement_us)} µs` : "";
    this.add("p", "way", `${verb} by ${node_id}${pool}${chosen}${waited}`);
  }

  play(bytes, message) {
    const audio = document.createElement("audio");
    audio.controls = true;
    audio.src = URL.createObjectURL(new Blob([bytes], { type: "audio/wav" }));
    this.way("spoken", message);
    this.item.append(audio);
    audio.play().catch(() => {}); // the browser wants a click first: the controls are there
  }

  trouble(error) {
    this.item.classList.add("trouble");
    if (this.done.textContent === "…") this.done.textContent = error.message;
    else this.add("p", "done", error.message);
    if (error.breakdown?.fix) this.add("p", "way", error.breakdown.fix);
    else if (error.hint) this.add("p", "way", error.hint);
  }
}
