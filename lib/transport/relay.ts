/**
 * The relay as a way for datagrams: one connection to the coordinator, by which every member that
 * has one too can be reached.
 *
 * ```
 *        prepare             connect            takeTicket, and the socket is open
 *  idle ─────────▶ preparing ─────────▶ asking ─────────────────────────────────────▶ open
 *   │   ◀── closed ───┘                 ▲    │                                          │
 *   └─────────── connect ───────────────┤    └──▶ waiting, 0.5 … 30 s with jitter ◀─────┘ closed
 *                                       └──────────┘
 * ```
 *
 * The socket is dialed while the ticket is asked for, or before: the first packet for a peer may
 * wait for it, and each takes round trips of its own.
 *
 * What must hold: the connection is kept once it was wanted; what waits in it is bounded; a
 * connection that does not answer is noticed, within seconds if something is being sent.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { RelayAttempt } from "./relay_attempt.ts";
import type { RelayDialer, RelaySocket } from "./relay_dialing.ts";
import {
  MAX_RELAY_DATAGRAM,
  RelayLink,
  type RelayPath,
  type RelayPeer,
  relayPeer,
} from "./relay_link.ts";

export type { RelayPath } from "./relay_link.ts";

/** Bytes that may wait for the connection. With what is being gathered a little more waits. */
const MAX_QUEUED_BYTES = 1_048_576;
const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 30_000;
/** A connection that stood so long was a good one. */
const GOOD_AFTER_MS = 10_000;
/** From asking for a ticket to the open connection. */
const SETUP_TIMEOUT_MS = 15_000;
/** How often the connection is looked at. */
const CHECK_MS = 5_000;
/** A look that comes so much too late says nothing of the far end. */
const STOOD_STILL_MS = 2_000;
/** Quiet for so long: a ping, which also keeps proxies from cutting the connection. */
const QUIET_MS = 25_000;
/** As {@linkcode QUIET_MS}, while this node sends. */
const QUIET_WHILE_SENDING_MS = 5_000;
/** An unanswered ping ends the connection after so long. */
const PONG_TIMEOUT_MS = 5_000;
/** As {@linkcode PONG_TIMEOUT_MS}, where there is reason to think that it will not come. */
const QUICK_PONG_TIMEOUT_MS = 2_000;

/** What happens to the connection. */
export interface RelayEvents {
  /** Every peer that is connected too can be reached from here on. */
  opened?(): void;
  /** No more; it is opened again. `reason` is for people. */
  closed?(reason: string): void;
}

/** What a {@linkcode RelayTransport} works with. */
export interface RelayTransportOptions {
  readonly clock: Clock;
  readonly dial: RelayDialer;
  /**
   * Asks the coordinator for a ticket, which comes by `takeTicket`.
   *
   * @returns `false` if it cannot be asked: `retryNow` is called when it can.
   */
  readonly askTicket: () => boolean;
  /** Whether a node is a peer: nothing is taken from others. */
  readonly isPeer: (nodeId: string) => boolean;
  readonly events?: RelayEvents;
  /** @default {Math.random} */
  readonly random?: () => number;
  /** @default {1048576} */
  readonly maxQueuedBytes?: number;
}

/** Datagrams that were not carried, by why. */
export interface RelayDropCounts {
  /** The connection was behind. */
  queueFull: number;
  /** There was no connection. */
  noConnection: number;
}

/** Carries datagrams through the relay. */
export class RelayTransport {
  readonly #options: RelayTransportOptions;
  readonly #random: () => number;
  readonly #peers = new Map<string, RelayPeer>();
  readonly #drops: RelayDropCounts = { queueFull: 0, noConnection: 0 };
  #receive: ((datagram: Uint8Array, path: RelayPath) => void) | undefined;
  #state: "idle" | "preparing" | "asking" | "open" | "waiting" | "closed" = "idle";
  #attempt: RelayAttempt | undefined;
  /** What came first while `asking`: the ticket, or the open socket. */
  #ticket: Uint8Array | undefined;
  #socket: RelaySocket | undefined;
  #link: RelayLink | undefined;
  #waitMs = FIRST_WAIT_MS;
  #cancelTimer: (() => void) | undefined;
  #openedAt = 0;
  #failure: string | undefined;

