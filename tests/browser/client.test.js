/** The client and the voice gate, without a service and on a clock of their own: node --test. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { PointsmanError, Session, packFrame, unpackFrame } from "./pointsman.js";
import { Feed } from "./feed.js";
import { Microphone } from "./microphone.js";
import { askForToken, tokenInit } from "./token.js";
import { Languages, poolWords } from "./languages.js";
import { VoiceGate, loudness } from "./voice.js";

const dialled = [];

/** A WebSocket whose other end is the test. */
class FakeSocket {
  static OPEN = 1;
  readyState = 1;
  sent = [];

  constructor(url) {
    this.url = String(url);
    dialled.push(this);
  }

  send(data) {
    this.sent.push(unpackFrame(typeof data === "string" ? data : data.buffer));
  }

  close() {
    this.lose();
  }

  lose() {
    this.readyState = 3;
    this.onclose({ reason: "" });
  }

  hear(message, payload = new Uint8Array(0)) {
    this.onmessage({ data: payload.length ? packFrame(message, payload).buffer : JSON.stringify(message) });
  }

  stand(ack = {}) {
    this.onopen();
    this.hear({ type: "session_init_ack", session_id: "s-1", resume_token: "t-1", ...ack });
  }

  said(type) {
    return this.sent.filter(([message]) => message.type === type);
  }
}

function session(t, apis = []) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", ...apis] });
  globalThis.WebSocket = FakeSocket;
  const made = new Session("ws://127.0.0.1:1/session", { src_lang: "en", tgt_lang: "es" });
  t.after(() => void made.close());
  return made;
}

function reconnected(t) {
  t.mock.timers.tick(60_000);
  return dialled.at(-1);
}

test("who is not let in hears why, with its code, wherever one waits", async (t) => {
  const one = session(t);
  const waiting = [one.ready(), one.submit("early")];
  const socket = dialled.at(-1);
  socket.onopen();
  const error = { code: "UNAUTHORIZED", message: "no such token", hint: "send a valid one" };
  socket.hear({ type: "error", error });
  for (const each of waiting) await assert.rejects(each, error);
  for (const ask of [() => one.submit("late"), () => one.say("late"), () => one.speak().result, () => one.ready()]) {
    await assert.rejects(ask(), { name: "PointsmanError", code: "SESSION_CLOSED" });
  }
});

test("a session goes on unpaired where the service has forgotten its pairing", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  globalThis.WebSocket = FakeSocket;
  const one = new Session("ws://127.0.0.1:1/session", { pairing_code: "ABCD-EFGH" });
  t.after(() => void one.close());
  dialled.at(-1).stand();
  dialled.at(-1).lose();
  t.mock.timers.tick(1_000);
  dialled.at(-1).onopen();
  assert.equal(dialled.at(-1).said("session_init")[0][0].pairing_code, "ABCD-EFGH");
  dialled.at(-1).hear({ type: "error", error: { code: "INVALID_PAIRING_CODE" } });
  t.mock.timers.tick(1_000);
  dialled.at(-1).stand();
  assert.equal(dialled.at(-1).said("session_init")[0][0].pairing_code, undefined);
  assert.equal(one.state, "open");
});

test("what is left of a deadline is told at the second submit, and it ends without a service, too", async (t) => {
  const one = session(t, ["Date"]);
  dialled.at(-1).stand();
  const waiting = one.submit("slow", { request_id: "r-1", deadline_s: 10 });
  t.mock.timers.tick(4_000);
  dialled.at(-1).lose();
  t.mock.timers.tick(1_000);
  dialled.at(-1).stand({ unfinished: { "r-1": "unknown" } });
  const [[again]] = dialled.at(-1).said("submit");
  assert.ok(again.deadline_s > 4 && again.deadline_s <= 6);
  dialled.at(-1).lose();
  t.mock.timers.tick(8_000);
  await assert.rejects(waiting, { code: "JOB_TIMEOUT" });
});

test("nothing is kept for a deadline whose job has ended", async (t) => {
  const one = session(t);
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const open = new Set();
  globalThis.setTimeout = (act, ms) => {
    const timer = set(act, ms);
    if (ms > 60_000) open.add(timer);
    return timer;
  };
  globalThis.clearTimeout = (timer) => (open.delete(timer), clear(timer));
  t.after(() => Object.assign(globalThis, { setTimeout: set, clearTimeout: clear }));
  dialled.at(-1).stand();
  const promises = ["r-1", "r-2"].map((request_id) => one.submit("x", { request_id, deadline_s: 3_600 }));
  assert.equal(open.size, 2);
  dialled.at(-1).hear({ type: "result", request_id: "r-1", number: 1 });
  dialled.at(-1).hear({ type: "error", request_id: "r-2", error: { code: "QUEUE_FULL" } });
  await Promise.allSettled(promises);
  assert.equal(open.size, 0);
});

