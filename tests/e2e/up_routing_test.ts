/**
 * Allow-list mode as a way to the internet: masquerading at the server, all traffic at the client.
 *
 * ```
 *   server ── bridge ── client ── default route to ──┐
 *     └──────── route to 203.0.113.0/24 ────── internet (203.0.113.80, 2001:db8:80::80)
 * ```
 *
 * `internet` knows no way to tunnel addresses, and answers whoever asks from the bridge: so what
 * leaks out of the tunnel arrives and is seen.
 *
 * @module
 */

import { match, ok, strictEqual } from "node:assert/strict";
import { toBase64 } from "../../lib/base/bytes.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import { type Host, Lab, pings } from "../lab/namespaces.ts";
import { eventually } from "../lab/processes.ts";
import { PORT, StaticEnd } from "./static_net.ts";

const OUTSIDE = ["203.0.113.80", "2001:db8:80::80"] as const;
const FORWARDING = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

for (const crash of [false, true]) {
  const how = crash ? "after a crash, by the next run" : "when it stops";
  Deno.test(`up: masquerade leads clients out under the server's address, and is undone ${how}`, async () => {
    await using lab = await Lab.create();
    const { server, client, internet } = await describe(lab);
    await server.host.must(["nft", "add", "table", "inet", "somebody_elses"]);
    await server.start();
    await client.start();
    const wire = internet.start(["tcpdump", "-n", "-l", "-i", "eth0", "icmp or icmp6"]);
    await wire.shows(/listening on/);
    for (const address of OUTSIDE) await pings(client.host, address);
    await wire.shows(new RegExp(`${server.host.ipv4} > 203\\.0\\.113\\.80: ICMP echo request`));
    ok(!/10\.9\.0\.|fd09::/.test(wire.stdout), "no tunnel address is seen outside");

    // Nobody outside starts anything with a client, and clients do not reach each other.
    const inside = server.host.start(["tcpdump", "-n", "-l", "-i", "tm0", "icmp[icmptype] == 8"]);
    await inside.shows(/listening on/);
    await internet.must(["ip", "route", "add", "10.9.0.0/24", "via", server.host.ipv4]);
    strictEqual((await internet.run(["ping", "-c", "2", "-W", "1", "10.9.0.11"])).code, 1);
    await client.host.must(["ping", "-c", "1", "10.9.0.1"]);
    await inside.shows(/10\.9\.0\.11 > 10\.9\.0\.1: ICMP echo request/);
    ok(!/> 10\.9\.0\.11/.test(inside.stdout), inside.stdout);
    await client.host.run(["ping", "-c", "2", "-W", "1", "10.9.0.12"]);
    // What follows them shows that they, too, have been written down.
    await client.host.must(["ping", "-c", "1", "10.9.0.1"]);
    await inside.shows(/10\.9\.0\.11 > 10\.9\.0\.12[^]*10\.9\.0\.11 > 10\.9\.0\.1:/);
    const across = inside.stdout.match(/10\.9\.0\.11 > 10\.9\.0\.12/g);
    strictEqual(across?.length, 2, "each is seen coming in, none going out again");
    await inside.stop();

    // Who is disabled is not forwarded for any more.
    const peers = server.config["allowedPeers"] as object[];
    await server.write({ allowedPeers: peers.map((peer) => ({ ...peer, enabled: false })) });
    await eventually("it is read", async () => !(await server.peer("client")).enabled);
    ok(!/10\.9\.0\.11/.test(await tables(server.host)));
    await server.write({ allowedPeers: peers });
    for (const address of OUTSIDE) await pings(client.host, address);

    if (crash) {
      await server.process.kill();
      match(await tables(server.host), /tunnelmesh_tm0/, "a crash cannot clean up");
      server.config = { ...server.config, masquerade: crash };
      await server.start();
      for (const address of OUTSIDE) await pings(client.host, address);
    }
    strictEqual(await server.process.stop(), 0);
    ok(!/tunnelmesh/.test(await tables(server.host)), await tables(server.host));
    match(await tables(server.host), /somebody_elses/);
    for (const file of FORWARDING) {
      strictEqual((await server.host.must(["cat", file])).trim(), "0", `${file} is as it was`);
    }
  });
}

