/**
 * Real UDP sockets in network namespaces, drawn in two_namespaces.ts. Needs root.
 *
 * @module
 */

import {
  deepStrictEqual,
  match,
  notStrictEqual,
  ok,
  strictEqual,
  throws,
} from "node:assert/strict";
import { Netlink } from "../../ffi/netlink.ts";
import { Poller } from "../../ffi/poller.ts";
import { LinuxUdpPath } from "../../ffi/udp_path.ts";
import { formatEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import type { DatagramSocket } from "../../lib/transport/transport.ts";
import { testDatagramSocket } from "../transport/contract.ts";
import { Namespace, NEEDS_NET_ADMIN } from "./namespace.ts";
import { setUpLink, TwoNamespaces } from "./two_namespaces.ts";
import { addLoopbackAddresses, fail, openUdp } from "./udp_bench.ts";

const address = parseIpAddress;

testDatagramSocket("UdpLinux", async () => {
  const namespace = await Namespace.create();
  const poller = new Poller();
  await addLoopbackAddresses(namespace);
  const open = () => {
    const socket: DatagramSocket = namespace.within(() => openUdp({ port: 0, poller }));
    return Promise.resolve(socket);
  };
  return {
    openA: open,
    openB: open,
    routes: [
      { a: address("192.0.2.1"), b: address("192.0.2.2") },
      { a: address("192.0.2.3"), b: address("192.0.2.4") },
      { a: address("2001:db8::1"), b: address("2001:db8::2") },
      { a: address("2001:db8::3"), b: address("2001:db8::4") },
    ],
    foreign: address("198.51.100.1"),
    settle: () => settle(namespace),
    async close() {
      await poller.close();
      await namespace[Symbol.asyncDispose]();
    },
  };
}, NEEDS_NET_ADMIN);

/** Destination, chosen own address, and why. */
const OWN_ADDRESSES: [far: string, own: string | undefined, seen: string, why: string][] = [
  ["192.0.2.2", undefined, "192.0.2.1", "the system takes the first"],
  ["192.0.2.2", "192.0.2.1", "192.0.2.1", "the first, chosen"],
  ["192.0.2.2", "192.0.2.3", "192.0.2.3", "the second on the same interface"],
  ["2001:db8::2", "2001:db8::1", "[2001:db8::1]", "the first, chosen"],
  ["2001:db8::2", "2001:db8::3", "[2001:db8::3]", "the second on the same interface"],
];

Deno.test("UdpLinux.send() leaves from the own address of the path", NEEDS_NET_ADMIN, async () => {
  await using bench = await TwoNamespaces.create();
  for (const [far, own, seen, why] of OWN_ADDRESSES) {
    const endpoint = { address: address(far), port: bench.two.port };
    const path = bench.one.path(endpoint, own === undefined ? undefined : address(own));
    ok(bench.one.send(Uint8Array.of(1), path), why);
    const arrival = await bench.atTwo.next();
    strictEqual(arrival.path.remote, `${seen}:${bench.one.port}`, why);
    deepStrictEqual(arrival.path.local, address(far), why);
    ok(bench.two.send(Uint8Array.of(2), arrival.path), why);
    const answer = await bench.atOne.next();
    deepStrictEqual(answer.path.local, address(seen.replace(/[[\]]/g, "")), why);
    if (own !== undefined) {
      strictEqual(answer.path.key, path.key, "an answer comes by the very path that was asked for");
      strictEqual(answer.path, path, "and that is the same object");
    }
  }
});

Deno.test(
  "UdpLinux answers a link-local address on the interface it came by",
  NEEDS_NET_ADMIN,
  async () => {
    await using bench = await TwoNamespaces.create();
    // A plain program sends, since only arrivals tell the interface.
    const port = bench.two.port;
    const linkLocal = bench.linkLocalOfTwo;
    const program = `
    import { createSocket } from "node:dgram";
    const socket = createSocket("udp6");
    socket.on("message", (text) => { console.log(String(text)); socket.close(); });
    socket.send("hello", ${port}, "${linkLocal}%veth-a");`;
    const run = bench.first.run(Deno.execPath(), "eval", program);
    const arrival = await bench.atTwo.next();
    match(arrival.path.remote, /^\[fe80::/);
    match(arrival.path.key, /%\d+ /, "the key tells interfaces apart");
    deepStrictEqual(arrival.path.local, address(linkLocal));
    ok(bench.two.send(new TextEncoder().encode("and you"), arrival.path));
    strictEqual((await run).trim(), "and you");
  },
);

Deno.test(
  "UdpLinux keeps equal link-local ends on two interfaces apart",
  NEEDS_NET_ADMIN,
  async () => {
    await using bench = await TwoNamespaces.create();
    // A second cable between the two, with the same addresses as the first.
    const veth = "ip link add veth-c type veth peer name veth-d netns";
    await bench.first.run(...veth.split(" "), bench.second.name);
    setUpLink(bench.first, "veth-c", ["fe80::a"]);
    setUpLink(bench.second, "veth-d", ["fe80::b"]);
    const endpoint = { address: address("fe80::b"), port: bench.two.port };
    const seen: LinuxUdpPath[] = [];
    for (const name of ["veth-a", "veth-c", "veth-a"]) {
      const index = indexOf(bench.first, name);
      const path = new LinuxUdpPath(endpoint, address("fe80::a"), index, formatEndpoint);
      ok(bench.one.send(Uint8Array.of(1), path), name);
      const arrival = await bench.atTwo.next();
      seen.push(arrival.path);
      ok(bench.two.send(Uint8Array.of(2), arrival.path));
      strictEqual((await bench.atOne.next()).path.key, path.key, "back over the same cable");
    }
    const [first, second, third] = seen;
    strictEqual(first!.remote, second!.remote);
    notStrictEqual(first!.key, second!.key);
    strictEqual(third!.key, first!.key);
    const unscoped = bench.two.path(first!.endpoint, first!.local);
    notStrictEqual(unscoped.key, first!.key, "an address without interface is another path");
  },
);

Deno.test("UdpLinux may be closed by the datagram it delivers", NEEDS_NET_ADMIN, async () => {
  await using bench = await TwoNamespaces.create();
  const path = bench.one.path({ address: address("192.0.2.2"), port: bench.two.port });
  await bench.exchange();
  const poller = new Poller();
  const socket = bench.second.within(() => openUdp({ port: 0, poller }));
  const own = bench.two.path({ address: address("192.0.2.2"), port: socket.port });
  for (let i = 0; i < 3; i++) ok(bench.two.send(Uint8Array.of(1), own));
  const closed = Promise.withResolvers<void>();
  let datagrams = 0;
  socket.start(() => {
    datagrams++;
    socket.close().then(closed.resolve);
  }, fail);
  await closed.promise;
  await new Promise((resolve) => setTimeout(resolve, 5));
  strictEqual(datagrams, 1, "though more had arrived");
  strictEqual(socket.send(Uint8Array.of(1), path), false);
  await poller.close();
});

Deno.test("UdpLinux holds what arrives while nobody reads", NEEDS_NET_ADMIN, async () => {
  await using namespace = await Namespace.create();
  await addLoopbackAddresses(namespace);
  const poller = new Poller();
  const [one, two] = [0, 0].map((port) => namespace.within(() => openUdp({ port, poller })));
  const count = 1500; // the system's usual buffer holds about a hundred
  for (const far of ["192.0.2.2", "2001:db8::2"]) {
    const path = one!.path({ address: address(far), port: two!.port });
    for (let i = 0; i < count; i++) ok(one!.send(new Uint8Array(1400), path));
  }
  let received = 0;
  two!.start(() => void received++, fail);
  // What the kernel had no time for yet is in no socket.
  for (let turns = 0; received < 2 * count && turns < 1_000; turns++) await settle(namespace);
  strictEqual(received, 2 * count);
  await one!.close();
  await two!.close();
  await poller.close();
});

/** An endpoint that cannot be reached, the own address to use, and why it cannot. */
const UNREACHABLE: [far: string, own: string | undefined, why: string][] = [
  ["203.0.113.1", undefined, "no route"],
  ["2001:db9::1", undefined, "no route"],
  ["192.0.2.2", "203.0.113.9", "not an own address"],
  ["2001:db8::2", "2001:db8::9", "not an own address"],
];

Deno.test("UdpLinux.send() says that there is no way, and lives on", NEEDS_NET_ADMIN, async () => {
  await using bench = await TwoNamespaces.create();
  for (const [far, own, why] of UNREACHABLE) {
    const path = bench.one.path({ address: address(far), port: 9 }, own ? address(own) : undefined);
    strictEqual(bench.one.send(Uint8Array.of(1), path), false, why);
    strictEqual(bench.one.sendError, "unreachable", `${why} (${bench.one.sendErrno})`);
  }
  await bench.exchange();
});

Deno.test("UdpLinux survives ICMP answers to what it sent", NEEDS_NET_ADMIN, async () => {
  await using bench = await TwoNamespaces.create();
  for (const far of ["192.0.2.2", "2001:db8::2"]) {
    const closed = bench.one.path({ address: address(far), port: 9 });
    for (let i = 0; i < 5; i++) {
      ok(bench.one.send(Uint8Array.of(1), closed), "nobody listens there: port unreachable");
      await bench.exchange();
    }
  }
  const nowhere = bench.one.path({ address: address("192.0.2.77"), port: 9 });
  for (let i = 0; i < 3; i++) bench.one.send(Uint8Array.of(1), nowhere);
  await bench.exchange();
  deepStrictEqual(bench.failures, []);
});

Deno.test("UdpLinux.send() says that a packet filter refused", NEEDS_NET_ADMIN, async () => {
  await using bench = await TwoNamespaces.create();
  await bench.first.run("ip", "route", "add", "prohibit", "198.51.100.0/24");
  const path = bench.one.path({ address: address("198.51.100.1"), port: 9 });
  strictEqual(bench.one.send(Uint8Array.of(1), path), false);
  strictEqual(bench.one.sendError, "refused");
  await bench.exchange();
});

Deno.test("UdpLinux.path() turns IPv4-mapped addresses into IPv4", NEEDS_NET_ADMIN, async () => {
  await using bench = await TwoNamespaces.create();
  const mapped = (tail: number) =>
    Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, tail);
  const path = bench.one.path({ address: mapped(2), port: bench.two.port }, mapped(3));
  const plain = bench.one.path(
    { address: address("192.0.2.2"), port: bench.two.port },
    address("192.0.2.3"),
  );
  strictEqual(path, plain);
  ok(bench.one.send(Uint8Array.of(1), path));
  strictEqual((await bench.atTwo.next()).path.remote, `192.0.2.3:${bench.one.port}`);
});

Deno.test("UdpLinux.send() takes a path made elsewhere", NEEDS_NET_ADMIN, async () => {
  await using bench = await TwoNamespaces.create();
  const endpoint = { address: address("192.0.2.2"), port: bench.two.port };
  ok(bench.one.send(Uint8Array.of(1), { endpoint, local: address("192.0.2.3") }));
  strictEqual((await bench.atTwo.next()).path.remote, `192.0.2.3:${bench.one.port}`);
});

/** Endpoint and own address that are refused, and why. */
const MISUSE: [bytes: number, port: number, own: number | undefined, why: string][] = [
  [5, 9, undefined, "neither family"],
  [4, 0, undefined, "no port"],
  [4, 65_536, undefined, "no port"],
  [4, 1.5, undefined, "no port"],
  [4, 9, 16, "two families"],
  [16, 9, 4, "two families"],
];

Deno.test("UdpLinux.path() refuses what is no pair of ends", async () => {
  const poller = new Poller();
  const socket = openUdp({ port: 0, poller });
  for (const [bytes, port, own, why] of MISUSE) {
    const local = own === undefined ? undefined : new Uint8Array(own);
    throws(() => socket.path({ address: new Uint8Array(bytes), port }, local), RangeError, why);
  }
  await socket.close();
  await poller.close();
});

function indexOf(namespace: Namespace, name: string): number {
  return namespace.within(() => {
    using netlink = new Netlink();
    return netlink.link(name)!.index;
  });
}

/** Waits until no UDP socket of the namespace has anything left to read. */
async function settle(namespace: Namespace): Promise<void> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const tables = namespace.within(() =>
      ["udp", "udp6"].map((name) => Deno.readTextFileSync(`/proc/thread-self/net/${name}`))
    );
    // sl local_address rem_address st tx_queue:rx_queue …
    const lines = tables.flatMap((table) => table.trim().split("\n").slice(1));
    if (lines.every((line) => line.trim().split(/\s+/)[4]!.endsWith(":00000000"))) return;
  }
}
