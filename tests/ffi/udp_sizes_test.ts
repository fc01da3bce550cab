/**
 * Datagrams that do not fit: what is said of them, and what the system can be told. Needs root.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { Namespace, NEEDS_NET_ADMIN } from "./namespace.ts";
import { setUpLink, TwoNamespaces } from "./two_namespaces.ts";

const address = parseIpAddress;

Deno.test(
  "UdpLinux.send() says that a datagram is too large, and what fits",
  NEEDS_NET_ADMIN,
  async () => {
    await using bench = await TwoNamespaces.create();
    for (const [far, fits] of [["192.0.2.2", 1472], ["2001:db8::2", 1452]] as const) {
      const path = bench.one.path({ address: address(far), port: bench.two.port });
      strictEqual(bench.one.send(new Uint8Array(fits + 1), path), false, far);
      strictEqual(bench.one.sendError, "too-large", far);
      strictEqual(bench.first.within(() => bench.one.largestDatagram(path)), fits, far);
      strictEqual(bench.one.send(new Uint8Array(fits), path), true, far);
      strictEqual(bench.one.sendError, undefined, far);
      strictEqual((await bench.atTwo.next()).length, fits, "whole, in one piece");
      strictEqual(bench.one.send(new Uint8Array(70_000), path), false);
      strictEqual(bench.one.sendError, "too-large", "more than a datagram can hold");
    }
  },
);

Deno.test(
  "UdpLinux.tellLargest() has the system make fragments for a narrow way by IPv6",
  NEEDS_NET_ADMIN,
  async () => {
    await using bench = await TwoNamespaces.create();
    const far = address("2001:db8::2");
    const path = bench.one.path({ address: far, port: bench.two.port });
    await bench.exchange();
    const own = bench.one.path({ address: far, port: 9 }, address("2001:db8::1"));
    const other = bench.one.path({ address: address("192.0.2.2"), port: bench.two.port });
    bench.first.within(() => {
      strictEqual(bench.one.largestDatagram(path), 1452, "nobody said anything");
      strictEqual(bench.one.tellLargest(other, 1000), false, "by IPv4 there is no need");
      strictEqual(bench.one.largestDatagram(other), 1472);
      ok(bench.one.tellLargest(path, 1300));
      strictEqual(bench.one.largestDatagram(path), 1300);
      ok(bench.one.tellLargest(own, 1232));
      strictEqual(bench.one.largestDatagram(own), 1232);
      strictEqual(bench.one.largestDatagram(path), 1232, "it is of the host, not of the port");
      ok(bench.one.tellLargest(path, 1000));
      strictEqual(bench.one.largestDatagram(path), 1232, "no IPv6 link is narrower");
    });
    strictEqual(bench.one.send(new Uint8Array(1233), path), false);
    // The cable gets as narrow as it was said to be, and drops what is longer without a word.
    await bench.second.run("ip", "link", "set", "veth-b", "mtu", "1280");
    ok(bench.one.send(new Uint8Array(1312), path, true));
    strictEqual((await bench.atTwo.next()).length, 1312, "in two pieces, put together again");
  },
);

Deno.test("UdpLinux.send() heeds a router that says what fits", NEEDS_NET_ADMIN, async () => {
  await using bench = await TwoNamespaces.create();
  // Behind the second namespace, which forwards, lies a narrower cable.
  await using third = await Namespace.create();
  const veth = "ip link add veth-c mtu 1300 type veth peer name veth-d mtu 1300 netns";
  await bench.second.run(...veth.split(" "), third.name);
  setUpLink(bench.second, "veth-c", ["198.51.100.1", "2001:db8:1::1"]);
  setUpLink(third, "veth-d", ["198.51.100.2", "2001:db8:1::2"]);
  const forward = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
  await bench.second.run("sysctl", "-qw", ...forward);
  for (const [gateway, far, fits] of WAYS) {
    await bench.first.run("ip", "route", "add", "default", "via", gateway);
    const path = bench.one.path({ address: address(far), port: 9 });
    ok(bench.one.send(new Uint8Array(fits + 1), path), "nothing is known yet");
    let tries = 0;
    while (bench.one.send(new Uint8Array(fits + 1), path)) {
      ok(++tries < 500, "the router's answer has come");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    strictEqual(bench.one.sendError, "too-large", far);
    strictEqual(bench.first.within(() => bench.one.largestDatagram(path)), fits, far);
    ok(bench.one.send(new Uint8Array(fits), path), far);
  }
  deepStrictEqual(bench.failures, []);
});

/** Gateway, far end, and the largest datagram that fits 1300 bytes. */
const WAYS: [gateway: string, far: string, fits: number][] = [
  ["192.0.2.2", "198.51.100.2", 1272],
  ["2001:db8::2", "2001:db8:1::2", 1252],
];
