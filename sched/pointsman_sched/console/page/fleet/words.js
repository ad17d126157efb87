/** The words of the dashboard: states, reasons, figures. */

export const STATES = ["free", "registering", "ready", "degraded", "suspect", "draining", "offline"];
export const PAUSED = 2; // bits of a node's flags
export const MARKED = 4;
export const OVERLOADED = 32;
export const REMOTE = 64;

const STATE_WORDS = /** @type {Record<string, string>} */ ({
  registering: "joining",
  ready: "ready",
  degraded: "degraded",
  suspect: "silent",
  draining: "draining",
  offline: "offline",
  paused: "paused",
});

const REASONS = /** @type {Record<string, string>} */ ({
  offline: "the nodes are offline",
  status_not_ready: "the nodes are joining, draining or silent",
  not_in_public_pool: "the nodes belong to another tenant",
  gpu_unavailable: "no node has a GPU",
  model_not_available: "the models are not ready",
  capacity_exceeded: "all slots are taken",
  resource_threshold_exceeded: "the nodes are overloaded",
  lang_pair_unsupported: "nobody translates that pair",
  asr_lang_unsupported: "nobody understands that language spoken",
  tts_lang_unsupported: "nobody speaks that language",
  src_auto_no_candidate: "nobody recognises which language it is",
  feature_unsupported: "no node has the feature",
  label_mismatch: "no node has the labels",
  owner_paused: "the owners have paused their nodes",
  excluded: "the nodes were excluded",
  no_lane: "the nodes have no connection to the worker",
  no_nodes: "there are no nodes",
  no_eligible_pool: "no pool may do it",
  all_busy: "all that can do it were busy",
  none_can: "nobody could do it just then",
});

/** @param {string} name */
export function stateWords(name) {
  return STATE_WORDS[name] ?? name;
}

/** @param {string} label */
export function reasonWords(label) {
  return REASONS[label] ?? label.replaceAll("_", " ");
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

/** @param {number} value */
export function count(value) {
  return whole.format(value);
}

/** @param {number} value */
export function rate(value) {
  return value >= 100 ? whole.format(Math.round(value)) : short.format(value);
}

/** @param {number} number @param {string} one @param {string} [many] */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** @param {number} us microseconds */
export function duration(us) {
  if (us < 1_000) return `${short.format(us)} µs`;
  if (us < 1_000_000) return `${short.format(us / 1_000)} ms`;
  return ago(us / 1_000_000);
}

/** @param {number} seconds */
export function ago(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}
