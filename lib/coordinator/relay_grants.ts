/**
 * How much each member may send to the relay, and when it is told that it may send more.
 *
 * Grants exist because messages are handled as fast as they come: one who sends without end would
 * have this thread to itself. 65,536 bytes are granted by the protocol; relay_pace.ts says how many
 * more, and when.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { writeU64Le } from "../base/integers.ts";
import { RefusalError } from "../wire/refusal.ts";
import { MAX_RELAY_MESSAGE, RELAY_FIRST_WINDOW } from "./relay_limits.ts";
import { RelayPace } from "./relay_pace.ts";

/** What one member may send, and has sent. */
export interface Allowance {
  /** Bytes of messages that came, and that may come. */
  received: number;
  granted: number;
  /** How much it may have on the way; grows to its share. */
  windowBytes: number;
  /** When the last one came. */
  sentAt: number;
  /** Sends the member a grant. */
  readonly send: (grant: Uint8Array) => void;
}

/** Counts what comes, and grants more. */
export class RelayGrants {
  readonly #clock: Clock;
  readonly #pace: RelayPace;
  readonly #allowances = new Set<Allowance>();
  /** Bytes of messages of all members. */
  #receivedBytes = 0;
  /** Those that are to be granted more when this thread comes to it. */
  readonly #granting = new Set<Allowance>();
  #cancel: (() => void) | undefined;

  /** @param totalWindowBytes What all may have on the way together, at most. */
  constructor(clock: Clock, totalWindowBytes: number) {
    this.#clock = clock;
    this.#pace = new RelayPace(totalWindowBytes);
  }

  /** A member connected. */
  open(send: (grant: Uint8Array) => void): Allowance {
    const allowance: Allowance = {
      received: 0,
      granted: RELAY_FIRST_WINDOW,
      windowBytes: RELAY_FIRST_WINDOW,
      sentAt: -Infinity,
      send,
    };
    this.#allowances.add(allowance);
    return allowance;
  }

  /** Its connection is over: nothing more is granted. */
  close(allowance: Allowance): void {
    this.#allowances.delete(allowance);
    this.#granting.delete(allowance);
  }

  /** Somebody joins: those who send are not asked for more for a moment. */
  giveWay(): void {
    this.#pace.giveWay(this.#clock.now());
  }

  /**
   * Holds a member to what it was granted, and sees to it that it is granted more in time.
   *
   * @param length Bytes of a message that came.
   * @throws {RefusalError} when that is more than was granted.
   */
  count(from: Allowance, length: number): void {
    from.received += length;
    if (from.received > from.granted) {
      throw new RefusalError("bad-message", "more was sent to the relay than it granted");
    }
    this.#receivedBytes += length;
    from.sentAt = this.#clock.now();
    const windowBytes = Math.min(from.windowBytes, this.#shareOf(from.sentAt));
    const isEnough = from.granted - from.received >= Math.max(windowBytes / 2, MAX_RELAY_MESSAGE);
    if (isEnough) return;
    this.#granting.add(from);
    this.#arm();
  }

  /** Grants nothing any more. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** Not at once: what this thread has no time for must not be asked for. */
  #arm(): void {
    if (this.#cancel !== undefined) return;
    const receivedBytes = this.#receivedBytes;
    this.#cancel = this.#clock.schedule(this.#clock.now(), () => {
      this.#cancel = undefined;
      this.#pace.cameAfter(this.#receivedBytes - receivedBytes);
      this.#grantAll();
    });
  }

  #grantAll(): void {
    const now = this.#clock.now();
    const at = this.#pace.grantAt(now);
    if (at > now) {
      // Somebody joins.
      this.#cancel = this.#clock.schedule(at, () => {
        this.#cancel = undefined;
        this.#grantAll();
      });
    } else {
      for (const allowance of this.#granting) this.#grant(allowance);
      this.#granting.clear();
    }
  }

  #grant(to: Allowance): void {
    // By steps, so that many who begin at once are not granted what is one's alone.
    to.windowBytes = Math.min(this.#shareOf(this.#clock.now()), to.windowBytes * 2);
    to.granted = Math.max(to.granted, to.received + to.windowBytes);
    const grant = new Uint8Array(8);
    writeU64Le(grant, 0, to.granted);
    to.send(grant);
  }

  #shareOf(now: number): number {
    return this.#pace.shareOf(now, this.#allowances);
  }
}
