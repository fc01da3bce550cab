/**
 * `deno task demo`: a mesh of three machines on this one, from nothing to a ping, in half a minute.
 *
 * ```
 *      hub (coordinator and member)      a (agent)      b (agent)
 *           └──────────────────────── bridge ──────────────┘
 * ```
 *
 * Three network namespaces with a bridge between them; nothing of this machine's own network is
 * touched, and all of it is gone at the end. Needs root on Linux.
 *
 * @module
 */

import type { Host } from "../lab/namespaces.ts";
import { eventually } from "../lab/processes.ts";
import { installPackages, isThere } from "../packages.ts";
import { Mesh, type Node } from "./mesh.ts";

const IPERF_SECONDS = 4;

const lack = await installPackages(["ip", "nsenter", "ping"]);
if (lack !== undefined) {
  say(`Cannot run the demonstration: this machine ${lack}.`);
  Deno.exit(1);
}

const startedAt = performance.now();
await demonstrate();
say(`\nDone in ${((performance.now() - startedAt) / 1000).toFixed(1)} s; nothing is left behind.`);
Deno.exit(0);

async function demonstrate(): Promise<void> {
  step("A coordinator on the machine hub");
  show("hub", "tunnelmesh coordinator --name hub");
  await using mesh = await Mesh.create();
  endWith(mesh);
  const { joinCommand } = await mesh.coordinator.askJson<{ joinCommand: string }>("token", "show");
  say(`To join another machine:\n  ${joinCommand}`);

  step("Two agents join");
  for (const name of ["a", "b"]) {
    show(name, `tunnelmesh join --coordinator ${mesh.url} --token-file FILE --name ${name}`);
    const agent = await mesh.describe(name, await mesh.lab.addHost(name)).start();
    say(agent.process!.stdout.trimEnd());
  }
  await mesh.settled();

  step("They ping each other through the mesh, in both families");
  const [a, b] = [mesh.agent("a"), mesh.agent("b")];
  for (const [from, to] of [[a, b], [b, a], [a, mesh.coordinator]] as const) {
    const { addresses } = await to.glance();
    await ping(from.host, addresses.ipv4);
    await ping(from.host, addresses.ipv6);
  }

  step("The mesh as a sees it");
  for (const command of ["peers", "status"]) {
    show("a", `tunnelmesh ${command}`);
    say((await a.ask(command)).stdout.trimEnd());
  }
  if (isThere("iperf3")) await measure(a, b);
  step("Everything stops");
}

async function ping(host: Host, address: string): Promise<void> {
  show(host.name, `ping -c 3 ${address}`);
  await eventually("the first answer", async () => {
    const { code, stdout } = await host.run(["ping", "-n", "-c", "3", "-i", "0.2", address]);
    if (code !== 0) return undefined;
    say(stdout.split("\n").filter((line) => /bytes from|packets/.test(line)).join("\n"));
    return true;
  });
}

async function measure(a: Node, b: Node): Promise<void> {
  step(`iperf3 for ${IPERF_SECONDS} s from a to b, one TCP stream`);
  const server = b.host.start(["iperf3", "-s", "-1", "--forceflush"]);
  await server.shows(/listening/i);
  const { addresses } = await b.glance();
  const command = ["iperf3", "-c", addresses.ipv4, "-t", String(IPERF_SECONDS)];
  show("a", command.join(" "));
  const { stdout } = await a.host.run(command);
  say(stdout.split("\n").filter((line) => /sender|receiver/.test(line)).join("\n"));
}

/** Ctrl-C cleans up, too. */
function endWith(mesh: Mesh): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, async () => {
      await mesh[Symbol.asyncDispose]();
      Deno.exit(1);
    });
  }
}

function step(title: string): void {
  say(`\n=== ${title}`);
}

function show(host: string, command: string): void {
  say(`[${host}] $ ${command}`);
}

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}