test("a cancel stops each job of an utterance, also those that are told later", async (t) => {
  const one = session(t);
  const socket = dialled.at(-1);
  socket.stand();
  const named = () => socket.said("cancel").map(([message]) => message.request_id);
  const both = ["u-1:es", "u-1:fr"];
  const waiting = one.say("hello", { utterance_id: "u-1" });
  one.cancel("u-1");
  socket.hear({ type: "utterance_jobs", utterance_id: "u-1", request_ids: both });
  assert.deepEqual(named(), ["u-1", ...both]);
  socket.hear({ type: "error", request_id: "u-1", error: { code: "NOT_FOUND" } });
  for (const request_id of both) {
    socket.hear({ type: "result", request_id, status: "cancelled", error: { code: "CANCELLED" } });
  }
  await assert.rejects(waiting, { code: "CANCELLED" });
});

test("a large piece of sound goes out in pieces that fit a frame", (t) => {
  const one = session(t);
  dialled.at(-1).stand();
  const speech = one.speak({ utterance_id: "u-1" });
  speech.push(new Uint8Array(2_500_000).fill(7));
  speech.end();
  const chunks = dialled.at(-1).said("audio_chunk");
  const sizes = chunks.map(([, payload]) => payload.length);
  assert.ok(Math.max(...sizes) <= 1_048_576);
  assert.equal(sizes.reduce((sum, size) => sum + size), 2_500_000);
  assert.deepEqual(chunks.map(([message]) => message.seq), chunks.map((_, at) => at));
  speech.result.catch(() => {});
});

test("a first message names as many open jobs as it has room for", async (t) => {
  const one = session(t);
  const name = (n) => `${"é".repeat(120)}-${n}`;
  for (let n = 0; n < 100; n++) one.submit("early", { request_id: name(n) }).catch(() => {});
  dialled.at(-1).stand();
  dialled.at(-1).lose();
  t.mock.timers.tick(1_000);
  const again = dialled.at(-1);
  again.onopen();
  const [[init]] = again.said("session_init");
  assert.ok(new TextEncoder().encode(JSON.stringify(init)).length <= 16_384);
  assert.ok(init.unfinished.length > 50);
});

test("what the service has is cancelled when the session is closed", async (t) => {
  const one = session(t);
  const waiting = [one.submit("early", { request_id: "r-1" })];
  const socket = dialled.at(-1);
  socket.stand();
  waiting.push(one.say("hello", { utterance_id: "u-1" }));
  socket.hear({ type: "utterance_jobs", utterance_id: "u-1", request_ids: ["u-1:es", "u-1:fr"] });
  one.close();
  assert.deepEqual(socket.said("cancel").map(([message]) => message.request_id), ["r-1", "u-1:es", "u-1:fr"]);
  assert.equal(socket.sent.at(-1)[0].type, "session_close");
  for (const each of waiting) await assert.rejects(each, { code: "CANCELLED" });
});

/** A session that had this one job when its connection broke. */
function interrupted(t) {
  const one = session(t);
  dialled.at(-1).stand();
  const waiting = one.submit("early", { request_id: "r-1" });
  dialled.at(-1).lose();
  return [one, waiting];
}

test("who closes without a connection has what the service has cancelled on a new one", async (t) => {
  const [one, waiting] = interrupted(t);
  const closed = one.close();
  assert.equal(one.state, "closed");
  await assert.rejects(waiting, { code: "CANCELLED" });
  const socket = dialled.at(-1);
  assert.match(socket.url, /\?id=s-1$/);
  socket.stand({ resumed: true, session_number: 3 });
  assert.equal(socket.said("session_init")[0][0].resume_token, "t-1");
  const rest = socket.sent.slice(1).map(([{ type, session_number, request_id }]) => [type, session_number, request_id]);
  assert.deepEqual(rest, [["cancel", 3, "r-1"], ["session_close", 3, undefined]]);
  assert.equal(socket.readyState, 3);
  await closed;
  assert.equal(one.state, "closed");
});

test("a close that reaches nobody is tried again, and given up after 5 s", async (t) => {
  const [one] = interrupted(t);
  const count = dialled.length;
  const closed = one.close();
  for (let second = 0; second < 8; second++) {
    if (dialled.at(-1).readyState === 1) dialled.at(-1).lose();
    t.mock.timers.tick(1_000);
  }
  await closed;
  assert.equal(dialled.at(-1).readyState, 3);
  assert.equal(dialled.length - count, 6);
});