Deno.test("up: defaultRoute takes everything through the tunnel and leaks nothing meanwhile", async () => {
  await using lab = await Lab.create();
  const { server, client, internet } = await describe(lab);
  // The strict check of sources (RFC 3704) must not stop what comes back to our port.
  await client.host.must(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter"]);
  await server.start();
  client.config = {
    ...client.config,
    defaultRoute: true,
    allowedPeers: (client.config["allowedPeers"] as object[])
      .map((peer) => ({ ...peer, allowedIps: ["0.0.0.0/0", "::/0"] })),
  };
  for (const address of OUTSIDE) await pings(client.host, address); // in the clear, before
  await client.start();
  const wire = client.host.start([
    ...["tcpdump", "-n", "-l", "-i", "eth0", "host", OUTSIDE[0], "or", "host", OUTSIDE[1]],
  ]);
  await wire.shows(/listening on/);
  for (const address of OUTSIDE) await pings(client.host, address);
  await pings(client.host, internet.ipv4); // a neighbour on the own network is reached directly

  // The server goes away; whatever is sent meanwhile goes nowhere.
  const flows = OUTSIDE.map((address) => client.host.start(["ping", "-n", "-i", "0.002", address]));
  await server.process.kill();
  for (const address of OUTSIDE) await blocked(client.host, address);
  await server.start();
  for (const address of OUTSIDE) await pings(client.host, address);

  // A client that crashes leaves the door shut; the next run goes on from there.
  await client.process.kill();
  for (const address of OUTSIDE) await blocked(client.host, address);
  await client.start();
  for (const address of OUTSIDE) await pings(client.host, address);

  // Another node's start does not open it.
  await client.process.kill();
  const second = new StaticEnd(client.host, `${lab.folder}/second`, client.config);
  await Deno.mkdir(`${lab.folder}/second`);
  second.config = { ...second.config, defaultRoute: false, allowedPeers: [] };
  await second.start();
  for (const address of OUTSIDE) await blocked(client.host, address); // not this node's door
  strictEqual(await second.process.stop(), 0);
  await client.start();

  for (const flow of flows) {
    flow.signal("SIGINT");
    await flow.ended;
  }

  // A family that the tunnel does not carry goes nowhere.
  strictEqual(await client.process.stop(), 0);
  strictEqual(wire.stdout, "", `nothing left beside the tunnel:\n${wire.stdout}`);
  await wire.stop();
  const rules = await client.host.must(["ip", "rule"]) +
    await client.host.must(["ip", "-6", "rule"]);
  ok(!/51[12]\d:/.test(rules), rules);
  const table = await client.host.must(["ip", "route", "show", "table", "all"]);
  ok(!/1953366\d+|unreachable default/.test(table), table);
  for (const address of OUTSIDE) await pings(client.host, address); // in the clear again

  client.config = {
    ...client.config,
    allowedPeers: (client.config["allowedPeers"] as object[])
      .map((peer) => ({ ...peer, allowedIps: ["0.0.0.0/0"] })),
  };
  await client.start();
  await pings(client.host, OUTSIDE[0]);
  await blocked(client.host, OUTSIDE[1]);

  // What a crash left shut is opened by a start under a file without defaultRoute.
  await client.process.kill();
  client.config = { ...client.config, defaultRoute: false, allowedPeers: [] };
  await client.start();
  for (const address of OUTSIDE) await pings(client.host, address);
});

async function blocked(from: Host, address: string): Promise<void> {
  const { code, stdout } = await from.run([
    "ping",
    "-n",
    "-c",
    "3",
    "-i",
    "0.2",
    "-W",
    "1",
    address,
  ]);
  ok(code !== 0, stdout);
}

function tables(host: Host): Promise<string> {
  return host.must(["nft", "list", "ruleset"]);
}

async function describe(lab: Lab) {
  const [hub, guest, internet] = [
    await lab.addHost("server"),
    await lab.addHost("client"),
    await lab.addHost("internet"),
  ];
  await internet.must(["ip", "address", "add", `${OUTSIDE[0]}/32`, "dev", "lo"]);
  await internet.must(["ip", "address", "add", `${OUTSIDE[1]}/128`, "dev", "lo"]);
  await hub.must(["ip", "route", "add", "203.0.113.0/24", "via", internet.ipv4]);
  await hub.must(["ip", "route", "add", "2001:db8:80::/48", "via", internet.ipv6]);
  await guest.must(["ip", "route", "add", "default", "via", internet.ipv4]);
  await guest.must(["ip", "route", "add", "default", "via", internet.ipv6]);
  const server = new StaticEnd(hub, lab.folder, {
    listen: `[::]:${PORT}`,
    addresses: ["10.9.0.1/24", "fd09::1/64"],
    masquerade: true,
  });
  const client = new StaticEnd(guest, lab.folder, {
    addresses: ["10.9.0.11/24", "fd09::11/64"],
    allowedPeers: [{
      name: "server",
      publicKey: server.publicKey,
      allowedIps: [
        "10.9.0.1/32",
        "10.9.0.12/32",
        "fd09::1/128",
        "203.0.113.0/24",
        "2001:db8:80::/48",
      ],
      endpoint: `${hub.ipv4}:${PORT}`,
      keepalive: "1s",
    }],
  });
  server.config = {
    ...server.config,
    allowedPeers: [{
      name: "client",
      publicKey: client.publicKey,
      clientIp: "10.9.0.11",
      allowedIps: ["10.9.0.11/32", "fd09::11/128"],
    }, {
      name: "other",
      publicKey: toBase64(generateKeyPair().publicKey),
      clientIp: "10.9.0.12",
    }],
  };
  return { server, client, internet };
}
