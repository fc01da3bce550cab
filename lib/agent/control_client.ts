/**
 * The agent's line to its coordinator: a control channel that is opened again whenever it breaks.
 *
 * ```
 * idle ──start──▶ dialing ──open──▶ handshake ──message 2──▶ greeted ──welcome──▶ connected
 *                    ▲                                                               │
 *                    └────────────── waiting, 1 s … 60 s with jitter ◀───────────────┘
 * ```
 *
 * What must hold: a refusal deletes nothing; nothing that is not authentic reaches the agent; the
 * reason given to a person names what to do and holds no secret.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import {
  type ClientCredential,
  ControlChannelError,
  ControlClient,
  MAX_CONTROL_MESSAGE,
} from "../session/control_channel.ts";
import { type ClientMessage, encodeClientMessage, type Hello } from "../wire/client_message.ts";
import { decodeServerMessage, type ServerMessage } from "../wire/server_message.ts";
import { type Refusal, refusalOf } from "../wire/refusal.ts";
import { Backoff } from "./backoff.ts";
import { AgentError, reasonOf } from "./errors.ts";
import {
  controlUrl,
  dialWebSocket,
  type WebSocketConnection,
  type WebSocketDialer,
  type WebSocketEnd,
} from "./websocket.ts";

/** Where a coordinator takes control channels. */
export const CONTROL_PATH = "/control";

/** From the opened WebSocket to the welcome. */
const GREETING_TIMEOUT_MS = 15_000;
/** So many heartbeats may stay unanswered. */
const MISSED_HEARTBEATS = 3;
const DEFAULT_HEARTBEAT_MS = 25_000;
/** How long the answer may take after the network changed; as for the relay. */
const PROVE_WITHIN_MS = 2_000;
/** RFC 6455 §7.4.1: what was asked for is done. */
const NORMAL_CLOSURE = 1000;

/** What the line tells the agent. No callback may throw. */
export interface CoordinatorEvents {
  /** A connection stands; nothing was said yet, and nobody has proven anything. */
  opened?(): void;
  /** The first body to send, made anew for every connection. */
  hello(): Hello;
  /** The coordinator proved itself; its clock stood at this many unix seconds. */
  authenticated(coordinatorUnixSeconds: number): void;
  /** Something it said, the `welcome` first. Heartbeats are not passed on. */
  message(message: ServerMessage): void;
  /** The line broke, or could not be opened; it will be tried again. */
  disconnected(end: LineEnd): void;
}

/** How a connection to the coordinator ended. */
export interface LineEnd {
  /** Why, for a person. `refused` if trying again as it is will not help. */
  readonly failure: AgentError;
  /** What the coordinator said, if it was the one who closed. */
  readonly refusal: Refusal | undefined;
  /** Whether it closed because this node asked to be removed. */
  readonly hasLeft: boolean;
  /** When it is tried again. */
  readonly retryMs: number;
}

/** What a {@linkcode CoordinatorLine} needs. */
export interface CoordinatorLineOptions {
  /** As a person wrote it: `https://HOST:PORT`. */
  readonly url: string;
  /** Whether the certificate must be one that this machine trusts. */
  readonly tlsVerify: boolean;
  /** Static public key of the coordinator, 32 bytes. */
  readonly coordinatorKey: Uint8Array;
  /** 16 bytes. */
  readonly meshId: Uint8Array;
  readonly staticKey: KeyPair;
  /** What to prove the right to connect with; asked before every connection. */
  readonly credential: () => ClientCredential;
  readonly events: CoordinatorEvents;
  readonly clock: Clock;
  /** @default {dialWebSocket} */
  readonly dial?: WebSocketDialer;
  /** @default {Math.random} */
  readonly random?: () => number;
}

/** Keeps a control channel open. */
export class CoordinatorLine {
  readonly #options: CoordinatorLineOptions;
  readonly #url: string;
  readonly #backoff: Backoff;
  #attempt: Attempt | undefined;
  #cancelRetry: (() => void) | undefined;
  #lastFailure: AgentError | undefined;
  #isClosed = false;

  /** @throws {AgentError} `usage` if the URL is none. Nothing happens before `start`. */
  constructor(options: CoordinatorLineOptions) {
    this.#options = options;
    this.#url = controlUrl(options.url, CONTROL_PATH);
    this.#backoff = new Backoff(options.random);
  }

  /** Whether the coordinator has welcomed this node, on a connection that still stands. */
  get isConnected(): boolean {
    return this.#attempt?.isWelcome ?? false;
  }

