/**
 * Plaintexts of transport data. An authenticated peer, faulty or hostile, can send these bytes.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  CONTROL_KIND,
  decodeControl,
  encodeBye,
  encodeEcho,
  encodeEchoReply,
  encodePathReport,
  plaintextKind,
} from "../../lib/wire/inner_control.ts";

const id = () => fc.uint8Array({ minLength: 8, maxLength: 8 });

Deno.test("plaintextKind() tells every first byte", () => {
  strictEqual(plaintextKind(new Uint8Array(0)), "keepalive");
  for (let first = 0; first < 256; first++) {
    const high = first >> 4;
    const expected = first === 0
      ? "control"
      : high === 4 || high === 6
      ? "packet"
      : high === 0xc || high === 0xe
      ? "partial-packet"
      : undefined;
    strictEqual(plaintextKind(Uint8Array.of(first)), expected, `first byte ${first}`);
    strictEqual(plaintextKind(Uint8Array.of(first, 9, 9)), expected, `first byte ${first}`);
  }
});

Deno.test("decodeControl() gives back an encoded echo of any length", () => {
  fc.assert(fc.property(id(), fc.integer({ min: 10, max: 2000 }), (id, length) => {
    const plaintext = encodeEcho(id, length);
    strictEqual(plaintext.length, length);
    strictEqual(plaintextKind(plaintext), "control");
    deepStrictEqual(decodeControl(plaintext), { kind: "echo", id, length });
  }));
});

Deno.test("decodeControl() gives back an encoded echo reply, path report and bye", () => {
  fc.assert(
    fc.property(id(), fc.nat(0xffff), fc.uint8Array({ maxLength: 50 }), (id, length, body) => {
      deepStrictEqual(decodeControl(encodeEchoReply(id, length)), {
        kind: "echo-reply",
        id,
        length,
      });
      deepStrictEqual(decodeControl(encodePathReport(body)), { kind: "path-report", body });
    }),
  );
  deepStrictEqual(decodeControl(encodeBye()), { kind: "bye" });
});

/** Plaintext, what it is, why. */
const REFUSED: [plaintext: number[], why: string][] = [
  [[], "a keepalive is no control"],
  [[0], "no kind"],
  [[0x45, 1, 0, 0, 0, 0, 0, 0, 0, 0], "a packet is no control"],
  [[0, 1, 1, 2, 3, 4, 5, 6, 7], "echo with 7 bytes of id"],
  [[0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 1], "echo with a filling that is not zero"],
  [[0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 9], "the same, at the end"],
  [[0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9], "echo reply too short"],
  [[0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9], "echo reply too long"],
  [[0, 4, 0], "bye with a body"],
];

Deno.test("decodeControl() refuses bodies that do not fit their kind", () => {
  for (const [plaintext, why] of REFUSED) {
    strictEqual(decodeControl(Uint8Array.from(plaintext)), undefined, why);
  }
});

Deno.test("decodeControl() names unknown kinds, at every body length", () => {
  const known = new Set<number>(Object.values(CONTROL_KIND));
  for (let code = 0; code < 256; code++) {
    if (known.has(code)) continue;
    for (const length of [2, 3, 12, 1400]) {
      const plaintext = new Uint8Array(length);
      plaintext[1] = code;
      deepStrictEqual(decodeControl(plaintext), { kind: "unknown", code });
    }
  }
});

Deno.test("T27: decodeControl() takes any bytes without an error", () => {
  const aimed = fc.tuple(fc.nat(5), fc.uint8Array({ maxLength: 20 })).map(([kind, rest]) =>
    Uint8Array.from([0, kind, ...rest])
  );
  fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 2000 }), aimed), (plaintext) => {
    plaintextKind(plaintext);
    decodeControl(plaintext);
  }));
  for (const kind of [1, 2, 3, 4, 5]) {
    for (let length = 0; length <= 2000; length++) {
      const plaintext = new Uint8Array(length);
      if (length > 1) plaintext[1] = kind;
      const taken = decodeControl(plaintext) !== undefined;
      const expected = length >= 2 &&
        (kind === 1 ? length >= 10 : kind === 2 ? length === 12 : kind !== 4 || length === 2);
      strictEqual(taken, expected, `kind ${kind} length ${length}`);
    }
  }
});

Deno.test("encodeEcho() and encodeEchoReply() refuse what does not fit", () => {
  throws(() => encodeEcho(new Uint8Array(7)), RangeError);
  throws(() => encodeEcho(new Uint8Array(8), 9), RangeError);
  throws(() => encodeEcho(new Uint8Array(8), 65536), RangeError);
  throws(() => encodeEchoReply(new Uint8Array(9), 1), RangeError);
  throws(() => encodeEchoReply(new Uint8Array(8), 65536), RangeError);
  ok(encodeEcho(new Uint8Array(8)).length === 10);
});