test("who closes while nothing is at the service dials nobody", async (t) => {
  const one = session(t);
  dialled.at(-1).stand();
  dialled.at(-1).lose();
  const waiting = one.submit("early", { request_id: "r-1" });
  const count = dialled.length;
  await one.close();
  await assert.rejects(waiting, { code: "CANCELLED" });
  assert.equal(reconnected(t), dialled[count - 1]);
});

test("a close hears which jobs an utterance became, and cancels those", async (t) => {
  const one = session(t);
  const socket = dialled.at(-1);
  socket.stand();
  one.say("hello", { utterance_id: "u-1" });
  const told = [];
  for (const name of ["message", "error", "result"]) one.addEventListener(name, () => told.push(name));
  const closed = one.close();
  assert.equal(socket.said("session_close").length, 0);
  socket.hear({ type: "utterance_jobs", utterance_id: "u-1", request_ids: ["u-1:es", "u-1:fr"] });
  assert.deepEqual(socket.said("cancel").map(([message]) => message.request_id), ["u-1", "u-1:es", "u-1:fr"]);
  await closed;
  assert.equal(socket.sent.at(-1)[0].type, "session_close");
  assert.deepEqual(told, []);
});

test("who closes twice is told once", async (t) => {
  const one = session(t);
  dialled.at(-1).stand();
  const states = [];
  one.addEventListener("state", ({ detail }) => states.push(detail.state));
  await Promise.all([one.close(), one.close()]);
  assert.deepEqual(states, ["closed"]);
});

test("what is larger than the service takes is refused here, and not sent for ever", async (t) => {
  const made = session(t);
  const socket = dialled.at(-1);
  socket.stand({ payload_bytes_max: 1000 });
  const refused = [
    [made.submit(new Uint8Array(1001)), "payload: 1001 bytes, at most 1000"],
    [made.say(new Uint8Array(1001), { content_type: "audio/wav" }), "at most 1000"],
    [made.submit("x", { meta: { x: "y".repeat(917_504) } }), "at most 917000"],
  ];
  for (const [promise, words] of refused)
    await assert.rejects(promise, (e) => e.code === "INVALID_MESSAGE" && e.message.includes(words));
  made.submit(new Uint8Array(1000), { request_id: "fits" });
  assert.deepEqual(socket.said("submit").map(([message]) => message.request_id), ["fits"]);
});

test("a frame is unpacked as it was packed", () => {
  const payload = new Uint8Array([0, 255, 7]);
  const [message, bytes] = unpackFrame(packFrame({ type: "submit", words: "¿qué?" }, payload).buffer);
  assert.deepEqual(message, { type: "submit", words: "¿qué?" });
  assert.deepEqual(bytes, payload);
  assert.deepEqual(unpackFrame('{"type":"x"}'), [{ type: "x" }, new Uint8Array(0)]);
});

test("what is submitted before the session stands is sent when it does, and answered", async (t) => {
  const here = session(t);
  const promise = here.submit("hello", { request_id: "r-1" });
  const socket = dialled.at(-1);
  socket.stand();
  const [[message, payload]] = socket.said("submit");
  assert.equal(message.request_id, "r-1");
  assert.equal(new TextDecoder().decode(payload), "hello");
  socket.hear({ type: "result", request_id: "r-1", number: 1 }, new TextEncoder().encode("hola"));
  assert.equal((await promise).text(), "hola");
  await Promise.resolve();
  assert.deepEqual(socket.said("result_ack")[0][0].results, [[0, 1]]);
});

test("after a lost connection the session is resumed, and sends again what does not run", async (t) => {
  const here = session(t);
  dialled.at(-1).stand();
  const promises = [here.submit("a", { request_id: "r-1" }), here.submit("b", { request_id: "r-2" })];
  dialled.at(-1).lose();
  assert.equal(here.state, "lost");
  const socket = reconnected(t);
  assert.match(socket.url, /\?id=s-1$/);
  socket.stand({ resumed: true, unfinished: { "r-1": "running", "r-2": "unknown" } });
  const [[init]] = socket.said("session_init");
  assert.equal(init.resume_token, "t-1");
  assert.deepEqual(init.unfinished, ["r-1", "r-2"]);
  assert.deepEqual(socket.said("submit").map(([message]) => message.request_id), ["r-2"]);
  for (const [at, id] of ["r-1", "r-2"].entries()) {
    socket.hear({ type: "result", request_id: id, number: at + 1 });
  }
  await Promise.all(promises);
});

function placesDialledFrom(count) {
  return dialled.slice(count).map((socket) => new URL(socket.url).host);
}

