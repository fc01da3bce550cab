import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { blake2s as nobleBlake2s } from "@noble/hashes/blake2.js";
import { hmac as nobleHmac } from "@noble/hashes/hmac.js";
import { sha256 as nobleSha256, sha512 as nobleSha512 } from "@noble/hashes/sha2.js";
import { concatBytes, fromHex, toHex, utf8 } from "../../lib/base/bytes.ts";
import { blake2s, hmac, hmacSha256, sha256, sha512 } from "../../lib/crypto/hash.ts";
import { hkdf, hkdfWith } from "../../lib/crypto/hkdf.ts";
import { NOBLE_BACKEND } from "../../lib/crypto/noble.ts";

const anyBytes = fc.uint8Array({ maxLength: 300 });
const anyParts = fc.array(anyBytes, { maxLength: 4 });
const filled = (length: number, byte: number) => new Uint8Array(length).fill(byte);
const counting = (length: number, from: number) => Uint8Array.from({ length }, (_, i) => from + i);

Deno.test("hashes agree with FIPS 180-4 and RFC 7693 on abc", () => {
  const abc = utf8("abc");
  strictEqual(
    toHex(sha256(abc)),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
  strictEqual(
    toHex(sha512(abc)),
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" +
      "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
  );
  strictEqual(
    toHex(blake2s(abc)),
    "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
  );
});

/** RFC 4231 §4, without the truncated case 5. */
const RFC_4231: [key: Uint8Array, data: Uint8Array, mac: string][] = [
  [
    filled(20, 0x0b),
    utf8("Hi There"),
    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
  ],
  [
    utf8("Jefe"),
    utf8("what do ya want for nothing?"),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  ],
  [
    filled(20, 0xaa),
    filled(50, 0xdd),
    "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
  ],
  [
    counting(25, 1),
    filled(50, 0xcd),
    "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
  ],
  [
    filled(131, 0xaa),
    utf8("Test Using Larger Than Block-Size Key - Hash Key First"),
    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
  ],
  [
    filled(131, 0xaa),
    utf8(
      "This is a test using a larger than block-size key and a larger than block-size data. " +
        "The key needs to be hashed before being used by the HMAC algorithm.",
    ),
    "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
  ],
];

Deno.test("hmacSha256() agrees with RFC 4231", () => {
  for (const [key, data, mac] of RFC_4231) {
    strictEqual(toHex(hmacSha256(key, data)), mac);
    strictEqual(toHex(hmacSha256(key, data.subarray(0, 3), data.subarray(3))), mac, "in parts");
  }
});

/** RFC 5869 appendix A.1 to A.3. */
const RFC_5869: [
  ikm: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  output: string,
][] = [
  [
    filled(22, 0x0b),
    counting(13, 0),
    counting(10, 0xf0),
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
  ],
  [
    counting(80, 0),
    counting(80, 0x60),
    counting(80, 0xb0),
    "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e" +
    "09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
  ],
  [
    filled(22, 0x0b),
    new Uint8Array(0),
    new Uint8Array(0),
    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
  ],
];

Deno.test("hkdf() agrees with RFC 5869", () => {
  for (const [ikm, salt, info, output] of RFC_5869) {
    deepStrictEqual(hkdf(ikm, { salt, info, length: output.length / 2 }), fromHex(output));
  }
  const [ikm, , info] = RFC_5869[2]!;
  strictEqual(
    toHex(hkdf(ikm, { info })),
    RFC_5869[2]![3].slice(0, 64),
    "salt and length by default",
  );
});

Deno.test("hkdf() refuses lengths that it cannot give", () => {
  const info = new Uint8Array(0);
  for (const length of [-1, 0, 1.5, 255 * 32 + 1, NaN]) {
    throws(() => hkdf(filled(32, 1), { info, length }), RangeError, String(length));
  }
  strictEqual(hkdf(filled(32, 1), { info, length: 255 * 32 }).length, 255 * 32);
});

Deno.test("hashes agree with noble on any parts", () => {
  fc.assert(fc.property(anyParts, (parts) => {
    const whole = concatBytes(...parts);
    deepStrictEqual(sha256(...parts), nobleSha256(whole));
    deepStrictEqual(sha512(...parts), nobleSha512(whole));
    deepStrictEqual(blake2s(...parts), nobleBlake2s(whole));
  }));
});

Deno.test("hmac() agrees with noble on any key and parts", () => {
  fc.assert(fc.property(anyBytes, anyParts, (key, parts) => {
    const whole = concatBytes(...parts);
    deepStrictEqual(hmac("SHA256", key, ...parts), nobleHmac(nobleSha256, key, whole));
    deepStrictEqual(hmac("BLAKE2s", key, ...parts), nobleHmac(nobleBlake2s, key, whole));
  }));
});

Deno.test("hkdfWith() agrees with noble on any input", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("SHA256", "BLAKE2s"),
      fc.record({ ikm: anyBytes, salt: anyBytes, info: anyBytes }),
      fc.integer({ min: 1, max: 200 }),
      (name, input, length) => {
        const all = { ...input, length };
        deepStrictEqual(hkdfWith(name, all), NOBLE_BACKEND.hkdf(name, all));
      },
    ),
  );
});
