/** The dashboard: what the service tells goes to the parts of the page that show it. */

import { Coverage } from "./coverage.js";
import { Decisions } from "./decisions.js";
import { Feed } from "./feed.js";
import { Lists } from "./lists.js";
import { Nodes } from "./nodes.js";
import { byId, say } from "./parts.js";
import { Tiles } from "./tiles.js";
import { ago } from "./words.js";

const feed = new Feed("live");
const tiles = new Tiles(byId("tiles", HTMLDListElement));
const nodes = new Nodes(feed);
const lists = new Lists(feed);
const decisions = new Decisions(feed);
const coverage = new Coverage(feed);

/** @type {Set<string>} */
let waiting = new Set();

feed.addEventListener("change", (event) => {
  const { changed, start } = /** @type {CustomEvent} */ (event).detail;
  if (!waiting.size) requestAnimationFrame(show);
  for (const name of start ? EVERYTHING : changed) waiting.add(name);
});
feed.addEventListener("state", tellState);
feed.addEventListener("tick", () => {
  if (feed.state === "stale" || feed.state === "lost") tellState();
});

const EVERYTHING = "now node load class pool worker point queue reason job slow decision pair service".split(" ");

/** Show what has changed since the last time. */
function show() {
  const changed = waiting;
  waiting = new Set();
  const has = (/** @type {string} */ names) => names.split(" ").some((name) => changed.has(name));
  if (has("now point worker")) tiles.show(feed);
  if (has("node load class pool now")) nodes.show();
  lists.show(changed);
  // What workers have to be asked for is shown as soon as one of them has answered.
  for (const part of document.querySelectorAll(".work")) part.toggleAttribute("hidden", !feed.now("work"));
  if (has("decision now")) decisions.show();
  if (has("pair service now")) coverage.show();
  tellState();
}

function tellState() {
  const line = byId("state", HTMLParagraphElement);
  const main = byId("main", HTMLElement);
  const service = feed.now("service");
  const isLive = feed.state === "live";
  const isWell = isLive && service?.ready;
  line.dataset.state = isWell ? "open" : feed.state === "connecting" ? "connecting" : "lost";
  main.classList.toggle("old", !isLive && feed.heardAt > 0);
  say(line, stateWords(isWell));
  tell(troubleWords(service));
}

/** @param {boolean} isWell */
function stateWords(isWell) {
  const name = feed.now("service")?.instance;
  switch (feed.state) {
    case "live":
      return isWell ? `Live${name ? `: ${name}` : ""}` : "Live, and not ready for jobs";
    case "stale":
      return "No news; still listening";
    case "lost":
      return "Connection lost; coming back";
    case "refused":
      return "Not shown here";
    case "resting":
      return "Resting while nobody looks";
    default:
      return "Connecting…";
  }
}

/** @param {any} service */
function troubleWords(service) {
  if (feed.state === "refused") return `${feed.words.trim()}. Asking again now and then.`;
  if (feed.state === "stale" || feed.state === "lost") {
    if (!feed.heardAt) return "The service does not answer. This page goes on asking.";
    const since = ago((Date.now() - feed.heardAt) / 1_000);
    return `What you see is ${since} old: the service says nothing. This page goes on asking.`;
  }
  if (feed.state === "live" && service && !service.ready) return `Not ready: ${service.reasons.join("; ")}.`;
  return "";
}

/** @param {string} text */
function tell(text) {
  const banner = byId("trouble", HTMLParagraphElement);
  banner.hidden = !text;
  // The age grows every second: it is shown, and not read out each time.
  banner.setAttribute("aria-live", feed.state === "stale" || feed.state === "lost" ? "off" : "polite");
  say(banner, text);
}
