/**
 * Where the time of both ends goes while one TCP stream runs: processor time per packet of each
 * thread, and, where `perf` is there, of each library and of the kernel's functions.
 *
 * ```text
 * deno task bench profile [--seconds S] [--plane linux|portable] [--source]
 * ```
 *
 * A packet here is 1408 bytes of what the peers' counters say. Beside it `deno task bench stages`
 * times the stages apart.
 *
 * @module
 */

import type { Pair } from "../lab/peers/pair.ts";
import type { Running } from "../lab/peers/racer.ts";
import { must, run, sleep } from "../lab/processes.ts";
import { isThere } from "../packages.ts";
import { parseFlags, say } from "./flags.ts";
import { withOnePair } from "./one_pair.ts";
import { iperf } from "./throughput_measure.ts";

const PACKET = 1408;
/** How long the load runs before and after what is looked at. */
const MARGIN_SECONDS = 1;
const FREQUENCY = 999;
const TICK_NS = 1e7;
/** Rows of a list, and the least share that makes one. */
const ROWS = 25;
const LEAST_PERCENT = 0.5;

const flags = parseFlags({ seconds: 5 }, { plane: "linux" }, ["source"]);
await withOnePair(flags, profile);
Deno.exit(0);

async function profile(pair: Pair, running: Running): Promise<void> {
  const total = flags.seconds + 2 * MARGIN_SECONDS;
  const load = iperf(pair, running.target, total, "-t", String(total));
  await sleep(MARGIN_SECONDS * 1000);
  await look(pair, running);
  const { megabits } = await load;
  say(`\nfigure: one TCP stream meanwhile: ${megabits.toFixed(0)} Mbit/s`);
  for (const note of await running.notes?.() ?? []) say(note);
}

/** Looks at both processes for the time asked for. */
async function look({ folder }: Pair, { pids, carried }: Running): Promise<void> {
  const file = `${folder}/perf.data`;
  const hasPerf = isThere("perf");
  const record = hasPerf
    ? run([
      ...["perf", "record", "-q", "-e", "cpu-clock", "-F", String(FREQUENCY), "-o", file],
      ...["-p", pids!.join(","), "--", "sleep", String(flags.seconds)],
    ])
    : sleep(flags.seconds * 1000);
  const [threads, bytes] = [await ticksOf(pids!), await carried!()];
  await record;
  const after = await ticksOf(pids!);
  const packets = (await carried!() - bytes) / PACKET;
  say(`| thread | user, ns per packet | system, ns per packet |\n| --- | ---: | ---: |`);
  let all = 0;
  for (const [name, now] of after) {
    const before = threads.get(name) ?? [0, 0];
    const [user, system] = now.map((ticks, i) => (ticks - before[i]!) * TICK_NS / packets);
    all += user! + system!;
    if (user! + system! < 1) continue;
    say(`| ${name} | ${user!.toFixed(0)} | ${system!.toFixed(0)} |`);
  }
  say(`| all | ${all.toFixed(0)} | |`);
  if (!hasPerf) return say("perf is not there (package linux-perf): no split by library");
  await shares(file, all, "dso", "where");
  await shares(file, all, "dso,symbol", "function");
}

/** A list of what perf saw, as nanoseconds per packet of both ends together. */
async function shares(file: string, all: number, sort: string, title: string): Promise<void> {
  const report = await must([
    ...["perf", "report", "-i", file, "--stdio", "-q", "--no-children", "--sort", sort],
    ...["--percent-limit", String(LEAST_PERCENT)],
  ], { timeoutMs: 120_000 });
  say(`\n| ${title} | share, % | ns per packet |\n| --- | ---: | ---: |`);
  const lines = report.split("\n").filter((line) => /^\s+[\d.]+%/.test(line)).slice(0, ROWS);
  for (const line of lines) {
    const [, percent, name] = /^\s+([\d.]+)%\s+(.*?)\s*$/.exec(line)!;
    const ns = Number(percent) / 100 * all;
    say(
      `| ${name!.replace(/[\s-]+$/, "").replaceAll(/\s+/g, " ")} | ${percent} | ${ns.toFixed(0)} |`,
    );
  }
}

/** User and system time of every thread of both processes, in ticks of 10 ms, by end and name. */
async function ticksOf(pids: readonly number[]): Promise<Map<string, [number, number]>> {
  const found = new Map<string, [number, number]>();
  for (const [end, pid] of pids.entries()) {
    for await (const { name: tid } of Deno.readDir(`/proc/${pid}/task`)) {
      const stat = await Deno.readTextFile(`/proc/${pid}/task/${tid}/stat`).catch(() => "");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const name = /\((.*)\)/.exec(stat)?.[1] ?? "gone";
      found.set(`${"ab"[end]} ${name} ${tid}`, [Number(fields[11]), Number(fields[12])]);
    }
  }
  return found;
}
