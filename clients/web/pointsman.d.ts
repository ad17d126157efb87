/** Types of pointsman.js; fields of messages are those of docs/protocol.md. */

export interface ErrorInfo {
  code: string;
  message?: string;
  retryable?: boolean;
  hint?: string;
  retry_after_ms?: number | null;
  breakdown?: Breakdown | null;
  attempts?: string[];
  fault?: string;
}

export interface Breakdown {
  total_nodes: number;
  best_reason: string;
  counts: Record<string, number>;
  funnel?: [string, number][];
  nodes?: Record<string, string[]>;
  nearest?: { node_id: string; missing: string[]; free_in_ms?: number | null }[];
  fix?: string;
  answer?: string;
}

export interface Placement {
  selector: string;
  pool?: string;
  session_decision?: string;
  candidates?: number;
  load?: number;
  runner_up?: string;
  snapshot_version?: number;
  snapshot_age_ms?: number;
  stale?: boolean;
}

export interface ResultMessage {
  type: "result";
  session_number?: number;
  request_id: string;
  job_id: string;
  number?: number;
  status?: string;
  node_id?: string;
  attempt?: number;
  failovers?: number;
  placement_us?: number;
  queued_ms?: number;
  utterance_index?: number | null;
  use_semantic?: boolean;
  hedged?: boolean;
  attempts?: string[];
  trace_id?: string;
  content_type?: string;
  /** Whose utterance it is, where it is another session's. */
  speaker?: string;
  meta?: Record<string, unknown> | null;
  placement?: Placement | null;
  error?: ErrorInfo | null;
}

export interface Result {
  message: ResultMessage;
  payload: Uint8Array;
  text(): string;
}

export declare class PointsmanError extends Error {
  readonly code: string;
  readonly retryable: boolean;
  readonly hint: string;
  readonly retryAfterMs: number | null;
  readonly breakdown: Breakdown | null;
  /** What the service said of a job that it accepted and that was not done. */
  readonly result: Result | null;
}

export interface SessionInit {
  session_id?: string;
  resume_token?: string;
  tenant?: string;
  token?: string;
  platform?: string;
  src_lang?: string;
  tgt_lang?: string;
  dialect?: string;
  /** The language in which it hears what other sessions say to it. */
  hears?: string;
  room?: string;
  mode?: "one_way" | "two_way" | "auto";
  lang_a?: string;
  lang_b?: string;
  auto_langs?: string[];
  features?: string[];
  pairing_code?: string;
  order?: "free" | "utterance" | "serial";
  trace_id?: string;
}

export interface SubmitFields {
  request_id?: string;
  src_lang?: string;
  tgt_lang?: string;
  auto_langs?: string[];
  services?: string[];
  features?: string[];
  preferred_node?: string;
  exclude?: string[];
  labels_required?: Record<string, string>;
  labels_preferred?: Record<string, string>;
  accept_public?: boolean;
  expected_duration_ms?: number;
  priority?: "system" | "interactive" | "default" | "bulk";
  durability?: "memory" | "journal" | "fsync" | "redis";
  timeout_s?: number;
  deadline_s?: number;
  wait_busy_s?: number;
  wait_none_s?: number;
  idempotent?: boolean;
  utterance_index?: number;
  content_type?: string;
  meta?: Record<string, unknown>;
  stream?: boolean;
  explain?: boolean;
  trace_id?: string;
}

/** Of an utterance, whether said whole or piece by piece. */
export interface UtteranceFields {
  utterance_id?: string;
  src_lang?: string;
  tgt_lang?: string;
  tgt_langs?: string[];
  to?: string[];
  services?: string[];
  utterance_index?: number;
  content_type?: string;
  priority?: "system" | "interactive" | "default" | "bulk";
  preferred_node?: string;
  explain?: boolean;
  trace_id?: string;
}

/** Of one that is said while it is spoken. */
export interface SpeechFields extends UtteranceFields {
  /** Recognise it meanwhile, as far as there is room: ASR_PARTIAL before its end. */
  partials?: boolean;
}

export interface Speech {
  readonly utterance_id: string;
  readonly result: Promise<Result>;
  push(bytes: ArrayBuffer | ArrayBufferView): void;
  end(): void;
}

export interface RoomMember {
  session: string;
  name?: string;
  lang?: string;
  connected?: boolean;
}

export type SessionState = "connecting" | "open" | "lost" | "closed";

export interface SessionInitAck {
  type: "session_init_ack";
  session_number?: number;
  session_id: string;
  resume_token: string;
  resumed?: boolean;
  unfinished?: Record<string, "running" | "ended" | "unknown">;
  instance?: string;
  shard?: number;
  worker_count?: number;
  server_version?: string;
  protocol_version?: number;
  order?: "free" | "utterance" | "serial";
  paired_node?: string;
  heartbeat_interval_s?: number;
  idle_timeout_s?: number;
  resume_window_s?: number;
  payload_bytes_max?: number;
}

export declare class Session extends EventTarget {
  constructor(url?: string, init?: SessionInit);
  readonly state: SessionState;
  readonly welcome: SessionInitAck | null;
  ready(): Promise<SessionInitAck>;
  submit(payload?: string | ArrayBuffer | ArrayBufferView, fields?: SubmitFields): Promise<Result>;
  say(words: string | ArrayBuffer | ArrayBufferView, fields?: UtteranceFields): Promise<Result>;
  speak(fields?: SpeechFields): Speech;
  joinRoom(room: string, member?: { lang?: string; name?: string }): void;
  leaveRoom(): void;
  cancel(requestId: string): void;
  send(message: { type: string; [field: string]: unknown }, payload?: Uint8Array): boolean;
  reopenWith(init: SessionInit): void;
  /** Resolves when what is open at the service is cancelled, or that was given up: after 5 s. */
  close(): Promise<void>;
}

export declare function packFrame(message: object, payload: Uint8Array): Uint8Array;
export declare function unpackFrame(
  data: string | ArrayBuffer,
): [{ type: string; [field: string]: unknown }, Uint8Array];
