/**
 * Whether memory stays flat: resident memory of both ends while TCP both ways and floods of small
 * UDP datagrams take turns through the tunnel.
 *
 * ```text
 * deno task bench memory [--seconds 600] [--plane linux|portable] [--source]
 * ```
 *
 * By default ten minutes; `--seconds 60` is the short form. Flat is: the median of the last fifth is
 * at most 3 % and 1 MB above that of the second fifth, the first being the start. Exits 1 if not.
 *
 * @module
 */

import type { Pair } from "../lab/peers/pair.ts";
import type { Running } from "../lab/peers/racer.ts";
import { sleep } from "../lab/processes.ts";
import { median, residentMegabytes } from "./compiled.ts";
import { parseFlags, say } from "./flags.ts";
import { withOnePair } from "./one_pair.ts";
import { IDLE_AFTER_MS, iperf } from "./throughput_measure.ts";

/** Longest turn of one load, in seconds. */
const TURN_SECONDS = 10;
const SAMPLES = 60;
const GROWTH = { factor: 1.03, megabytes: 1 } as const;
/** What runs by turns, as arguments of iperf3. */
const LOADS = [["--bidir", "-P", "4"], ["-u", "-l", "64", "-b", "0"], ["-R", "-P", "10"]] as const;

const flags = parseFlags({ seconds: 600 }, { plane: "linux" }, ["source"]);
const isFlat = await withOnePair(flags, soak);
Deno.exit(isFlat ? 0 : 1);

async function soak(pair: Pair, running: Running): Promise<boolean> {
  await sleep(IDLE_AFTER_MS);
  const until = performance.now() + flags.seconds * 1000;
  const [samples, bytes] = await Promise.all([
    sampleUntil(running.pids!, until),
    loadUntil(pair, running, until),
  ]);
  for (const note of await running.notes?.() ?? []) say(note);
  say(`figure: TCP carried meanwhile: ${Number((bytes / 1e9).toPrecision(3))} GB`);
  return [...samples.entries()].map(([end, megabytes]) => judge("ab"[end]!, megabytes))
    .every((isFlat) => isFlat);
}

/** Loads until then; the bytes that TCP carried, as far as iperf3 sums them up. */
async function loadUntil(pair: Pair, { target }: Running, until: number): Promise<number> {
  const seconds = Math.max(1, Math.min(TURN_SECONDS, Math.floor(flags.seconds / 6)));
  let bytes = 0;
  for (let turn = 0; performance.now() < until; turn++) {
    const load = LOADS[turn % LOADS.length]!;
    try {
      bytes += (await iperf(pair, target, seconds, "-t", String(seconds), ...load)).bytes;
    } catch (error) {
      say(`failed: iperf3 ${load.join(" ")}: ${error instanceof Error ? error.message : error}`);
      await sleep(1000);
    }
  }
  return bytes;
}

/** @returns Megabytes of each end, one figure per sample. */
async function sampleUntil(pids: readonly number[], until: number): Promise<number[][]> {
  const samples: number[][] = pids.map(() => []);
  const intervalMs = flags.seconds * 1000 / SAMPLES;
  while (performance.now() < until) {
    for (const [end, pid] of pids.entries()) samples[end]!.push(await residentMegabytes(pid));
    await sleep(intervalMs);
  }
  return samples;
}

/** Prints what became of one end; whether it stayed flat. */
function judge(end: string, megabytes: readonly number[]): boolean {
  const fifth = Math.max(1, Math.floor(megabytes.length / 5));
  const early = median(megabytes.slice(fifth, 2 * fifth));
  const late = median(megabytes.slice(-fifth));
  const isFlat = late <= early * GROWTH.factor + GROWTH.megabytes;
  const figure = (what: string, value: number) =>
    say(`figure: memory of ${end}, ${what}: ${value.toFixed(1)} MB`);
  figure("idle", megabytes[0]!);
  figure("in the second fifth", early);
  figure("in the last fifth", late);
  figure("at most", Math.max(...megabytes));
  say(`memory of ${end} over time: ${megabytes.map((value) => value.toFixed(0)).join(" ")}`);
  say(`memory of ${end} is ${isFlat ? "flat" : "NOT flat"}`);
  return isFlat;
}
