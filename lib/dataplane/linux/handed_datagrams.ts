/**
 * Datagrams that ingress hands to the control thread: all that is no transport data. Anybody can
 * send them, and each costs that thread a hash or more.
 *
 * They wait in a ring (datagram_ring.ts), each behind the words of its path. The first one wakes the
 * control thread by a message; while more keep coming it looks by itself, a few at a time with
 * pauses, so that a flood costs it no message for each and never all of its time. What finds no room
 * is lost, early.
 *
 * @module
 */

import type { Clock } from "../../base/clock.ts";
import { DatagramRing } from "./datagram_ring.ts";
import type { ReceivedPath, StreamPath } from "./messages.ts";
import { newPathWords, type PathWords, receivedPathOf } from "./path_words.ts";

/** Bytes that may wait: about 1200 initiations, some tens of milliseconds of work. Ours. */
const RING_SIZE = 262_144;
/** Longest datagram that is handed over: every one of ours, and what a STUN server answers. Ours. */
const LENGTH_MAX = 1_500;
/** How many are dealt with at a time. Ours: some milliseconds. */
const LOOK_MAX = 64;
/** Pause between two looks, in milliseconds. Ours: short beside any path's round trip. */
const LOOK_EVERY_MS = 2;
const PATH_LENGTH = newPathWords().byteLength;

/** A ring for them, to be posted to ingress. */
export function newHandedRing(): DatagramRing {
  return new DatagramRing(RING_SIZE);
}

/** Ingress's end. */
export class HandedWriter {
  readonly #ring: DatagramRing;
  readonly #wake: () => void;
  readonly #record = new Uint8Array(PATH_LENGTH + LENGTH_MAX);
  readonly #path = new Uint32Array(this.#record.buffer, 0, PATH_LENGTH / 4);

  /**
   * @param ring From {@linkcode newHandedRing}, in the other thread.
   * @param wake Tells the control thread that there is something.
   */
  constructor(ring: SharedArrayBuffer, wake: () => void) {
    this.#ring = new DatagramRing(ring);
    this.#wake = wake;
  }

  /**
   * Hands over one datagram.
   *
   * @param source Holds it; copied.
   * @param at Where it begins there, in bytes.
   * @returns `false` if it is lost: there is no room, or it is longer than any that is known.
   */
  push(path: PathWords, source: Uint8Array, at: number, length: number): boolean {
    if (length > LENGTH_MAX) return false;
    this.#path.set(path);
    // A flood goes through here: no view is made for so few bytes.
    for (let i = 0; i < length; i++) this.#record[PATH_LENGTH + i] = source[at + i]!;
    if (!this.#ring.push(0, this.#record, 0, PATH_LENGTH + length)) return false;
    if (this.#ring.mustWake()) this.#wake();
    return true;
  }
}

/** The control thread's end. */
export class HandedReader {
  readonly #ring: DatagramRing;
  readonly #clock: Clock;
  readonly #received: (datagram: Uint8Array, from: ReceivedPath | StreamPath) => void;
  readonly #path = newPathWords();
  readonly #pathBytes = new Uint8Array(this.#path.buffer);
  #cancel: (() => void) | undefined;
  #isClosed = false;

  /**
   * @param ring From {@linkcode newHandedRing}.
   * @param received Gets each datagram.
   */
  constructor(
    ring: DatagramRing,
    clock: Clock,
    received: (datagram: Uint8Array, from: ReceivedPath | StreamPath) => void,
  ) {
    this.#ring = ring;
    this.#clock = clock;
    this.#received = received;
  }

  /** Called when ingress wakes this thread: it does so again only after a look that found nothing. */
  look(): void {
    if (this.#isClosed || this.#cancel !== undefined) return;
    let count = 0;
    for (; !this.#isClosed && count < LOOK_MAX && this.#ring.label >= 0; count++) this.#take();
    if (this.#isClosed || count === 0 && this.#ring.isEmpty()) return;
    this.#cancel = this.#clock.schedule(this.#clock.now() + LOOK_EVERY_MS, () => {
      this.#cancel = undefined;
      this.look();
    });
  }

  /** Takes nothing any more. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  #take(): void {
    const record = this.#ring.peek();
    this.#pathBytes.set(record.subarray(0, PATH_LENGTH));
    // A copy, since what stands in shared memory is no array for all that may look at it.
    const datagram = record.slice(PATH_LENGTH);
    this.#ring.shift();
    this.#received(datagram, receivedPathOf(this.#path));
  }
}
