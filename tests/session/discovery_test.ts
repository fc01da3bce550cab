/**
 * Discovery, both sides. Anybody who can send UDP to us can send these datagrams.
 *
 * @module
 */

import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../lib/base/bytes.ts";
import { openXChaCha, sealXChaCha } from "../../lib/crypto/aead.ts";
import {
  ANSWER_WITHIN_MS,
  answerAsk,
  buildAsk,
  DiscoveryAsks,
  type DiscoveryKey,
  discoveryKey,
  isFreshKeyId,
  newKeyId,
  type ObservedEndpoint,
  openAnswer,
} from "../../lib/session/discovery.ts";
import {
  decodeDiscovery,
  DISCOVERY_LENGTH,
  discoveryHeader,
  encodeDiscovery,
} from "../../lib/wire/discovery_datagram.ts";

const SECRET = Uint8Array.from({ length: 32 }, (_, i) => i);
const DAY = 86_400_000;
const KEY_ID = fromHex("204e000001020304");
const KEY: DiscoveryKey = { keyId: KEY_ID, key: discoveryKey(SECRET, KEY_ID) };
const SOURCE: ObservedEndpoint = { address: Uint8Array.of(192, 0, 2, 7), port: 51820 };
const TRANSACTION = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

const keyOf = (keyId: Uint8Array) => discoveryKey(SECRET, keyId);

/** Random bytes that are never the same twice, and the same in every run. */
function counted(): (length: number) => Uint8Array {
  let calls = 0;
  return (length) => new Uint8Array(length).fill(++calls);
}

/** Every datagram that differs from one in one bit. */
function* flips(datagram: Uint8Array): Generator<[Uint8Array, number]> {
  for (let bit = 0; bit < datagram.length * 8; bit++) {
    const flipped = datagram.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    yield [flipped, bit];
  }
}

Deno.test("discoveryKey() derives what HKDF-SHA256 says", () => {
  // Computed with another HKDF: 20000 days little-endian, then 01 02 03 04.
  strictEqual(toHex(KEY.key), "3eeff4dfc5aac1d0d8decde060d53e6b8ef3e2522bce910a209c97a62cbd2f6c");
});

Deno.test("newKeyId() holds the day and random bytes", () => {
  const random = () => Uint8Array.of(1, 2, 3, 4);
  deepStrictEqual(newKeyId(20000 * DAY, random), KEY_ID, "first millisecond of the day");
  deepStrictEqual(newKeyId(20001 * DAY - 1, random), KEY_ID, "last one");
  notDeepStrictEqual(newKeyId(0), newKeyId(0));
});

Deno.test("answerAsk() tells in both families where an ask came from", () => {
  const end = fc.constantFrom(4, 16).chain((size) =>
    fc.array(fc.nat(255), { minLength: size, maxLength: size })
  ).filter((bytes) => bytes.some((byte) => byte !== 0) && (bytes[0] !== 0 || bytes.length === 4));
  fc.assert(fc.property(end, fc.integer({ min: 1, max: 65535 }), (bytes, port) => {
    const source = { address: Uint8Array.from(bytes), port };
    const ask = buildAsk(KEY, TRANSACTION);
    const answer = answerAsk(ask, source, keyOf)!;
    strictEqual(ask.length, DISCOVERY_LENGTH);
    strictEqual(answer.length, ask.length, "no amplification");
    deepStrictEqual(openAnswer(answer, KEY), { transaction: TRANSACTION, endpoint: source });
  }));
});

Deno.test("the sealed body is laid out as drawn", () => {
  const answer = decodeDiscovery(answerAsk(buildAsk(KEY, TRANSACTION), SOURCE, keyOf)!)!;
  const body = openXChaCha(KEY.key, answer.nonce, answer.header, answer.sealed)!;
  strictEqual(toHex(body), "0102030405060708" + "00000000000000000000ffffc0000207" + "6cca");
});

Deno.test("answerAsk() answers nothing but a genuine ask", () => {
  const ask = buildAsk(KEY, TRANSACTION);
  ok(answerAsk(ask, SOURCE, keyOf));
  for (const [flipped, bit] of flips(ask)) {
    strictEqual(answerAsk(flipped, SOURCE, keyOf), undefined, `bit ${bit}`);
  }
  for (let length = 0; length < ask.length; length++) {
    strictEqual(answerAsk(ask.subarray(0, length), SOURCE, keyOf), undefined, `${length} bytes`);
  }
  strictEqual(answerAsk(Uint8Array.of(...ask, 0), SOURCE, keyOf), undefined, "a byte too many");
  strictEqual(answerAsk(ask, SOURCE, () => undefined), undefined, "no key for that id");
  strictEqual(answerAsk(ask, SOURCE, () => new Uint8Array(32)), undefined, "another key");
  const answer = answerAsk(ask, SOURCE, keyOf)!;
  strictEqual(answerAsk(answer, SOURCE, keyOf), undefined, "an answer is no ask: no echo loop");
});

