/**
 * The race: tunnelmesh with each of its data planes, wireguard-go, nebula and tailscaled, one after
 * the other on two hosts with one cable between them, all in every round, so that what else this
 * machine does hits everyone alike. Prints medians with ratios, and the aims.
 *
 * ```text
 * deno task bench throughput [--rounds N] [--seconds S] [--programs a,b] [--source]
 * ```
 *
 * By default 3 rounds of 6 seconds per load, of the compiled program: about 13 minutes. `--source`
 * measures the source. Exits 0 also when an aim is missed, 1 if tunnelmesh could not be measured.
 *
 * @module
 */

import { installPackages, isThere } from "../packages.ts";
import { NEBULA, RAW, TAILSCALE, WIREGUARD_GO } from "../lab/peers/others.ts";
import { Pair } from "../lab/peers/pair.ts";
import { firstPing, type Racer } from "../lab/peers/racer.ts";
import { parseFlags, say } from "./flags.ts";
import { useCompiledProgram } from "./compiled.ts";
import { measure } from "./throughput_measure.ts";
import { aimsTable, figuresTable, type Sample } from "./throughput_table.ts";

const flags = parseFlags(
  { rounds: 3, seconds: 6 },
  { programs: "raw,wireguard-go,nebula,tailscale,tunnelmesh,tunnelmesh-portable" },
  ["source"],
);

if (!flags.source) await useCompiledProgram();
const lack = await installPackages(["ip", "nsenter", "ping"]);
if (lack !== undefined || !isThere("iperf3")) {
  throw new Error(`Cannot measure here: this machine ${lack ?? "lacks iperf3"}`);
}
const { tunnelmesh } = await import("../lab/peers/ours.ts");
const RACERS: readonly Racer[] = [
  RAW,
  WIREGUARD_GO,
  NEBULA,
  TAILSCALE,
  tunnelmesh("tunnelmesh", "linux"),
  tunnelmesh("tunnelmesh-portable", "portable"),
];

// One measurement at a time on this machine: whoever measures holds this file's lock.
using lock = await Deno.open(
  `${Deno.env.get("TMPDIR") ?? "/tmp"}/tunnelmesh-bench.lock`,
  { create: true, write: true },
);
const samples = await race();
await Deno.stdout.write(new TextEncoder().encode(
  `\n${figuresTable(samples)}\n${aimsTable(samples)}`,
));
const hasOurs = [...samples].some(([name, rounds]) =>
  name.startsWith("tunnelmesh") && rounds.some((sample) => sample.tcp !== undefined)
);
Deno.exit(hasOurs || !flags.programs.includes("tunnelmesh") ? 0 : 1);

async function race(): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>();
  const names = flags.programs.split(",");
  for (const name of names) {
    if (RACERS.some((racer) => racer.name === name)) continue;
    say(`No program "${name}"; there are ${RACERS.map((racer) => racer.name).join(", ")}`);
    Deno.exit(2);
  }
  const racers: Racer[] = [];
  for (const racer of RACERS.filter(({ name }) => names.includes(name))) {
    const why = await racer.lack();
    if (why === undefined) racers.push(racer);
    else say(`not run: ${racer.name}: ${why}`);
  }
  for (const { name } of racers) samples.set(name, []);
  for (let round = 1; round <= flags.rounds; round++) {
    for (const racer of racers) {
      const load = (await Deno.readTextFile("/proc/loadavg")).split(" ")[0];
      say(`round ${round}, ${racer.name} (load ${load})`);
      samples.get(racer.name)!.push(await once(racer));
    }
  }
  return samples;
}

/** One program, once, from nothing to nothing. */
async function once(racer: Racer): Promise<Sample> {
  await lock.lock(true);
  try {
    await using pair = await Pair.create();
    const running = await racer.start(pair);
    const start = await firstPing(pair.a, running.target, running.startedAt);
    await running.settled?.();
    const taken = await measure(pair, running, flags.seconds, (what, error) => {
      say(`  failed: ${what}: ${error instanceof Error ? error.message : error}`);
    });
    for (const note of await running.notes?.() ?? []) say(`  ${note}`);
    return running.pids === undefined ? taken : { ...taken, start };
  } catch (error) {
    say(`  failed: ${error instanceof Error ? error.message : error}`);
    return {};
  } finally {
    await lock.unlock();
  }
}
