/**
 * Answers of STUN servers: the first to each ask, in time, and nothing else.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { fromHex } from "../../lib/base/bytes.ts";
import { StunAsks } from "../../lib/session/stun_asks.ts";
import { decodeStunRequest, encodeStunResponse } from "../../lib/wire/stun.ts";

const SEEN = { address: Uint8Array.of(192, 0, 2, 1), port: 41_000 };

function answerTo(ask: Uint8Array): Uint8Array {
  return encodeStunResponse(decodeStunRequest(ask)!, SEEN);
}

Deno.test("StunAsks.receive() takes one answer to each ask, within five seconds", () => {
  const asks = new StunAsks<string>();
  const [first, second, third] = ["one", "two", "three"].map((name) => asks.ask(name, 1_000));
  deepStrictEqual(asks.receive(answerTo(second!), 1_010), { server: "two", seen: SEEN });
  strictEqual(asks.receive(answerTo(second!), 1_011), undefined, "a second time");
  deepStrictEqual(asks.receive(answerTo(first!), 6_000), { server: "one", seen: SEEN });
  strictEqual(asks.receive(answerTo(third!), 6_001), undefined, "too late");
});

Deno.test("StunAsks.receive() takes nothing that was not asked for", () => {
  const asks = new StunAsks<string>();
  const foreign = encodeStunResponse(new Uint8Array(12), SEEN);
  strictEqual(asks.receive(foreign, 0), undefined);
  const ask = asks.ask("one", 0);
  strictEqual(asks.receive(foreign, 0), undefined);
  strictEqual(asks.receive(ask, 0), undefined, "its own reflection");
  strictEqual(asks.receive(new Uint8Array(152).fill(1), 0), undefined);
  const error = fromHex("011100082112a442" + "00".repeat(12) + "0009000400000414");
  error.set(decodeStunRequest(ask)!, 8);
  strictEqual(asks.receive(error, 1), undefined, "a refusal");
  strictEqual(asks.receive(answerTo(ask), 2), undefined, "is an answer");
});

Deno.test("StunAsks.ask() forgets the oldest of too many", () => {
  const asks = new StunAsks<number>();
  const sent = Array.from({ length: 65 }, (_, server) => asks.ask(server, 0));
  strictEqual(asks.receive(answerTo(sent[0]!), 0), undefined);
  strictEqual(asks.receive(answerTo(sent[1]!), 0)?.server, 1);
  strictEqual(asks.receive(answerTo(sent[64]!), 0)?.server, 64);
});
