import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { blake2s as nobleBlake2s } from "@noble/hashes/blake2.js";
import fc from "fast-check";
import { toHex } from "../../lib/base/bytes.ts";
import { blake2s } from "../../lib/crypto/hash.ts";
import { keyedBlake2s } from "../../lib/crypto/keyed_blake2s.ts";

Deno.test("keyedBlake2s() passes the self-test of RFC 7693 appendix E", () => {
  /** "Deterministic sequences (Fibonacci generator)", selftest_seq. */
  function sequence(length: number, seed: number): Uint8Array {
    let a = Math.imul(0xdead4bad, seed);
    let b = 1;
    return Uint8Array.from({ length }, () => {
      const t = (a + b) | 0;
      [a, b] = [b, t];
      return t >>> 24;
    });
  }
  const digests: Uint8Array[] = [];
  for (const dkLen of [16, 20, 28, 32]) {
    for (const length of [0, 3, 64, 65, 255, 1024]) {
      const message = sequence(length, length);
      digests.push(nobleBlake2s(message, { dkLen })); // our unkeyed one gives 32 bytes only
      digests.push(keyedBlake2s(sequence(dkLen, dkLen), dkLen, message));
    }
  }
  strictEqual(
    toHex(blake2s(...digests)),
    "6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe",
  );
});

Deno.test("keyedBlake2s() agrees with noble for every key, length and cut", () => {
  const key = fc.uint8Array({ minLength: 1, maxLength: 32 });
  const parts = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 4 });
  fc.assert(fc.property(key, fc.integer({ min: 1, max: 32 }), parts, (key, dkLen, parts) => {
    const message = Uint8Array.from(parts.flatMap((part) => [...part]));
    deepStrictEqual(
      Uint8Array.from(keyedBlake2s(key, dkLen, ...parts)),
      Uint8Array.from(nobleBlake2s(message, { key, dkLen })),
    );
  }));
});

Deno.test("keyedBlake2s() takes 65536 bytes, and keeps nothing of the call before", () => {
  const key = new Uint8Array(32).fill(7);
  const long = Uint8Array.from({ length: 65_536 }, (_, i) => i);
  deepStrictEqual(keyedBlake2s(key, 32, long), nobleBlake2s(long, { key, dkLen: 32 }));
  const short = Uint8Array.of(1, 2, 3);
  const shortKey = key.subarray(0, 16);
  deepStrictEqual(
    keyedBlake2s(shortKey, 16, short),
    nobleBlake2s(short, { key: shortKey, dkLen: 16 }),
  );
});

Deno.test("keyedBlake2s() refuses what it has no room for", () => {
  const key = new Uint8Array(32);
  throws(() => keyedBlake2s(new Uint8Array(0), 16), RangeError);
  throws(() => keyedBlake2s(new Uint8Array(33), 16), RangeError);
  for (const length of [0, 33, 1.5, -1]) throws(() => keyedBlake2s(key, length), RangeError);
  throws(() => keyedBlake2s(key, 16, new Uint8Array(65_537)), RangeError);
});
