/**
 * What waits for one member of the relay: order, turns and who loses when it is full.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { FairQueue } from "../../lib/coordinator/relay_queue.ts";

function messageOf(length: number, tag = 0, datagrams = 1) {
  return { message: new Uint8Array(length).fill(tag), datagrams, at: 0 };
}

function drain(queue: FairQueue): number[] {
  const tags: number[] = [];
  for (let next = queue.next(); next !== undefined; next = queue.next()) {
    tags.push(next.message[0]!);
  }
  return tags;
}

Deno.test("FairQueue keeps the order of one sender", () => {
  const queue = new FairQueue(1_000_000);
  for (let i = 0; i < 100; i++) strictEqual(queue.push("a", messageOf(5_000, i)), 0);
  deepStrictEqual(drain(queue), Array.from({ length: 100 }, (_, i) => i));
  strictEqual(queue.bytes, 0);
});

Deno.test("FairQueue gives senders turns by bytes: a small one waits for a turn, not for the rest", () => {
  const queue = new FairQueue(1_000_000);
  for (let i = 0; i < 10; i++) queue.push("greedy", messageOf(60_000, 1));
  queue.push("small", messageOf(100, 2));
  const tags = drain(queue);
  ok(tags.indexOf(2) <= 2, `after ${tags.indexOf(2)} of the other's`);
});

Deno.test("FairQueue gives senders of small and of large messages the same bytes", () => {
  const queue = new FairQueue(4_000_000);
  for (let i = 0; i < 1_000; i++) queue.push("small", messageOf(1_000, 1));
  for (let i = 0; i < 20; i++) queue.push("large", messageOf(50_000, 2));
  const bytes = [0, 0, 0];
  for (let sent = 0; sent < 1_000_000;) {
    const { message } = queue.next()!;
    bytes[message[0]!]! += message.length;
    sent += message.length;
  }
  ok(Math.abs(bytes[1]! - bytes[2]!) <= 2 * 65_536, `${bytes}`);
});

Deno.test("FairQueue.push() when full costs whoever holds most", () => {
  const queue = new FairQueue(10_000);
  for (let i = 0; i < 9; i++) queue.push("greedy", messageOf(1_000, 1, 3));
  strictEqual(queue.push("greedy", messageOf(2_000, 1, 7)), 7, "its own: the queue is its own");
  strictEqual(queue.push("modest", messageOf(2_000, 2, 5)), 3, "one of the greedy one's");
  strictEqual(queue.push("greedy", messageOf(2_000, 1, 7)), 7);
  strictEqual(queue.bytes, 10_000);
  deepStrictEqual(drain(queue).filter((tag) => tag === 2), [2]);
});

Deno.test("FairQueue never holds more than its limit and loses none uncounted", () => {
  const step = fc.record({
    sender: fc.constantFrom("a", "b", "c"),
    length: fc.integer({ min: 1, max: 65_536 }),
    takes: fc.integer({ min: 0, max: 2 }),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const queue = new FairQueue(150_000);
    let lost = 0;
    let taken = 0;
    for (const { sender, length, takes } of steps) {
      lost += queue.push(sender, messageOf(length));
      ok(queue.bytes <= 150_000);
      for (let i = 0; i < takes; i++) if (queue.next() !== undefined) taken++;
    }
    strictEqual(drain(queue).length + lost + taken, steps.length);
    strictEqual(queue.bytes, 0);
  }));
});
