/**
 * From the start of `join` to the first answer of a peer, and from SIGTERM to gone.
 *
 * A `ping` that asks every 20 ms is started with the agent. Aims: 0.5 s and 0.3 s.
 *
 * @module
 */

import type { Node } from "../e2e/mesh.ts";
import { median, useCompiledProgram } from "./compiled.ts";

const ROUNDS = 7;

await useCompiledProgram();
const { figure, Mesh } = await import("../e2e/mesh.ts");
await measure();
Deno.exit(0);

async function measure(): Promise<void> {
  await using mesh = await Mesh.create();
  const { addresses } = await mesh.coordinator.status();
  const host = await mesh.lab.addHost("a");
  const firsts: number[] = [];
  const returns: number[] = [];
  const stops: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    // A name of its own: that of the round before belongs to a node that is offline.
    const node = mesh.describe(`a${round}`, host);
    firsts.push(await timeToPing(node));
    stops.push(await timeToStop(node));
    returns.push(await timeToPing(node));
    stops.push(await timeToStop(node));
  }
  figure("join to first ping, a new node", median(firsts), "ms");
  figure("join to first ping, a known node", median(returns), "ms");
  figure("SIGTERM to gone", median(stops), "ms");
  figure("SIGTERM to gone, slowest", Math.max(...stops), "ms");

  async function timeToPing(node: Node): Promise<number> {
    const startedAt = performance.now();
    node.launch();
    while (true) {
      const ping = ["ping", "-n", "-c", "1", "-W", "0.02", addresses.ipv4];
      if ((await host.run(ping)).code === 0) return performance.now() - startedAt;
      if (node.process!.code !== undefined) throw new Error(node.process!.stderr);
      if (performance.now() - startedAt > 20_000) throw new Error("No ping in 20 s");
    }
  }

  async function timeToStop(node: Node): Promise<number> {
    await node.process!.shows(/^Joined /m);
    const startedAt = performance.now();
    node.process!.signal("SIGTERM");
    await node.process!.ended;
    return performance.now() - startedAt;
  }
}
