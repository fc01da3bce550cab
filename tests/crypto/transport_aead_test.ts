import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import fc from "fast-check";
import {
  firstThatWorks,
  NOBLE_AEAD,
  passesSelfTest,
  type TransportAead,
  transportAead,
  WASM_AEAD,
} from "../../lib/crypto/transport_aead.ts";
import { selfTestInput } from "../../lib/crypto/transport_aead_answers.ts";

/** Any length, most often near the borders of blocks and of four-block steps. */
const anyLength = fc.oneof(
  fc.nat(2100),
  fc.constantFrom(0, 1, 15, 16, 17, 63, 64, 65, 191, 192, 193, 447, 448, 449, 1384, 1408, 1420),
);
const anyPacket = fc.record({
  key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  counter: fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1)),
  header: fc.uint8Array({ maxLength: 64 }),
  plaintext: anyLength.chain((n) => fc.uint8Array({ minLength: n, maxLength: n, size: "max" })),
});

function sealNatively(
  packet: { key: Uint8Array; counter: number; header: Uint8Array; plaintext: Uint8Array },
): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, BigInt(packet.counter), true);
  const cipher = createCipheriv("chacha20-poly1305", packet.key, nonce, { authTagLength: 16 });
  cipher.setAAD(packet.header, { plaintextLength: packet.plaintext.length });
  const body = cipher.update(packet.plaintext);
  return Uint8Array.from([...body, ...cipher.final(), ...cipher.getAuthTag()]);
}

for (const aead of [WASM_AEAD, NOBLE_AEAD]) {
  Deno.test(`TransportAead ${aead.name} agrees with the native library on any packet`, () => {
    fc.assert(
      fc.property(anyPacket, fc.nat(40), (packet, offset) => {
        const { key, counter, header, plaintext } = packet;
        const out = new Uint8Array(offset + plaintext.length + 16 + 3).fill(0xee);
        aead.seal(key, counter, header, plaintext, out, offset);
        const sealed = out.subarray(offset, offset + plaintext.length + 16);
        deepStrictEqual(Uint8Array.from(sealed), sealNatively(packet));
        ok(out.subarray(0, offset).every((byte) => byte === 0xee), "nothing before the offset");
        ok(out.subarray(-3).every((byte) => byte === 0xee), "nothing behind the tag");
        strictEqual(aead.open(key, counter, header, sealed, out, offset), plaintext.length);
        deepStrictEqual(
          Uint8Array.from(out.subarray(offset, offset + plaintext.length)),
          Uint8Array.from(plaintext),
        );
      }),
      { numRuns: aead.name === "wasm" ? 1500 : 150 },
    );
  });

  Deno.test(`TransportAead ${aead.name} refuses every forgery and leaves the output alone`, () => {
    fc.assert(
      fc.property(anyPacket, fc.nat(), fc.nat(7), (packet, at, bit) => {
        const { key, counter, header, plaintext } = packet;
        const sealed = new Uint8Array(plaintext.length + 16);
        aead.seal(key, counter, header, plaintext, sealed, 0);
        const out = new Uint8Array(plaintext.length);
        const forged = Uint8Array.from(sealed);
        forged[at % forged.length]! ^= 1 << bit;
        strictEqual(aead.open(key, counter, header, forged, out, 0), -1, "a flipped bit");
        const cut = sealed.subarray(0, -1 - at % sealed.length);
        strictEqual(aead.open(key, counter, header, cut, out, 0), -1, "a truncation");
        const otherCounter = counter === 0 ? 1 : counter - 1;
        strictEqual(aead.open(key, otherCounter, header, sealed, out, 0), -1, "another counter");
        const otherHeader = Uint8Array.from([...header, 0]).subarray(-64);
        const isOther = header.length < 64;
        if (isOther) strictEqual(aead.open(key, counter, otherHeader, sealed, out, 0), -1);
        ok(out.every((byte) => byte === 0), "nothing was written");
        strictEqual(aead.open(key, counter, header, sealed, out, 0), plaintext.length);
      }),
      { numRuns: aead.name === "wasm" ? 500 : 50 },
    );
  });

  Deno.test(`TransportAead ${aead.name} works in place`, () => {
    const { key, counter, header, plaintext } = selfTestInput(1000);
    const buffer = new Uint8Array(1016);
    buffer.set(plaintext);
    aead.seal(key, counter, header, buffer.subarray(0, 1000), buffer, 0);
    strictEqual(aead.open(key, counter, header, buffer, buffer, 0), 1000);
    deepStrictEqual(buffer.subarray(0, 1000), plaintext);
  });

  Deno.test(`TransportAead ${aead.name} refuses what does not fit`, () => {
    const { key, header, plaintext } = selfTestInput(100);
    const out = new Uint8Array(200);
    const tooLong = new Uint8Array(65536);
    const huge = new Uint8Array(70000);
    throws(() => aead.seal(key, 0, header, plaintext, out, 85), RangeError);
    throws(() => aead.seal(key, 0, header, tooLong, huge, 0), RangeError);
    throws(() => aead.seal(key, 0, new Uint8Array(65), plaintext, out, 0), RangeError);
    throws(() => aead.seal(key.subarray(1), 0, header, plaintext, out, 0), Error);
    aead.seal(key, 0, header, plaintext, out, 0);
    throws(() => aead.open(key, 0, header, out.subarray(0, 116), out, 101), RangeError);
  });

  Deno.test(`TransportAead ${aead.name} seals the longest packet`, () => {
    const { key, counter, header, plaintext } = selfTestInput(65535);
    const sealed = new Uint8Array(65535 + 16);
    aead.seal(key, counter, header, plaintext, sealed, 0);
    deepStrictEqual(sealed, sealNatively({ key, counter, header, plaintext }));
    const opened = new Uint8Array(65535);
    strictEqual(aead.open(key, counter, header, sealed, opened, 0), 65535);
    deepStrictEqual(opened, plaintext);
  });

  Deno.test(`TransportAead ${aead.name} passes its self-test`, () => ok(passesSelfTest(aead)));
}