  /** Starts idle. */
  constructor(options: RelayTransportOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  /** Whether there is a connection. */
  get isConnected(): boolean {
    return this.#link !== undefined;
  }

  /** Why there is none; `undefined` while there is one, or none was wanted. */
  get failure(): string | undefined {
    return this.isConnected ? undefined : this.#failure;
  }

  /** Datagrams that were not carried. */
  get drops(): Readonly<RelayDropCounts> {
    return this.#drops;
  }

  /** Starts delivering; as `DatagramCarrier.start`. A relay that is away is no failure. */
  start(receive: (datagram: Uint8Array, path: RelayPath) => void): void {
    this.#receive = receive;
  }

  /** The coordinator can be asked soon: dials already. Does nothing from the first `connect` on. */
  prepare(): void {
    if (this.#state !== "idle") return;
    this.#state = "preparing";
    this.#after(SETUP_TIMEOUT_MS, () => this.#failed("no answer"));
    this.#dial();
  }

  /**
   * Opens the connection, and opens it again from then on.
   *
   * @returns `false` if that was wanted before.
   */
  connect(): boolean {
    if (this.#state !== "idle" && this.#state !== "preparing") return false;
    this.#ask();
    return true;
  }

  /** A way to a node is wanted: the same connection serves all. */
  want(_nodeId: string): void {
    // What is being prepared is connected in a moment, when the coordinator can be asked.
    if (this.#state === "idle") this.#ask();
  }

  /**
   * The coordinator can be asked again, or the network changed: what waits tries at once. So does
   * who asked for a ticket by a line that is gone: it will not come.
   */
  retryNow(): void {
    if (this.#state !== "waiting" && this.#state !== "asking") return;
    if (this.#ticket !== undefined) return;
    this.#waitMs = FIRST_WAIT_MS;
    this.#endAttempt();
    this.#ask();
  }

  /**
   * The network changed: a connection that does not answer soon is over, what waits tries now.
   *
   * @param isElsewhere An own address is gone: a connection is most likely gone with it, and is
   * made anew at once.
   */
  networkChanged(isElsewhere = false): void {
    this.retryNow();
    if (this.#state !== "open") return;
    if (isElsewhere) return this.#lost("the network changed");
    const attempt = this.#attempt!;
    attempt.hasHeard = false;
    attempt.ping();
    this.#after(QUICK_PONG_TIMEOUT_MS, () => {
      if (!attempt.hasHeard) return this.#lost("it did not answer after the network changed");
      this.#watch({ heardAt: this.#options.clock.now(), pingedAt: undefined });
    });
  }

  /** The ticket that was asked for; one that nobody waits for is left to grow old. */
  takeTicket(ticket: Uint8Array): void {
    if (this.#state !== "asking") return;
    this.#ticket ??= ticket;
    this.#show();
  }

  /** Sends one datagram; copied. @returns `false` if it is lost. */
  send(datagram: Uint8Array, path: { readonly key: string }): boolean {
    const { length } = datagram;
    if (length === 0 || length > MAX_RELAY_DATAGRAM) return false;
    const peer = this.#peers.get(path.key);
    if (this.#link === undefined || peer === undefined) {
      this.#drops.noConnection++;
      return false;
    }
    if (this.#link.send(datagram, peer)) {
      this.#attempt!.hasSent = true;
      return true;
    }
    this.#drops.queueFull++;
    return false;
  }

  /** Largest datagram in bytes. */
  largestDatagram(): number {
    return MAX_RELAY_DATAGRAM;
  }

  /** The way to a peer; `undefined` without a connection. */
  pathTo(nodeId: string): RelayPath | undefined {
    return this.#link && this.#peerOf(nodeId)?.path;
  }

  /** Forgets a peer. */
  removePeer(nodeId: string): void {
    const key = `relay ${nodeId}`;
    const peer = this.#peers.get(key);
    if (peer !== undefined) this.#link?.forget(peer);
    this.#peers.delete(key);
  }

  /** Ends the connection for good. Safe to call twice. */
  close(): Promise<void> {
    this.#state = "closed";
    this.#cancelTimer?.();
    this.#dropLink();
    this.#attempt?.close();
    this.#forgetAttempt();
    return Promise.resolve();
  }

  #peerOf(nodeId: string): RelayPeer | undefined {
    const key = `relay ${nodeId}`;
    const known = this.#peers.get(key);
    if (known !== undefined || !this.#options.isPeer(nodeId)) return known;
    const peer = relayPeer(nodeId);
    this.#peers.set(key, peer);
    return peer;
  }

  #ask(): void {
    this.#state = "asking";
    this.#after(SETUP_TIMEOUT_MS, () => this.#failed("no answer"));
    if (!this.#options.askTicket()) return this.#failed("the coordinator cannot be reached");
    if (this.#attempt === undefined) this.#dial();
  }

  #dial(): void {
    this.#attempt = new RelayAttempt(this.#options.dial, {
      open: (socket) => {
        this.#socket = socket;
        this.#show();
      },
      message: (message) => this.#link?.receive(message) ?? true,
      closed: (reason) => this.#closed(reason),
    });
  }

  /** Shows the ticket, once there is one, and somebody to show it to. */
  #show(): void {
    const [socket, ticket] = [this.#socket, this.#ticket];
    if (socket === undefined || ticket === undefined) return;
    this.#socket = this.#ticket = undefined;
    socket.send(ticket, () => {});
    this.#opened(socket);
  }

  #opened(socket: RelaySocket): void {
    this.#state = "open";
    this.#openedAt = this.#options.clock.now();
    this.#link = new RelayLink({
      socket,
      maxQueuedBytes: this.#options.maxQueuedBytes ?? MAX_QUEUED_BYTES,
      peerOf: (nodeId) => this.#peerOf(nodeId),
      receive: (datagram, path) => this.#receive?.(datagram, path),
    });
    this.#watch({ heardAt: this.#openedAt, pingedAt: undefined });
    this.#options.events?.opened?.();
  }

  /** Pings what is quiet, and ends what does not answer. */
  #watch(seen: { readonly heardAt: number; readonly pingedAt: number | undefined }): void {
    const dueAt = this.#options.clock.now() + CHECK_MS;
    this.#after(CHECK_MS, () => {
      const attempt = this.#attempt!;
      const now = this.#options.clock.now();
      if (attempt.hasHeard) {
        attempt.hasHeard = attempt.hasSent = false;
        return this.#watch({ heardAt: now, pingedAt: undefined });
      }
      if (seen.pingedAt !== undefined && now - seen.pingedAt >= PONG_TIMEOUT_MS) {
        // It was this process that stood still: an answer may be there, and not be read yet.
        if (now - dueAt >= STOOD_STILL_MS) return this.#watch({ ...seen, pingedAt: now });
        return this.#lost("it stopped answering");
      }
      const quietMs = now - seen.heardAt;
      const isDue = quietMs >= (attempt.hasSent ? QUIET_WHILE_SENDING_MS : QUIET_MS);
      if (!isDue || seen.pingedAt !== undefined) return this.#watch(seen);
      attempt.ping();
      this.#watch({ ...seen, pingedAt: now });
    });
  }

  #failed(reason: string): void {
    this.#endAttempt();
    this.#closed(reason);
  }

  /** A connection that was good does not answer any more: the next one need not wait. */
  #lost(reason: string): void {
    this.#failed(reason);
    this.retryNow();
  }

  #closed(reason: string): void {
    if (this.#state === "closed") return;
    this.#forgetAttempt();
    if (this.#state === "preparing") {
      this.#cancelTimer?.();
      this.#state = "idle";
      return;
    }
    this.#failure = reason;
    const { clock, events } = this.#options;
    const wasOpen = this.#dropLink();
    if (wasOpen && clock.now() - this.#openedAt >= GOOD_AFTER_MS) this.#waitMs = FIRST_WAIT_MS;
    this.#state = "waiting";
    this.#after(this.#waitMs * (0.5 + this.#random()), () => this.#ask());
    this.#waitMs = Math.min(MOST_WAIT_MS, this.#waitMs * 2);
    if (wasOpen) events?.closed?.(reason);
  }

  #endAttempt(): void {
    this.#attempt?.terminate();
    this.#forgetAttempt();
  }

  #forgetAttempt(): void {
    this.#attempt = this.#socket = this.#ticket = undefined;
  }

  #dropLink(): boolean {
    const hadLink = this.#link !== undefined;
    this.#link = undefined;
    return hadLink;
  }

  /** One timer: what it is for depends on the state. */
  #after(ms: number, callback: () => void): void {
    this.#cancelTimer?.();
    const { clock } = this.#options;
    this.#cancelTimer = clock.schedule(clock.now() + ms, callback);
  }
}
