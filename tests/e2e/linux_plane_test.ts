/**
 * The data plane of Linux between real agents: much data over a bad line, what it falls back to, and
 * its end.
 *
 * ```
 *   a ── bridge ── delay wire: 1 % lost, 1 % twice, out of order ── b
 * ```
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { type Host, pings } from "../lab/namespaces.ts";
import { must } from "../lab/processes.ts";
import { COMMAND, ENVIRONMENT, figure, IS_SOAK, Mesh, testProgram } from "./mesh.ts";

const LAB = decodeURIComponent(new URL("../lab/", import.meta.url).pathname);
/** Each direction; milliseconds and percent. */
const BAD_LINE = ["delay=0.2", "jitter=0.2", "loss=1", "dup=1", "reorder=1"];
/** Each way, in each family: 10 GB in all in the soak. */
const BYTES = IS_SOAK ? 2_500_000_000 : 25_000_000;
/** The same where a portable data plane takes part: 2 GB in all in the soak, some minutes. */
const PORTABLE_BYTES = IS_SOAK ? 500_000_000 : 10_000_000;

for (const [a, b] of [["linux", "linux"], ["linux", "portable"], ["portable", "portable"]]) {
  const name = `TCP arrives unchanged through loss, duplicates and disorder, ${a} to ${b}`;
  Deno.test(name, async () => {
    await using mesh = await Mesh.create();
    const wire = await buildC(mesh.lab.folder, "delaywire");
    const hostB = await mesh.lab.addHost("b");
    const here = mesh.describe("a", await mesh.lab.addHost("a"), ["--data-plane", a!]);
    const there = mesh.describe("b", hostB, ["--data-plane", b!]);
    await badLine(mesh, wire, hostB);
    await Promise.all([here.start(), there.start()]);
    await mesh.settled();
    deepStrictEqual(
      [await here.status(), await there.status()].map(({ dataPlane }) => dataPlane.kind),
      [a, b],
    );
    const bytes = a === "linux" && b === "linux" ? BYTES : PORTABLE_BYTES;
    const { addresses } = await there.status();
    for (const [family, address] of Object.entries(addresses)) {
      await pings(here.host, address);
      const listener = hostB.start(testProgram("tcp_transfer", "listen", "5000", String(bytes)));
      await listener.shows(/^ready$/m);
      const startedAt = performance.now();
      const connect = testProgram("tcp_transfer", "connect", address, "5000", String(bytes));
      const connector = here.host.start(connect);
      strictEqual(await here.survives(there.survives(connector.ended)), 0, connector.stderr);
      strictEqual(await listener.ended, 0, listener.stderr);
      const seconds = (performance.now() - startedAt) / 1000;
      figure(`bad line, ${a} to ${b}, ${family}`, 2 * bytes * 8 / seconds / 1e6, "Mbit/s");
      strictEqual(hash(listener.stdout, "received"), hash(connector.stdout, "sent"), "a to b");
      strictEqual(hash(connector.stdout, "received"), hash(listener.stdout, "sent"), "b to a");
      match(listener.stdout, new RegExp(`^received \\w+ ${bytes}$`, "m"));
      match(connector.stdout, new RegExp(`^received \\w+ ${bytes}$`, "m"));
    }
    const drops = (await there.status()).drops;
    ok((drops.replayed ?? 0) > 0, `duplicates came, and were told: ${JSON.stringify(drops)}`);
  });
}

