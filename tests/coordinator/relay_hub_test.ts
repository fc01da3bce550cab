/**
 * The relay without sockets: who may send what to whom (T38 of protocol.md §7), limits, and that
 * nobody delays anybody else.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { fromHex } from "../../lib/base/bytes.ts";
import { readU64Le } from "../../lib/base/integers.ts";
import {
  type RelayConnection,
  RelayHub,
  type RelaySocket,
} from "../../lib/coordinator/relay_hub.ts";
import type { RelayLimits } from "../../lib/coordinator/relay_limits.ts";
import { decodeLengthPrefixed, encodeLengthPrefixed } from "../../lib/wire/length_prefix.ts";
import type { RefusalError } from "../../lib/wire/refusal.ts";
import { FakeClock } from "../fakes/clock.ts";

const A = "aa".repeat(32);
const B = "bb".repeat(32);
const C = "cc".repeat(32);
const STRANGER = "99".repeat(32);

/** A WebSocket that keeps what it was given. */
class FakeSocket implements RelaySocket {
  bufferedAmount = 0;
  readonly sent: Uint8Array[] = [];
  /** Bytes that it may have sent in all, as the relay said last. */
  granted = 65_536;
  refusal: RefusalError | undefined;
  isAdmitted = false;
  /** Whether what is sent stays in the socket. */
  isStuck = false;

  send(message: Uint8Array): void {
    if (message.length === 8) {
      this.granted = readU64Le(message, 0);
      return;
    }
    this.sent.push(message);
    if (this.isStuck) this.bufferedAmount += message.length;
  }
  close(refusal: RefusalError): void {
    this.refusal = refusal;
  }
  admitted(): void {
    this.isAdmitted = true;
  }
}

interface Client {
  readonly socket: FakeSocket;
  readonly connection: RelayConnection;
}

class Bench {
  readonly clock = new FakeClock();
  readonly hub: RelayHub;
  #nextTicket = 1;

  constructor(limits: Partial<RelayLimits> = {}) {
    this.hub = new RelayHub(this.clock, limits);
    this.hub.addMembers([A, B, C]);
  }

  ticket(nodeId: string): Uint8Array {
    const ticket = new Uint8Array(32).fill(this.#nextTicket++);
    this.hub.addTicket(nodeId, ticket);
    return ticket.slice();
  }

  open(): Client {
    const socket = new FakeSocket();
    return { socket, connection: this.hub.open(socket) };
  }

  connect(nodeId: string): Client {
    const client = this.open();
    client.connection.receive(this.ticket(nodeId));
    ok(client.socket.isAdmitted);
    return client;
  }
}

function messageTo(nodeId: string, ...datagrams: Uint8Array[]): Uint8Array {
  return Uint8Array.of(...fromHex(nodeId), ...encodeLengthPrefixed(...datagrams));
}

function bulkTo(nodeId: string, length: number): Uint8Array {
  const message = new Uint8Array(34 + length);
  message.set(fromHex(nodeId));
  message[32] = length & 0xff;
  message[33] = length >> 8;
  return message;
}

const ONE = Uint8Array.of(1, 2, 3);

Deno.test("RelayHub passes datagrams on under the source of the ticket, unchanged", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  const b = bench.connect(B);
  const datagrams = [ONE, new Uint8Array(1440).fill(7), Uint8Array.of(9)];
  a.connection.receive(messageTo(B, ...datagrams));
  const [message] = b.socket.sent;
  deepStrictEqual(message!.subarray(0, 32), fromHex(A));
  deepStrictEqual(decodeLengthPrefixed(message!.subarray(32)), datagrams);
  deepStrictEqual([a.socket.sent, b.socket.sent.length], [[], 1]);
  strictEqual(bench.hub.counts.forwardedDatagrams, 3);
});

Deno.test("T38: what is wrong on a relay connection ends it, and nothing is forwarded", () => {
  const whole = messageTo(B, ONE);
  /** What comes on A's connection, the refusal, why. */
  const rows: [message: Uint8Array, refusal: string, why: string][] = [
    [messageTo(STRANGER, ONE), "bad-message", "the destination is no member"],
    [messageTo(A, ONE), "bad-message", "the destination is the sender"],
    [new Uint8Array(0), "bad-message", "nothing at all"],
    [whole.subarray(0, 31).slice(), "bad-message", "half a node id"],
    [whole.subarray(0, 32).slice(), "bad-message", "no datagram"],
    [whole.subarray(0, 33).slice(), "bad-message", "half a length"],
    [Uint8Array.of(...fromHex(B), 0, 0), "bad-message", "an empty datagram"],
    [Uint8Array.of(...whole, 0, 0), "bad-message", "an empty datagram after a good one"],
    [whole.subarray(0, -1).slice(), "bad-message", "a length beyond the end"],
    [Uint8Array.of(...whole, 7), "bad-message", "a byte behind the last datagram"],
    [Uint8Array.of(...whole, 5, 0, 1), "bad-message", "a second length beyond the end"],
    [bulkTo(B, 65_503), "bad-message", "longer than 65,536 bytes"],
  ];
  for (const [message, refusal, why] of rows) {
    const bench = new Bench();
    const a = bench.connect(A);
    const b = bench.connect(B);
    a.connection.receive(message);
    strictEqual(a.socket.refusal?.reason, refusal, why);
    a.connection.receive(messageTo(B, ONE));
    deepStrictEqual([b.socket.sent, b.socket.refusal], [[], undefined], why);
    deepStrictEqual([bench.hub.counts.refused, bench.hub.counts.connections], [1, 1], why);
  }
});

