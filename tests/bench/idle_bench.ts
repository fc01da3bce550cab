/**
 * What an idle agent and an idle coordinator cost: memory after a minute, processor time in it.
 *
 * Aims: an agent of at most 110 MB with the data plane of Linux, and about no processor time.
 *
 * @module
 */

import { processorSeconds, residentMegabytes, useCompiledProgram } from "./compiled.ts";

const SECONDS = 60;

await useCompiledProgram();
const { figure, Mesh } = await import("../e2e/mesh.ts");
await measure();
Deno.exit(0);

async function measure(): Promise<void> {
  await using mesh = await Mesh.create({ agents: ["a", "b"] });
  const pids = mesh.nodes.map((node) => [node.host.name, node.process!.pid] as const);
  // The start is not idle yet.
  await new Promise((resolve) => setTimeout(resolve, 5000));
  const before = await Promise.all(pids.map(([, pid]) => processorSeconds(pid)));
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
  for (const [at, [name, pid]] of pids.entries()) {
    const what = name === "hub" ? "coordinator with its member" : `agent ${name}`;
    const used = await processorSeconds(pid) - before[at]!;
    figure(`${what}, memory after ${SECONDS} s`, await residentMegabytes(pid), "MB");
    figure(`${what}, processor time`, used / SECONDS * 100, "%");
  }
}
