/**
 * How soon this thread runs when others want to as well.
 *
 * @module
 */

import { libc } from "./libc.ts";

const PRIO_PROCESS = 0; // a thread, in Linux
/** Ours: nine parts of ten of a processor that somebody else wants too. */
const NICE = -10;

/**
 * Lets this thread go before those of ordinary programs (setpriority(2)): for one that passes on
 * what they wait for. A queue then grows in front of the programs, where their own limits hold, and
 * not in front of this thread, where all that comes later stands behind it.
 *
 * Does nothing without CAP_SYS_NICE.
 */
export function goFirst(): void {
  // Safety: integers only.
  libc.setpriority(PRIO_PROCESS, 0, NICE);
}