Deno.test("T38: a source written into the message is the destination, never the source", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  const b = bench.connect(B);
  const c = bench.connect(C);
  // As C would appear at B, if the relay believed what it is sent.
  a.connection.receive(messageTo(C, ONE));
  deepStrictEqual(c.socket.sent[0]!.subarray(0, 32), fromHex(A));
  deepStrictEqual(b.socket.sent, []);
});

Deno.test("T38: a ticket is good once, for its node, for a minute, and only the real one", () => {
  /** What is shown, as a change of the bench and its good ticket. */
  const rows: [
    make: (bench: Bench, ticket: Uint8Array) => Uint8Array,
    refusal: string,
    why: string,
  ][] = [
    [(_, ticket) => ticket, "", "fresh"],
    [
      (bench, ticket) => {
        bench.open().connection.receive(ticket.slice());
        return ticket;
      },
      "bad-ticket",
      "used before",
    ],
    [
      (bench, ticket) => {
        bench.clock.advance(60_000);
        return ticket;
      },
      "bad-ticket",
      "a minute old",
    ],
    [
      (bench, ticket) => {
        bench.clock.advance(59_999);
        return ticket;
      },
      "",
      "not yet a minute old",
    ],
    [(_, ticket) => ticket.with(31, 0), "bad-ticket", "another one"],
    [(_, ticket) => ticket.subarray(0, 31), "bad-message", "too short"],
    [(_, ticket) => Uint8Array.of(...ticket, 1), "bad-message", "too long"],
    [() => messageTo(B, ONE), "bad-message", "a message before the ticket"],
    [
      (bench, ticket) => {
        bench.hub.removeMember(A, "disabled");
        return ticket;
      },
      "bad-ticket",
      "its node is a member no longer",
    ],
    [
      (bench, ticket) => {
        bench.hub.removeMember(A, "disabled");
        bench.hub.addMembers([A]);
        return ticket;
      },
      "bad-ticket",
      "from before it was disabled",
    ],
    [
      (bench, ticket) => {
        for (let i = 0; i < 4; i++) bench.ticket(A);
        return ticket;
      },
      "bad-ticket",
      "four newer ones were asked for",
    ],
  ];
  for (const [make, refusal, why] of rows) {
    const bench = new Bench();
    const shown = make(bench, bench.ticket(A));
    const client = bench.open();
    client.connection.receive(shown.slice());
    strictEqual(client.socket.refusal?.reason ?? "", refusal, why);
    strictEqual(client.socket.isAdmitted, refusal === "", why);
    client.connection.receive(messageTo(B, ONE));
    strictEqual(bench.hub.counts.forwardedDatagrams, 0, why);
  }
});

Deno.test("RelayHub ends the older connection of a node for the newer one", () => {
  const bench = new Bench();
  const older = bench.connect(A);
  const b = bench.connect(B);
  const newer = bench.connect(A);
  strictEqual(older.socket.refusal?.reason, "newer-connection");
  older.connection.receive(messageTo(B, ONE));
  deepStrictEqual(b.socket.sent, [], "the older one is over at once");
  older.connection.closed();
  b.connection.receive(messageTo(A, ONE));
  strictEqual(newer.socket.sent.length, 1, "and its end does not touch the newer one");
  strictEqual(bench.hub.counts.connections, 2);
});

Deno.test("RelayHub.removeMember() ends the connection at once, in both directions", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  const b = bench.connect(B);
  b.socket.isStuck = true;
  for (let i = 0; i < 5; i++) {
    a.connection.receive(bulkTo(B, 60_000));
    bench.clock.advance(1);
  }
  ok(bench.hub.queuedBytes > 0);
  bench.hub.removeMember(B, "disabled");
  strictEqual(b.socket.refusal?.reason, "disabled");
  strictEqual(bench.hub.queuedBytes, 0, "what waited for it is gone");
  b.connection.receive(messageTo(A, ONE));
  deepStrictEqual(a.socket.sent, []);
  a.connection.receive(messageTo(B, ONE));
  strictEqual(a.socket.refusal, undefined, "A cannot know yet");
  bench.clock.advance(30_000);
  a.connection.receive(messageTo(B, ONE));
  strictEqual(a.socket.refusal!.reason, "bad-message", "by now it knows");
});

Deno.test("RelayHub counts what is sent to members that are not connected", () => {
  const bench = new Bench();
  const a = bench.connect(A);
  a.connection.receive(messageTo(B, ONE, ONE));
  strictEqual(bench.hub.counts.notConnected, 2);
  const b = bench.connect(B);
  b.connection.closed();
  a.connection.receive(messageTo(B, ONE));
  strictEqual(bench.hub.counts.notConnected, 3);
  strictEqual(a.socket.refusal, undefined);
});

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

Deno.test("RelayHub: any bytes of a member end its connection or reach a member whole", () => {
  // Who can send these: every member.
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 5 })
      .map((datagrams) => encodeLengthPrefixed(...datagrams)),
  );
  fc.assert(fc.property(fc.constantFrom(B, STRANGER), body, (to, bytes) => {
    const bench = new Bench();
    const a = bench.connect(A);
    const b = bench.connect(B);
    a.connection.receive(Uint8Array.of(...fromHex(to), ...bytes));
    const datagrams = decodeLengthPrefixed(bytes);
    const isGood = to === B && datagrams !== undefined && datagrams.length > 0;
    strictEqual(b.socket.sent.length, isGood ? 1 : 0);
    strictEqual(a.socket.refusal === undefined, isGood);
  }));
});