Deno.test("TransportAead wasm follows a key array whose contents change", () => {
  const { counter, header, plaintext } = selfTestInput(64);
  const key = new Uint8Array(32).fill(1);
  const sealed = new Uint8Array(80);
  WASM_AEAD.seal(key, counter, header, plaintext, sealed, 0);
  key.fill(2);
  strictEqual(WASM_AEAD.open(key, counter, header, sealed, sealed, 0), -1);
  key.fill(1);
  WASM_AEAD.wipe();
  strictEqual(WASM_AEAD.open(key, counter, header, sealed, sealed, 0), 64);
});

/** What is wrong with an implementation, and what it does. */
const BROKEN: [why: string, overrides: Partial<TransportAead>][] = [
  ["accepts forgeries", {
    open(key, counter, header, ciphertext, out, outOffset) {
      const length = WASM_AEAD.open(key, counter, header, ciphertext, out, outOffset);
      return length < 0 ? ciphertext.length - 16 : length;
    },
  }],
  ["seals wrongly past three blocks", {
    seal(key, counter, header, plaintext, out, outOffset) {
      WASM_AEAD.seal(key, counter, header, plaintext, out, outOffset);
      if (plaintext.length > 192) out[out.length - 16]! ^= 1;
    },
  }],
  ["writes a forgery's plaintext", {
    open(key, counter, header, ciphertext, out, outOffset) {
      const length = WASM_AEAD.open(key, counter, header, ciphertext, out, outOffset);
      if (length < 0) out.fill(1);
      return length;
    },
  }],
  ["throws", {
    seal() {
      throw new Error("no SIMD");
    },
  }],
];

Deno.test("firstThatWorks() falls back where the self-test fails", () => {
  for (const [why, overrides] of BROKEN) {
    const broken: TransportAead = {
      name: "broken",
      seal: (...args) => WASM_AEAD.seal(...args),
      open: (...args) => WASM_AEAD.open(...args),
      wipe: () => {},
      ...overrides,
    };
    strictEqual(firstThatWorks([broken], NOBLE_AEAD), NOBLE_AEAD, why);
    strictEqual(firstThatWorks([broken, WASM_AEAD], NOBLE_AEAD), WASM_AEAD, why);
  }
  strictEqual(transportAead(), WASM_AEAD);
});
