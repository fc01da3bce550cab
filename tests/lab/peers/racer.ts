/**
 * What a program that joins the race is, to those who measure it.
 *
 * @module
 */

import { sleep } from "../processes.ts";
import type { Host } from "../namespaces.ts";
import type { Pair } from "./pair.ts";

/** A program that can be raced. */
export interface Racer {
  /** Name for the command line and the table. */
  readonly name: string;
  /** Makes ready what all rounds need; why it cannot run here, `undefined` if it can. */
  lack(): Promise<string | undefined>;
  /** Starts it on both hosts, and returns when the last part is under way. */
  start(pair: Pair): Promise<Running>;
}

/** A program that runs on both hosts. */
export interface Running {
  /** Address of `b` in the tunnel. */
  readonly target: string;
  /** When the part that was started last was, by `performance.now()`. */
  readonly startedAt: number;
  /** Process ids on `a` and `b`; `undefined` if there is no program, only the cable. */
  readonly pids: readonly [a: number, b: number] | undefined;
  /** Waits, after the first ping, until traffic goes the way that is to be measured. */
  readonly settled?: () => Promise<void>;
  /** Packets that the program itself counts as dropped so far, both ends. */
  readonly drops?: () => Promise<number>;
  /** Bytes of packets that went from `a` to `b` so far, by the program's own account. */
  readonly carried?: () => Promise<number>;
  /** What to say of it beside the table. */
  readonly notes?: () => Promise<readonly string[]>;
}

/** How often a first ping is tried, and how long it may take to come back. */
const PING_WAIT_SECONDS = "0.05";
const FIRST_PING_TIMEOUT_MS = 30_000;

/**
 * Asks until there is an answer.
 *
 * @param from Where to ask.
 * @param since Start of the count, by `performance.now()`.
 * @returns Milliseconds from then to the first answer.
 * @throws {Error} If there is none for 30 seconds.
 */
export async function firstPing(from: Host, target: string, since: number): Promise<number> {
  const ping = ["ping", "-n", "-q", "-c", "1", "-W", PING_WAIT_SECONDS, target];
  while (performance.now() - since < FIRST_PING_TIMEOUT_MS) {
    if ((await from.run(ping)).code === 0) return performance.now() - since;
    await sleep(10);
  }
  throw new Error(`No answer from ${target} for ${FIRST_PING_TIMEOUT_MS} ms`);
}

/** Whether a command ends well; for waiting until something answers. */
export async function succeeds(from: Host, command: readonly string[]): Promise<boolean> {
  return (await from.run(command)).code === 0;
}
