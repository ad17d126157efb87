/** Pools, workers, queues, reasons, and what is slowest. */

import { poolWords } from "../languages.js";
import { bar, byId, cellOf, element, Rows, say, tableRow } from "./parts.js";
import { ago, count, counted, reasonWords } from "./words.js";

/** @typedef {import("./feed.js").Feed} Feed */

const LADDER = ["", ", sheds background work", ", sheds more", ", refuses most", ", refuses all"];
const POOLS_SHOWN = 10;

/** @param {string} id */
function bodyOf(id) {
  const body = byId(id, HTMLTableElement).tBodies[0];
  if (!body) throw new Error(`the page lacks the rows of #${id}`);
  return body;
}

/** A line with a heading and a remark. */
function line() {
  return element("li", "", element("strong"), element("span"));
}

/** @param {HTMLElement} where @param {[string, string]} words */
function fillLine(where, [heading, remark]) {
  say(cellOf(where, 0), heading);
  say(cellOf(where, 1), remark);
}

/** A list of lines, and what is said when it has none. */
class Lines {
  #note;
  /** @type {Rows<[string, string]>} */
  #rows;

  /** @param {string} id */
  constructor(id) {
    this.#note = byId(`${id}-note`, HTMLParagraphElement);
    this.#rows = new Rows(byId(id, HTMLUListElement), line, fillLine);
  }

  /** @param {[string | number, [string, string]][]} items */
  show(items) {
    this.#rows.show(items);
    this.#note.hidden = items.length > 0;
  }
}

/**
 * What a job asks for, in words.
 * @param {{services?: string[], src_lang?: string, tgt_lang?: string, tenant?: string}} job
 */
export function askedWords(job) {
  const pair = [job.src_lang, job.tgt_lang].filter(Boolean).join(" → ");
  const services = (job.services ?? []).join("+");
  return [services, pair, job.tenant && `for ${job.tenant}`].filter(Boolean).join(" ");
}

export class Lists {
  #feed;
  /** @type {Rows<any[]>} */
  #pools;
  /** @type {Rows<any[]>} */
  #workers;
  #hasAllPools = false;
  #queues = new Lines("queues");
  #reasons = new Lines("reasons");
  #slowNodes = new Lines("slow-nodes");
  #slowJobs = new Lines("slow-jobs");

  /** @param {Feed} feed */
  constructor(feed) {
    this.#feed = feed;
    this.#pools = new Rows(bodyOf("pools"), () => tableRow(4), fillPool);
    byId("pools-more", HTMLButtonElement).addEventListener("click", () => {
      this.#hasAllPools = !this.#hasAllPools;
      this.#showPools();
    });
    this.#workers = new Rows(bodyOf("workers"), () => tableRow(5), (row, item) => this.#fillWorker(row, item));
  }

  /** @param {Set<string>} changed */
  show(changed) {
    if (changed.has("pool")) this.#showPools();
    if (changed.has("worker") || changed.has("now")) this.#showWorkers();
    if (changed.has("queue") || changed.has("now")) this.#showQueues();
    if (changed.has("reason") || changed.has("now")) this.#showReasons();
    if (changed.has("job") || changed.has("slow") || changed.has("now")) this.#showSlowest();
  }

  #showPools() {
    const pools = [...this.#feed.table("pool")].sort(([, a], [, b]) => b[5] - a[5] || b[3] - a[3] || b[1] - a[1]);
    this.#pools.show(this.#hasAllPools ? pools : pools.slice(0, POOLS_SHOWN));
    byId("pools-note", HTMLParagraphElement).hidden = pools.length > 0;
    const more = byId("pools-more", HTMLButtonElement);
    more.hidden = pools.length <= POOLS_SHOWN;
    say(more, this.#hasAllPools ? `Only the busiest ${POOLS_SHOWN}` : `All ${count(pools.length)}`);
    more.setAttribute("aria-expanded", String(this.#hasAllPools));
  }

  #showWorkers() {
    const workers = [...this.#feed.table("worker")].sort(([a], [b]) => Number(a) - Number(b));
    this.#workers.show(workers.map(([number, worker]) => [number, [number, ...worker]]));
  }

  /** @param {HTMLElement} row @param {any[]} worker */
  #fillWorker(row, [number, beats, sessions, jobs, waiting, since, step, pressure]) {
    say(cellOf(row, 0), `${number}${beats ? "" : ", silent"}`);
    row.classList.toggle("silent", !beats);
    say(cellOf(row, 1), count(sessions));
    say(cellOf(row, 2), count(jobs));
    const oldest = waiting && since ? `, the oldest for ${ago(this.#feed.age(since))}` : "";
    say(cellOf(row, 3), `${count(waiting)}${oldest}`);
    say(cellOf(row, 4), `${pressure} %${LADDER[step] ?? ""}`);
  }

  #showQueues() {
    const queues = [...this.#feed.table("queue")].sort(([, a], [, b]) => b.waiting - a.waiting);
    this.#queues.show(
      queues.map(([key, queue]) => {
        const since = `the oldest for ${ago(this.#feed.age(queue.since))}`;
        return [key, [counted(queue.waiting, "job"), `${askedWords(queue)}, ${queue.priority}; ${since}`]];
      }),
    );
  }

  #showReasons() {
    const reasons = [...this.#feed.table("reason")].sort(([, a], [, b]) => b.jobs - a.jobs);
    this.#reasons.show(
      reasons.map(([key, reason]) => {
        const why = reasonWords(reason.reason || reason.code.toLowerCase());
        const fix = reason.fix ? `. What would help: ${reason.fix}` : "";
        return [key, [`${counted(reason.jobs, "job")} ${reason.outcome}`, `${why}${fix}`]];
      }),
    );
    const best = this.#feed.now("change");
    const where = byId("best-change", HTMLParagraphElement);
    where.hidden = !best?.words;
    if (best?.words) say(where, `What would help most: ${best.words} (${counted(best.jobs, "job")}).`);
  }

  #showSlowest() {
    const nodes = [...this.#feed.table("slow")].sort(([, a], [, b]) => b - a);
    this.#slowNodes.show(nodes.map(([name, times]) => [name, [String(name), `takes ${times.toFixed(1)} times as long`]]));
    const jobs = [...this.#feed.table("job")].sort(([, a], [, b]) => a.since - b.since);
    this.#slowJobs.show(
      jobs.map(([key, job]) => {
        const where = job.waits ? "waits" : `${job.state} at ${job.node_id || "no node"}`;
        return [key, [ago(this.#feed.age(job.since)), `${askedWords(job)}: ${where}`]];
      }),
    );
  }
}

/** @param {HTMLElement} row @param {any[]} pool */
function fillPool(row, [name, nodes, ready, slots, held, waiting]) {
  say(cellOf(row, 0), poolWords(name));
  cellOf(row, 0).title = name;
  say(cellOf(row, 1), ready === nodes ? count(ready) : `${count(ready)} of ${count(nodes)}`);
  bar(cellOf(row, 2), held, slots);
  say(cellOf(row, 3), count(waiting));
}