  /** Why the line is down; `undefined` while it is up. */
  get failure(): AgentError | undefined {
    return this.isConnected ? undefined : this.#lastFailure;
  }

  /** Opens the line, and opens it again from then on. */
  start(): void {
    if (this.#isClosed || this.#attempt !== undefined) return;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#attempt = new Attempt(this.#options, this.#url, {
      welcomed: () => this.#backoff.reset(),
      ended: (end) => this.#ended(end),
    });
  }

  /** Tries at once if the line is down, as when the network changed. */
  retryNow(): void {
    if (this.#cancelRetry === undefined) return;
    this.#backoff.reset();
    this.start();
  }

  /**
   * The network changed: a line that is up must prove it, one that is down is tried at once.
   *
   * @param isElsewhere An own address is gone: a line is most likely gone with it, and is opened
   * anew at once.
   */
  networkChanged(isElsewhere = false): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return this.retryNow();
    if (!isElsewhere) return attempt.prove(() => this.retryNow());
    attempt.abandon();
    this.retryNow();
  }

  /**
   * Says something to the coordinator.
   *
   * @returns `false` if the line is down: the message is lost.
   */
  send(message: ClientMessage): boolean {
    return this.#attempt?.send(message) ?? false;
  }

  /** Closes the line for good. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#attempt?.close();
    this.#attempt = undefined;
  }

  #ended(end: Omit<LineEnd, "retryMs">): void {
    this.#attempt = undefined;
    this.#lastFailure = end.failure;
    if (this.#isClosed) return;
    // Whoever is disabled waits to be enabled, at the same pace however long it takes.
    if (end.refusal?.reason === "disabled") this.#backoff.reset();
    if (end.failure.fault === "refused") this.#backoff.slowDown();
    const retryMs = this.#backoff.next();
    const { clock, events } = this.#options;
    this.#cancelRetry = clock.schedule(clock.now() + retryMs, () => {
      this.#cancelRetry = undefined;
      this.start();
    });
    events.disconnected({ ...end, retryMs });
  }
}

/** What one attempt tells the line. */
interface AttemptEvents {
  welcomed(): void;
  ended(end: Omit<LineEnd, "retryMs">): void;
}

/** One connection, from dialing to its end. */
class Attempt {
  readonly #options: CoordinatorLineOptions;
  readonly #events: AttemptEvents;
  readonly #channel: ControlClient;
  /** For the middle of "Cannot …:". */
  #attempted: string;
  #connection: WebSocketConnection | undefined;
  #failure: AgentError | undefined;
  #isOver = false;
  #hasAskedToLeave = false;
  #heartbeatMs = DEFAULT_HEARTBEAT_MS;
  #heardAt: number;
  #cancelTimer: (() => void) | undefined;
  /** Whether the welcome has come. */
  isWelcome = false;

