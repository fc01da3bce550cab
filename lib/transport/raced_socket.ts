/**
 * Connects by TCP, with a second attempt beside the first where that is not answered soon: systems
 * wait a second before they repeat a lost first packet (RFC 6298 §2), since they know nothing of the
 * way yet. In the spirit of RFC 8305, to one address.
 *
 * @module
 */

import type { Socket } from "node:net";
import { type Clock, SYSTEM_CLOCK } from "../base/clock.ts";

/** Head start of the first attempt: longer than most round trips of the earth. */
const SECOND_AFTER_MS = 300;

/** What a race is run with. */
export interface RaceOptions {
  /** Begins to connect; TLS may begin on the connection by itself. */
  readonly open: () => Socket;
  /** When nobody answers. */
  readonly timeoutMs: number;
  /** @default {SYSTEM_CLOCK} */
  readonly clock?: Clock;
}

/**
 * Connects.
 *
 * @returns The first connection that stands, TLS on it perhaps not yet; the other is closed.
 * @throws {Error} What the system says of the last attempt, or that nobody answers.
 */
export async function raceToConnect(options: RaceOptions): Promise<Socket> {
  const { open, timeoutMs, clock = SYSTEM_CLOCK } = options;
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const running = new Set<Socket>();
  const attempt = () => {
    const socket = open();
    running.add(socket);
    // Stays, so that no error of a socket that lost, or is not used yet, is nobody's.
    socket.on("error", (error: Error) => {
      running.delete(socket);
      if (running.size === 0) reject(error);
    });
    socket.once("connect", () => resolve(socket));
  };
  const startedAt = clock.now();
  const cancels = [
    clock.schedule(startedAt + SECOND_AFTER_MS, attempt),
    clock.schedule(startedAt + timeoutMs, () => reject(new Error("no answer"))),
  ];
  attempt();
  try {
    const winner = await promise;
    running.delete(winner);
    return winner;
  } finally {
    for (const cancel of cancels) cancel();
    for (const loser of running) loser.destroy();
  }
}
