/**
 * The inner address rule (T21), both ways, both families. An authenticated peer can send what is
 * judged here as received, any program of this machine what is judged as sent.
 *
 * @module
 */

import { strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import { AllowedIps } from "../../lib/route/allowed_ips.ts";
import {
  ANY_IPV4,
  ANY_IPV6,
  destinationPeer,
  type InnerFault,
  OwnAddresses,
  receivedPacketFault,
  sentPacketFault,
} from "../../lib/route/inner_addresses.ts";
import { buildPacket } from "../net/packets.ts";

const OWN = new OwnAddresses(["100.64.0.1", "fd00::1", "fd00::1:1"].map(parseIpAddress));

const ALLOWED = new AllowedIps<string>();
for (
  const [prefix, peer] of [
    ["100.64.0.2/32", "laptop"],
    ["fd00::2/128", "laptop"],
    ["192.168.7.0/24", "laptop"],
    ["100.64.0.3/32", "server"],
    ["fd00::3/128", "server"],
  ] as const
) ALLOWED.insert(parseIpPrefix(prefix), peer);

/** A peer with every address there is: what is refused of it is refused of everybody. */
const EVERYTHING = new AllowedIps<string>();
EVERYTHING.insert(parseIpPrefix("0.0.0.0/0"), "laptop");
EVERYTHING.insert(parseIpPrefix("::/0"), "laptop");

const mapped = (text: string) =>
  Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...parseIpAddress(text));

type End = string | Uint8Array;
/** Packet that "laptop" sealed: source, destination, fault, why. */
const RECEIVED: [from: End, to: End, fault: InnerFault | undefined, why: string][] = [
  ["100.64.0.2", "100.64.0.1", undefined, "its own address"],
  ["192.168.7.0", "100.64.0.1", undefined, "first of its prefix"],
  ["192.168.7.255", "100.64.0.1", undefined, "last of its prefix"],
  ["fd00::2", "fd00::1", undefined, "its own address"],
  ["fd00::2", "fd00::1:1", undefined, "our second address"],
  ["100.64.0.3", "100.64.0.1", "source-not-allowed", "another peer's"],
  ["fd00::3", "fd00::1", "source-not-allowed", "another peer's"],
  ["100.64.0.1", "100.64.0.1", "source-not-allowed", "ours"],
  ["fd00::1", "fd00::1", "source-not-allowed", "ours"],
  ["192.168.8.0", "100.64.0.1", "source-not-allowed", "one past its prefix"],
  ["8.8.8.8", "100.64.0.1", "source-not-allowed", "nobody's"],
  ["2001:db8::1", "fd00::1", "source-not-allowed", "nobody's"],
  ["fe80::2", "fd00::1", "source-not-allowed", "link-local"],
  [mapped("100.64.0.2"), "fd00::1", "source-not-allowed", "its own, IPv4-mapped"],
  ["::100.64.0.2", "fd00::1", "source-not-allowed", "its own, IPv4-compatible"],
  ["100.64.0.2", "100.64.0.3", "destination-not-ours", "another peer's: we do not forward"],
  ["fd00::2", "fd00::3", "destination-not-ours", "another peer's"],
  ["100.64.0.2", "8.8.8.8", "destination-not-ours", "the Internet's"],
  ["100.64.0.2", "127.0.0.1", "destination-not-ours", "loopback"],
  ["fd00::2", "::1", "destination-not-ours", "loopback"],
  ["100.64.0.2", "255.255.255.255", "destination-not-ours", "broadcast"],
  ["100.64.0.2", "224.0.0.251", "destination-not-ours", "multicast"],
  ["fd00::2", "ff02::1", "destination-not-ours", "multicast"],
  ["fd00::2", mapped("100.64.0.1"), "destination-not-ours", "ours, IPv4-mapped"],
  ["fd00::2", mapped("127.0.0.1"), "destination-not-ours", "loopback, IPv4-mapped"],
  ["100.64.0.2", "0.0.0.0", "destination-not-ours", "nobody's"],
  ["fd00::2", "fd00::1:2", "destination-not-ours", "differs in the last bits"],
  ["fd00::2", "fd01::1", "destination-not-ours", "differs in the first bits"],
];

