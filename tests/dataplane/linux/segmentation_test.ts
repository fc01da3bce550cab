import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { Mem } from "../../../ffi/memory.ts";
import { Segmentation } from "../../../lib/dataplane/linux/segmentation.ts";
import { finishPartialChecksum, pseudoHeaderSum } from "../../../lib/net/checksum.ts";
import { naiveSplit, type Offloaded } from "./naive_offload.ts";
import { SHAPE, superSegment } from "./random_packets.ts";

const START = 16;

/** Runs the fast splitter; partial checksums are finished as a receiver would. */
function fastSplit(offloaded: Offloaded): Uint8Array[] | undefined {
  const { bytes, gsoSize, transport, isTcp } = offloaded;
  const isIpv4 = bytes[0]! >> 4 === 4;
  const memory = new Mem(70_000);
  memory.u8.set(bytes, START);
  // As the kernel leaves it: the checksum field holds the pseudo-header's sum.
  const pseudo = pseudoHeaderSum(bytes, isTcp ? 6 : 17, bytes.length - transport);
  memory.view.setUint16(START + transport + (isTcp ? 16 : 6), pseudo);
  const packets: Uint8Array[] = [];
  const type = isTcp ? (isIpv4 ? 1 : 4) : 5;
  const isSplit = new Segmentation().split(
    memory,
    START,
    bytes.length,
    type,
    gsoSize,
    transport,
    {
      packet(from, at, length) {
        const packet = from.u8.slice(at, at + length);
        const isPartial = (packet[0]! & 0x80) !== 0;
        packet[0]! &= 0x7f;
        if (isPartial) ok(finishPartialChecksum(packet), "may carry a partial checksum");
        packets.push(packet);
        // The real sink seals elsewhere; whoever reads this again finds rubbish.
        from.u8.fill(0xee, at, at + length - 1);
        from.u8.set(packet.subarray(length - 1), at + length - 1);
      },
    },
  );
  return isSplit ? packets : undefined;
}

Deno.test("Segmentation.split() gives what a network card would, byte for byte", () => {
  // The sender is this machine's kernel: anything it can hand over with GSO.
  fc.assert(
    fc.property(SHAPE, (shape) => {
      const offloaded = superSegment(shape);
      deepStrictEqual(fastSplitWithoutSpoiling(offloaded), naiveSplit(offloaded));
    }),
    { numRuns: 400 },
  );
});

/** The sink must take a packet whole before the next header is written over its end. */
function fastSplitWithoutSpoiling(offloaded: Offloaded): Uint8Array[] | undefined {
  const { bytes, gsoSize, transport, isTcp } = offloaded;
  const memory = new Mem(70_000);
  memory.u8.set(bytes, START);
  const pseudo = pseudoHeaderSum(bytes, isTcp ? 6 : 17, bytes.length - transport);
  memory.view.setUint16(START + transport + (isTcp ? 16 : 6), pseudo);
  const packets: Uint8Array[] = [];
  const type = isTcp ? (bytes[0]! >> 4 === 4 ? 1 : 4) : 5;
  const sink = {
    packet(from: Mem, at: number, length: number) {
      const packet = from.u8.slice(at, at + length);
      const isPartial = (packet[0]! & 0x80) !== 0;
      packet[0]! &= 0x7f;
      if (isPartial) ok(finishPartialChecksum(packet), "may carry a partial checksum");
      packets.push(packet);
    },
  };
  const isSplit = new Segmentation().split(
    memory,
    START,
    bytes.length,
    type,
    gsoSize,
    transport,
    sink,
  );
  return isSplit ? packets : undefined;
}

/** What a kernel never hands over, and why it is refused. */
const REFUSED: [change: (o: Offloaded) => Offloaded, why: string][] = [
  [(o) => ({ ...o, gsoSize: 0 }), "no segment size"],
  [(o) => ({ ...o, bytes: o.bytes.slice(0, 30) }), "ends in the TCP header"],
  [(o) => ({ ...o, bytes: o.bytes.slice(0, 40) }), "no payload"],
  [(o) => ({ ...o, transport: 24 }), "transport not where the IP header ends"],
];

Deno.test("Segmentation.split() refuses lengths that do not fit each other", () => {
  const good = superSegment({
    isIpv4: true,
    isTcp: true,
    extra: 0,
    options: 0,
    gsoSize: 100,
    payload: 250,
    flags: 0x18,
    seed: 7,
    isDontFragment: true,
  });
  strictEqual(fastSplit(good)?.length, 3, "the good one");
  for (const [change, why] of REFUSED) strictEqual(fastSplit(change(good)), undefined, why);
});
