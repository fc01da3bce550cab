import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../lib/base/bytes.ts";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { NOBLE_BACKEND } from "../../lib/crypto/noble.ts";
import {
  diffieHellman,
  generateKeyPair,
  isLowOrderPoint,
  keyPairFrom,
  LowOrderPointError,
  publicKeyOf,
  wipePrivateKey,
} from "../../lib/crypto/x25519.ts";
import lowOrder from "../vectors/x25519_low_order_points.json" with { type: "json" };

const key32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

/** RFC 7748 §5.2 and §6.1: scalar, u-coordinate, result. */
const RFC_7748: [scalar: string, u: string, result: string][] = [
  [
    "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
    "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
    "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
  ],
  [
    "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
    "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
    "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
  ],
  [
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
  ],
];

/** RFC 7748 §6.1: private key, public key. */
const RFC_7748_PAIRS: [privateKey: string, publicKey: string][] = [
  [
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
  ],
  [
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
  ],
];

for (const backend of [NATIVE_BACKEND, NOBLE_BACKEND]) {
  Deno.test(`diffieHellman() of ${backend.name} agrees with RFC 7748`, () => {
    for (const [scalar, u, result] of RFC_7748) {
      strictEqual(toHex(backend.diffieHellman(fromHex(scalar), fromHex(u))), result);
    }
    for (const [privateKey, publicKey] of RFC_7748_PAIRS) {
      strictEqual(toHex(backend.publicKeyOf(fromHex(privateKey))), publicKey);
    }
  });

  Deno.test(`diffieHellman() of ${backend.name} refuses all 14 low-order encodings`, () => {
    strictEqual(lowOrder.points.length, 14);
    for (const { public: point } of lowOrder.points) {
      const { privateKey } = backend.generateKeyPair();
      throws(() => backend.diffieHellman(privateKey, fromHex(point)), LowOrderPointError, point);
    }
  });

  Deno.test(`diffieHellman() of ${backend.name} refuses other lengths as misuse`, () => {
    const good = backend.generateKeyPair();
    for (const length of [0, 31, 33]) {
      const bad = new Uint8Array(length);
      const isMisuse = (error: unknown) => !(error instanceof LowOrderPointError);
      throws(() => backend.diffieHellman(bad, good.publicKey), isMisuse);
      throws(() => backend.diffieHellman(good.privateKey, bad), isMisuse);
      throws(() => backend.publicKeyOf(bad), isMisuse);
    }
  });
}

Deno.test("diffieHellman() agrees with RFC 7748 after 1000 iterations", () => {
  let k = new Uint8Array(32);
  k[0] = 9;
  let u = Uint8Array.from(k);
  for (let i = 0; i < 1000; i++) {
    [k, u] = [diffieHellman(k, u), k];
    if (i === 0) {
      strictEqual(toHex(k), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
  }
  strictEqual(toHex(k), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
});

Deno.test("diffieHellman() agrees with noble on any bytes", () => {
  fc.assert(
    fc.property(key32, key32, (privateKey, publicKey) => {
      deepStrictEqual(publicKeyOf(privateKey), NOBLE_BACKEND.publicKeyOf(privateKey));
      let expected: Uint8Array | undefined;
      try {
        expected = NOBLE_BACKEND.diffieHellman(privateKey, publicKey);
      } catch { /* low order */ }
      if (expected === undefined) {
        throws(() => diffieHellman(privateKey, publicKey), LowOrderPointError);
      } else deepStrictEqual(diffieHellman(privateKey, publicKey), expected);
    }),
    { numRuns: 60 },
  );
});

Deno.test("diffieHellman() reduces non-canonical public keys and ignores the top bit", () => {
  // p + 9 = 2^255 - 10 and its twin with the top bit are other spellings of the base point.
  const basePoint = "0900000000000000000000000000000000000000000000000000000000000000";
  const beyondPrime = "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
  const { privateKey, publicKey } = generateKeyPair();
  deepStrictEqual(diffieHellman(privateKey, fromHex(basePoint)), publicKey);
  deepStrictEqual(diffieHellman(privateKey, fromHex(beyondPrime)), publicKey);
  for (const spelling of [basePoint, beyondPrime]) {
    const withTopBit = fromHex(spelling);
    withTopBit[31]! |= 0x80;
    deepStrictEqual(diffieHellman(privateKey, withTopBit), publicKey, spelling);
  }
});

Deno.test("isLowOrderPoint() knows the 14 encodings and nothing near them", () => {
  for (const { public: point } of lowOrder.points) {
    const encoded = fromHex(point);
    ok(isLowOrderPoint(encoded), point);
    for (let byte = 0; byte < 32; byte++) {
      const other = Uint8Array.from(encoded);
      other[byte]! ^= 0x10;
      ok(!isLowOrderPoint(other), `${point}, byte ${byte}`);
    }
  }
  fc.assert(fc.property(key32, (publicKey) => {
    let isRefused = false;
    try {
      diffieHellman(new Uint8Array(32).fill(8), publicKey);
    } catch {
      isRefused = true;
    }
    strictEqual(isLowOrderPoint(publicKey), isRefused);
  }));
});

Deno.test("generateKeyPair() makes distinct pairs that agree", () => {
  const [a, b] = [generateKeyPair(), generateKeyPair()];
  notDeepStrictEqual(a.privateKey, b.privateKey);
  deepStrictEqual(publicKeyOf(a.privateKey), a.publicKey);
  deepStrictEqual(
    diffieHellman(a.privateKey, b.publicKey),
    diffieHellman(b.privateKey, a.publicKey),
  );
});

Deno.test("keyPairFrom() copies the private key", () => {
  const privateKey = new Uint8Array(32).fill(7);
  const pair = keyPairFrom(privateKey);
  privateKey.fill(0);
  deepStrictEqual(pair.privateKey, new Uint8Array(32).fill(7));
  deepStrictEqual(publicKeyOf(pair.privateKey), pair.publicKey);
});

Deno.test("diffieHellman() follows a private key array whose contents change", () => {
  const other = generateKeyPair().publicKey;
  const key = new Uint8Array(32).fill(1);
  const first = diffieHellman(key, other);
  key.fill(2);
  const second = diffieHellman(key, other);
  notDeepStrictEqual(second, first);
  deepStrictEqual(second, diffieHellman(new Uint8Array(32).fill(2), other));
});

Deno.test("wipePrivateKey() leaves zeros and forgets the import", () => {
  const pair = generateKeyPair();
  const other = generateKeyPair().publicKey;
  const before = diffieHellman(pair.privateKey, other);
  wipePrivateKey(pair.privateKey);
  deepStrictEqual(pair.privateKey, new Uint8Array(32));
  notDeepStrictEqual(diffieHellman(pair.privateKey, other), before);
});