Deno.test("T21: receivedPacketFault() judges source and destination", () => {
  for (const [from, to, fault, why] of RECEIVED) {
    const packet = buildPacket({ from, to });
    strictEqual(
      receivedPacketFault(packet, "laptop", ALLOWED, OWN),
      fault,
      `${why}: ${from} ${to}`,
    );
  }
});

/** Packet of "laptop" to a machine that forwards for its peers: source, destination, fault, why. */
const FORWARDED: [from: End, to: End, fault: InnerFault | undefined, why: string][] = [
  ["100.64.0.2", "100.64.0.1", undefined, "ours, as ever"],
  ["100.64.0.2", "8.8.8.8", undefined, "the Internet's"],
  ["fd00::2", "2001:db8::1", undefined, "the Internet's"],
  ["100.64.0.3", "8.8.8.8", "source-not-allowed", "forwarding gives nobody another's address"],
  ["8.8.8.8", "100.64.0.1", "source-not-allowed", "nobody's"],
  ["100.64.0.2", "127.0.0.1", "destination-not-ours", "loopback"],
  ["100.64.0.2", "224.0.0.251", "destination-not-ours", "multicast"],
  ["100.64.0.2", "255.255.255.255", "destination-not-ours", "broadcast"],
  ["100.64.0.2", "0.0.0.0", "destination-not-ours", "unspecified"],
  ["fd00::2", "::1", "destination-not-ours", "loopback"],
  ["fd00::2", "ff02::1", "destination-not-ours", "multicast"],
  ["fd00::2", mapped("127.0.0.1"), "destination-not-ours", "loopback, IPv4-mapped"],
];

Deno.test("OwnAddresses with ANY_IPV4 and ANY_IPV6 takes every machine's address for ours", () => {
  const own = ["100.64.0.1", "fd00::1"].map(parseIpAddress);
  const forwarding = new OwnAddresses([...own, ANY_IPV4, ANY_IPV6]);
  for (const [from, to, fault, why] of FORWARDED) {
    const packet = buildPacket({ from, to });
    strictEqual(receivedPacketFault(packet, "laptop", ALLOWED, forwarding), fault, why);
  }
  const onlyIpv4 = new OwnAddresses([...own, ANY_IPV4]);
  const ipv6 = buildPacket({ from: "fd00::2", to: "2001:db8::1" });
  strictEqual(receivedPacketFault(ipv6, "laptop", ALLOWED, onlyIpv4), "destination-not-ours");
  strictEqual(sentPacketFault(ipv6, onlyIpv4), "source-not-allowed", "one family is not both");
  strictEqual(sentPacketFault(ipv6, forwarding), undefined, "an answer on its way back");
});

/** Sources that no peer may have, even one with every prefix. */
const NO_HOSTS: [from: End, why: string][] = [
  ["0.0.0.0", "unspecified"],
  ["0.1.2.3", "this network"],
  ["127.0.0.1", "loopback"],
  ["127.1.2.3", "loopback"],
  ["224.0.0.1", "multicast"],
  ["239.255.255.255", "multicast"],
  ["240.0.0.1", "reserved"],
  ["255.255.255.255", "broadcast"],
  ["::", "unspecified"],
  ["::1", "loopback"],
  ["::a00:1", "IPv4-compatible"],
  ["ff02::1", "multicast"],
  [mapped("10.0.0.1"), "IPv4-mapped"],
  [mapped("127.0.0.1"), "IPv4-mapped loopback"],
  [mapped("255.255.255.255"), "IPv4-mapped broadcast"],
];

Deno.test("T21: receivedPacketFault() refuses sources that are no host's, whoever sent them", () => {
  for (const [from, why] of NO_HOSTS) {
    const to = buildPacket({ from, to: from })[0]! >> 4 === 4 ? "100.64.0.1" : "fd00::1";
    const packet = buildPacket({ from, to });
    strictEqual(receivedPacketFault(packet, "laptop", EVERYTHING, OWN), "source-not-allowed", why);
  }
  for (const [from, to] of [["8.8.8.8", "100.64.0.1"], ["2001:db8::1", "fd00::1"]] as const) {
    const packet = buildPacket({ from, to });
    strictEqual(receivedPacketFault(packet, "laptop", EVERYTHING, OWN), undefined, from);
  }
});

