/**
 * A session with a Pointsman service over WebSocket; docs/protocol.md, 5.8, tells the messages.
 *
 * The session outlives its connections: when one breaks it is opened again by its id and its resume
 * token, what is not answered yet is submitted again under the same request ids, and so every
 * promise that submit() gave is kept once.
 */

const PROTOCOL = "pointsman.v1";
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 30_000;
const HEARTBEAT_MS = 15_000; // unless the service wants them more often
const SILENCE_MS = 30_000; // for so long heartbeats may stay without any answer
const ANSWER_MS = 15_000; // so long a dial may take, with the first answer
const ELSEWHERE_MS = 10_000; // so long a service may be away before another one is dialled,
const ELSEWHERE_MAX_MS = 60_000; // unless it says how long itself
const ALTERNATIVES_MAX = 8;
const PLACE = /^(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$/;
const PAYLOAD_BYTES_MAX = 1_048_576; // unless the service takes less
const JSON_BYTES_MAX = 917_000; // beside it, and the session's number beside that
const DEADLINE_GRACE_MS = 2_000; // after it the service should have told that it has passed
const GAP_GRACE_MS = 12_000;
const DEADLINE_MAX_S = 2_000_000; // what timers can count
const CLOSE_MS = 5_000; // so long a session that is closed tries to have its jobs cancelled
const PIECE_BYTES_MAX = 262_144; // of sound, in one message
const FIRST_BYTES_MAX = 16_384; // of session_init; a repeated submit finds what it does not name
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What the service refused, or what became of a job that was not done. */
export class PointsmanError extends Error {
  constructor(info, result = null) {
    super(info.message || info.code);
    this.name = "PointsmanError";
    this.code = info.code;
    this.retryable = info.retryable ?? false;
    this.hint = info.hint ?? "";
    this.retryAfterMs = info.retry_after_ms ?? null;
    this.breakdown = info.breakdown ?? null;
    this.result = result;
  }
}

/** JSON that can be read: half of a character, as of a text that was cut within one, is none. */
function toJson(value) {
  const whole = (escape) => (/^\\u[dD][89a-fA-F]/.test(escape) ? "\\ufffd" : escape);
  return JSON.stringify(value).replace(/\\(?:u.{4}|.)/g, whole);
}

function jsonBytes(value) {
  return encoder.encode(toJson(value)).length;
}

/** An id as it comes back: a text, and of whole characters. */
function idOf(value) {
  return decoder.decode(encoder.encode(String(value)));
}

function isOver(message = "the session is closed") {
  return new PointsmanError({ code: "SESSION_CLOSED", message });
}

function isPlace(place) {
  return PLACE.test(place) && Number(place.slice(place.lastIndexOf(":") + 1)) < 65_536;
}

/** The bytes of a binary frame: length of the JSON, JSON, payload. */
export function packFrame(message, payload) {
  const header = encoder.encode(toJson(message));
  const frame = new Uint8Array(4 + header.length + payload.length);
  new DataView(frame.buffer).setUint32(0, header.length, true);
  frame.set(header, 4);
  frame.set(payload, 4 + header.length);
  return frame;
}

/** What a frame holds: [message, payload]. */
export function unpackFrame(data) {
  if (typeof data === "string") return [JSON.parse(data), new Uint8Array(0)];
  const bytes = new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  return [JSON.parse(decoder.decode(bytes.subarray(4, 4 + length))), bytes.subarray(4 + length)];
}

/**
 * One conversation. Events: "state" (connecting, open, lost, closed), "message" (everything that
 * comes), "accepted", "partial", "progress", "step" (ui_event), "result", "missing", "room", "error".
 */
export class Session extends EventTarget {
  #url;
  #init;
  #socket = null;
  #number = 0;
  // Request id or utterance id -> {frames: [[message, payload]], isSent, isCancelled, ids, answered,
  // doubted, resolve, reject}: kept until each job is answered; ids are those that an utterance became.
  #jobs = new Map();
  #room = null; // the room_join that holds
  #move = null; // to the worker of the room, once what was sent here is answered
  #lastResult = 0;
  #lastRequest = 0;
  #attempts = 0;
  #others = []; // HOST:PORT of other instances, named by a worker that was stopping
  #elsewhereMs = ELSEWHERE_MS;
  #lostAt = null;
  #turn = 0;
  #dialled = "";
  #isWanted = true;
  #retryTimer = null;
  #beatTimer = null;
  #answerTimer = null;
  #silentMs = 0;
  #isAckPlanned = false;
  #opened = null;
  #prefix = Math.random().toString(36).slice(2, 8);

  /** `url` is ws(s)://host:port/session, or that of the page's own service when it is left out. */
  constructor(url = defaultUrl(), init = {}) {
    super();
    this.#url = url;
    this.#init = { ...init };
    this.state = "connecting";
    this.welcome = null; // the last session_init_ack
    this.#dial();
  }

  /** Wait until the session stands. */
  ready() {
    if (this.state === "open") return Promise.resolve(this.welcome);
    if (this.state === "closed") return Promise.reject(isOver());
    this.#opened ??= defer();
    return this.#opened.promise;
  }

  /**
   * Have a job done; fields are those of the message `submit`. Resolves with
   * {message, payload, text()}, rejects with PointsmanError when it was refused or not done.
   */
  submit(payload = new Uint8Array(0), fields = {}) {
    if (this.state === "closed") return Promise.reject(isOver());
    const bytes = typeof payload === "string" ? encoder.encode(payload) : copied(payload);
    const request_id = idOf(fields.request_id ?? this.#newId());
    return this.#sayWhole(request_id, { ...fields, type: "submit", request_id }, bytes);
  }

  /**
   * Say something: text, or sound (content_type audio/wav or audio/pcm;rate=16000). Fields are those
   * of the message `utterance`. Resolves with the first result; where it goes into several languages
   * the others are heard as "result" events, under the utterance's id with ":" and the language.
   */
  say(words, fields = {}) {
    if (this.state === "closed") return Promise.reject(isOver());
    const utterance_id = idOf(fields.utterance_id ?? this.#newId());
    const isText = typeof words === "string";
    const message = { ...fields, ...(isText && { text: words }), type: "utterance", utterance_id };
    const bytes = isText ? new Uint8Array(0) : copied(words);
    return this.#sayWhole(utterance_id, message, bytes);
  }

  /** Ask for something, unless the service takes nothing so large: it would hang up each time. */
  #sayWhole(id, message, bytes) {
    const most = this.welcome?.payload_bytes_max || PAYLOAD_BYTES_MAX;
    const beside = jsonBytes(message);
    if (bytes.length <= most && beside <= JSON_BYTES_MAX) return this.#keep(id, [[message, bytes]]).promise;
    const text = `payload: ${bytes.length} bytes, at most ${most}; JSON: ${beside}, at most ${JSON_BYTES_MAX}`;
    return Promise.reject(new PointsmanError({ code: "INVALID_MESSAGE", message: text }));
  }

  /**
   * Say something while it is being spoken: push(bytes) its sound piece by piece, then end(). Fields
   * are those of `audio_chunk`; `result` is a promise as that of say(). The pieces are kept until
   * then, and sent again after a lost connection.
   */
  speak(fields = {}) {
    const utterance_id = idOf(fields.utterance_id ?? this.#newId());
    const frames = [];
    const job = this.#keep(utterance_id, frames);
    const add = (bytes, is_final) => {
      if (this.#jobs.get(utterance_id) !== job) return; // it is answered, or was refused
      const message = { ...fields, type: "audio_chunk", utterance_id, seq: frames.length, is_final };
      frames.push([message, bytes]);
      if (job.isSent) this.#sendIfOpen({ ...message, session_number: this.#number }, bytes);
    };
    return {
      utterance_id,
      result: job.promise,
      push: (bytes) => pieces(copied(bytes)).forEach((piece) => add(piece, false)),
      end: () => add(new Uint8Array(0), true),
    };
  }

  /**
   * Enter a room, whose members hear each other each in its own language; until leaveRoom() it is
   * entered again after every lost connection. "room" events tell who is in it, and with `error`
   * why it could not be entered.
   */
  joinRoom(room, { lang = "", name = "" } = {}) {
    this.#room = { type: "room_join", room, lang, name };
    if (!this.#init.session_id) this.#init.room = room; // so the session is made where the room is
    this.#sendIfOpen({ ...this.#room, session_number: this.#number });
  }

  leaveRoom() {
    this.#room = null;
    delete this.#init.room;
    if (this.#move) this.#stay();
    this.#sendIfOpen({ type: "room_leave", session_number: this.#number });
  }

  /**
   * Stop a job; its promise rejects with CANCELLED, or resolves if the job was faster. While there
   * is no connection it is remembered for the next one.
   */
  cancel(requestId) {
    const job = this.#jobs.get(requestId);
    if (job && !job.isSent) return this.#drop(requestId, job);
    if (job?.isCancelled) return; // a second answer might meet a new request of the same id
    if (job) job.isCancelled = true;
    this.#sendCancels(requestId, job);
  }

  #sendCancels(id, job) {
    for (const request_id of job ? openIds([id, job]) : [id]) {
      this.#sendIfOpen({ type: "cancel", session_number: this.#number, request_id });
    }
  }

  /** Send any other message of the protocol; false while there is no connection. */
  send(message, payload = new Uint8Array(0)) {
    return this.#sendIfOpen({ session_number: this.#number, ...message }, payload);
  }

  /** Change what session_init says from the next time on: languages, for instance. */
  reopenWith(init) {
    Object.assign(this.#init, init);
    this.#socket?.close(1000);
  }

  /**
   * End the session: what is open rejects at once, and the service is told to cancel it, on a new
   * connection if there is none, which is tried for 5 s. Resolves when that is done or given up.
   */
  close() {
    if (this.state === "closed") return Promise.resolve();
    const [socket, isStanding] = [this.#socket, this.state === "open"];
    const left = new Farewell([...this.#jobs].filter(([, job]) => job.isSent), this.#number);
    const message = { ...this.#initMessage(), unfinished: [] };
    this.#socket = null;
    this.#end("closed here", new PointsmanError({ code: "CANCELLED", message: "closed here" }));
    return left.begin({ socket, isStanding, message, dial: () => new WebSocket(this.#target(), PROTOCOL) });
  }

  // ---- the connection

  #dial() {
    this.#become("connecting");
    this.#dialled = this.#place();
    const socket = (this.#socket = new WebSocket(this.#target(), PROTOCOL));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#sendRaw(socket, this.#initMessage());
    socket.onmessage = (event) => this.#received(socket, event.data);
    socket.onclose = (event) => this.#lost(socket, event.reason);
    socket.onerror = () => {}; // onclose follows, and says what there is to say
    clearTimeout(this.#answerTimer);
    this.#answerTimer = setTimeout(() => this.#abandon(socket, "the service does not answer"), ANSWER_MS);
  }

  #target() {
    const url = new URL(this.#dialled);
    if (this.#init.session_id) url.searchParams.set("id", this.#init.session_id);
    return url;
  }

  /** Its own, until that is away for too long; then the others and its own in turn. */
  #place() {
    const isAway = this.#lostAt !== null && Date.now() - this.#lostAt >= this.#elsewhereMs;
    if (!isAway || this.#others.length === 0) return this.#url;
    const url = new URL(this.#url);
    const places = [...this.#others, url.host];
    url.host = places[this.#turn++ % places.length];
    return url.href;
  }

  #initMessage() {
    const message = { ...this.#init, type: "session_init", unfinished: [], last_result: this.#lastResult };
    let left = FIRST_BYTES_MAX - jsonBytes(message);
    const isRoom = (id) => (left -= jsonBytes(id) + 1) >= 0;
    return { ...message, unfinished: [...this.#jobs].flatMap(openIds).filter(isRoom) };
  }

  #lost(socket, reason) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    this.#move = null; // the room tells it again
    clearInterval(this.#beatTimer);
    if (!this.#isWanted) return;
    this.#lostAt ??= Date.now();
    this.#become("lost", { reason });
    // Full jitter: a thousand pages that lost the same service do not come back at once.
    const most = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#attempts++);
    this.#retryTimer = setTimeout(() => this.#dial(), Math.random() * most);
  }

  /** A network may be gone without a word, and the browser learns of it minutes later. */
  #beat(beatMs) {
    if (this.state !== "open") return;
    if (this.#silentMs < SILENCE_MS) {
      this.#silentMs += beatMs;
      this.#sendIfOpen({ type: "client_heartbeat", number: Date.now() });
      return;
    }
    this.#abandon(this.#socket, "nothing comes from the service any more");
  }

  /** Take it for lost; its end would be told minutes later. */
  #abandon(socket, reason) {
    if (socket !== this.#socket) return;
    socket.close(1000);
    this.#lost(socket, reason);
  }

  /** End this connection after a while; another one follows. */
  #hangUp(afterMs) {
    const socket = this.#socket;
    if (afterMs) setTimeout(() => socket?.close(1000), afterMs);
    else socket?.close(1000);
  }

  #end(reason, error = isOver(reason)) {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#answerTimer);
    clearInterval(this.#beatTimer);
    this.#isWanted = false;
    for (const job of this.#jobs.values()) job.reject(error);
    this.#jobs.clear();
    this.#opened?.reject(error);
    this.#opened = null;
    this.#become("closed", { reason });
  }

  // ---- messages

  #received(socket, data) {
    if (socket !== this.#socket) return;
    clearTimeout(this.#answerTimer);
    this.#silentMs = 0;
    const [message, payload] = unpackFrame(data);
    this.#tell("message", { message, payload });
    const handlers = {
      session_init_ack: () => this.#stands(message),
      moved: () => this.#moved(message),
      job_accepted: () => message.jobs.forEach((accepted) => this.#accepted(accepted)),
      result: () => this.#result(message, payload),
      missing_result: () => this.#missing(message),
      partial: () => this.#tell("partial", { message, payload }),
      utterance_jobs: () => this.#became(message),
      ui_event: () => this.#tell("step", { message }),
      room_state: () => this.#tell("room", { message, error: null }),
      progress: () => this.#tell("progress", { message }),
      error: () => this.#refused(message),
      session_closed: () => this.#end(message.reason || "closed by the service"),
      going_away: () => this.#goingAway(message),
      results_waiting: () => message.count || this.#submitAgain(),
    };
    handlers[message.type]?.();
  }

  #goingAway(message) {
    const places = (message.alternatives ?? []).filter(isPlace);
    this.#others = places.slice(0, ALTERNATIVES_MAX);
    this.#elsewhereMs = Math.min(message.elsewhere_after_ms ?? ELSEWHERE_MS, ELSEWHERE_MAX_MS);
    this.#hangUp(message.reconnect_after_ms);
  }

  #stands(ack) {
    this.#url = this.#dialled;
    this.#others = [];
    this.#lostAt = null;
    this.#turn = 0;
    this.#number = ack.session_number ?? 0;
    Object.assign(this.#init, { session_id: ack.session_id, resume_token: ack.resume_token });
    if (!ack.resumed) this.#lastResult = 0;
    this.#attempts = 0;
    this.welcome = ack;
    clearInterval(this.#beatTimer);
    const beatMs = Math.min(HEARTBEAT_MS, (ack.heartbeat_interval_s || Infinity) * 1000);
    this.#beatTimer = setInterval(() => this.#beat(beatMs), beatMs);
    this.#become("open", { ack });
    if (this.#room) this.#sendIfOpen({ ...this.#room, session_number: this.#number });
    const answers = ack.unfinished ?? {};
    for (const [id, job] of this.#jobs) {
      const open = openIds([id, job]);
      const told = open.map((each) => answers[each]);
      if (job.isCancelled && told.every((answer) => answer === "unknown")) {
        this.#drop(id, job);
        continue;
      }
      if (!told.every((answer) => answer === "running")) this.#sendAll(job);
      doubt(id, job, (each) => answers[each] === "running");
      job.isSent = true;
      if (job.isCancelled) this.#sendCancels(id, job);
    }
    this.#opened?.resolve(ack);
    this.#opened = null;
  }

  #moved(message) {
    if (message.room) {
      this.#move = message;
      this.#goToRoom();
    } else {
      this.#goTo(message);
    }
  }

  /** What was sent is answered here first: under another session id it would be done again. */
  #goToRoom() {
    const isAwaited = [...this.#jobs.values()].some((job) => job.isSent);
    if (!this.#move || isAwaited) return;
    const message = this.#move;
    this.#move = null;
    this.#sendIfOpen({ type: "result_ack", results: [[this.#number, this.#lastResult]] });
    this.#sendIfOpen({ type: "session_close", session_number: this.#number });
    delete this.#init.resume_token;
    this.#lastResult = 0;
    this.#goTo(message);
  }

  /** It goes nowhere after all: send what was to be sent from there. */
  #stay() {
    this.#move = null;
    for (const job of this.#jobs.values()) {
      if (!job.isSent) this.#sendAll(job);
      job.isSent = true;
    }
  }

  #goTo(message) {
    const url = new URL(this.#dialled);
    if (message.address) url.host = message.address;
    this.#url = url.href;
    this.#lostAt = null;
    this.#init.session_id = message.session_id;
    this.#attempts = 0;
    const left = this.#socket;
    if (message.room) this.#dial(); // at once: we go by ourselves, nothing was lost
    left?.close(1000);
  }

  #became({ utterance_id: id, request_ids: ids = [] }) {
    const job = this.#jobs.get(id);
    for (const each of job?.doubted.splice(0) ?? []) job.ids.delete(each);
    for (const each of ids) job?.ids.add(each);
    if (job?.isCancelled) this.#sendCancels(id, job);
    if (job && openIds([id, job]).length === 0) this.#jobs.delete(id);
    this.#goToRoom();
  }

  #accepted(accepted) {
    this.#tell("accepted", { accepted });
  }

  #result(message, payload) {
    const number = message.number ?? 0;
    const isNews = !number || number > this.#lastResult; // a repeated submit has it told again
    if (number > this.#lastResult) this.#lastResult = number;
    this.#planAck();
    const job = message.speaker ? undefined : this.#take(message.request_id);
    const result = { message, payload, text: () => decoder.decode(payload) };
    if (isNews) this.#tell("result", result);
    if (!job) return;
    if (message.error) job.reject(new PointsmanError(message.error, result));
    else job.resolve(result);
  }

  #missing(message) {
    if ((message.number ?? 0) > this.#lastResult) this.#lastResult = message.number;
    this.#planAck();
    this.#tell("missing", { message });
  }

  /** One acknowledgement for all results of a turn. */
  #planAck() {
    if (this.#isAckPlanned) return;
    this.#isAckPlanned = true;
    queueMicrotask(() => {
      this.#isAckPlanned = false;
      this.#sendIfOpen({ type: "result_ack", results: [[this.#number, this.#lastResult]] });
    });
  }

  #refused(message) {
    const error = new PointsmanError(message.error);
    if (error.code === "SHUTTING_DOWN" && this.#leaveToSuccessor(message)) return;
    const asked = this.#jobs.get(message.request_id);
    if (asked?.isCancelled && asked.ids.size && !asked.ids.has(message.request_id)) return; // each has its own
    const job = this.#take(message.request_id ?? "");
    job?.reject(error);
    if (this.#room && message.request_id === this.#room.room) {
      this.#room = null;
      this.#tell("room", { message: { members: [] }, error });
    }
    this.#tell("error", { error, requestId: message.request_id ?? "" });
    if (job || this.state === "open") return;
    // It may be taken later; and what another instance refuses says nothing of its own.
    // A service that has forgotten whom it was paired with: better unpaired than ended.
    const isUnpaired = error.code === "INVALID_PAIRING_CODE" && this.welcome !== null;
    if (isUnpaired) delete this.#init.pairing_code;
    if (error.retryable || isUnpaired || this.#dialled !== this.#url) this.#hangUp(error.retryAfterMs);
    else this.#end(error.message, error);
  }

  /** A stopping worker takes it no more: it is submitted again on the next connection. */
  #leaveToSuccessor({ request_id, error }) {
    const job = this.#jobs.get(request_id ?? "");
    if (!job || !this.#socket) return false;
    job.isSent = false;
    this.#hangUp(error.retry_after_ms);
    return true;
  }

  // ---- small things

  #newId() {
    return `${this.#prefix}-${++this.#lastRequest}`;
  }

  /** An id that is open already: the same is one job, anything else is refused. */
  #keep(id, frames) {
    const same = this.#jobs.get(id);
    if (same && isSame(same.frames, frames)) return same;
    const job = { frames, isSent: false, ids: new Set(), answered: new Set(), doubted: [], ...defer() };
    if (this.state === "closed") job.reject(isOver());
    else if (same) job.reject(new PointsmanError({ code: "CONFLICT", message: `${id} is open already` }));
    else this.#jobs.set(id, job);
    if (same) return job;
    const { deadline_s } = frames[0]?.[0] ?? {};
    if (deadline_s > 0 && deadline_s < DEADLINE_MAX_S) {
      job.endsAt = Date.now() + deadline_s * 1_000;
      // In an utterance session a result waits for those before it.
      const graceMs = this.#init.order === "utterance" ? GAP_GRACE_MS : DEADLINE_GRACE_MS;
      const timer = setTimeout(() => this.#late(id, job), deadline_s * 1_000 + graceMs);
      const stop = () => clearTimeout(timer); // or it keeps its payload, and Node.js, until then
      job.promise.then(stop, stop);
    }
    if (this.state === "open" && !this.#move) {
      this.#sendAll(job);
      job.isSent = true;
    }
    return job;
  }

  /** The service tells first that a deadline has passed; where there is none, this does. */
  #late(id, job) {
    if (this.#jobs.get(id) !== job) return;
    if (job.isSent && !job.isCancelled) this.#sendCancels(id, job);
    this.#jobs.delete(id);
    job.reject(new PointsmanError({ code: "JOB_TIMEOUT", message: "its deadline has passed", retryable: true }));
  }

  #drop(id, job) {
    this.#jobs.delete(id);
    job.reject(new PointsmanError({ code: "CANCELLED", message: "cancelled before it was accepted" }));
  }

  #sendAll({ frames, endsAt }) {
    const left = endsAt && { deadline_s: Math.max(1, endsAt - Date.now()) / 1_000 };
    for (const [message, payload] of frames) {
      this.#sendIfOpen({ ...message, ...left, session_number: this.#number }, payload);
    }
  }

  /** Results were given up before they could be read: what is still awaited is told once more. */
  #submitAgain() {
    for (const [id, job] of this.#jobs) {
      if (!job.isSent) continue;
      doubt(id, job);
      this.#sendAll(job);
    }
  }

  /** What waits for a request id; that of an utterance may have a language behind it. */
  #take(requestId) {
    const stem = requestId.slice(0, Math.max(0, requestId.lastIndexOf(":")));
    const id = this.#jobs.has(requestId) ? requestId : stem;
    const job = this.#jobs.get(id);
    if (!job) return undefined;
    job.answered.add(requestId);
    const isWhole = requestId === id && !job.ids.has(id);
    if (isWhole || openIds([id, job]).length === 0 || job.ids.size === 0) this.#jobs.delete(id);
    this.#goToRoom();
    return job;
  }

  #sendIfOpen(message, payload) {
    if (this.state !== "open" || this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#sendRaw(this.#socket, message, payload);
    return true;
  }

  #sendRaw(socket, message, payload) {
    socket.send(payload?.length ? packFrame(message, payload) : toJson(message));
  }

  #become(state, detail = {}) {
    this.state = state;
    this.#tell("state", { state, ...detail });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** What a closed session has left at the service: cancelled there, and then its end is told. */
class Farewell {
  #told = 0;
  #isOver = false;
  #done = defer();

  constructor(jobs, number) {
    this.ids = jobs.flatMap(openIds);
    // Utterances whose jobs have yet to be told.
    const isUntold = ([, { ids, frames }]) => !ids.size && frames[0][0].type !== "submit";
    this.untold = new Set(jobs.filter(isUntold).map(([id]) => id));
    this.number = number;
  }

  begin({ socket, isStanding, message, dial }) {
    Object.assign(this, { message, dial });
    this.timer = setTimeout(() => this.#end(), CLOSE_MS);
    if (socket) this.#take(socket, isStanding);
    else if (this.ids.length) this.#take(dial(), false);
    if (!this.ids.length) this.#end();
    return this.#done.promise;
  }

  #take(socket, isStanding) {
    this.socket = socket;
    this.isStanding = isStanding;
    this.#told = 0;
    socket.onopen = () => this.#send(this.message);
    socket.onmessage = ({ data }) => this.#hear(unpackFrame(data)[0]);
    socket.onerror = () => {};
    socket.onclose = () => {
      if (!this.#isOver) this.retry = setTimeout(() => this.#take(this.dial(), false), BACKOFF_FIRST_MS);
    };
    if (isStanding) this.#tell();
  }

  #hear({ type, session_number, utterance_id, request_ids = [], request_id }) {
    if (type === "error" && !this.isStanding) return this.#end();
    if (type === "session_init_ack") {
      Object.assign(this, { number: session_number ?? 0, isStanding: true });
      this.untold.clear(); // they were told to nobody, and the utterance's own id will do
    }
    if (type === "utterance_jobs" && this.untold.delete(utterance_id)) this.ids.push(...request_ids);
    if (type === "error") this.untold.delete(request_id);
    if (this.isStanding) this.#tell();
  }

  #tell() {
    const session_number = this.number;
    for (const request_id of this.ids.slice(this.#told)) this.#send({ type: "cancel", session_number, request_id });
    this.#told = this.ids.length;
    if (!this.untold.size) this.#end();
  }

  #end() {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.timer);
    clearTimeout(this.retry);
    if (this.isStanding) this.#send({ type: "session_close", session_number: this.number, flush: false });
    this.socket?.close(1000);
    this.#done.resolve();
  }

  #send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(toJson(message));
  }
}

function defaultUrl() {
  const { protocol, host } = globalThis.location;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}/session`;
}

/** The bytes of any buffer or view, those of 16-bit samples too, as they are now. */
function copied(data) {
  if (!ArrayBuffer.isView(data)) return new Uint8Array(data).slice();
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
}

function pieces(sound) {
  const count = Math.max(1, Math.ceil(sound.length / PIECE_BYTES_MAX));
  return Array.from({ length: count }, (_, at) => sound.subarray(at * PIECE_BYTES_MAX, (at + 1) * PIECE_BYTES_MAX));
}

/** Which of its jobs are not answered: those that it became, or else itself. */
function openIds([id, job]) {
  return job.ids.size ? [...job.ids].filter((each) => !job.answered.has(each)) : [id];
}

/** Said again it may become other jobs; a translation is announced after its recognition. */
function doubt(id, job, isSure = () => false) {
  const isAfter = (each) => each === id && job.ids.has(`${id}:asr`);
  job.doubted = openIds([id, job]).filter((each) => !isSure(each) && !isAfter(each));
}

/** Are these the same request? Sound that comes piece by piece never is. */
function isSame([one, ...more], [other]) {
  if (!one || !other || more.length || one[0].type !== other[0].type) return false;
  const [ours, theirs] = [one, other].map(([message, payload]) => packFrame(message, payload));
  return ours.length === theirs.length && ours.every((byte, at) => byte === theirs[at]);
}

function defer() {
  let resolve, reject;
  const promise = new Promise((yes, no) => ([resolve, reject] = [yes, no]));
  promise.catch(() => {}); // whoever awaits it hears of it all the same
  return { promise, resolve, reject };
}
