import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  HandedReader,
  HandedWriter,
  newHandedRing,
} from "../../../lib/dataplane/linux/handed_datagrams.ts";
import type { ReceivedPath, StreamPath } from "../../../lib/dataplane/linux/messages.ts";
import { pathWordsOf } from "../../../lib/dataplane/linux/path_words.ts";
import { FakeClock } from "../../fakes/clock.ts";

const PATH = pathWordsOf({ stream: 7 });

function scene() {
  const clock = new FakeClock();
  const ring = newHandedRing();
  const got: { datagram: Uint8Array; from: ReceivedPath | StreamPath }[] = [];
  const it = { wakes: 0, clock, got, onDatagram: () => {} };
  const writer = new HandedWriter(ring.buffer, () => it.wakes++);
  const reader = new HandedReader(ring, clock, (datagram, from) => {
    got.push({ datagram, from });
    it.onDatagram();
  });
  const push = (...bytes: number[]) => writer.push(PATH, Uint8Array.from(bytes), 0, bytes.length);
  return Object.assign(it, { writer, reader, push });
}

Deno.test("HandedReader gets what HandedWriter took, with its path, as copies", () => {
  const it = scene();
  const words = pathWordsOf({
    name: Uint8Array.of(2, 0, 0x0f, 0xa0, 192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 0, 0),
    localName: Uint8Array.of(2, 0, 0, 0, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0),
    interfaceIndex: 0,
    control: new Uint8Array(0),
  });
  ok(it.writer.push(words, Uint8Array.of(9, 9, 1, 2, 3, 9), 2, 3));
  ok(it.push(4));
  it.reader.look();
  deepStrictEqual(it.got, [
    {
      datagram: Uint8Array.of(1, 2, 3),
      from: {
        address: Uint8Array.of(192, 0, 2, 9),
        port: 4000,
        local: Uint8Array.of(192, 0, 2, 1),
        interfaceIndex: 0,
      },
    },
    { datagram: Uint8Array.of(4), from: { stream: 7 } },
  ]);
  ok(it.got.every(({ datagram }) => datagram.buffer instanceof ArrayBuffer));
});

Deno.test("HandedWriter wakes once until a look found nothing, and nothing is left lying", () => {
  const it = scene();
  it.push(1);
  it.reader.look();
  for (let i = 0; i < 10; i++) {
    it.push(2);
    it.clock.advance(1);
  }
  strictEqual(it.wakes, 1);
  it.clock.advance(10);
  strictEqual(it.got.length, 11);
  strictEqual(it.clock.pending, 0, "an idle reader has no timer");
  it.push(3);
  strictEqual(it.wakes, 2);
  it.reader.look();
  it.reader.look(); // a message too many starts no second round
  strictEqual(it.clock.pending, 1);
  strictEqual(it.got.length, 12);
});

Deno.test("HandedReader takes a few at a time, and of a flood what there is room for", () => {
  const it = scene();
  const initiation = new Uint8Array(148);
  let taken = 0;
  while (it.writer.push(PATH, initiation, 0, initiation.length)) taken++;
  ok(taken > 1_000 && taken < 2_000, `${taken} wait`);
  it.reader.look();
  ok(it.got.length < 100, `${it.got.length} at once`);
  it.clock.advance(1_000);
  strictEqual(it.got.length, taken);
  ok(it.push(1), "there is room again");
});

Deno.test("HandedWriter refuses what is longer than any datagram of ours", () => {
  const it = scene();
  ok(it.writer.push(PATH, new Uint8Array(1_500), 0, 1_500));
  ok(!it.writer.push(PATH, new Uint8Array(1_501), 0, 1_501));
});

Deno.test("HandedReader.close() takes nothing any more, whatever it was doing", () => {
  const it = scene();
  for (let i = 0; i < 5; i++) it.push(i);
  it.onDatagram = () => it.reader.close();
  it.reader.look();
  strictEqual(it.got.length, 1);
  strictEqual(it.clock.pending, 0);
  const other = scene();
  other.push(1);
  other.reader.look();
  other.reader.close();
  strictEqual(other.clock.pending, 0);
  other.reader.look();
  strictEqual(other.got.length, 1);
});
