import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { DatagramRing } from "../../../lib/dataplane/linux/datagram_ring.ts";

const RING = "../../../lib/dataplane/linux/datagram_ring.ts";
const SMALL = 262_144;

/** Both ends of a ring, as two threads have them. */
function ends(size = SMALL): { writer: DatagramRing; reader: DatagramRing } {
  const writer = new DatagramRing(new SharedArrayBuffer(256 + size));
  return { writer, reader: new DatagramRing(writer.buffer) };
}

Deno.test("DatagramRing gives what was taken, in order, around its end any number of times", () => {
  const steps = fc.array(
    fc.record({ length: fc.integer({ min: 1, max: 65_535 }), takes: fc.nat({ max: 3 }) }),
    { minLength: 1, maxLength: 60 },
  );
  fc.assert(fc.property(steps, (steps) => {
    const { writer, reader } = ends();
    const waiting: [label: number, length: number, byte: number][] = [];
    const source = new Uint8Array(65_536 + 5);
    for (const [i, { length, takes }] of steps.entries()) {
      source.fill(i + 1);
      const label = (0xffff_ff00 + i) >>> 0;
      if (writer.push(label, source, 5, length)) waiting.push([label, length, i + 1]);
      else ok(waiting.length >= 2, "a ring that is nearly empty takes the longest datagram");
      for (let n = 0; n < takes && waiting.length > 0; n++) {
        const [label, length, byte] = waiting.shift()!;
        strictEqual(reader.isEmpty(), false);
        deepStrictEqual([reader.label, reader.length], [label, length]);
        const datagram = reader.peek();
        deepStrictEqual([datagram.length, datagram[0], datagram.at(-1)], [length, byte, byte]);
        reader.shift();
      }
      strictEqual(reader.isEmpty(), waiting.length === 0);
    }
  }));
});

Deno.test("DatagramRing.push() refuses what finds no room, and takes again once there is", () => {
  const { writer, reader } = ends();
  const datagram = new Uint8Array(1_440);
  let taken = 0;
  while (writer.push(1, datagram, 0, datagram.length)) taken++;
  strictEqual(taken, Math.floor(SMALL / (1_440 + 8)));
  reader.shift();
  ok(writer.push(2, datagram, 0, 1_000));
  ok(!writer.push(3, datagram, 0, datagram.length));
});

Deno.test("DatagramRing.push() goes on past 2^32 bytes", () => {
  const { writer, reader } = ends();
  const datagram = new Uint8Array(60_000);
  const rounds = Math.ceil(2 ** 32 / 60_000) + 100;
  for (let i = 0; i < rounds; i++) {
    if (!writer.push(i, datagram, 0, datagram.length)) throw new Error(`not taken: ${i}`);
    if (reader.label !== i || reader.length !== 60_000) throw new Error(`lost: ${i}`);
    reader.shift();
  }
  ok(reader.isEmpty());
});

Deno.test("DatagramRing.mustWake() is true once until the reader has looked", () => {
  const { writer, reader } = ends();
  deepStrictEqual([writer.mustWake(), writer.mustWake()], [true, false]);
  strictEqual(reader.isEmpty(), true);
  writer.push(1, Uint8Array.of(1), 0, 1);
  deepStrictEqual([writer.mustWake(), writer.mustWake()], [true, false]);
});

Deno.test("new DatagramRing() refuses sizes that are no power of two", () => {
  for (const size of [0, 65_536, SMALL + 8]) throws(() => ends(size), RangeError);
});

Deno.test("DatagramRing carries between two threads without losing the last wake-up", async () => {
  const { writer } = ends();
  const code = `
    import { DatagramRing } from ${JSON.stringify(new URL(RING, import.meta.url).href)};
    let ring, sum = 0, count = 0;
    onmessage = ({ data }) => {
      ring ??= new DatagramRing(data);
      while (!ring.isEmpty()) {
        const datagram = ring.peek();
        if (datagram[0] !== datagram.at(-1) || datagram.length !== ring.label) throw new Error("torn");
        sum += datagram[0];
        count++;
        ring.shift();
      }
      postMessage([count, sum]);
    };`;
  const worker = new Worker(`data:application/javascript,${encodeURIComponent(code)}`, {
    type: "module",
  });
  const total = 60_000;
  const done = Promise.withResolvers<void>();
  let expected = 0;
  let seen: number[] = [];
  worker.onmessage = ({ data }) => {
    seen = data;
    if (data[0] === total) done.resolve();
  };
  worker.onerror = (event) => done.reject(new Error(event.message));
  for (let sent = 0; sent < total;) {
    const datagram = new Uint8Array(1 + sent % 1_440).fill(sent);
    if (writer.push(datagram.length, datagram, 0, datagram.length)) {
      expected += sent & 255;
      sent++;
      if (writer.mustWake()) worker.postMessage(writer.buffer);
    } else await new Promise((resolve) => setTimeout(resolve, 1));
  }
  // Without a last wake-up this never comes.
  await done.promise;
  deepStrictEqual(seen, [total, expected]);
  worker.terminate();
});
