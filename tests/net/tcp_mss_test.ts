/**
 * The maximum segment size in SYNs. Local programs and routed neighbours send what is read here.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { clampMss } from "../../lib/net/tcp_mss.ts";
import { hasRightChecksums, tcpPacket } from "../fakes/packets.ts";

const ENDS = {
  4: { source: parseIpAddress("100.64.0.1"), destination: parseIpAddress("100.64.0.2") },
  6: { source: parseIpAddress("fd00::1"), destination: parseIpAddress("fd00::2") },
} as const;
const [SYN, SYN_ACK, ACK] = [0x02, 0x12, 0x10];
const mss = (value: number) => [2, 4, value >> 8, value & 255];
/** As Linux sends them, the size first. */
const usual = (value: number) => [...mss(value), 4, 2, 8, 10, ...Array(8).fill(7), 1, 3, 3, 7];

/** A TCP segment with right checksums. */
function segment(family: 4 | 6, flags: number, options: readonly number[], payload = 0) {
  return tcpPacket({ ...ENDS[family], flags, options, payload: new Uint8Array(payload) });
}

const ROWS: [family: 4 | 6, flags: number, options: number[], mtu: number, fits: number][] = [
  [4, SYN, usual(1368), 1340, 1300],
  [4, SYN_ACK, usual(1368), 1340, 1300],
  [6, SYN, usual(1348), 1280, 1220],
  [4, SYN, mss(1460), 576, 536],
  [4, SYN, [1, ...mss(1460), 1, 1, 1], 1340, 1300], // at an odd place
  [6, SYN, [1, 1, 1, ...mss(1440), 1], 1340, 1280],
];

for (const [family, flags, options, mtu, fits] of ROWS) {
  const name = `IPv${family} flags ${flags} options ${options} at ${mtu}`;
  Deno.test(`clampMss() lowers what a SYN asks for: ${name}`, () => {
    const packet = segment(family, flags, options);
    const expected = segment(family, flags, withMss(options, fits));
    ok(hasRightChecksums(packet) && hasRightChecksums(expected));
    strictEqual(clampMss(packet, 0, packet.length, mtu, false), true);
    deepStrictEqual(packet, expected);
    strictEqual(clampMss(packet, 0, packet.length, mtu, false), false, "and then it fits");
  });
}

Deno.test("clampMss() leaves a partial checksum alone: it does not cover options", () => {
  const packet = segment(4, SYN, usual(1368));
  const before = packet.slice(36, 38);
  ok(clampMss(packet, 0, packet.length, 1340, true));
  deepStrictEqual(packet.slice(36, 38), before);
  deepStrictEqual([...packet.slice(42, 44)], [1300 >> 8, 1300 & 255]);
});

const later = segment(4, SYN, usual(1460));
later[7] = 1; // fragment offset
const udp = segment(4, SYN, usual(1460));
udp[9] = 17;
const OTHERS: [why: string, packet: Uint8Array][] = [
  ["no SYN", segment(4, ACK, usual(1460), 100)],
  ["it fits as it is", segment(6, SYN, usual(1280))],
  ["no such option", segment(4, SYN, [1, 1, 4, 2])],
  ["the end comes before it", segment(4, SYN, [0, ...mss(1460), 0, 0, 0])],
  ["an option of no length", segment(4, SYN, [8, 0, ...mss(1460), 1, 1])],
  ["an option past the end", segment(4, SYN, [8, 40, ...mss(1460), 1, 1])],
  ["an option of that kind and another length", segment(4, SYN, [2, 6, 5, 5, 5, 5, 1, 1])],
  ["a later fragment", later],
  ["no TCP", udp],
  ["nothing", new Uint8Array(0)],
];

for (const [why, packet] of OTHERS) {
  Deno.test(`clampMss() changes nothing: ${why}`, () => {
    const before = packet.slice();
    strictEqual(clampMss(packet, 0, packet.length, 1340, false), false);
    deepStrictEqual(packet, before);
  });
}

Deno.test("clampMss() takes any bytes, and changes two and the checksum at most", () => {
  const start = segment(4, SYN, usual(1460));
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    fc.tuple(fc.nat(start.length - 1), fc.nat(255), fc.nat(start.length)).map(([at, to, end]) => {
      const changed = start.slice(0, end);
      if (at < end) changed[at] = to;
      return changed;
    }),
  );
  fc.assert(fc.property(anything, fc.integer({ min: 576, max: 1408 }), (packet, mtu) => {
    const before = packet.slice();
    clampMss(packet, 0, packet.length, mtu, false);
    const changed = packet.filter((byte, i) => byte !== before[i]).length;
    ok(changed <= 4, `${changed} bytes`);
  }));
});

function withMss(options: readonly number[], value: number): number[] {
  const at = options.findIndex((byte, i) => byte === 2 && options[i + 1] === 4 && i !== 5);
  return [...options.slice(0, at + 2), value >> 8, value & 255, ...options.slice(at + 4)];
}