test("a service that is stopping is dialled again first, and another one when it stays away", async (t) => {
  const made = session(t, ["Date"]);
  dialled.at(-1).stand();
  const count = dialled.length;
  const alternatives = ["http://evil/", "b:99999", "10.0.0.2:7400"];
  dialled.at(-1).hear({ type: "going_away", reconnect_after_ms: 500, alternatives });
  t.mock.timers.tick(500);
  t.mock.timers.tick(2_000);
  assert.deepEqual(placesDialledFrom(count), ["127.0.0.1:1"]);
  t.mock.timers.tick(10_000);
  dialled.at(-1).lose();
  t.mock.timers.tick(30_000);
  assert.deepEqual(placesDialledFrom(count), ["127.0.0.1:1", "10.0.0.2:7400"]);
  dialled.at(-1).onopen();
  dialled.at(-1).hear({ type: "error", error: { code: "UNAUTHORIZED", message: "not here" } });
  t.mock.timers.tick(30_000);
  assert.equal(placesDialledFrom(count).at(-1), "127.0.0.1:1");
  dialled.at(-1).stand();
  assert.equal(made.state, "open");
  dialled.at(-1).lose();
  t.mock.timers.tick(30_000);
  assert.equal(placesDialledFrom(count).at(-1), "127.0.0.1:1");
});

test("the sessions of a drained service go to another one at once, jobs and all", async (t) => {
  const promise = session(t, ["Date"]).submit("hello", { request_id: "r-1" });
  const socket = dialled.at(-1);
  socket.stand();
  const alternatives = ["10.0.0.2:7400"];
  const going = { type: "going_away", reconnect_after_ms: 500, alternatives, elsewhere_after_ms: 0 };
  socket.hear(going);
  const error = { code: "SHUTTING_DOWN", message: "no", retryable: true, retry_after_ms: 500 };
  socket.hear({ type: "error", request_id: "r-1", error });
  const count = dialled.length;
  t.mock.timers.tick(500);
  t.mock.timers.tick(2_000);
  assert.deepEqual(placesDialledFrom(count), ["10.0.0.2:7400"]);
  dialled.at(-1).stand();
  assert.equal(dialled.at(-1).said("submit").length, 1);
  dialled.at(-1).hear({ type: "result", request_id: "r-1", number: 1 });
  await promise;
});

test("what nobody can do is rejected with its breakdown", async (t) => {
  const promise = session(t).submit("hello", { request_id: "r-1" });
  dialled.at(-1).stand();
  const breakdown = { total_nodes: 0, best_reason: "no_nodes", counts: {}, fix: "start a node" };
  const error = { code: "NO_AVAILABLE_NODE", message: "nobody", breakdown };
  dialled.at(-1).hear({ type: "error", request_id: "r-1", error });
  await assert.rejects(promise, (caught) => {
    assert.ok(caught instanceof PointsmanError);
    assert.equal(caught.breakdown.fix, "start a node");
    return true;
  });
});

test("what is being spoken is sent piece by piece, and all of it again to a worker that knows nothing", async (t) => {
  const here = session(t);
  dialled.at(-1).stand();
  const speech = here.speak({ utterance_id: "u-1", tgt_lang: "es" });
  speech.push(new Uint8Array([1, 2]));
  dialled.at(-1).lose();
  speech.push(new Uint8Array([3, 4]));
  const socket = reconnected(t);
  socket.stand({ unfinished: { "u-1": "unknown" } });
  speech.end();
  const pieces = socket.said("audio_chunk");
  assert.deepEqual(pieces.map(([{ seq, is_final }]) => [seq, is_final]), [[0, false], [1, false], [2, true]]);
  assert.deepEqual([...pieces[1][1]], [3, 4]);
  socket.hear({ type: "result", request_id: "u-1:es", number: 1 }, new Uint8Array([7]));
  assert.deepEqual([...(await speech.result).payload], [7]);
});

test("a room is entered again after a lost connection, and what others say is no answer", async (t) => {
  const here = session(t);
  here.joinRoom("kitchen", { lang: "en", name: "Ann" });
  dialled.at(-1).stand();
  dialled.at(-1).lose();
  const socket = reconnected(t);
  socket.stand({ resumed: true });
  assert.deepEqual(socket.said("room_join").map(([{ room, lang, name }]) => [room, lang, name]), [["kitchen", "en", "Ann"]]);
  const promise = here.say("hello", { utterance_id: "u-1" });
  let heard = 0;
  here.addEventListener("result", () => (heard += 1));
  socket.hear({ type: "result", request_id: "u-1", number: 1, speaker: "s-2" });
  socket.hear({ type: "result", request_id: "u-1", number: 2 }, new Uint8Array([9]));
  assert.deepEqual([...(await promise).payload], [9]);
  assert.equal(heard, 2);
});

