/**
 * What each stage of the Linux data plane costs: nanoseconds per packet, in the order of the packet,
 * each stage timed apart over one batch, the median of many batches. In a network namespace of its
 * own, over its loopback device, so that receiving costs what it does without a second machine.
 *
 * Two columns: super-segments of 1408-byte packets, as bulk TCP has them, and 92-byte packets (64
 * bytes of payload) that are written one by one, as a flood has them.
 *
 * ```text
 * deno task bench stages [--batches N]
 * ```
 *
 * @module
 */

import { libcryptoCiphers, type PacketCipher } from "../../ffi/libcrypto.ts";
import { Mem } from "../../ffi/memory.ts";
import { Poller } from "../../ffi/poller.ts";
import { openTun } from "../../ffi/tun_linux.ts";
import { portableCipher } from "../../lib/dataplane/linux/portable_cipher.ts";
import { DATA_HEADER_LENGTH } from "../../lib/wire/datagram.ts";
import { must } from "../lab/processes.ts";
import { installPackages } from "../packages.ts";
import { median } from "./compiled.ts";
import { parseFlags, say } from "./flags.ts";
import { type Load, OVERHEAD, Pipeline, STAGES, WARM_UP } from "./stages_pipeline.ts";

const flags = parseFlags({ batches: 1000 }, {}, ["inside"]);

const LOADS: readonly Load[] = [
  { title: "1408 bytes", size: 1408, count: 45, isSuperSegment: true },
  { title: "92 bytes", size: 92, count: 64, isSuperSegment: false },
];

/** Starts this again without a network but its own, which ends with it. */
async function enterNamespace(): Promise<void> {
  const lack = await installPackages(["ip", "nsenter"]);
  if (lack !== undefined) throw new Error(`Cannot measure here: this machine ${lack}`);
  const file = decodeURIComponent(new URL(import.meta.url).pathname);
  const again = [Deno.execPath(), "run", "-A", "--no-check", file, "--inside"];
  const { code } = await new Deno.Command("unshare", {
    args: ["--net", ...again, "--batches", String(flags.batches)],
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  Deno.exit(code);
}

async function measureAll(): Promise<void> {
  const tun = openTun({ name: "stages0", mtu: 1408, poller: new Poller(), hasOffloads: true });
  await must(["ip", "link", "set", "lo", "up"]);
  await must(["ip", "address", "add", "10.9.0.1/24", "dev", tun.name]);
  await must(["ip", "link", "set", tun.name, "up"]);
  const ciphers = [...libcryptoCiphers(), portableCipher()];
  const [cipher] = ciphers;
  const columns = LOADS.map((load) => new Pipeline(tun, cipher!, load, flags.batches).run());
  say(`| ns per packet | ${LOADS.map(({ title }) => title).join(" | ")} |`);
  say(`| --- | ${LOADS.map(() => "---:").join(" | ")} |`);
  for (const stage of STAGES) row(stage, columns.map((column) => column.get(stage)));
  const total = (half: string) =>
    columns.map((column) =>
      // The TCP row of coalescing is a part of what the UDP row does.
      STAGES.filter((stage) => stage.startsWith(half) && stage !== "ingress: coalesce (TCP)")
        .reduce((sum, stage) => sum + (column.get(stage) ?? 0), 0)
    );
  for (const half of ["egress", "ingress"]) row(`${half}: sum`, total(half));
  for (const cipher of ciphers) {
    row(`seal by ${cipher.name}`, LOADS.map((load) => sealCost(cipher, load)));
  }
  Deno.exit(0);

  function row(name: string, cells: (number | undefined)[]): void {
    say(`| ${name} | ${cells.map((ns) => ns === undefined ? "–" : Math.round(ns)).join(" | ")} |`);
  }
}

/** Nanoseconds to seal a packet by one of the ciphers. */
function sealCost(cipher: PacketCipher, { size, count }: Load): number {
  const sealer = cipher.sealer(new Uint8Array(32));
  const [source, out] = [new Mem(65_536), new Mem(65_536)];
  const times: number[] = [];
  for (let batch = -WARM_UP; batch < Math.min(flags.batches, 100); batch++) {
    const startedAt = performance.now();
    for (let i = 0; i < count; i++) {
      const at = i * (size + OVERHEAD);
      sealer.seal(i, 0, out, at, at + DATA_HEADER_LENGTH, source, i * size, size);
    }
    if (batch >= 0) times.push((performance.now() - startedAt) / count * 1e6);
  }
  sealer.free();
  return median(times);
}

if (flags.inside) await measureAll();
else await enterNamespace();
