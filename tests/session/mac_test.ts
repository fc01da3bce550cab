import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { utf8 } from "../../lib/base/bytes.ts";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { sha256 } from "../../lib/crypto/hash.ts";
import { keyedBlake2s } from "../../lib/crypto/keyed_blake2s.ts";
import { mac1Key, verifyMac1, writeMac1 } from "../../lib/session/mac.ts";
import { encodeInitiation, macFields } from "../../lib/wire/datagram.ts";

const RECEIVER = new Uint8Array(32).fill(9);

function initiation(): Uint8Array {
  const noise = new Uint8Array(112).fill(3);
  return encodeInitiation({ profile: "mesh", senderIndex: 7, noise });
}

Deno.test("writeMac1() fills in keyed BLAKE2s over all that comes before", () => {
  const datagram = initiation();
  writeMac1(NATIVE_BACKEND, mac1Key(NATIVE_BACKEND, RECEIVER), datagram);
  const key = sha256(utf8("tunnelmesh mac1 v1"), RECEIVER);
  deepStrictEqual(datagram.slice(120, 136), keyedBlake2s(key, 16, datagram.subarray(0, 120)));
  deepStrictEqual(datagram.slice(136), new Uint8Array(16), "no cookie, no mac2");
});

Deno.test("verifyMac1() notices every change of a byte it covers, and of itself", () => {
  const key = mac1Key(NATIVE_BACKEND, RECEIVER);
  const datagram = initiation();
  writeMac1(NATIVE_BACKEND, key, datagram);
  strictEqual(verifyMac1(NATIVE_BACKEND, key, macFields(datagram)), true);
  for (let at = 0; at < 136; at++) {
    const changed = Uint8Array.from(datagram);
    changed[at]! ^= 1;
    strictEqual(verifyMac1(NATIVE_BACKEND, key, macFields(changed)), false, `byte ${at}`);
  }
});

Deno.test("verifyMac1() under another receiver's key fails", () => {
  const datagram = initiation();
  writeMac1(NATIVE_BACKEND, mac1Key(NATIVE_BACKEND, RECEIVER), datagram);
  const other = mac1Key(NATIVE_BACKEND, new Uint8Array(32).fill(8));
  strictEqual(verifyMac1(NATIVE_BACKEND, other, macFields(datagram)), false);
});