test("an utterance is kept until each of its jobs is answered, and only those are asked for", async (t) => {
  const here = session(t);
  dialled.at(-1).stand();
  const promise = here.say("hello", { utterance_id: "u-1", tgt_langs: ["es", "fr"] });
  dialled.at(-1).hear({ type: "utterance_jobs", utterance_id: "u-1", request_ids: ["u-1:es", "u-1:fr"] });
  dialled.at(-1).hear({ type: "result", request_id: "u-1:es", number: 1 });
  await promise;
  dialled.at(-1).lose();
  const socket = reconnected(t);
  socket.stand({ resumed: true, unfinished: { "u-1:fr": "unknown" } });
  assert.deepEqual(socket.said("session_init")[0][0].unfinished, ["u-1:fr"]);
  assert.equal(socket.said("utterance").length, 1);
  socket.hear({ type: "result", request_id: "u-1:fr", number: 2 });
  socket.lose();
  const last = reconnected(t);
  last.stand({ resumed: true });
  assert.equal(last.said("utterance").length, 0);
});

test("an utterance that is said again may become other jobs, and earlier ones are not waited for", async (t) => {
  const here = session(t);
  dialled.at(-1).stand();
  const promise = here.say("hello", { utterance_id: "u-1" });
  dialled.at(-1).hear({ type: "utterance_jobs", utterance_id: "u-1", request_ids: ["u-1:es", "u-1:fr"] });
  dialled.at(-1).lose();
  const socket = reconnected(t);
  socket.stand({ unfinished: { "u-1:es": "unknown", "u-1:fr": "unknown" } });
  assert.equal(socket.said("utterance").length, 1);
  socket.hear({ type: "utterance_jobs", utterance_id: "u-1", request_ids: ["u-1"] });
  socket.hear({ type: "result", request_id: "u-1", number: 1 });
  await promise;
  socket.lose();
  const last = reconnected(t);
  last.stand({ resumed: true });
  assert.equal(last.said("utterance").length, 0);
});

test("a result that does not come is not waited for where the utterance became other jobs", async (t) => {
  const here = session(t);
  dialled.at(-1).stand();
  const promise = here.say("hello", { utterance_id: "u-1" });
  dialled.at(-1).hear({ type: "utterance_jobs", utterance_id: "u-1", request_ids: ["u-1"] });
  dialled.at(-1).lose();
  const socket = reconnected(t);
  socket.stand({ unfinished: { "u-1": "ended" } });
  assert.equal(socket.said("utterance").length, 1);
  socket.hear({ type: "utterance_jobs", utterance_id: "u-1", request_ids: ["u-1:es", "u-1:fr"] });
  socket.hear({ type: "result", request_id: "u-1:es", number: 1 });
  await promise;
  socket.hear({ type: "results_waiting", forgotten: 1 });
  assert.equal(socket.said("utterance").length, 2);
  socket.hear({ type: "utterance_jobs", utterance_id: "u-1", request_ids: ["u-1"] });
  socket.hear({ type: "result", request_id: "u-1", number: 2 });
  socket.lose();
  const last = reconnected(t);
  last.stand({ resumed: true });
  assert.equal(last.said("utterance").length, 0);
});

test("a room of another worker is gone to once what was sent is answered, and nothing is done twice", async (t) => {
  const here = session(t);
  const first = dialled.at(-1);
  first.stand();
  const before = here.say("before", { utterance_id: "u-1" });
  first.hear({ type: "utterance_jobs", utterance_id: "u-1", request_ids: ["u-1"] });
  here.joinRoom("kitchen", { lang: "en" });
  first.hear({ type: "moved", session_id: "s-2", shard: 1, worker_count: 2, room: "kitchen" });
  here.say("after", { utterance_id: "u-2" });
  assert.equal(first.said("utterance").length, 1);
  assert.equal(first.said("session_close").length, 0);
  const states = []; // a page that says "lost" would alarm people
  here.addEventListener("state", ({ detail }) => states.push(detail.state));
  first.hear({ type: "result", request_id: "u-1", number: 1 });
  await before;
  assert.equal(first.said("session_close").length, 1);
  const socket = dialled.at(-1);
  assert.notEqual(socket, first);
  assert.match(socket.url, /\?id=s-2$/);
  socket.stand({ session_id: "s-2" });
  assert.deepEqual(states, ["connecting", "open"]);
  assert.equal(socket.said("session_init")[0][0].resume_token, undefined);
  assert.deepEqual(socket.said("utterance").map(([message]) => message.text), ["after"]);
  assert.equal(socket.said("room_join").length, 1);
});

