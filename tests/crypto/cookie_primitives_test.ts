/**
 * The primitives of MACs and cookies, put together in a published construction that is not ours:
 * whoever gets these answers has hash, keyed hash and XChaCha20 right in combination.
 *
 * - key(label, …) = BLAKE2s(label ‖ "TunGo" ‖ 0x01 ‖ …)
 * - mac1 = MAC(key("mac1", static key), message); mac2 = MAC(key("mac2", cookie), message ‖ mac1)
 * - cookie = MAC(secret, address 16 ‖ bucket u64 little-endian)
 * - reply = nonce ‖ XChaCha20-Poly1305(key("cookie", static key ‖ ephemeral key), cookie),
 *   associated data the ephemeral key
 *
 * @module
 */

import { strictEqual } from "node:assert/strict";
import { concatBytes, fromHex, toHex, utf8 } from "../../lib/base/bytes.ts";
import { type CryptoBackend, NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { NOBLE_BACKEND } from "../../lib/crypto/noble.ts";
import golden from "../vectors/tungo-dos-golden.json" with { type: "json" };

const BUCKET_SECONDS = 120;

/** The addresses of the vectors, as 16 bytes; reading text is another layer's work. */
const ADDRESSES: Record<string, string> = {
  "203.0.113.7": "00000000000000000000ffffcb007107",
  "2001:db8::7": "20010db8000000000000000000000007",
};

function keyOf(crypto: CryptoBackend, label: string, ...parts: Uint8Array[]): Uint8Array {
  return crypto.blake2s(utf8(`${label}TunGo`), Uint8Array.of(1), ...parts);
}

for (const backend of [NATIVE_BACKEND, NOBLE_BACKEND]) {
  Deno.test(`${backend.name} backend gives the published MACs and cookies`, () => {
    const staticKey = fromHex(golden.server_static_public);
    const message = fromHex(golden.msg1);
    const ephemeral = fromHex(golden.client_ephemeral);
    const mac1Key = keyOf(backend, "mac1", staticKey);
    strictEqual(toHex(mac1Key), golden.mac1_key);
    const mac1 = backend.keyedBlake2s(mac1Key, 16, message);
    strictEqual(toHex(mac1), golden.mac1);
    for (const row of golden.cases) {
      const bucket = Math.floor(row.unix_seconds / BUCKET_SECONDS);
      strictEqual(bucket, row.bucket);
      const cookie = backend.keyedBlake2s(
        fromHex(golden.cookie_secret),
        16,
        fromHex(ADDRESSES[row.client_ip]!),
        new Uint8Array(BigUint64Array.of(BigInt(bucket)).buffer),
      );
      strictEqual(toHex(cookie), row.cookie, `${row.client_ip} at ${row.unix_seconds}`);
      const mac2 = backend.keyedBlake2s(keyOf(backend, "mac2", cookie), 16, message, mac1);
      strictEqual(toHex(mac2), row.mac2);
      const nonce = fromHex(row.reply_nonce);
      const replyKey = keyOf(backend, "cookie", staticKey, ephemeral);
      const reply = concatBytes(nonce, backend.sealX(replyKey, nonce, ephemeral, cookie));
      strictEqual(toHex(reply), row.cookie_reply);
      const opened = backend.openX(replyKey, nonce, ephemeral, reply.subarray(24));
      strictEqual(opened && toHex(opened), row.cookie);
      strictEqual(
        toHex(concatBytes(Uint8Array.of(1), message, mac1, mac2)),
        row.wire_msg1_with_cookie,
      );
    }
  });
}
