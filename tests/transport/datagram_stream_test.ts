/**
 * Gathering and cutting, against the plain codec of lib/wire.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { concatBytes } from "../../lib/base/bytes.ts";
import {
  type ByteSink,
  DatagramCutter,
  DatagramGatherer,
} from "../../lib/transport/datagram_stream.ts";
import { encodeLengthPrefixed, LengthPrefixDecoder } from "../../lib/wire/length_prefix.ts";

/** A sink whose writes wait until they are let go. */
class HeldSink implements ByteSink {
  queuedBytes = 0;
  readonly writes: Uint8Array[] = [];
  readonly #waiting: (() => void)[] = [];

  write(bytes: Uint8Array, written: () => void): void {
    this.writes.push(bytes.slice());
    this.queuedBytes += bytes.length;
    this.#waiting.push(() => {
      bytes.fill(0xee); // whoever used them before they are let go sees it
      this.queuedBytes -= bytes.length;
      written();
    });
  }

  /** Lets go of the writes there are. */
  letGo(): void {
    for (const done of this.#waiting.splice(0)) done();
  }
}

/** Datagrams that a stream may hold, short and long. */
const DATAGRAMS = fc.array(
  fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 40 }),
    fc.integer({ min: 1, max: 40_000 }).map((length) => new Uint8Array(length).fill(length)),
  ),
  { maxLength: 12 },
);

Deno.test("DatagramCutter cuts as LengthPrefixDecoder does, wherever the pieces end (any peer's bytes)", () => {
  const pieces = fc.array(fc.nat({ max: 60_000 }), { maxLength: 30 });
  fc.assert(fc.property(DATAGRAMS, pieces, fc.boolean(), (datagrams, cuts, spoil) => {
    const stream = concatBytes(
      encodeLengthPrefixed(...datagrams),
      spoil ? Uint8Array.of(0, 0, 1, 0, 9) : new Uint8Array(0),
    );
    const cutter = new DatagramCutter();
    const twin = new LengthPrefixDecoder();
    const found: Uint8Array[] = [];
    const expected: Uint8Array[] = [];
    const ends = [...cuts.map((cut) => cut % (stream.length + 1)), stream.length].sort((x, y) =>
      x - y
    );
    let at = 0;
    let isGood = true;
    for (const end of ends) {
      if (end === at) continue;
      isGood = cutter.push(stream.subarray(at, end), (datagram) => found.push(datagram.slice()));
      expected.push(...(twin.push(stream.subarray(at, end)) ?? []).map((one) => one.slice()));
      at = end;
    }
    deepStrictEqual(found, datagrams);
    strictEqual(isGood, !spoil);
    ok(spoil || expected.length === found.length);
  }));
});

Deno.test("DatagramGatherer writes what the codec would, in writes of at most 64 KiB, none before its time", async () => {
  await fc.assert(fc.asyncProperty(DATAGRAMS, fc.nat({ max: 12 }), async (datagrams, turnAt) => {
    const sink = new HeldSink();
    const gatherer = new DatagramGatherer(sink, Infinity);
    for (const [i, datagram] of datagrams.entries()) {
      if (i === turnAt) await Promise.resolve();
      ok(gatherer.push(datagram));
    }
    await Promise.resolve();
    while (sink.queuedBytes > 0) sink.letGo();
    deepStrictEqual(concatBytes(...sink.writes), encodeLengthPrefixed(...datagrams));
    ok(sink.writes.every((write) => write.length <= 65_536));
  }));
});

Deno.test("DatagramGatherer gathers a turn, and what comes while a write waits, into one write each", async () => {
  const sink = new HeldSink();
  const gatherer = new DatagramGatherer(sink, Infinity);
  for (let i = 0; i < 20; i++) gatherer.push(new Uint8Array(1_000));
  strictEqual(sink.writes.length, 0);
  await Promise.resolve();
  deepStrictEqual(sink.writes.map((write) => write.length), [20_040]);
  for (let i = 0; i < 5; i++) {
    gatherer.push(new Uint8Array(1_000));
    await Promise.resolve();
  }
  strictEqual(sink.writes.length, 1);
  sink.letGo();
  deepStrictEqual(sink.writes.map((write) => write.length), [20_040, 5_010]);
});

Deno.test("DatagramGatherer takes no more while its sink is behind", () => {
  const sink = new HeldSink();
  const gatherer = new DatagramGatherer(sink, 100_000);
  let taken = 0;
  for (let i = 0; i < 1_000; i++) if (gatherer.push(new Uint8Array(1_000))) taken++;
  ok(taken >= 100 && taken <= 200, `${taken} taken`);
  sink.letGo();
  ok(gatherer.push(Uint8Array.of(1)));
});
