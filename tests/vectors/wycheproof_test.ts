/**
 * Wycheproof (C2SP, Apache-2.0): answers at the edges where implementations have gone wrong. Each
 * native primitive and its portable twin must give every one.
 *
 * @module
 */

import { deepStrictEqual, notDeepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { libcryptoCiphers } from "../../ffi/libcrypto.ts";
import { Mem } from "../../ffi/memory.ts";
import { concatBytes, fromHex, toHex } from "../../lib/base/bytes.ts";
import { type CryptoBackend, NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { hmacSha256 } from "../../lib/crypto/hash.ts";
import { NOBLE_BACKEND } from "../../lib/crypto/noble.ts";
import * as wasm from "../../lib/crypto/wasm/chacha20_poly1305.wasm";
import { isLowOrderPoint, LowOrderPointError } from "../../lib/crypto/x25519.ts";
import { testWithVectors } from "./external.ts";

/** One file: groups with some parameters, each with its cases. */
interface Suite<Case, Group = unknown> {
  numberOfTests: number;
  testGroups: (Group & { tests: Case[] })[];
}

/** What every case has. */
interface Case {
  tcId: number;
  comment: string;
  flags: string[];
  result: "valid" | "invalid" | "acceptable";
}

type DhCase = Case & { public: string; private: string; shared: string };
type AeadCase = Case & {
  key: string;
  iv: string;
  aad: string;
  msg: string;
  ct: string;
  tag: string;
};
type HkdfCase = Case & { ikm: string; salt: string; info: string; size: number; okm: string };
type HmacCase = Case & { key: string; msg: string; tag: string };

/** Runs every case and checks that none was left out. */
function forEachCase<C extends Case, G>(
  suite: Suite<C, G>,
  check: (row: C, why: string, group: G) => void,
): void {
  let count = 0;
  for (const group of suite.testGroups) {
    for (const row of group.tests) {
      count++;
      check(row, `case ${row.tcId}: ${row.comment} [${row.flags}]`, group);
    }
  }
  strictEqual(count, suite.numberOfTests);
}

const backends = [NATIVE_BACKEND, NOBLE_BACKEND];

for (const backend of backends) {
  testWithVectors<Suite<DhCase>>(
    `X25519 of ${backend.name} passes Wycheproof`,
    "wycheproof_x25519_test.json",
    (suite) =>
      forEachCase(suite, (row, why) => {
        const [privateKey, publicKey] = [fromHex(row.private), fromHex(row.public)];
        // Non-canonical keys and keys on the twist are worked with, as RFC 7748 says: "acceptable".
        const isLowOrder = row.flags.includes("ZeroSharedSecret");
        strictEqual(isLowOrderPoint(publicKey), isLowOrder, why);
        if (isLowOrder) {
          throws(() => backend.diffieHellman(privateKey, publicKey), LowOrderPointError, why);
        } else strictEqual(toHex(backend.diffieHellman(privateKey, publicKey)), row.shared, why);
      }),
  );

  testWithVectors<Suite<AeadCase>>(
    `ChaCha20-Poly1305 of ${backend.name} passes Wycheproof`,
    "wycheproof_chacha20_poly1305_test.json",
    (suite) => checkAead(suite, backend.seal, backend.open, 12),
  );

  testWithVectors<Suite<AeadCase>>(
    `XChaCha20-Poly1305 of ${backend.name} passes Wycheproof`,
    "wycheproof_xchacha20_poly1305_test.json",
    (suite) => checkAead(suite, backend.sealX, backend.openX, 24),
  );

  testWithVectors<Suite<HkdfCase>>(
    `HKDF of ${backend.name} passes Wycheproof`,
    "wycheproof_hkdf_sha256_test.json",
    (suite) =>
      forEachCase(suite, (row, why) => {
        const [ikm, salt, info] = [fromHex(row.ikm), fromHex(row.salt), fromHex(row.info)];
        const derive = () => backend.hkdf("SHA256", { ikm, salt, info, length: row.size });
        if (row.result === "invalid") throws(derive, why);
        else strictEqual(toHex(derive()), row.okm, why);
      }),
  );
}

testWithVectors<Suite<HmacCase, { tagSize: number }>>(
  "HMAC-SHA-256 passes Wycheproof",
  "wycheproof_hmac_sha256_test.json",
  (suite) =>
    forEachCase(suite, (row, why, group) => {
      const mac = hmacSha256(fromHex(row.key), fromHex(row.msg)).subarray(0, group.tagSize / 8);
      strictEqual(toHex(mac) === row.tag, row.result === "valid", why);
    }),
);

/** Vectors with a nonce of 12 bytes; the others cannot be said to a cipher of transport data. */
const SAYABLE = 316;

/** Places in the module's memory, drawn at the head of its source. */
const WASM = { key: 1024, nonceHead: 1088 + 52, ad: 65536, packet: 131072 };

testWithVectors<Suite<AeadCase>>(
  "the WebAssembly ChaCha20-Poly1305 passes Wycheproof",
  "wycheproof_chacha20_poly1305_test.json",
  (suite) => {
    let count = 0;
    forEachCase(suite, (row, why) => {
      const nonce = fromHex(row.iv);
      if (nonce.length !== 12) return; // cannot be said to it
      count++;
      const [ad, plaintext, ciphertext] = [fromHex(row.aad), fromHex(row.msg), fromHex(row.ct)];
      const sealed = concatBytes(ciphertext, fromHex(row.tag));
      const memory = new Uint8Array(wasm.memory.buffer);
      memory.set(fromHex(row.key), WASM.key);
      wasm.init();
      // Transport nonces begin with four zero bytes; these do not, so they are put in by hand.
      memory.set(nonce.subarray(0, 4), WASM.nonceHead);
      const view = new DataView(nonce.buffer);
      const [low, high] = [view.getUint32(4, true), view.getUint32(8, true)];
      const run = (work: typeof wasm.seal | typeof wasm.open, input: Uint8Array) => {
        memory.fill(0, WASM.packet, WASM.packet + sealed.length + 64);
        memory.set(ad, WASM.ad);
        memory.set(input, WASM.packet);
        return work(low, high, WASM.packet, WASM.ad, ad.length, WASM.packet, plaintext.length);
      };
      const result = (length: number) => memory.slice(WASM.packet, WASM.packet + length);
      strictEqual(run(wasm.open, sealed), row.result === "valid" ? 1 : 0, why);
      if (row.result === "valid") deepStrictEqual(result(plaintext.length), plaintext, why);
      run(wasm.seal, plaintext);
      if (row.result === "valid") deepStrictEqual(result(sealed.length), sealed, why);
      else notDeepStrictEqual(result(sealed.length), sealed, why);
    });
    strictEqual(count, SAYABLE);
    wasm.wipe();
  },
);

/** Room before the associated data, so that nothing of it stands at the start of the memory. */
const AD_AT = 32;

for (const [way, { name }] of libcryptoCiphers().entries()) {
  testWithVectors<Suite<AeadCase>>(
    `${name} passes Wycheproof, sealing and opening in place`,
    "wycheproof_chacha20_poly1305_test.json",
    (suite) => {
      let count = 0;
      forEachCase(suite, (row, why) => {
        const nonce = fromHex(row.iv);
        if (nonce.length !== 12) return;
        count++;
        const [key, ad, plaintext] = [fromHex(row.key), fromHex(row.aad), fromHex(row.msg)];
        const sealed = concatBytes(fromHex(row.ct), fromHex(row.tag));
        const view = new DataView(nonce.buffer);
        const form = { headerLength: ad.length, nonceHead: view.getUint32(0, true) };
        const [low, high] = [view.getUint32(4, true), view.getUint32(8, true)];
        const cipher = libcryptoCiphers(form)[way]!;
        const [sealer, opener] = [cipher.sealer(key), cipher.opener(key)];
        const at = AD_AT + ad.length;
        const memory = new Mem(at + sealed.length);
        const { length } = plaintext;
        // Twice with one context, as packets follow each other.
        for (const turn of ["first", "again"]) {
          memory.u8.set(ad, AD_AT);
          memory.u8.set(plaintext, at);
          sealer.seal(low, high, memory, AD_AT, at, memory, at, length);
          const isRight = toHex(memory.u8.subarray(at, at + sealed.length)) === toHex(sealed);
          strictEqual(isRight, row.result === "valid", `${why}, sealed ${turn}`);
          memory.u8.set(sealed, at);
          const isOpen = opener.open(low, high, memory, AD_AT, at, length);
          strictEqual(isOpen, row.result === "valid", `${why}, opened ${turn}`);
          if (isOpen) deepStrictEqual(memory.u8.slice(at, at + length), plaintext, why);
        }
        sealer.free();
        opener.free();
      });
      strictEqual(count, SAYABLE);
    },
  );
}

function checkAead(
  suite: Suite<AeadCase>,
  seal: CryptoBackend["seal"],
  open: CryptoBackend["open"],
  nonceLength: number,
): void {
  forEachCase(suite, (row, why) => {
    const [key, nonce, ad] = [fromHex(row.key), fromHex(row.iv), fromHex(row.aad)];
    const plaintext = fromHex(row.msg);
    const sealed = concatBytes(fromHex(row.ct), fromHex(row.tag));
    if (nonce.length !== nonceLength) {
      throws(() => seal(key, nonce, ad, plaintext), why);
      return;
    }
    if (row.result === "invalid") return strictEqual(open(key, nonce, ad, sealed), undefined, why);
    deepStrictEqual(seal(key, nonce, ad, plaintext), sealed, why);
    deepStrictEqual(open(key, nonce, ad, sealed), plaintext, why);
  });
}