/** What the gate says of loudnesses. */
function verdicts(levels) {
  const gate = new VoiceGate();
  return levels.map((level) => gate.feed(level));
}

test("two loud chunks begin an utterance, and seven quiet ones end it", () => {
  const said = verdicts([0, 0, 0.1, 0.1, 0.1, ...Array(8).fill(0.001)]);
  assert.deepEqual(said.slice(0, 5), ["quiet", "quiet", "quiet", "starts", "goes on"]);
  assert.equal(said.indexOf("ends"), 11);
  assert.equal(said[12], "quiet");
});

test("a click and a steady noise are no speech", () => {
  assert.deepEqual(new Set(verdicts([0, 0.5, 0, 0.5, 0])), new Set(["quiet"]));
  const risingNoise = Array.from({ length: 100 }, (_, at) => 0.0002 * at);
  assert.deepEqual(new Set(verdicts(risingNoise)), new Set(["quiet"]));
});

test("who does not stop is cut before the service would", () => {
  const said = verdicts(Array(200).fill(0.2));
  assert.equal(said.indexOf("ends") - said.indexOf("starts"), 186);
});

test("loudness is 0 for silence and near 1 for what could not be louder", () => {
  assert.equal(loudness(new Int16Array(10)), 0);
  assert.equal(loudness(new Int16Array(0)), 0);
  assert.ok(loudness(new Int16Array(10).fill(-32_768)) === 1);
});

test("A1: a page that is refused for its token asks for one, and sends it when it begins anew", () => {
  const kept = new Map();
  globalThis.sessionStorage = { getItem: (key) => kept.get(key), setItem: (key, to) => kept.set(key, to) };
  let reloads = 0;
  globalThis.location = { reload: () => reloads++ };
  const [talk, form] = [new EventTarget(), Object.assign(new EventTarget(), { hidden: true })];
  const [field, why] = [{ value: " pmt_x ", focus() {} }, { textContent: "" }];
  const page = { hidden: false };
  askForToken(talk, { form, field, why, page });
  const refused = (code) =>
    talk.dispatchEvent(new CustomEvent("error", { detail: { error: { code, message: code } } }));
  refused("QUEUE_FULL");
  assert.equal(form.hidden, true);
  assert.deepEqual(tokenInit(), {});
  refused("UNAUTHORIZED");
  assert.deepEqual([form.hidden, page.hidden, why.textContent], [false, true, ""]);
  form.dispatchEvent(new Event("submit", { cancelable: true }));
  assert.deepEqual([tokenInit(), reloads], [{ token: "pmt_x" }, 1]);
  refused("UNAUTHORIZED");
  assert.equal(why.textContent, "That token is not taken: UNAUTHORIZED");
});

test("a pool of a hundred languages is named by the first two and how many", () => {
  assert.equal(poolWords("en-es"), "en-es");
  assert.equal(poolWords("a-pool-that-somebody-named"), "a-pool-that-somebody-named");
  const codes = Array.from({ length: 113 }, (_, at) => `l${at}`);
  assert.equal(poolWords(codes.join("-")), "l0-l1-…(113)");
});

test("a session that is refused for now is asked for again", (t) => {
  const here = session(t);
  const socket = dialled.at(-1);
  socket.onopen();
  const error = { code: "QUEUE_FULL", message: "full", retryable: true, retry_after_ms: 1000 };
  socket.hear({ type: "error", error });
  t.mock.timers.tick(999);
  assert.equal(socket.readyState, 1, "not before it may");
  t.mock.timers.tick(1);
  const again = reconnected(t);
  assert.notEqual(again, socket);
  again.stand();
  assert.equal(here.state, "open");
});

test("a result that is told twice is heard once", (t) => {
  const here = session(t);
  const socket = dialled.at(-1);
  socket.stand();
  const heard = [];
  here.addEventListener("result", (event) => heard.push(event.detail.message.number));
  for (const number of [1, 2, 2, 1, 3]) socket.hear({ type: "result", request_id: "r", number });
  assert.deepEqual(heard, [1, 2, 3]);
});

test("what the service has forgotten is submitted again", (t) => {
  const here = session(t);
  const socket = dialled.at(-1);
  socket.stand();
  here.submit("hello", { request_id: "r-1" });
  socket.hear({ type: "results_waiting", count: 3, forgotten: 1 });
  assert.equal(socket.said("submit").length, 1, "the others come first");
  socket.hear({ type: "results_waiting", forgotten: 1 });
  assert.equal(socket.said("submit").length, 2);
});

