/**
 * A coordinator with 1,000 simulated agents: real process, HTTPS, WebSockets, SQLite, signatures.
 * Only the agents are simulated, all in this process, so they share the machine with what is
 * measured.
 *
 * ```
 * deno run -A tests/bench/coordinator_bench.ts [AGENTS]
 * ```
 *
 * @module
 */

import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { Coordinator } from "../../lib/coordinator/coordinator.ts";
import { createSshKey } from "../../lib/crypto/ssh_key.ts";
import { signStatement } from "../../lib/crypto/sshsig.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import { connect } from "../coordinator/connect.ts";
import { credentialOf, helloOf, SimulatedAgent } from "../coordinator/simulated_agent.ts";

/** Joins under way at once. */
const IN_FLIGHT = 16;
/** So many agents read all they are told; the others only count its bytes. */
const READERS = 20;
/** How often a roster change is measured. */
const CHANGES = 5;

const [mode, value] = Deno.args;
if (mode === "serve") await serve(value!);
else await measure(Number(mode ?? 1000));

async function serve(folder: string): Promise<void> {
  const quiet = { debug() {}, info() {}, warning() {}, error() {} };
  const coordinator = await Coordinator.start({
    stateFolder: folder,
    listen: [{ hostname: "127.0.0.1", port: 0 }],
    tls: { kind: "self-signed", names: [] },
    udpPorts: [],
    software: "bench",
    clock: SYSTEM_CLOCK,
    log: quiet,
    onFailed: (error) => {
      throw error;
    },
  });
  const url = `https://127.0.0.1:${coordinator.listening[0]!.port}`;
  say(JSON.stringify({ url, token: coordinator.token() }));
  // The end of standard input is the sign to stop.
  for await (const _ of Deno.stdin.readable);
  await coordinator.stop();
  Deno.exit(0);
}

async function measure(count: number): Promise<void> {
  const folder = await Deno.makeTempDir();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", decodeURIComponent(new URL(import.meta.url).pathname), "serve", folder],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  try {
    const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const { url, token } = JSON.parse((await output.read()).value ?? "") as {
      url: string;
      token: string;
    };
    const before = memoryOf(child.pid);
    const agents = Array.from({ length: count }, (_, i) => agentOf(token, `n${i}`, i >= READERS));
    const readers = agents.slice(0, READERS);
    // As real agents do; without it the coordinator would take the first ones for dead.
    const heart = setInterval(() => {
      for (const agent of agents) if (agent.said("presence")) agent.say({ kind: "heartbeat" });
    }, 20_000);
    using _ = { [Symbol.dispose]: () => clearInterval(heart) };
    const cpuBefore = cpuOf(child.pid);
    const startedAt = performance.now();
    await joinAll(agents, url);
    const seconds = (performance.now() - startedAt) / 1000;
    figure("agents joined", count, "");
    figure("join rate", Math.round(count / seconds), "joins/s (each told to all others)");
    figure(
      "coordinator CPU per join",
      round((cpuOf(child.pid) - cpuBefore) / count * 1000),
      "ms",
    );
    await Promise.all(readers.map((agent) => agent.until(() => agent.online.size === count)));
    await settle();
    const after = memoryOf(child.pid);
    figure("coordinator RSS before", round(before / 1024), "MiB");
    figure("coordinator RSS after", round(after / 1024), "MiB");
    figure("memory per agent", round((after - before) / count), "KiB");
    await changes(agents, url, token);
    const idleFrom = cpuOf(child.pid);
    await new Promise((resolve) => setTimeout(resolve, 5000));
    figure("idle CPU", round((cpuOf(child.pid) - idleFrom) / 5 * 100), "% of one core");
    for (const agent of agents) agent.hangUp();
  } finally {
    await child.stdin.close();
    await child.status;
    await Deno.remove(folder, { recursive: true });
  }
}

/** Joins with a few under way at any time; resolves when each has its own greeting. */
async function joinAll(agents: readonly SimulatedAgent[], url: string): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < agents.length; i = next++) {
      const agent = connect(agents[i]!, url);
      await agent.until(() => agent.said("presence") !== undefined || agent.closed !== undefined);
      if (agent.closed) throw new Error(`refused: ${agent.closed.code} ${agent.closed.reason}`);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

/** What one more node costs each of the others. */
async function changes(
  agents: readonly SimulatedAgent[],
  url: string,
  token: string,
): Promise<void> {
  const here = agents.length;
  const readers = agents.slice(0, READERS);
  const all = (isMet: (agent: SimulatedAgent) => boolean) =>
    Promise.all(readers.map((agent) => agent.until(() => isMet(agent))));
  let bytes = 0;
  let slowestMs = 0;
  for (let i = 0; i < CHANGES; i++) {
    const before = agents.map((agent) => agent.receivedBytes);
    const startedAt = performance.now();
    const newcomer = connect(agentOf(token, `late${i}`, true), url);
    await all((agent) => agent.online.size === here + 1);
    await Promise.all(
      agents.map((agent, at) => agent.until(() => agent.receivedBytes > before[at]!)),
    );
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    bytes += agents[0]!.receivedBytes - before[0]!;
    newcomer.hangUp();
    await all((agent) => agent.online.size === here);
    await settle();
  }
  figure("bytes per roster change and agent", Math.round(bytes / CHANGES), "bytes");
  figure("start of a join until all agents are told, slowest", Math.round(slowestMs), "ms");
}

function agentOf(token: string, name: string, isDeaf: boolean): SimulatedAgent {
  const staticKey = generateKeyPair();
  const { meshId } = credentialOf(token);
  const { key } = createSshKey(name);
  const signedAt = Math.floor(Date.now() / 1000);
  const subject = { meshId, staticKey: staticKey.publicKey, unixSeconds: signedAt };
  const statement = {
    sshPublicKey: key.publicKey,
    signature: signStatement(key, subject),
    signedAt,
  };
  return new SimulatedAgent({ token, staticKey, hello: helloOf(name, { statement }), isDeaf });
}

/** KiB in physical memory. */
function memoryOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1]);
}

/** Seconds of processor time used so far, by all threads. */
function cpuOf(pid: number): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Lets what is under way arrive. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1000));
}

function round(number: number): number {
  return Math.round(number * 10) / 10;
}

function figure(what: string, number: number, unit: string): void {
  say(`figure: ${what}: ${number} ${unit}`.trimEnd());
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
