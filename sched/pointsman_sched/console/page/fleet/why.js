/** One request explained: every decision about it, in words, with the nodes that were looked at. */

import { poolWords } from "../languages.js";
import { element } from "./parts.js";
import { ago, count, counted, duration, reasonWords } from "./words.js";
import { askedWords } from "./lists.js";

const NODES_MAX = 12;
const SELECTORS = /** @type {Record<string, string>} */ ({
  two_level: "in pools",
  single_level: "over the whole fleet",
  preferred: "as the preferred node",
  failover: "after a failure",
  reserve: "when a slot became free",
});
const STEPS = /** @type {Record<string, string>} */ ({
  hit: "the session's pool from before",
  reset: "anew, as the languages changed",
  override: "as its tenant's pool says",
  affinity: "by the session's name",
  first: "the first of those that can",
  replaced: "anew, as its pool could not do it",
  none: "no pool can do it",
});

/** @param {any} explained @returns {HTMLElement[]} */
export function explanation(explained) {
  const decisions = explained.decisions ?? [];
  const jobs = (explained.jobs ?? []).map(jobWords);
  if (!decisions.length && !jobs.length) return [element("p", "note", "Nobody remembers it any more.")];
  return [...jobs, ...decisions.flatMap(decisionParts)];
}

/** @param {any} job */
function jobWords(job) {
  const where = job.node_id ? ` at ${job.node_id}` : "";
  const attempts = (job.attempts ?? []).length ? ` Before: ${job.attempts.join("; ")}.` : "";
  return element("p", "", `The job is ${job.waits ? "waiting" : `${job.state}${where}`}.${attempts}`);
}

/** @param {any} view @returns {HTMLElement[]} */
function decisionParts(view) {
  const title = element("h3", "", `${askedWords(view) || "A job"}, ${ago((view.age_ms ?? 0) / 1_000)} ago`);
  const parts = [title, element("p", "", view.node_id ? chosenWords(view) : refusedWords(view))];
  if (view.session_decision) {
    const step = STEPS[view.session_decision] ?? view.session_decision;
    const order = (view.pool_order ?? []).slice(0, 6).map(poolWords).join(", then ");
    parts.push(element("p", "", `Pools: ${step}${order ? `. Asked in this order: ${order}` : ""}.`));
  }
  for (const leg of view.legs ?? []) parts.push(...legParts(leg, view.node_id));
  if (view.breakdown) parts.push(...breakdownParts(view.breakdown));
  const version = `The fleet was known as of version ${view.snapshot_version ?? 0}.`;
  return [...parts, element("p", "note", version)];
}

/** @param {any} view */
function chosenWords(view) {
  const how = SELECTORS[view.selector] ?? view.selector ?? "";
  const waited = (view.waited_ms ?? 0) >= 1 ? ` after a wait of ${duration(view.waited_ms * 1_000)}` : "";
  const next = view.runner_up ? ` Next would have been ${view.runner_up}.` : "";
  const took = `It was chosen within ${duration(view.taken_us ?? 0)}${waited}.`;
  return `${view.node_id} got it, found ${how}${view.pool ? ` (${poolWords(view.pool)})` : ""}. ${took}${next}`;
}

/** @param {any} view */
function refusedWords(view) {
  const best = view.breakdown?.best_reason;
  return `Nobody got it${best ? `: ${reasonWords(best)}` : ""}${view.code ? ` (${view.code})` : ""}.`;
}

/** @param {any} leg @param {string} chosen */
function legParts(leg, chosen) {
  const looked = counted(leg.looked_at ?? 0, "node");
  const words = `${leg.pool ? `In ${poolWords(leg.pool)}: ` : ""}${looked} looked at, of ${count(leg.candidates ?? 0)} that can do it; ${count(leg.passed ?? 0)} passed every check.`;
  const nodes = (leg.nodes ?? []).slice(0, NODES_MAX);
  if (!nodes.length) return [element("p", "", words)];
  const head = element("tr", "", ...["Node", "Slots in use", "Score", ""].map(headCell));
  const rows = nodes.map((/** @type {any} */ node) => {
    const remark = node.node_id === chosen ? "chosen" : node.reason ? reasonWords(node.reason) : (node.outcome ?? "");
    const used = `${(node.held ?? 0) + (node.foreign ?? 0)} of ${node.slots_max ?? 0}`;
    const score = node.score === undefined || node.score === null ? "–" : node.score.toFixed(2);
    const name = element("th", "", node.node_id);
    name.setAttribute("scope", "row");
    return element("tr", node.node_id === chosen ? "chosen" : "", name, ...[used, score, remark].map((text) => element("td", "", text)));
  });
  const table = element("table", "", element("thead", "", head), element("tbody", "", ...rows));
  return [element("p", "", words), element("div", "scroll", table)];
}

/** @param {string} text */
function headCell(text) {
  const made = element("th", "", text);
  made.setAttribute("scope", "col");
  return made;
}

/** @param {any} breakdown */
function breakdownParts(breakdown) {
  const counts = Object.entries(breakdown.counts ?? {}).filter(([, number]) => Number(number));
  const lines = counts.map(([reason, number]) => element("li", "", `${counted(Number(number), "node")}: ${reasonWords(reason)}`));
  const parts = lines.length ? [element("ul", "", ...lines)] : [];
  if (breakdown.fix) parts.push(element("p", "fix", `What would help: ${breakdown.fix}.`));
  return parts;
}
