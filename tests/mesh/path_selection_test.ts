/**
 * The rules of the path choice, as tables.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  comparePaths,
  type DirectFacts,
  isBestKind,
  isPrivateAddress,
  isWorthMoving,
  PROBE_WAITS_MS,
  probeWaitMs,
  whyNotDirect,
} from "../../lib/mesh/path_selection.ts";
import { parseEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import type { Path } from "../../lib/session/path.ts";
import { UdpPaths } from "../../lib/transport/udp_path.ts";

const paths = new UdpPaths();
const udp = (text: string): Path => paths.path(parseEndpoint(text));
const RELAY: Path = { kind: "relay", key: "relay bob", remote: "relay" };
const SSH: Path = { kind: "ssh", key: "ssh 1", remote: "ssh 192.0.2.1:22" };
const IPV4 = udp("192.0.2.1:5000");
const IPV6 = udp("[2001:db8::1]:5000");
const LAN = udp("192.168.1.7:5000");
const LAN6 = udp("[fd12::7]:5000");

Deno.test("comparePaths() puts relay before SSH before UDP, and the nearest UDP last", () => {
  const shuffled = [IPV6, LAN, RELAY, IPV4, SSH];
  deepStrictEqual(shuffled.toSorted(comparePaths), [RELAY, SSH, IPV4, IPV6, LAN]);
  strictEqual(comparePaths(LAN, LAN6), 0);
  deepStrictEqual([RELAY, SSH, IPV4].map(isBestKind), [false, false, true]);
});

const MOVES: [from: Path, to: Path, latenessMs: number, isWorth: boolean, why: string][] = [
  [RELAY, IPV4, 900, true, "a better kind, however slow"],
  [RELAY, SSH, 900, true, "SSH too"],
  [IPV4, RELAY, 0, false, "never to a worse kind"],
  [IPV4, LAN, 1.9, true, "near, and as fast"],
  [IPV4, LAN, 4.9, true, "near, and as fast for a round trip of 50 ms"],
  [IPV4, LAN, 5.1, false, "near, but slower"],
  [IPV4, IPV6, 0.1, false, "IPv6 was asked first: it is slower"],
  [LAN, LAN6, 0, false, "no better"],
  [LAN, IPV6, 0, false, "not so near"],
];

for (const [from, to, latenessMs, isWorth, why] of MOVES) {
  Deno.test(`isWorthMoving() ${from.remote} to ${to.remote}: ${isWorth}, ${why}`, () => {
    strictEqual(isWorthMoving(from, to, { rttMs: 50, latenessMs }), isWorth);
  });
}

Deno.test("probeWaitMs() grows with searches in vain and with flaps, up to a minute", () => {
  deepStrictEqual([0, 1, 2, 3, 4, 5, 6, 99].map((searches) => probeWaitMs(searches, 0)), [
    ...PROBE_WAITS_MS,
    60_000,
    60_000,
  ]);
  strictEqual(probeWaitMs(0, 3), 10_000);
  ok(probeWaitMs(2, 9) === 60_000);
});

const FACTS: DirectFacts = {
  candidates: 3,
  isUdpOpen: true,
  ownNat: "same",
  peerNat: "same",
  soughtForMs: 12_900,
};
const REASONS: [change: Partial<DirectFacts>, why: string][] = [
  [{}, "no answer on 3 UDP candidates for 12 s"],
  [{ candidates: 1 }, "no answer on 1 UDP candidate for 12 s"],
  [{ isUdpOpen: false }, "UDP is blocked here"],
  [{ candidates: 0 }, "the peer has no UDP endpoint that can be reached from here"],
  [{ soughtForMs: undefined }, "not tried yet"],
  [{ ownNat: "varying", peerNat: "varying" }, "symmetric NAT at both ends"],
  [{ ownNat: "varying" }, "no answer on 3 UDP candidates for 12 s; symmetric NAT here"],
  [{ peerNat: "varying" }, "no answer on 3 UDP candidates for 12 s; symmetric NAT at the peer"],
];

Deno.test("whyNotDirect() says the first thing that explains it", () => {
  for (const [change, why] of REASONS) strictEqual(whyNotDirect({ ...FACTS, ...change }), why);
});

Deno.test("isPrivateAddress() knows the addresses that only neighbours can use", () => {
  const all = "10.1.2.3 172.16.0.1 172.31.9.9 192.168.0.1 169.254.1.1 fd00::1 fc00::1 fe80::1";
  for (const text of all.split(" ")) ok(isPrivateAddress(parseIpAddress(text)), text);
  for (const text of "11.0.0.1 172.32.0.1 192.169.0.1 100.64.0.1 2001:db8::1 fec0::1".split(" ")) {
    ok(!isPrivateAddress(parseIpAddress(text)), text);
  }
});