test("a connection on which nothing comes any more is given up", (t) => {
  const here = session(t);
  const socket = dialled.at(-1);
  socket.stand();
  socket.close = () => {}; // the network is gone: its end would come minutes later
  for (let beat = 0; beat < 4; beat++) {
    t.mock.timers.tick(15_000);
    socket.hear({ type: "client_heartbeat_ack" });
  }
  assert.equal(here.state, "open");
  t.mock.timers.tick(45_000);
  assert.equal(here.state, "lost");
  assert.notEqual(reconnected(t), socket);
  dialled.at(-1).stand({ resumed: true });
  assert.equal(here.state, "open");
});

test("a service that takes the connection and says nothing is dialled again", (t) => {
  const here = session(t);
  const socket = dialled.at(-1);
  socket.close = () => {}; // the network is gone
  socket.onopen();
  t.mock.timers.tick(15_000);
  assert.equal(here.state, "lost");
  assert.notEqual(reconnected(t), socket);
  dialled.at(-1).stand();
  t.mock.timers.tick(15_000);
  assert.equal(here.state, "open");
});

test("samples are sent as the bytes that they are", (t) => {
  const here = session(t);
  const socket = dialled.at(-1);
  socket.stand();
  const samples = Int16Array.of(1, 258, -1);
  here.say(samples.subarray(1), { utterance_id: "u-1" });
  const speech = here.speak({ utterance_id: "u-2" });
  speech.push(samples);
  assert.deepEqual([...socket.said("utterance")[0][1]], [2, 1, 255, 255]);
  assert.deepEqual([...socket.said("audio_chunk")[0][1]], [1, 0, 2, 1, 255, 255]);
});

test("who speaks on after the answer sends nothing more", async (t) => {
  const here = session(t);
  const socket = dialled.at(-1);
  socket.stand();
  const speech = here.speak({ utterance_id: "u-1" });
  speech.push(new Uint8Array([1, 2]));
  socket.hear({ type: "result", request_id: "u-1", number: 1 });
  await speech.result;
  speech.push(new Uint8Array([3, 4]));
  speech.end();
  assert.equal(socket.said("audio_chunk").length, 1);
});

test("a text that was cut within a character is sent as what can be read, under an id that comes back", async (t) => {
  const here = session(t);
  const socket = dialled.at(-1);
  const raw = [];
  const send = socket.send;
  socket.send = (data) => (raw.push(data), send.call(socket, data));
  socket.stand();
  const cut = "🙂".slice(0, 1);
  here.say(`a${cut}\\ud83d 🙂${cut}`, { utterance_id: "u-1" });
  assert.doesNotMatch(raw.at(-1).replaceAll("\\\\", ""), /\\ud83d/);
  assert.equal(socket.said("utterance")[0][0].text, "a\ufffd\\ud83d 🙂\ufffd");
  const promise = here.submit("x", { request_id: `r${cut}` });
  const [[{ request_id }]] = socket.said("submit");
  socket.hear({ type: "result", request_id, number: 1 });
  await promise;
  const numbered = here.submit("x", { request_id: 42 });
  socket.hear({ type: "result", request_id: "42", number: 2 });
  assert.equal(socket.said("submit")[1][0].request_id, "42");
  await numbered;
});

test("heartbeats are sent as often as the service wants them", (t) => {
  session(t);
  const socket = dialled.at(-1);
  socket.stand({ heartbeat_interval_s: 2.5 });
  t.mock.timers.tick(10_000);
  assert.equal(socket.said("client_heartbeat").length, 4);
});

test("a request id that is open is one job for the same words, and refused for others", async (t) => {
  const here = session(t);
  const promise = here.submit("a", { request_id: "r-1" });
  const again = here.submit("a", { request_id: "r-1" });
  await assert.rejects(here.submit("b", { request_id: "r-1" }), { code: "CONFLICT" });
  await assert.rejects(here.speak({ utterance_id: "r-1" }).result, { code: "CONFLICT" });
  const socket = dialled.at(-1);
  socket.stand();
  assert.equal(socket.said("submit").length, 1);
  socket.hear({ type: "result", request_id: "r-1", number: 1 }, new TextEncoder().encode("x"));
  assert.deepEqual([(await promise).text(), (await again).text()], ["x", "x"]);
  here.submit("b", { request_id: "r-1" });
  assert.equal(socket.said("submit").length, 2);
});

