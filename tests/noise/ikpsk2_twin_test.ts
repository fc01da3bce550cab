/**
 * Noise_IKpsk2_25519_ChaChaPoly written out once from the specification (rev. 34), line by line,
 * without tables, classes or anything of lib/noise; the engine must write and read the same bytes.
 * No other implementation at hand speaks IKpsk2.
 *
 * ```
 * IKpsk2:
 *   <- s
 *   ...
 *   -> e, es, s, ss
 *   <- e, ee, se, psk
 * ```
 *
 * @module
 */

import { deepStrictEqual } from "node:assert/strict";
import fc from "fast-check";
import { x25519 } from "@noble/curves/ed25519.js";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { blake2s } from "@noble/hashes/blake2.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8 } from "../../lib/base/bytes.ts";
import { keyPairFrom } from "../../lib/crypto/x25519.ts";
import { Handshake } from "../../mod.ts";

/** Private keys, and what the two sides say. */
interface Script {
  prologue: Uint8Array;
  initiatorStatic: Uint8Array;
  initiatorEphemeral: Uint8Array;
  responderStatic: Uint8Array;
  responderEphemeral: Uint8Array;
  psk: Uint8Array;
  payload1: Uint8Array;
  payload2: Uint8Array;
}

/** Both messages, the final hash and the two transport keys. */
function runStraight(hashName: "SHA256" | "BLAKE2s", script: Script) {
  const HASH = (data: Uint8Array) => hashName === "SHA256" ? sha256(data) : blake2s(data);
  const HMAC = (key: Uint8Array, data: Uint8Array) =>
    hmac(hashName === "SHA256" ? sha256 : blake2s, key, data);
  const HKDF2 = (ck: Uint8Array, ikm: Uint8Array) => {
    const tempKey = HMAC(ck, ikm);
    const output1 = HMAC(tempKey, Uint8Array.of(1));
    return [output1, HMAC(tempKey, concatBytes(output1, Uint8Array.of(2)))] as const;
  };
  const HKDF3 = (ck: Uint8Array, ikm: Uint8Array) => {
    const tempKey = HMAC(ck, ikm);
    const [output1, output2] = HKDF2(ck, ikm);
    return [output1, output2, HMAC(tempKey, concatBytes(output2, Uint8Array.of(3)))] as const;
  };
  const ENCRYPT = (k: Uint8Array, n: number, ad: Uint8Array, plaintext: Uint8Array) => {
    const nonce = new Uint8Array(12);
    nonce[4] = n;
    return chacha20poly1305(k, nonce, ad).encrypt(plaintext);
  };
  const PUBLIC = (privateKey: Uint8Array) => x25519.getPublicKey(privateKey);
  const DH = (privateKey: Uint8Array, publicKey: Uint8Array) =>
    x25519.getSharedSecret(privateKey, publicKey);

  const { initiatorStatic: is, initiatorEphemeral: ie } = script;
  const { responderStatic: rs, responderEphemeral: re, psk } = script;
  const protocolName = utf8(`Noise_IKpsk2_25519_ChaChaPoly_${hashName}`);
  let k: Uint8Array;

  // Initialize: the name has more than 32 bytes, so h = HASH(protocol_name); ck = h.
  let h = HASH(protocolName);
  let ck = h;
  h = HASH(concatBytes(h, script.prologue));
  // <- s
  h = HASH(concatBytes(h, PUBLIC(rs)));

  // -> e, and MixKey(e.public_key) since this is a PSK handshake
  h = HASH(concatBytes(h, PUBLIC(ie)));
  [ck, k] = HKDF2(ck, PUBLIC(ie));
  // es
  [ck, k] = HKDF2(ck, DH(ie, PUBLIC(rs)));
  // s
  const sealedStatic = ENCRYPT(k, 0, h, PUBLIC(is));
  h = HASH(concatBytes(h, sealedStatic));
  // ss
  [ck, k] = HKDF2(ck, DH(is, PUBLIC(rs)));
  const sealedPayload1 = ENCRYPT(k, 0, h, script.payload1);
  h = HASH(concatBytes(h, sealedPayload1));
  const message1 = concatBytes(PUBLIC(ie), sealedStatic, sealedPayload1);

  // <- e
  h = HASH(concatBytes(h, PUBLIC(re)));
  [ck, k] = HKDF2(ck, PUBLIC(re));
  // ee
  [ck, k] = HKDF2(ck, DH(re, PUBLIC(ie)));
  // se
  [ck, k] = HKDF2(ck, DH(re, PUBLIC(is)));
  // psk
  let tempHash: Uint8Array;
  [ck, tempHash, k] = HKDF3(ck, psk);
  h = HASH(concatBytes(h, tempHash));
  const sealedPayload2 = ENCRYPT(k, 0, h, script.payload2);
  h = HASH(concatBytes(h, sealedPayload2));
  const message2 = concatBytes(PUBLIC(re), sealedPayload2);

  const [initiatorKey, responderKey] = HKDF2(ck, new Uint8Array(0));
  return {
    message1,
    message2,
    hash: h,
    first: (text: Uint8Array) => ENCRYPT(initiatorKey, 0, new Uint8Array(0), text),
    back: (text: Uint8Array) => ENCRYPT(responderKey, 0, new Uint8Array(0), text),
  };
}

const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const bytes = fc.uint8Array({ maxLength: 60 });

Deno.test("Handshake agrees with a straight-line IKpsk2 on any keys and payloads", () => {
  const script = fc.record({
    prologue: bytes,
    initiatorStatic: key,
    initiatorEphemeral: key,
    responderStatic: key,
    responderEphemeral: key,
    psk: key,
    payload1: bytes,
    payload2: bytes,
  });
  fc.assert(
    fc.property(fc.constantFrom("SHA256", "BLAKE2s"), script, (hashName, script) => {
      const expected = runStraight(hashName, script);
      const common = {
        protocolName: `Noise_IKpsk2_25519_ChaChaPoly_${hashName}`,
        prologue: script.prologue,
        presharedKeys: [script.psk],
      };
      const initiator = new Handshake({
        ...common,
        role: "initiator",
        staticKey: keyPairFrom(script.initiatorStatic),
        remoteStaticKey: x25519.getPublicKey(script.responderStatic),
        ephemeralKey: keyPairFrom(script.initiatorEphemeral),
      });
      const responder = new Handshake({
        ...common,
        role: "responder",
        staticKey: keyPairFrom(script.responderStatic),
        ephemeralKey: keyPairFrom(script.responderEphemeral),
      });
      deepStrictEqual(initiator.writeMessage(script.payload1), expected.message1);
      deepStrictEqual(responder.readMessage(expected.message1), Uint8Array.from(script.payload1));
      deepStrictEqual(responder.writeMessage(script.payload2), expected.message2);
      deepStrictEqual(initiator.readMessage(expected.message2), Uint8Array.from(script.payload2));
      const text = utf8("transport data");
      const ad = new Uint8Array(0);
      for (const side of [initiator, responder]) deepStrictEqual(side.handshakeHash, expected.hash);
      const [ours, theirs] = [initiator.split(), responder.split()];
      deepStrictEqual(ours.send.encryptWithAd(ad, text), expected.first(text));
      deepStrictEqual(theirs.receive.decryptWithAd(ad, expected.first(text)), text);
      deepStrictEqual(theirs.send.encryptWithAd(ad, text), expected.back(text));
      deepStrictEqual(ours.receive.decryptWithAd(ad, expected.back(text)), text);
    }),
    { numRuns: 40 },
  );
});
