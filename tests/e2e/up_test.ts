/**
 * Allow-list mode: `tunnelmesh up --config FILE` at both ends, no coordinator.
 *
 * ```
 *   server (10.9.0.1)   one   two   three (10.9.0.11 to 13)      one bridge
 * ```
 *
 * @module
 */

import { match, ok, strictEqual } from "node:assert/strict";
import { Lab, pings } from "../lab/namespaces.ts";
import { eventually, sleep } from "../lab/processes.ts";
import { callControlSocket } from "../../lib/agent/control_socket.ts";
import type { StaticStatus } from "../../lib/agent/static_status.ts";
import { lossOf, LOST_SHARE } from "./losses.ts";
import { figure } from "./mesh.ts";
import { PORT, StaticEnd } from "./static_net.ts";

const CLIENTS = ["one", "two", "three"];

for (const plane of ["linux", "portable"] as const) {
  Deno.test(`up: a server and its clients ping both ways, both families (${plane})`, () =>
    allPing(plane));
}

async function allPing(plane: "linux" | "portable"): Promise<void> {
  await using lab = await Lab.create();
  const { server, clients } = await describe(lab);
  await server.start("--data-plane", plane);
  for (const client of clients) await client.start("--data-plane", plane);
  for (const [i, client] of clients.entries()) {
    await pings(client.host, "10.9.0.1");
    await pings(client.host, "fd09::1");
    await pings(server.host, `10.9.0.${11 + i}`);
    await pings(server.host, `fd09::${11 + i}`);
  }
  const { peers, policy, dataPlane } = await server.status();
  strictEqual(dataPlane.kind, plane);
  strictEqual(policy, "allowed-peers");
  strictEqual(peers.filter(({ online }) => online).length, CLIENTS.length);
  await eventually("two answers the program's own ping", async () => {
    const { stdout } = await server.ask("ping", "two", "-c", "1");
    return /^two: answer by udp /.test(stdout);
  });
  const status = await server.ask("status");
  match(status.stdout, /Policy: .*server\.yaml, in force/);
  ok((await server.ask("peers")).stdout.includes("10.9.0.13"));
}

Deno.test("up: SIGHUP reads a file that nothing watches", async () => {
  await using lab = await Lab.create();
  const { server, clients: [one] } = await describe(lab);
  // A folder that is a link to another one by the time the file is read again.
  for (const name of ["before", "after"]) await Deno.mkdir(`${lab.folder}/${name}`);
  await Deno.symlink("before", `${lab.folder}/now`);
  const end = new StaticEnd(server.host, `${lab.folder}/now`, server.config);
  await end.start();
  const text = await Deno.readTextFile(end.file);
  await Deno.writeTextFile(
    `${lab.folder}/after/server.yaml`,
    text.replace('"enabled": true', '"enabled": false'),
  );
  await Deno.symlink("after", `${lab.folder}/next`);
  await Deno.rename(`${lab.folder}/next`, `${lab.folder}/now`);
  await sleep(1000);
  const before = `${lab.folder}/before/server`;
  const enabled = async () => {
    const status = await callControlSocket(before, "agent.sock", "status") as StaticStatus;
    return status.peers.find(({ name }) => name === one!.host.name)!.enabled;
  };
  strictEqual(await enabled(), true, "nobody has told it");
  end.process.signal("SIGHUP");
  await eventually("it is read", async () => !(await enabled()));
});

Deno.test("up: who is disabled in the file is cut off at once and refused, the others stay", async () => {
  await using lab = await Lab.create();
  const { server, clients } = await describe(lab);
  await server.start();
  for (const client of clients) await client.start();
  const [one, two] = clients as [StaticEnd, StaticEnd, StaticEnd];
  for (const client of clients) await pings(client.host, "10.9.0.1");

  const flow = two.host.start(["ping", "-n", "-i", "0.05", "10.9.0.1"]);
  await server.write({
    allowedPeers: peersOf(server).with(0, { ...peersOf(server)[0]!, enabled: false }),
  });
  const writtenAt = performance.now();
  await eventually("the server has read it", async () => !(await server.peer("one")).enabled);
  figure("file written to peer cut off", performance.now() - writtenAt, "ms");
  // It listens only now: what was on its way before is no answer to what comes.
  const wire = server.host.start([
    ...["tcpdump", "-n", "-l", "-i", "eth0", `src host ${server.host.ipv4} and udp`],
    ...["and", "dst", "host", one.host.ipv4],
  ]);
  await wire.shows(/listening on/);
  const dead = await one.host.run(["ping", "-n", "-c", "20", "-i", "0.2", "-W", "1", "10.9.0.1"]);
  match(dead.stdout, / 0 received/, "its session is gone and its handshakes are refused");
  strictEqual((await server.peer("one")).path.kind, "none");
  await eventually(
    "its handshakes are counted",
    async () => (await server.status()).drops["unknown-static-key"]! > 0,
  );
  strictEqual(wire.stdout, "", "in silence");
  await wire.stop();
  match((await server.ask("peers")).stdout, /^one .* disabled /m);
  const refused = await server.ask("ping", "one", "-c", "1");
  match(refused.stderr, /^tunnelmesh: Cannot ping "one": it is disabled\n$/);

  // A broken file: the last good policy holds, and everything says so.
  await Deno.writeTextFile(server.file, "profile: allowed-peers\nallowedPeers: [\n");
  await eventually("status tells", async () => (await server.status()).config.fault);
  match((await server.status()).config.fault!, /server\.yaml:\d+:\d+: no valid YAML/);
  match((await server.ask("status")).stdout, /Policy: .*broken, not in force/);
  match(server.process.stderr, /error agent: Policy not taken, the last good one stays in force/);
  strictEqual((await one.host.run(["ping", "-c", "1", "-W", "1", "10.9.0.1"])).code, 1);
  await pings(clients[2]!.host, "10.9.0.1");

  // SIGHUP and a change at the same time are one reading too many, no harm.
  await server.write({ allowedPeers: peersOf(server).map((peer) => ({ ...peer, enabled: true })) });
  server.process.signal("SIGHUP");
  await eventually("one is back", async () => (await server.peer("one")).enabled);
  await pings(one.host, "10.9.0.1");
  strictEqual((await server.status()).config.fault, undefined);

  await server.write({ allowedPeers: peersOf(server).filter(({ name }) => name !== "one") });
  await eventually("one is removed", async () => (await server.peer("one")) === undefined);
  strictEqual((await one.host.run(["ping", "-c", "2", "-W", "1", "10.9.0.1"])).code, 1);
  flow.signal("SIGINT");
  await flow.ended;
  const { lost, sent } = lossOf(flow);
  ok(sent > 0 && lost <= sent * LOST_SHARE, `two noticed nothing: ${lost} of ${sent} lost`);
  for (const end of [server, ...clients]) strictEqual(await end.process.stop(), 0);
  strictEqual((await server.host.run(["ip", "link", "show", "tm0"])).code, 1, "nothing is left");
});

