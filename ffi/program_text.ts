/**
 * The program's own machine code in memory. Of the 40 MB that a start touches (the compilers, the
 * parser) an agent that runs on needs a third.
 *
 * @module
 */

import { libc } from "./libc.ts";

/** `MADV_DONTNEED` (madvise(2)). */
const DONT_NEED = 4;

/**
 * Takes the pages of the program's code out of this process's memory, all threads': what is needed
 * again comes back by itself, from the system's cache of files. Does nothing where it cannot.
 */
export function forgetProgramText(): void {
  let maps: string;
  try {
    maps = Deno.readTextFileSync("/proc/self/maps");
  } catch {
    return;
  }
  for (const line of maps.split("\n")) {
    // Only code: it is never written, so the file has all of it.
    const match = /^([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ \S+ [1-9]\d* +(\/.*)$/.exec(line);
    if (match === null || match[3] !== Deno.execPath()) continue;
    const [from, to] = [BigInt(`0x${match[1]}`), BigInt(`0x${match[2]}`)];
    // Safety: a mapping of a file that nobody writes to; a page that is touched is mapped again.
    libc.madvise(Deno.UnsafePointer.create(from), to - from, DONT_NEED);
  }
}