test("what is cancelled while there is no connection is not done when it is back", async (t) => {
  const here = session(t);
  const early = here.submit("a", { request_id: "r-0" });
  here.cancel("r-0");
  await assert.rejects(early, { code: "CANCELLED" });
  dialled.at(-1).stand();
  assert.deepEqual(dialled.at(-1).said("submit"), []);
  const lost = here.submit("a", { request_id: "r-1" });
  const running = here.submit("b", { request_id: "r-2" });
  dialled.at(-1).lose();
  here.cancel("r-1");
  here.cancel("r-2");
  const socket = reconnected(t);
  socket.stand({ resumed: true, unfinished: { "r-1": "unknown", "r-2": "running" } });
  await assert.rejects(lost, { code: "CANCELLED" });
  assert.deepEqual(socket.said("submit"), []);
  assert.deepEqual(socket.said("cancel").map(([message]) => message.request_id), ["r-2"]);
  const error = { code: "CANCELLED", message: "as you wished" };
  socket.hear({ type: "result", request_id: "r-2", number: 1, status: "cancelled", error });
  await assert.rejects(running, { code: "CANCELLED" });
});

test("what is cancelled twice is cancelled once, so that no second answer meets a new request", (t) => {
  const here = session(t);
  const socket = dialled.at(-1);
  socket.stand();
  here.submit("a", { request_id: "r-1" });
  here.cancel("r-1");
  here.cancel("r-1");
  assert.equal(socket.said("cancel").length, 1);
});

test("a microphone that is allowed after it was given up does not stay on", async () => {
  const tracks = [{ stop: () => stopped.push(1), addEventListener: () => {} }];
  const stopped = [];
  let allow;
  const asked = new Promise((resolve) => (allow = resolve));
  const mediaDevices = { getUserMedia: () => asked };
  Object.defineProperty(globalThis, "navigator", { value: { mediaDevices }, configurable: true });
  const microphone = new Microphone();
  const opened = microphone.open();
  await microphone.close();
  allow({ getTracks: () => tracks, getAudioTracks: () => tracks });
  assert.equal(await opened, false);
  assert.equal(stopped.length, 1);
});

/** A dashboard's feed, and what was fetched for it: the first time there is no network. */
function feed(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
  globalThis.document = { hidden: false, addEventListener: () => {} };
  const fetched = [];
  t.mock.method(globalThis, "fetch", async (_, { signal }) => {
    const answer = { signal };
    if (fetched.push(answer) === 1) throw new Error("no network");
    const start = (to) => {
      signal.addEventListener("abort", () => to.error(new Error("given up")));
      answer.tell = (event) => to.enqueue(new TextEncoder().encode(event));
    };
    return { ok: true, status: 200, body: new ReadableStream({ start }) };
  });
  return [new Feed("http://127.0.0.1:1/fleet/live"), fetched];
}

async function seconds(t, count, act = () => {}) {
  for (let second = 0; second < count; second++) {
    act();
    await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(1_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("a feed that is live again is not ended by the try before it", async (t) => {
  const [made, fetched] = feed(t);
  await seconds(t, 40, () => fetched[1]?.tell('data: {"items": []}\n\n'));
  assert.equal(made.state, "live");
  assert.equal(fetched.length, 2);
});

test("a feed that falls silent before its first word is given up as well", async (t) => {
  const [made, fetched] = feed(t);
  await seconds(t, 22);
  assert.equal(made.state, "lost");
  assert.equal(fetched[1].signal.aborted, true);
  assert.equal(fetched.length, 3);
});

/** As much of a page as choosing languages needs. */
class FakeElement extends EventTarget {
  value = "";
  hidden = false;
  textContent = "";
  parentElement = null;
  parts = new Map();

  querySelector(selector) {
    if (!this.parts.has(selector)) this.parts.set(selector, new FakeElement());
    return this.parts.get(selector);
  }

  replaceChildren(...options) {
    this.value = options[0].value; // as a select does
  }
}

test("a language is typed to its end, also when the fleet is looked at while it is a known one", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const pairs = [{ src: "en", tgt: "es", speech: false }];
  const answer = { pairs, hears: [], speaks: [], nodes: 1 };
  Object.assign(globalThis, {
    HTMLElement: FakeElement,
    Option: function Option(text, value) {
      Object.assign(this, { text, value });
    },
    document: { activeElement: null },
    fetch: async () => ({ json: async () => answer }),
  });
  const form = new FakeElement();
  const languages = new Languages(form, { src: "en", tgt: "" });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  await settle();
  const select = form.querySelector("#tgt");
  const other = form.querySelector("#tgt-other");
  const input = other.querySelector("input");
  select.value = "other";
  select.dispatchEvent(new Event("change"));
  document.activeElement = input;
  input.value = "es"; // on the way to "est"
  input.dispatchEvent(new Event("input"));
  t.mock.timers.tick(15_000);
  await settle();
  assert.deepEqual([select.value, other.hidden, input.value], ["other", false, "es"]);
  document.activeElement = null;
  t.mock.timers.tick(15_000);
  await settle();
  assert.deepEqual([select.value, other.hidden, languages.tgt], ["es", true, "es"]);
});
