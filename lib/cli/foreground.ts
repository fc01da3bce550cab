/**
 * Commands that run until they are told to stop.
 *
 * @module
 */

import { collectGarbage } from "../base/garbage.ts";
import type { LogLevel } from "../base/log.ts";
import { printError } from "./output.ts";

/** How long after its start a process gives back what only the start needed. Ours. */
const FORGET_START_AFTER_MS = 2_000;

/**
 * Watches for SIGINT and SIGTERM from now on, so that one that comes during a start is not lost.
 *
 * @returns `signal` aborts at the first of either; `close` stops watching. A second SIGINT or
 * SIGTERM ends the process at once, with the code a shell expects.
 */
export function watchForStop(): { readonly signal: AbortSignal; close(): void } {
  const controller = new AbortController();
  const stop = (code: number) => {
    if (controller.signal.aborted) Deno.exit(code);
    controller.abort(new DOMException("Told to stop", "AbortError"));
  };
  const onInterrupt = () => stop(130);
  const onTerminate = () => stop(143);
  Deno.addSignalListener("SIGINT", onInterrupt);
  Deno.addSignalListener("SIGTERM", onTerminate);
  return {
    signal: controller.signal,
    close() {
      Deno.removeSignalListener("SIGINT", onInterrupt);
      Deno.removeSignalListener("SIGTERM", onTerminate);
    },
  };
}

/**
 * Starts the log of a process that stays. Until it is up, what is logged is kept back: a start that
 * fails is told in one line, without the story before it.
 *
 * @param level Severity from which on to log; `undefined` for the default, `info`. With a level
 * that somebody asked for, nothing is kept back.
 * @returns Call it once the process is up.
 */
export async function startQuietLog(level: LogLevel | undefined): Promise<() => void> {
  const { startLog } = await import("../base/log.ts");
  if (level !== undefined) {
    startLog({ level });
    return () => {};
  }
  const kept: string[] = [];
  startLog({ level: "info", write: (line) => kept.push(line) });
  return () => {
    startLog({ level: "info" });
    for (const line of kept) printError(line.trimEnd());
  };
}

/** Gives back, soon, the memory that only the start needed. Call it once the process is up. */
export function forgetStart(): void {
  Deno.unrefTimer(setTimeout(collectGarbage, FORGET_START_AFTER_MS));
}

/**
 * Waits for a signal to abort.
 *
 * @param signal Aborted already or later.
 */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
