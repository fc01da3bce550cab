/**
 * Notices that the machine slept, or that this process stood still for as long as a sleep.
 *
 * `Clock.now()` and timers stand still while a machine sleeps; CLOCK_BOOTTIME (clock_gettime(2)) goes
 * on. So a timer that by that clock comes far too late has slept through.
 *
 * @module
 */

import type { Clock } from "../lib/base/clock.ts";
import { check, libc } from "./libc.ts";
import { Mem } from "./memory.ts";

const CLOCK_BOOTTIME = 7;
/** Ours: a sleep is noticed so late at most. */
const TICK_MS = 2_000;
/** Ours: a busy machine lets timers wait, but hardly for so long; and paths survive less. */
const SLEEP_MIN_MS = 5_000;

/** `struct timespec`: 0 seconds 8 │ 8 nanoseconds 8. */
const timespec = new Mem(16);
const timespecPointer = timespec.pointer(0);

/** Milliseconds since the machine started, its sleep included. */
export function bootTimeMs(): number {
  // Safety: the kernel writes 16 bytes into memory that lives as long as this module.
  check(libc.clock_gettime(CLOCK_BOOTTIME, timespecPointer), "read the time since the start");
  const seconds = timespec.view.getUint32(4, true) * 2 ** 32 + timespec.view.getUint32(0, true);
  return seconds * 1000 + timespec.view.getUint32(8, true) / 1e6;
}

/**
 * Watches for sleep.
 *
 * @param clock Runs the watching.
 * @param resumed Called with the milliseconds that were slept, within two seconds of waking up.
 * @param bootNow Time that goes on in sleep; tests pass their own.
 * @returns Ends the watching. Safe to call twice.
 */
export function watchSleep(
  clock: Clock,
  resumed: (sleptMs: number) => void,
  bootNow: () => number = bootTimeMs,
): () => void {
  let lastAt = bootNow();
  const tick = () => {
    cancel = clock.schedule(clock.now() + TICK_MS, tick);
    const now = bootNow();
    const sleptMs = now - lastAt - TICK_MS;
    lastAt = now;
    if (sleptMs >= SLEEP_MIN_MS) resumed(sleptMs);
  };
  let cancel = clock.schedule(clock.now() + TICK_MS, tick);
  return () => cancel();
}
