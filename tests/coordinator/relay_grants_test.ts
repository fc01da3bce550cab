/**
 * How much members may send to the relay: rates, grants and windows (T38 of protocol.md §7).
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import { A, B, Bench, bulkTo, C, messageTo, ONE } from "./relay_bench.ts";

Deno.test("RelayHub holds every member to its rate, by bytes and by datagrams", () => {
  const bench = new Bench({
    bytesPerSecond: 10_000,
    burstBytes: 10_000,
    datagramsPerSecond: 100,
    burstDatagrams: 100,
  });
  const a = bench.connect(A);
  const b = bench.connect(B);
  const c = bench.connect(C);
  for (let i = 0; i < 20; i++) a.connection.receive(bulkTo(B, 966));
  strictEqual(b.socket.sent.length, 10, "1,000 bytes each");
  strictEqual(bench.hub.counts.rateLimited, 10);
  bench.clock.advance(500);
  for (let i = 0; i < 20; i++) a.connection.receive(bulkTo(B, 966));
  strictEqual(b.socket.sent.length, 15);
  const many = Array.from({ length: 60 }, () => ONE);
  c.connection.receive(messageTo(B, ...many));
  c.connection.receive(messageTo(B, ...many));
  strictEqual(b.socket.sent.length, 16, "its own rate, untouched by A's; 60 datagrams, not 120");
  strictEqual(a.socket.refusal, undefined, "too much is no fault");
});

Deno.test("RelayHub grants as it receives, and ends who sends more than that", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  bench.connect(B);
  let sent = 0;
  const send = (length: number) => {
    a.connection.receive(bulkTo(B, length - 34));
    sent += length;
  };
  const windows: number[] = [];
  while (sent < 20_000_000) {
    send(32_768);
    windows.push(a.socket.granted - sent);
    bench.clock.advance(1);
  }
  strictEqual(a.socket.refusal, undefined);
  ok(windows[0]! <= 65_536, "the first one is small");
  ok(Math.max(...windows) > 1_900_000 && Math.max(...windows) <= 2_097_152, "it grows");
});

for (const totalWindowBytes of [4_194_304, 65_536]) {
  Deno.test(`RelayHub always grants room for the largest message, of ${totalWindowBytes} bytes`, () => {
    const bench = new Bench({ bytesPerSecond: 1e12, burstBytes: 1e12, totalWindowBytes });
    const a = bench.connect(A);
    bench.connect(B);
    let sent = 0;
    for (let i = 0; i < 2_000; i++) {
      ok(a.socket.granted - sent >= 65_536, `after ${sent}`);
      const length = [65_536, 1_000, 20_000, 33_000][i % 4]!;
      a.connection.receive(bulkTo(B, length - 34));
      sent += length;
      bench.clock.advance(1);
    }
    strictEqual(a.socket.refusal, undefined);
  });
}

Deno.test("T38: a member that does not wait for grants is ended before it has the thread to itself", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  const b = bench.connect(B);
  // No time passes: this is one who sends faster than messages can be handled.
  for (let i = 0; i < 10; i++) a.connection.receive(bulkTo(B, 32_734));
  strictEqual(a.socket.refusal?.reason, "bad-message");
  strictEqual(b.socket.sent.length, 2, "what was granted");
});

Deno.test("RelayHub.giveWay() holds grants back for a moment, and nobody is stuck by it", () => {
  const bench = new Bench({ bytesPerSecond: 1e12, burstBytes: 1e12 });
  const a = bench.connect(A);
  const b = bench.connect(B);
  let sent = 0;
  const fill = () => {
    while (a.socket.granted - sent >= 65_536) {
      a.connection.receive(bulkTo(B, 65_502));
      sent += 65_536;
    }
  };
  bench.hub.giveWay();
  fill();
  bench.clock.advance(10);
  bench.hub.giveWay();
  bench.clock.advance(19);
  strictEqual(a.socket.granted, 65_536, "no more is asked for while somebody joins");
  bench.clock.advance(2);
  ok(a.socket.granted > sent);
  for (let i = 0; i < 100; i++) {
    fill();
    bench.clock.advance(1);
  }
  strictEqual(a.socket.refusal, undefined);
  ok(b.socket.sent.length > 100, `${b.socket.sent.length}`);
});

Deno.test("RelayHub shares the window among those who send", () => {
  const bench = new Bench();
  const ids = Array.from({ length: 40 }, (_, i) => i.toString(16).padStart(64, "0"));
  bench.hub.addMembers(ids);
  const clients = ids.map((id) => bench.connect(id));
  const sent = new Map<string, number>();
  for (let round = 0; round < 200; round++) {
    bench.clock.advance(10);
    for (let i = 0; i < 20; i++) {
      clients[i]!.connection.receive(bulkTo(ids[i + 20]!, 20_000));
      sent.set(ids[i]!, (sent.get(ids[i]!) ?? 0) + 20_034);
    }
  }
  const onTheWay = ids.slice(0, 20)
    .map((id, i) => clients[i]!.socket.granted - sent.get(id)!);
  ok(onTheWay.reduce((sum, bytes) => sum + bytes) <= 4_194_304, `${onTheWay}`);
  ok(Math.min(...onTheWay) >= 65_536);
});
