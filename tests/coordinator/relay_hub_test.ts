/**
 * The relay without sockets: who may send what to whom (T38 of protocol.md §7).
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { fromHex } from "../../lib/base/bytes.ts";
import { decodeLengthPrefixed, encodeLengthPrefixed } from "../../lib/wire/length_prefix.ts";
import { A, B, Bench, bulkTo, C, messageTo, ONE, STRANGER } from "./relay_bench.ts";

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