Deno.test("up: a wrong key, a wrong mesh and other profiles get silence", async () => {
  await using lab = await Lab.create();
  const { server, clients } = await describe(lab);
  const [one, two] = clients as [StaticEnd, StaticEnd];
  const stranger = new StaticEnd(await lab.addHost("stranger"), lab.folder, one.config);
  await server.start();
  const wire = server.host.start(["tcpdump", "-n", "-l", "-i", "eth0", "udp"]);
  await wire.shows(/listening on/);
  two.config = { ...two.config, meshId: "ffffffffffffffffffffffffffffffff" };
  for (const end of [stranger, two]) await end.start();
  for (const end of [stranger, two]) {
    strictEqual((await end.host.run(["ping", "-c", "2", "-W", "1", "10.9.0.1"])).code, 1);
  }
  await eventually("both are refused", async () => {
    const { drops } = await server.status();
    return drops["unknown-static-key"]! > 0 && drops["bad-handshake"]! > 0;
  });
  await eventually(
    "initiations were seen",
    async () => await Promise.resolve(/length 148/.test(wire.stdout)),
  );
  ok(
    !new RegExp(`IP ${server.host.ipv4.replaceAll(".", "\\.")}\\.${PORT} >`).test(wire.stdout),
    wire.stdout,
  );
});

Deno.test("up: a configuration that cannot be used is told in one line", async () => {
  await using lab = await Lab.create();
  const { server } = await describe(lab);
  await server.write();
  const keyFile = server.file.replace(/yaml$/, "key");
  await Deno.chmod(keyFile, 0o644);
  const open = await server.ask("up", "--config", server.file);
  strictEqual(open.code, 2);
  match(open.stderr, /^tunnelmesh: Cannot use .*open to others \(mode 0644\); do chmod 600 .*\n$/);
  await Deno.chmod(keyFile, 0o600);
  const [first, second] = peersOf(server);
  await server.write({ allowedPeers: [first, { ...second, allowedIps: ["10.9.0.0/28"] }] });
  const overlap = await server.ask("up", "--config", server.file);
  strictEqual(overlap.code, 2);
  match(overlap.stderr, /"two" \(line \d+\).*"one" \(line \d+\)/);
  await server.host.must(["ip", "address", "add", "10.9.0.77/24", "dev", "eth0"]);
  await server.write({ allowedPeers: [] });
  const taken = await server.ask("up", "--config", server.file);
  strictEqual(taken.code, 2);
  match(taken.stderr, /10\.9\.0\.0\/24: .* on "eth0"; choose other addresses\n$/);
});

interface PeerEntry {
  readonly name: string;
  readonly enabled: boolean;
}

function peersOf(end: StaticEnd): PeerEntry[] {
  return end.config["allowedPeers"] as PeerEntry[];
}

/** A server and three clients who dial it. */
async function describe(lab: Lab): Promise<{ server: StaticEnd; clients: StaticEnd[] }> {
  const hub = await lab.addHost("server");
  const server = new StaticEnd(hub, lab.folder, {
    listen: `[::]:${PORT}`,
    addresses: ["10.9.0.1/24", "fd09::1/64"],
  });
  const clients = [];
  for (const [i, name] of CLIENTS.entries()) {
    const host = await lab.addHost(name);
    clients.push(
      new StaticEnd(host, lab.folder, {
        addresses: [`10.9.0.${11 + i}/24`, `fd09::${11 + i}/64`],
        allowedPeers: [{
          name: "server",
          publicKey: server.publicKey,
          allowedIps: ["10.9.0.1/32", "fd09::1/128"],
          endpoint: `${hub.ipv4}:${PORT}`,
          keepalive: "10s",
        }],
      }),
    );
  }
  server.config = {
    ...server.config,
    allowedPeers: clients.map((client, i) => ({
      name: client.host.name,
      publicKey: client.publicKey,
      enabled: true,
      clientIp: `10.9.0.${11 + i}`,
      allowedIps: [`10.9.0.${11 + i}/32`, `fd09::${11 + i}/128`],
    })),
  };
  return { server, clients };
}