Deno.test("receivedPacketFault() refuses what is no IP packet of its own length", () => {
  for (const [from, to] of [["100.64.0.2", "100.64.0.1"], ["fd00::2", "fd00::1"]] as const) {
    const packet = buildPacket({ from, to, body: new Uint8Array(8) });
    const cases: [Uint8Array, string][] = [
      [packet.subarray(0, -1), "cut"],
      [Uint8Array.of(...packet, 0), "tail"],
      [packet.subarray(0, 1), "one byte"],
      [new Uint8Array(0), "empty"],
      [packet.map((byte, i) => i === 0 ? byte | 0x80 : byte), "partial bit set"],
    ];
    for (const [bytes, why] of cases) {
      strictEqual(receivedPacketFault(bytes, "laptop", ALLOWED, OWN), "bad-plaintext", why);
      strictEqual(sentPacketFault(bytes, OWN), "bad-plaintext", why);
    }
  }
});

/** Packet that this machine sends: source, destination, fault, peer, why. */
const SENT: [
  from: End,
  to: End,
  fault: InnerFault | undefined,
  peer: string | undefined,
  why: string,
][] = [
  ["100.64.0.1", "100.64.0.3", undefined, "server", "from us to a peer"],
  ["fd00::1", "fd00::2", undefined, "laptop", "from us to a peer"],
  ["fd00::1:1", "fd00::3", undefined, "server", "from our second address"],
  ["100.64.0.1", "192.168.7.9", undefined, "laptop", "to a peer's prefix"],
  ["192.168.1.5", "100.64.0.3", "source-not-allowed", "server", "another interface's address"],
  ["100.64.0.2", "100.64.0.3", "source-not-allowed", "server", "a peer's address"],
  ["0.0.0.0", "100.64.0.3", "source-not-allowed", "server", "unspecified"],
  ["fe80::1", "ff02::2", "source-not-allowed", undefined, "router solicitation"],
  ["::", "ff02::16", "source-not-allowed", undefined, "multicast report"],
  [mapped("100.64.0.1"), "fd00::3", "source-not-allowed", "server", "ours, IPv4-mapped"],
  ["100.64.0.1", "8.8.8.8", undefined, undefined, "nobody's: no route"],
  ["100.64.0.1", "255.255.255.255", undefined, undefined, "broadcast: no route"],
  ["100.64.0.1", "224.0.0.251", undefined, undefined, "multicast: no route"],
  ["fd00::1", "ff02::1", undefined, undefined, "multicast: no route"],
  ["fd00::1", mapped("100.64.0.3"), undefined, undefined, "IPv4-mapped: no route"],
];

Deno.test("T21: sentPacketFault() and destinationPeer() judge what this machine sends", () => {
  for (const [from, to, fault, peer, why] of SENT) {
    const packet = buildPacket({ from, to });
    strictEqual(sentPacketFault(packet, OWN), fault, why);
    strictEqual(destinationPeer(packet, ALLOWED), peer, why);
  }
});

Deno.test("T21: what one side lets go, the other lets in, and only then", () => {
  // Two nodes that hold the same roster, each with itself left out.
  const ends = ["100.64.0.1", "100.64.0.2", "fd00::1", "fd00::2", "100.64.0.3", "fd00::3"];
  const roster = (self: string) => {
    const allowed = new AllowedIps<string>();
    for (const end of ends) {
      const owner = end.at(-1)!;
      const prefix = parseIpPrefix(end + (end.includes(":") ? "/128" : "/32"));
      if (owner !== self) allowed.insert(prefix, owner);
    }
    return allowed;
  };
  const own = (self: string) =>
    new OwnAddresses(ends.filter((end) => end.endsWith(self)).map(parseIpAddress));
  const end = fc.constantFrom(...ends);
  fc.assert(fc.property(end, end, (from, to) => {
    if (from.includes(":") !== to.includes(":")) return;
    const packet = buildPacket({ from, to });
    const isSent = sentPacketFault(packet, own("1")) === undefined &&
      destinationPeer(packet, roster("1")) === "2";
    const isReceived = receivedPacketFault(packet, "1", roster("2"), own("2")) === undefined;
    strictEqual(isReceived, isSent, `${from} ${to}`);
  }));
});

Deno.test("receivedPacketFault() takes any bytes without an error", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (packet) => {
    receivedPacketFault(packet, "laptop", ALLOWED, OWN);
    sentPacketFault(packet, OWN);
  }));
});

Deno.test("OwnAddresses refuses what is no address", () => {
  throws(() => new OwnAddresses([new Uint8Array(5)]), RangeError);
});