Deno.test("an agent that lacks a part of the Linux data plane says so and works without", async (test) => {
  await using mesh = await Mesh.create({ agents: ["a"] });
  const a = mesh.agent("a");
  const withoutOffloads = await buildC(mesh.lab.folder, "no_offloads");
  const peer = (await a.status()).addresses.ipv4;

  await test.step("no offloads: the portable one, with the reason", async () => {
    const b = mesh.describe("b", await mesh.lab.addHost("b"));
    b.wrapper = [withoutOffloads];
    await b.start();
    const { dataPlane } = await b.status();
    strictEqual(dataPlane.kind, "portable");
    match(dataPlane.reason ?? "", /offload/);
    match((await b.ask("status")).stdout, /portable.*offload/);
    await pings(b.host, peer);
  });
  await test.step("no offloads and --data-plane linux: an error in one line", async () => {
    const host = await mesh.lab.addHost("c");
    const { args } = mesh.describe("c", host, ["--data-plane", "linux"]);
    const state = ["--state", `${mesh.lab.folder}/c`];
    const failed = await host.run([withoutOffloads, ...COMMAND, ...args, ...state], {
      env: ENVIRONMENT,
    });
    ok(failed.code !== 0);
    match(failed.stderr, /^tunnelmesh: Cannot .*offload.*\n$/);
    deepStrictEqual(await links(host), ["lo", "eth0"]);
    mesh.agents.delete("c");
  });
  await test.step("no libcrypto: WebAssembly in the same workers", async () => {
    const d = mesh.describe("d", await mesh.lab.addHost("d"), ["--data-plane", "linux"]);
    const hide = 'for f in $(find /usr/lib /lib -name "libcrypto.so.3"); do ' +
      'mount --bind /dev/null "$f"; done; exec "$@"';
    d.wrapper = ["unshare", "--mount", "sh", "-c", hide, "-"];
    await d.start();
    const { dataPlane } = await d.status();
    deepStrictEqual([dataPlane.kind, dataPlane.aead], ["linux", "wasm"]);
    await pings(d.host, peer);
  });
});

Deno.test("an agent whose interface is taken away ends at once and leaves nothing", async () => {
  for (const plane of ["linux", "portable"]) {
    await using mesh = await Mesh.create({ agents: ["a"], agentArgs: ["--data-plane", plane] });
    const { host, process } = mesh.agent("a");
    await host.must(["ip", "link", "del", "tm0"]);
    const late = new Promise((resolve) => setTimeout(() => resolve("it goes on"), 30_000));
    strictEqual(await Promise.race([process!.ended, late]), 1, `${plane}: ${process!.stderr}`);
    const lines = process!.stderr.trimEnd().split("\n").filter((line) =>
      !/^\d{4}-\d\d-/.test(line)
    );
    strictEqual(lines.length, 1, process!.stderr);
    match(lines[0]!, /^tunnelmesh: Cannot .*TUN/);
    deepStrictEqual(await links(host), ["lo", "eth0"]);
    ok(!(await host.must(["ip", "rule"])).includes("5117"), "no rule of it is left");
  }
});

/** Puts a bad line in place of a host's cable. */
async function badLine(mesh: Mesh, wire: string, host: Host): Promise<void> {
  const net = host.namespace.replace(/-[^-]+$/, "-net");
  await host.must(["ip", "link", "del", "eth0"]);
  const cable = host.start([wire, host.namespace, "eth0", net, "bad", ...BAD_LINE]);
  await cable.shows(/^ready$/m);
  await must(["ip", "-n", net, "link", "set", "bad", "master", "br0", "up"]);
  await host.must(["ip", "address", "add", `${host.ipv4}/24`, "dev", "eth0"]);
  await host.must(["ip", "address", "add", `${host.ipv6}/64`, "dev", "eth0", "nodad"]);
  await pings(host, mesh.coordinator.host.ipv4);
}

async function buildC(folder: string, name: string): Promise<string> {
  await must(["gcc", "-O2", "-Wall", "-o", `${folder}/${name}`, `${LAB}${name}.c`]);
  return `${folder}/${name}`;
}

async function links(host: Host): Promise<string[]> {
  const all = JSON.parse(await host.must(["ip", "-j", "link"])) as { ifname: string }[];
  return all.map(({ ifname }) => ifname);
}

function hash(output: string, what: "sent" | "received"): string | undefined {
  return new RegExp(`^${what} (\\w{64})`, "m").exec(output)?.[1];
}
