/**
 * Which way of sealing and opening the workers use: libcrypto by its cheapest calls if they pass the
 * self-test, by its usual calls, with short packets apart; else the implementation that runs anywhere.
 *
 * @module
 */

import { libcryptoCiphers, type PacketCipher } from "../../../ffi/libcrypto.ts";
import { Mem } from "../../../ffi/memory.ts";
import { KNOWN_TAGS, selfTestInput } from "../../crypto/transport_aead_answers.ts";
import { DATA_HEADER_LENGTH, TAG_LENGTH } from "../../wire/datagram.ts";
import { withShortPackets } from "./short_cipher.ts";

/** The best way to use libcrypto that passes the self-test in this thread, if there is one. */
export function libcryptoCipher(): PacketCipher | undefined {
  return libcryptoCiphers().find(passesSelfTest);
}

/** The best way there is in this thread. */
export async function packetCipher(): Promise<PacketCipher> {
  const cipher = libcryptoCipher();
  if (cipher === undefined) return (await import("./portable_cipher.ts")).portableCipher();
  const both = withShortPackets(cipher);
  return passesSelfTest(both) ? both : cipher;
}

/**
 * Seals packets of many lengths with one key and compares with known answers; opens each again, after
 * a forgery, since the context is used on.
 */
export function passesSelfTest(cipher: PacketCipher): boolean {
  const { key } = selfTestInput(0);
  try {
    const sealer = cipher.sealer(key);
    const opener = cipher.opener(key);
    try {
      return KNOWN_TAGS.every(([length, tag]) => {
        const { counter, header, plaintext } = selfTestInput(length);
        const low = counter >>> 0;
        const high = Math.floor(counter / 0x1_0000_0000);
        const size = DATA_HEADER_LENGTH + length + TAG_LENGTH;
        const memory = new Mem(size);
        memory.u8.set(header);
        memory.u8.set(plaintext, DATA_HEADER_LENGTH);
        const body = DATA_HEADER_LENGTH;
        sealer.seal(low, high, memory, 0, body, memory, body, length);
        const sealed = memory.u8.slice(0, size);
        const known = Uint8Array.fromHex(tag);
        if (!known.every((byte, i) => byte === sealed[body + length + i])) return false;
        memory.u8[body + (length >> 1)]! ^= 1;
        if (opener.open(low, high, memory, 0, body, length)) return false;
        memory.u8.set(sealed);
        if (!opener.open(low, high, memory, 0, body, length)) return false;
        return plaintext.every((byte, i) => byte === memory.u8[body + i]);
      });
    } finally {
      sealer.free();
      opener.free();
    }
  } catch {
    return false;
  }
}
