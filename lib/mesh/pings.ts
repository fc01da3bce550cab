/**
 * Who waits for the answer to an echo.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { DeviceError } from "./device_options.ts";

/** One that waits. */
interface Waiter {
  readonly answer: (rttMs: number) => void;
  readonly fail: (error: Error) => void;
}

/** Echoes asked for by a person or a program, by peer. */
export class Pings {
  readonly #clock: Clock;
  readonly #waiters = new Map<string, Set<Waiter>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Waits for the next answer of a peer; rejects with `no-answer` when the time is up. */
  wait(nodeId: string, timeoutMs: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const waiters = this.#waiters.get(nodeId) ?? new Set<Waiter>();
    this.#waiters.set(nodeId, waiters);
    const cancel = this.#clock.schedule(this.#clock.now() + timeoutMs, () => {
      waiters.delete(waiter);
      reject(new DeviceError("no-answer", `Peer ${nodeId} did not answer in ${timeoutMs} ms`));
    });
    const waiter: Waiter = {
      answer: (rttMs) => {
        cancel();
        resolve(rttMs);
      },
      fail: (error) => {
        cancel();
        reject(error);
      },
    };
    waiters.add(waiter);
    return promise;
  }

  /** A peer answered. */
  answer(nodeId: string, rttMs: number): void {
    for (const waiter of this.#take(nodeId)) waiter.answer(rttMs);
  }

  /** No answer of this peer can come any more. */
  fail(nodeId: string, error: Error): void {
    for (const waiter of this.#take(nodeId)) waiter.fail(error);
  }

  /** No answer of any peer can come any more. */
  failAll(error: Error): void {
    for (const nodeId of [...this.#waiters.keys()]) this.fail(nodeId, error);
  }

  #take(nodeId: string): Iterable<Waiter> {
    const waiters = this.#waiters.get(nodeId) ?? [];
    this.#waiters.delete(nodeId);
    return waiters;
  }
}
