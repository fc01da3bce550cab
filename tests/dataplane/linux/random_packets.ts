/**
 * Random super-segments of every shape that a kernel may hand over.
 *
 * @module
 */

import fc from "fast-check";
import type { Offloaded } from "./naive_offload.ts";

/** What a super-segment is made from. */
export interface Shape {
  readonly isIpv4: boolean;
  readonly isTcp: boolean;
  /** Words of IPv4 options; 8-byte units of IPv6 destination options. */
  readonly extra: number;
  /** Words of TCP options. */
  readonly options: number;
  readonly gsoSize: number;
  /** Bytes of payload. */
  readonly payload: number;
  /** TCP flags. */
  readonly flags: number;
  readonly seed: number;
  readonly isDontFragment: boolean;
}

/** Any shape; sizes around the edges more often. */
export const SHAPE: fc.Arbitrary<Shape> = fc.record({
  isIpv4: fc.boolean(),
  isTcp: fc.boolean(),
  extra: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 10 })),
  options: fc.integer({ min: 0, max: 10 }),
  gsoSize: fc.oneof(fc.integer({ min: 1, max: 1460 }), fc.constantFrom(1, 2, 3, 536, 1348, 1368)),
  payload: fc.oneof(
    fc.integer({ min: 1, max: 6_000 }),
    fc.integer({ min: 1, max: 64_000 }),
    fc.constantFrom(1, 2, 1348, 1349, 2696, 2697),
  ),
  flags: fc.oneof(fc.constantFrom(0x10, 0x18, 0x19, 0x90, 0x50), fc.integer({ min: 0, max: 255 })),
  seed: fc.integer(),
  isDontFragment: fc.boolean(),
});

/** Bytes that depend on the seed only. */
export function randomBytes(length: number, seed: number): Uint8Array {
  let state = seed | 1;
  return Uint8Array.from({ length }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 255;
  });
}

/** Builds the super-segment, its transport checksum still open (zero). */
export function superSegment(shape: Shape): Offloaded {
  const { isIpv4, isTcp, extra, options, gsoSize, flags, seed } = shape;
  const transport = isIpv4 ? 20 + 4 * extra : 40 + 8 * extra;
  const headers = transport + (isTcp ? 20 + 4 * options : 8);
  // No more than 120 segments, and no longer than a packet can be.
  const payload = Math.min(shape.payload, 120 * gsoSize, 65_000 - headers);
  const bytes = randomBytes(headers + payload, seed);
  const view = new DataView(bytes.buffer);
  if (isIpv4) {
    bytes[0] = 0x40 | (transport / 4);
    view.setUint16(2, bytes.length);
    view.setUint16(6, shape.isDontFragment ? 0x4000 : 0);
    bytes[9] = isTcp ? 6 : 17;
    bytes.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
  } else {
    bytes[0] = 0x60 | (bytes[0]! & 15);
    view.setUint16(4, bytes.length - 40);
    bytes[6] = extra > 0 ? 60 : isTcp ? 6 : 17;
    if (extra > 0) {
      bytes.fill(0, 40, transport);
      bytes[40] = isTcp ? 6 : 17;
      bytes[41] = extra - 1;
    }
  }
  if (isTcp) {
    bytes[transport + 12] = (5 + options) << 4;
    bytes[transport + 13] = flags;
  } else view.setUint16(transport + 4, bytes.length - transport);
  view.setUint16(transport + (isTcp ? 16 : 6), 0);
  return { bytes, gsoSize, transport, isTcp };
}
