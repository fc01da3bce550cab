import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { sealChaCha } from "../../lib/crypto/aead.ts";
import { CipherState } from "../../lib/noise/cipher_state.ts";
import { countingBackend } from "../fakes/crypto_counter.ts";

const KEY = new Uint8Array(32).fill(9);
const AD = Uint8Array.of(1, 2);
const TEXT = Uint8Array.of(3, 4, 5);
const LAST = 2n ** 64n - 2n;

const cipherState = () => new CipherState(Uint8Array.from(KEY));

/** Nonce as a number, and its twelve bytes (§12.3). */
const NONCES: [nonce: bigint, bytes: number[]][] = [
  [0n, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  [1n, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]],
  [0x0102030405060708n, [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]],
  [LAST, [0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
];

Deno.test("CipherState writes the nonce as four zeros and 64 bits little-endian", () => {
  for (const [nonce, bytes] of NONCES) {
    const state = cipherState();
    state.setNonce(nonce);
    const expected = sealChaCha(KEY, Uint8Array.from(bytes), AD, TEXT);
    deepStrictEqual(state.encryptWithAd(AD, TEXT), expected);
    strictEqual(state.nonce, nonce + 1n);
  }
});

Deno.test("CipherState seals and opens in step", () => {
  const [sender, receiver] = [cipherState(), cipherState()];
  for (let i = 0; i < 5; i++) {
    deepStrictEqual(receiver.decryptWithAd(AD, sender.encryptWithAd(AD, TEXT)), TEXT);
  }
  strictEqual(receiver.nonce, 5n);
});

Deno.test("CipherState.decryptWithAd() keeps its nonce when it fails", () => {
  const [sender, receiver] = [cipherState(), cipherState()];
  const sealed = sender.encryptWithAd(AD, TEXT);
  const forged = Uint8Array.from(sealed);
  forged[0]! ^= 1;
  throws(() => receiver.decryptWithAd(AD, forged), { fault: "bad-tag" });
  throws(() => receiver.decryptWithAd(TEXT, sealed), { fault: "bad-tag" }, "other data");
  throws(() => receiver.decryptWithAd(AD, sealed.subarray(0, 15)), { fault: "message-too-short" });
  throws(() => receiver.decryptWithAd(AD, new Uint8Array(65536)), { fault: "message-too-long" });
  strictEqual(receiver.nonce, 0n);
  deepStrictEqual(receiver.decryptWithAd(AD, sealed), TEXT);
});

Deno.test("CipherState never uses the last nonce, 2^64 - 1", () => {
  const { backend, counts } = countingBackend();
  const sender = new CipherState(Uint8Array.from(KEY), backend, LAST);
  const receiver = new CipherState(Uint8Array.from(KEY), backend, LAST);
  const sealed = sender.encryptWithAd(AD, TEXT);
  deepStrictEqual(receiver.decryptWithAd(AD, sealed), TEXT);
  strictEqual(counts.aead, 2);
  for (let i = 0; i < 2; i++) {
    throws(() => sender.encryptWithAd(AD, TEXT), { fault: "nonce-exhausted" });
    throws(() => receiver.decryptWithAd(AD, sealed), { fault: "nonce-exhausted" });
  }
  strictEqual(counts.aead, 2);
});

Deno.test("CipherState takes messages up to 65535 bytes with the tag", () => {
  const state = cipherState();
  strictEqual(state.encryptWithAd(AD, new Uint8Array(65519)).length, 65535);
  throws(() => state.encryptWithAd(AD, new Uint8Array(65520)), { fault: "message-too-long" });
  strictEqual(state.nonce, 1n);
});

Deno.test("CipherState.setNonce() refuses what has no 64 bits", () => {
  throws(() => cipherState().setNonce(-1n), RangeError);
  throws(() => cipherState().setNonce(2n ** 64n), RangeError);
});

Deno.test("CipherState.wipe() clears the key and ends the state", () => {
  const key = Uint8Array.from(KEY);
  const state = new CipherState(key);
  state.wipe();
  deepStrictEqual(key, new Uint8Array(32));
  throws(() => state.encryptWithAd(AD, TEXT), { fault: "nonce-exhausted" });
  strictEqual(JSON.stringify({ state }), '{"state":"CipherState"}');
});
