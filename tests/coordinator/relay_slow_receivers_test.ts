/**
 * The relay and those who read slowly: what waits is bounded, and nobody delays anybody else.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { A, B, Bench, bulkTo, C, messageTo, ONE } from "./relay_bench.ts";

Deno.test("RelayHub: a slow receiver costs another pair nothing", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  const slow = bench.connect(B);
  const c = bench.connect(C);
  slow.socket.isStuck = true;
  for (let i = 0; i < 200; i++) {
    a.connection.receive(bulkTo(B, 30_000));
    a.connection.receive(messageTo(C, ONE));
    strictEqual(c.socket.sent.length, i + 1, "at once");
    bench.clock.advance(1);
  }
  ok(slow.socket.bufferedAmount <= 131_072 + 65_536);
  ok(bench.hub.queuedBytes <= 2_097_152);
  ok(bench.hub.counts.queueFull > 100);
});

Deno.test("RelayHub sends what waits, in order, once the socket takes it", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  const b = bench.connect(B);
  b.socket.bufferedAmount = 1_000_000;
  for (let i = 0; i < 10; i++) a.connection.receive(messageTo(B, Uint8Array.of(i + 1)));
  bench.clock.advance(50);
  deepStrictEqual(b.socket.sent, []);
  b.socket.bufferedAmount = 0;
  bench.clock.advance(1);
  deepStrictEqual(b.socket.sent.map((message) => message[34]), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  strictEqual(bench.hub.queuedBytes, 0);
  strictEqual(bench.clock.pending, 0, "and no timer is left");
});

Deno.test("RelayHub: what comes while others wait does not overtake them", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  const b = bench.connect(B);
  b.socket.bufferedAmount = 1_000_000;
  a.connection.receive(messageTo(B, Uint8Array.of(1)));
  b.socket.bufferedAmount = 0;
  a.connection.receive(messageTo(B, Uint8Array.of(2)));
  deepStrictEqual(b.socket.sent.map((message) => message[34]), [1, 2]);
});

Deno.test("RelayHub: one who floods a receiver leaves others their share of it", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  const b = bench.connect(B);
  const c = bench.connect(C);
  b.socket.bufferedAmount = 1_000_000;
  for (let i = 0; i < 100; i++) {
    a.connection.receive(bulkTo(B, 30_000));
    if (i >= 92) c.connection.receive(bulkTo(B, 30_000));
    bench.clock.advance(1);
  }
  b.socket.bufferedAmount = 0;
  b.socket.isStuck = true;
  for (let i = 0; i < 100; i++) {
    b.socket.bufferedAmount = 0;
    bench.clock.advance(1);
  }
  const fromC = b.socket.sent.filter((message) => message[0] === 0xcc).length;
  strictEqual(fromC, 8, "none of the modest one's was lost");
});

Deno.test("RelayHub drops what has waited too long for a slow receiver", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  const b = bench.connect(B);
  b.socket.bufferedAmount = 1_000_000;
  a.connection.receive(messageTo(B, Uint8Array.of(1), ONE));
  bench.clock.advance(200);
  a.connection.receive(messageTo(B, Uint8Array.of(2)));
  bench.clock.advance(101);
  b.socket.bufferedAmount = 0;
  bench.clock.advance(1);
  deepStrictEqual(b.socket.sent.map((message) => message[34]), [2]);
  strictEqual(bench.hub.counts.queueFull, 2);
});

Deno.test("RelayHub holds bounded memory for 200 pairs whose receivers all stopped", () => {
  const bench = new Bench({ totalQueueBytes: 20_000_000 });
  const ids = Array.from({ length: 400 }, (_, i) => i.toString(16).padStart(64, "0"));
  bench.hub.addMembers(ids);
  const clients = ids.map((id) => bench.connect(id));
  for (const { socket } of clients) socket.isStuck = true;
  for (let round = 0; round < 30; round++) {
    for (let i = 0; i < 200; i++) clients[i]!.connection.receive(bulkTo(ids[i + 200]!, 30_000));
    bench.clock.advance(1);
  }
  ok(bench.hub.queuedBytes <= 20_000_000 && bench.hub.queuedBytes > 19_000_000);
  for (const { socket } of clients) ok(socket.bufferedAmount <= 131_072 + 65_536);
  for (const { connection } of clients) connection.closed();
  strictEqual(bench.hub.queuedBytes, 0);
  strictEqual(bench.hub.counts.connections, 0);
});