Deno.test("openAnswer() takes nothing but a genuine answer to this key", () => {
  const ask = buildAsk(KEY, TRANSACTION);
  const answer = answerAsk(ask, SOURCE, keyOf)!;
  ok(openAnswer(answer, KEY));
  for (const [flipped, bit] of flips(answer)) {
    strictEqual(openAnswer(flipped, KEY), undefined, `bit ${bit}`);
  }
  strictEqual(openAnswer(ask, KEY), undefined, "an ask is no answer");
  const other = { ...KEY, keyId: fromHex("204e000001020305") };
  strictEqual(openAnswer(answer, other), undefined, "another key id");
  const nowhere = answerAsk(ask, { address: new Uint8Array(4), port: 0 }, keyOf)!;
  strictEqual(openAnswer(nowhere, KEY), undefined, "port 0");
});

/** A datagram of either direction whose body somebody with the key chose. */
function sealed(direction: "ask" | "answer", bodyHex: string): Uint8Array {
  const nonce = new Uint8Array(24);
  const body = fromHex(bodyHex);
  const header = discoveryHeader(direction, KEY_ID);
  return encodeDiscovery({
    direction,
    keyId: KEY_ID,
    nonce,
    sealed: sealXChaCha(KEY.key, nonce, header, body),
  });
}

const ASKED = "0102030405060708" + "00".repeat(16) + "0000";
const ANSWERED = "0102030405060708" + "00000000000000000000ffffc0000207" + "6cca";

Deno.test("answerAsk() and openAnswer() judge direction and body, whoever sealed them", () => {
  ok(answerAsk(sealed("ask", ASKED), SOURCE, keyOf), "as it should be");
  strictEqual(answerAsk(sealed("answer", ASKED), SOURCE, keyOf), undefined, "direction");
  strictEqual(answerAsk(sealed("ask", ANSWERED), SOURCE, keyOf), undefined, "filled");
  const oneBit = ASKED.slice(0, -1) + "1";
  strictEqual(answerAsk(sealed("ask", oneBit), SOURCE, keyOf), undefined, "one bit");
  deepStrictEqual(openAnswer(sealed("answer", ANSWERED), KEY)?.endpoint, SOURCE);
  strictEqual(openAnswer(sealed("ask", ANSWERED), KEY), undefined, "direction");
  const noAddress = ASKED.slice(0, -4) + "6cca";
  strictEqual(openAnswer(sealed("answer", noAddress), KEY), undefined, "no address");
});

Deno.test("answerAsk() and openAnswer() take any bytes without an error", () => {
  const aimed = fc.tuple(fc.nat(3), fc.uint8Array({ minLength: 75, maxLength: 75 })).map((
    [direction, rest],
  ) => Uint8Array.of(6, 1, direction, ...rest));
  fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), aimed), (datagram) => {
    strictEqual(answerAsk(datagram, SOURCE, keyOf), undefined);
    strictEqual(openAnswer(datagram, KEY), undefined);
  }));
});

/** Age of a key id in days, whether it is answered, why. */
const AGES: [days: number, isFresh: boolean, why: string][] = [
  [0, true, "of today"],
  [2, true, "two days old"],
  [3, false, "older than two days"],
  [400, false, "of last year"],
  [-1, true, "another coordinator's clock is ahead over midnight"],
  [-2, false, "of the future"],
];

Deno.test("isFreshKeyId() drops key ids older than two days", () => {
  for (const [days, isFresh, why] of AGES) {
    for (const part of [0, DAY - 1]) {
      strictEqual(isFreshKeyId(KEY_ID, (20000 + days) * DAY + part), isFresh, why);
    }
  }
});

Deno.test("DiscoveryAsks.receive() takes one answer to an ask", () => {
  const asks = new DiscoveryAsks(KEY, counted());
  const answer = answerAsk(asks.ask(0), SOURCE, keyOf)!;
  deepStrictEqual(asks.receive(answer, 10), SOURCE);
  strictEqual(asks.receive(answer, 11), undefined, "the same again");
});

Deno.test("DiscoveryAsks.receive() takes answers in any order, each in time", () => {
  const asks = new DiscoveryAsks(KEY, counted());
  const [first, second] = [asks.ask(0), asks.ask(1000)].map((ask, i) =>
    answerAsk(ask, { ...SOURCE, port: 1 + i }, keyOf)!
  );
  strictEqual(asks.receive(second!, 1000 + ANSWER_WITHIN_MS)?.port, 2, "on the limit");
  strictEqual(asks.receive(first!, 1 + ANSWER_WITHIN_MS), undefined, "past it");
});

Deno.test("DiscoveryAsks.receive() refuses answers to what it never asked", () => {
  const asks = new DiscoveryAsks(KEY, counted());
  asks.ask(0);
  const answer = answerAsk(buildAsk(KEY, TRANSACTION), SOURCE, keyOf)!;
  strictEqual(asks.receive(answer, 1), undefined, "another transaction");
  strictEqual(asks.receive(new Uint8Array(78), 1), undefined, "no answer at all");
});

Deno.test("DiscoveryAsks remembers a bounded number of asks", () => {
  const random = () => {
    let calls = 0;
    return (length: number) => {
      const bytes = new Uint8Array(length);
      new DataView(bytes.buffer).setUint32(0, ++calls);
      return bytes;
    };
  };
  const asks = new DiscoveryAsks(KEY, random());
  const answers = Array.from({ length: 65 }, () => answerAsk(asks.ask(0), SOURCE, keyOf)!);
  strictEqual(asks.receive(answers[0]!, 1), undefined, "the oldest is forgotten");
  ok(answers.slice(1).every((answer) => asks.receive(answer, 1)));
});