  constructor(options: CoordinatorLineOptions, url: string, events: AttemptEvents) {
    this.#options = options;
    this.#events = events;
    this.#heardAt = options.clock.now();
    const credential = options.credential();
    this.#attempted = credential.kind === "token" ? "join the mesh" : "come back to the mesh";
    this.#channel = new ControlClient({
      coordinatorKey: options.coordinatorKey,
      meshId: options.meshId,
      staticKey: options.staticKey,
      credential,
    });
    // Made while the connection is being opened: it needs nothing of the far end.
    const first = this.#channel.start();
    const dial = options.dial ?? dialWebSocket;
    const target = { url, tlsVerify: options.tlsVerify, maxMessage: MAX_CONTROL_MESSAGE };
    dial(target, {
      open: () => {
        this.#after(GREETING_TIMEOUT_MS, () => this.#fail(tooSlow()));
        this.#connection?.send(first);
        options.events.opened?.();
      },
      message: (bytes) => this.#receive(bytes),
      closed: (end) => this.#closed(end),
    }).then((connection) => {
      this.#connection = connection;
      if (this.#isOver) connection.terminate();
    }, (cause) => {
      const error = new AgentError("unreachable", reasonOf(cause), { cause });
      this.#closed({ code: 1006, reason: "", error });
    });
  }

  send(message: ClientMessage): boolean {
    if (this.#isOver || !this.#channel.isOpen) return false;
    if (message.kind === "leave") this.#hasAskedToLeave = true;
    for (const sealed of this.#channel.seal(encodeClientMessage(message))) {
      this.#connection?.send(sealed);
    }
    return true;
  }

  /** Ends the connection if nothing comes by it in good time. @param ended Called then. */
  prove(ended: () => void): void {
    if (!this.isWelcome) return;
    const askedAt = this.#options.clock.now();
    this.send({ kind: "heartbeat" });
    this.#after(PROVE_WITHIN_MS, () => {
      if (this.#heardAt >= askedAt) return this.#beat();
      this.#fail(tooSlow());
      ended();
    });
  }

  /** Ends a connection that came from an address of another network. */
  abandon(): void {
    const message = "Cannot keep the line to the coordinator: the network changed";
    this.#fail(new AgentError("unreachable", message));
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelTimer?.();
    this.#connection?.close();
  }

  #receive(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#heardAt = this.#options.clock.now();
    try {
      const received = this.#channel.receive(bytes);
      for (const message of received.toSend) this.#connection?.send(message);
      if (received.opened) this.#greet();
      for (const body of received.bodies) this.#take(body);
    } catch (error) {
      this.#fail(channelFailure(error));
    }
  }

  #greet(): void {
    const seconds = this.#channel.coordinatorUnixSeconds;
    if (seconds !== undefined) this.#options.events.authenticated(seconds);
    this.send(this.#options.events.hello());
  }

  #take(body: Uint8Array): void {
    const message = decodeServerMessage(body);
    if (this.#isOver || message.kind === "unknown" || message.kind === "heartbeat") return;
    if (message.kind === "welcome") {
      this.isWelcome = true;
      this.#attempted = "stay in the mesh";
      this.#heartbeatMs = message.heartbeatMs;
      this.#events.welcomed();
      this.#beat();
    }
    this.#options.events.message(message);
  }

  /** Called every `heartbeatMs` from the welcome on. */
  #beat(): void {
    this.#after(this.#heartbeatMs, () => {
      const silentMs = this.#options.clock.now() - this.#heardAt;
      if (silentMs > MISSED_HEARTBEATS * this.#heartbeatMs) return this.#fail(tooSlow());
      this.send({ kind: "heartbeat" });
      this.#beat();
    });
  }

  #after(ms: number, callback: () => void): void {
    this.#cancelTimer?.();
    const { clock } = this.#options;
    this.#cancelTimer = clock.schedule(clock.now() + ms, callback);
  }

  #fail(failure: AgentError): void {
    if (this.#isOver) return;
    this.#failure = failure;
    this.#connection?.terminate();
    this.#closed({ code: 1006, reason: "" });
  }

  #closed(end: WebSocketEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.isWelcome = false;
    this.#cancelTimer?.();
    const refusal = refusalOf(end.code, end.reason);
    this.#events.ended({
      failure: this.#failure ?? end.error ?? failureOf(end, refusal, this.#attempted),
      refusal,
      hasLeft: this.#hasAskedToLeave && end.code === NORMAL_CLOSURE,
    });
  }
}

function failureOf(
  end: WebSocketEnd,
  refusal: Refusal | undefined,
  attempted: string,
): AgentError {
  if (refusal === undefined) {
    return new AgentError(
      "unreachable",
      `Cannot keep the line to the coordinator: it was closed (code ${end.code})`,
    );
  }
  const fault = refusal.advice === "stop" ? "refused" : "unreachable";
  const text = `Cannot ${attempted}: ${refusal.text}`;
  const isOther = refusal.reason === "bad-handshake";
  return new AgentError(fault, isOther ? `${text}; ${OTHER_COORDINATOR}` : text);
}

/** What to do where another coordinator, or one with a lost state folder, answers. */
const OTHER_COORDINATOR =
  'bring its keys back by "tunnelmesh coordinator restore FILE", or re-join with a token of the ' +
  "coordinator that runs there now";

function channelFailure(error: unknown): AgentError {
  if (error instanceof ControlChannelError && error.fault === "wrong-coordinator") {
    return new AgentError(
      "refused",
      `Cannot trust the coordinator: ${error.message}; ${OTHER_COORDINATOR}`,
      { cause: error },
    );
  }
  const fault = error instanceof ControlChannelError && error.fault === "unsupported-version"
    ? "refused"
    : "unreachable";
  return new AgentError(fault, `Cannot understand the coordinator: ${reasonOf(error)}`, {
    cause: error,
  });
}

function tooSlow(): AgentError {
  return new AgentError("unreachable", "Cannot hear the coordinator: it stopped answering");
}
