import { ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { libcryptoCiphers, type PacketCipher } from "../../../ffi/libcrypto.ts";
import { Mem } from "../../../ffi/memory.ts";
import { sealChaCha } from "../../../lib/crypto/aead.ts";
import { NOBLE_AEAD, WASM_AEAD } from "../../../lib/crypto/transport_aead.ts";
import { libcryptoCipher, passesSelfTest } from "../../../lib/dataplane/linux/cipher.ts";
import { portableCipher } from "../../../lib/dataplane/linux/portable_cipher.ts";
import { withShortPackets } from "../../../lib/dataplane/linux/short_cipher.ts";
import { isSoak } from "../../fakes/soak.ts";

const HEADER = 16;
const TAG = 16;
/** Packets through each way; 10^5 in the soak, and a part of it always. */
const RUNS = isSoak() ? 100_000 : 3_000;

const CIPHERS = [
  ...libcryptoCiphers(),
  ...libcryptoCiphers().map((cipher) => ({
    ...withShortPackets(cipher),
    name: `${cipher.name} with short packets apart`,
  })),
  portableCipher(WASM_AEAD),
  portableCipher(NOBLE_AEAD),
];

function nonceOf(low: number, high: number): Uint8Array {
  const nonce = new Uint8Array(12);
  const view = new DataView(nonce.buffer);
  view.setUint32(4, low, true);
  view.setUint32(8, high, true);
  return nonce;
}

for (const cipher of CIPHERS) {
  Deno.test(`PacketCipher ${cipher.name} agrees with node:crypto on any packet and forgery`, () => {
    const key = crypto.getRandomValues(new Uint8Array(32));
    const sealer = cipher.sealer(key);
    const opener = cipher.opener(key);
    const memory = new Mem(HEADER + 2048 + TAG);
    const source = new Mem(2048);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1500 }),
        fc.nat(0xffffffff),
        fc.nat(0x1fffff),
        fc.nat(),
        (length, low, high, flip) => {
          crypto.getRandomValues(source.u8.subarray(0, length));
          crypto.getRandomValues(memory.u8.subarray(0, HEADER));
          sealer.seal(low, high, memory, 0, HEADER, source, 0, length);
          const header = memory.u8.slice(0, HEADER);
          const plaintext = source.u8.slice(0, length);
          const sealed = memory.u8.slice(HEADER, HEADER + length + TAG);
          const expected = sealChaCha(key, nonceOf(low, high), header, plaintext);
          ok(expected.every((byte, i) => byte === sealed[i]), "sealed alike");
          const at = flip % (sealed.length * 8);
          memory.u8[HEADER + (at >> 3)]! ^= 1 << (at & 7);
          ok(!opener.open(low, high, memory, 0, HEADER, length), "a forgery");
          memory.u8.set(sealed, HEADER);
          ok(opener.open(low, high, memory, 0, HEADER, length), "the genuine one after it");
          ok(plaintext.every((byte, i) => byte === memory.u8[HEADER + i]), "opened alike");
        },
      ),
      { numRuns: RUNS },
    );
    sealer.free();
    opener.free();
  });

  Deno.test(`PacketCipher ${cipher.name} passes its self-test, and not with one bit wrong`, () => {
    ok(passesSelfTest(cipher));
    let calls = 0;
    const faulty: PacketCipher = {
      ...cipher,
      sealer(key) {
        const sealer = cipher.sealer(key);
        return {
          seal(low, high, out, headerAt, at, source, from, length) {
            sealer.seal(low, high, out, headerAt, at, source, from, length);
            if (calls++ === 5) out.u8[at + length]! ^= 0x80;
          },
          free: () => sealer.free(),
        };
      },
    };
    ok(!passesSelfTest(faulty), "the sixth tag is wrong");
    const believing: PacketCipher = {
      ...cipher,
      opener: (key) => {
        const opener = cipher.opener(key);
        return {
          open: (...args) => opener.open(...args) || true,
          free: () => opener.free(),
        };
      },
    };
    ok(!passesSelfTest(believing), "it takes forgeries");
  });
}

Deno.test("libcryptoCipher() takes the cheapest calls where they work", () => {
  const [best] = libcryptoCiphers();
  strictEqual(libcryptoCipher()?.name, best?.name);
});
