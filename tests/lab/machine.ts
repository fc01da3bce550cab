/**
 * How busy this machine is with what is none of the test's business.
 *
 * @module
 */

/** What `/proc` counts in, on every architecture. */
const TICKS_PER_SECOND = 100;

/** How often a machine is asked whether it runs this process. */
const TICK_MS = 10;

/**
 * Watches whether this process is run, which asks for a processor every 10 ms and for little of it:
 * who keeps it from running keeps others from running, too.
 *
 * @returns Ends it, and tells the longest time, in ms, that this process was not run.
 */
export function watchStalls(): () => number {
  let longestMs = 0;
  let last = performance.now();
  const look = () => {
    const now = performance.now();
    longestMs = Math.max(longestMs, now - last - TICK_MS);
    last = now;
  };
  const timer = setInterval(look, TICK_MS);
  return () => {
    clearInterval(timer);
    look();
    return longestMs;
  };
}

/**
 * Starts to watch.
 *
 * @returns Tells the share of all processors, 0 to 1, that processes other than this one and those
 * it started have used since.
 */
export async function watchMachine(): Promise<() => Promise<number>> {
  const [allBefore, ownBefore] = [await busyTicks(), await ownTicks()];
  const startedAt = performance.now();
  return async () => {
    const others = await busyTicks() - allBefore - (await ownTicks() - ownBefore);
    const elapsed = (performance.now() - startedAt) / 1000 * TICKS_PER_SECOND;
    return Math.max(0, others) / elapsed / navigator.hardwareConcurrency;
  };
}

/** User, nice and system time of all processors, and what other machines took of it. */
async function busyTicks(): Promise<number> {
  const [line] = (await Deno.readTextFile("/proc/stat")).split("\n");
  const [user, nice, system, , , , , stolen = 0] = line!.split(/\s+/).slice(1).map(Number);
  return user! + nice! + system! + stolen;
}

/** Time of this process, of its children that have ended, and of those that run. */
async function ownTicks(): Promise<number> {
  const [user, system, childUser, childSystem] = await times(Deno.pid);
  let ticks = user! + system! + childUser! + childSystem!;
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const found = await times(Number(name), Deno.pid).catch(() => undefined);
    if (found) ticks += found[0]! + found[1]!;
  }
  return ticks;
}

/** utime, stime, cutime, cstime of proc(5), zeros if the process is not a child of `parent`. */
async function times(pid: number, parent?: number): Promise<number[]> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (parent !== undefined && Number(fields[1]) !== parent) return [0, 0, 0, 0];
  return fields.slice(11, 15).map(Number);
}
