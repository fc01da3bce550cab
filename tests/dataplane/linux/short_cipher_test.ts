import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { libcryptoCiphers, type PacketCipher } from "../../../ffi/libcrypto.ts";
import { Mem } from "../../../ffi/memory.ts";
import { sealChaCha } from "../../../lib/crypto/aead.ts";
import { NOBLE_AEAD, WASM_AEAD } from "../../../lib/crypto/transport_aead.ts";
import * as wasm from "../../../lib/crypto/wasm/chacha20_poly1305.wasm";
import { portableCipher } from "../../../lib/dataplane/linux/portable_cipher.ts";
import { SHORT_MAX, withShortPackets } from "../../../lib/dataplane/linux/short_cipher.ts";
import { DATA_HEADER_LENGTH, TAG_LENGTH } from "../../../lib/wire/datagram.ts";

/** What is wrapped, and what the tests compare with; noble has nothing in the module's memory. */
const WHOLE = libcryptoCiphers()[0] ?? portableCipher(NOBLE_AEAD);
const SHORT = withShortPackets(WHOLE);

/** Around words, blocks and the border between the two ways. */
const LENGTHS = [0, 1, 3, 4, 15, 16, 191, 192, 193, 1408];
const SIZE = 2048;

/** Counters by halves, at the edges of both. */
const COUNTERS: readonly (readonly [low: number, high: number])[] = [
  [0, 0],
  [0xffffffff, 0],
  [0x80000001, 0x1fffff],
];

/** Where things stand in the memories; `from` is undefined when the packet is sealed in place. */
const PLACES: readonly { headerAt: number; at: number; from: number | undefined }[] = [
  { headerAt: 0, at: 16, from: 0 },
  { headerAt: 1, at: 17, from: 3 },
  { headerAt: 6, at: 35, from: undefined },
  { headerAt: 2000, at: 7, from: 30 },
];

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length));
}

function memoryOf(bytes: Uint8Array): Mem {
  const memory = new Mem(bytes.length);
  memory.u8.set(bytes);
  return memory;
}

/** Whether two states of a memory differ at most in `[start, end)`. */
function isAlikeOutside(a: Uint8Array, b: Uint8Array, start: number, end: number): boolean {
  return a.every((byte, i) => (i >= start && i < end) || byte === b[i]);
}

for (const length of LENGTHS) {
  Deno.test(`withShortPackets() with ${length} bytes does what the wrapped cipher does, there only`, () => {
    const key = randomBytes(32);
    const [sealer, opener, wholeSealer] = [
      SHORT.sealer(key),
      SHORT.opener(key),
      WHOLE.sealer(key),
    ];
    for (const { headerAt, at, from } of PLACES) {
      for (const [low, high] of COUNTERS) {
        const why = `header at ${headerAt}, packet at ${at}, from ${from}, counter ${high}:${low}`;
        const before = randomBytes(SIZE);
        const sourceBefore = from === undefined ? before : randomBytes(SIZE);
        const plaintext = sourceBefore.slice(from ?? at, (from ?? at) + length);
        const [memory, expected] = [memoryOf(before), memoryOf(before)];
        const source = memoryOf(sourceBefore);
        const end = at + length;

        for (const [one, out] of [[sealer, memory], [wholeSealer, expected]] as const) {
          const [input, start] = from === undefined ? [out, at] : [source, from];
          one.seal(low, high, out, headerAt, at, input, start, length);
        }
        deepStrictEqual(memory.u8, expected.u8, `sealed alike: ${why}`);
        ok(isAlikeOutside(memory.u8, before, at, end + TAG_LENGTH), `sealed outside: ${why}`);
        deepStrictEqual(source.u8, sourceBefore, `source: ${why}`);
        const sealed = memory.u8.slice();

        memory.u8[end + 5]! ^= 4;
        const forged = memory.u8.slice();
        ok(!opener.open(low, high, memory, headerAt, at, length), `forgery: ${why}`);
        // What libcrypto leaves of a forged packet is worth nothing; the short way leaves all.
        const touchedTo = length > SHORT_MAX ? end : at;
        ok(isAlikeOutside(memory.u8, forged, at, touchedTo), `refused, and changed: ${why}`);

        memory.u8.set(sealed);
        ok(opener.open(low, high, memory, headerAt, at, length), `genuine: ${why}`);
        deepStrictEqual(memory.u8.slice(at, end), plaintext, `opened: ${why}`);
        ok(isAlikeOutside(memory.u8, sealed, at, end), `opened outside: ${why}`);
      }
    }
    sealer.free();
    opener.free();
    wholeSealer.free();
  });
}

for (const length of [0, 1, 16, SHORT_MAX, SHORT_MAX + 1, 1408]) {
  Deno.test(`withShortPackets() refuses ${length} bytes with any bit of tag, header or counter forged`, () => {
    const [low, high] = [0x89abcdef, 0x12345];
    const at = DATA_HEADER_LENGTH;
    const { opener, sealed } = sealedPacket(length, low, high);
    const memory = memoryOf(sealed);
    const isOpened = (low: number, high: number) => opener.open(low, high, memory, 0, at, length);
    const bodyEnds = length === 0 ? [] : [at, at + length - 1];
    const headerAndTag = [0, at + length].flatMap((start) =>
      Array.from({ length: 16 }, (_, i) => start + i)
    );
    for (const place of [...headerAndTag, ...bodyEnds]) {
      for (let bit = 0; bit < 8; bit++) {
        memory.u8.set(sealed);
        memory.u8[place]! ^= 1 << bit;
        ok(!isOpened(low, high), `byte ${place}, bit ${bit}`);
      }
    }
    for (let bit = 0; bit < 53; bit++) {
      const [forgedLow, forgedHigh] = bit < 32
        ? [(low ^ (1 << bit)) >>> 0, high]
        : [low, high ^ (1 << (bit - 32))];
      memory.u8.set(sealed);
      ok(!isOpened(forgedLow, forgedHigh), `counter, bit ${bit}`);
    }
    memory.u8.set(sealed);
    ok(isOpened(low, high), "the genuine one after them");
    opener.free();
  });
}

/** A packet behind its header, by the wrapped cipher, and the opener of its key. */
function sealedPacket(length: number, low: number, high: number) {
  const key = randomBytes(32);
  const memory = memoryOf(randomBytes(DATA_HEADER_LENGTH + length + TAG_LENGTH));
  const sealer = WHOLE.sealer(key);
  const at = DATA_HEADER_LENGTH;
  const plaintext = memory.u8.slice(at, at + length);
  sealer.seal(low, high, memory, 0, at, memory, at, length);
  sealer.free();
  return { key, plaintext, sealed: memory.u8, opener: SHORT.opener(key) };
}

Deno.test("withShortPackets() leaves to the wrapped cipher what is longer, and frees it", () => {
  const calls: string[] = [];
  const spied: PacketCipher = {
    name: "spied",
    sealer: () => ({
      seal: (...args) => void calls.push(`seal ${args[7]}`),
      free: () => void calls.push("free sealer"),
    }),
    opener: () => ({
      open: (...args) => calls.push(`open ${args[5]}`) > 0,
      free: () => void calls.push("free opener"),
    }),
  };
  const cipher = withShortPackets(spied);
  strictEqual(cipher.name, "spied");
  const [sealer, opener] = [cipher.sealer(randomBytes(32)), cipher.opener(randomBytes(32))];
  const memory = new Mem(SIZE);
  for (const length of [0, SHORT_MAX, SHORT_MAX + 1, 1408]) {
    sealer.seal(1, 0, memory, 0, 16, memory, 16, length);
    opener.open(1, 0, memory, 0, 16, length);
  }
  sealer.free();
  opener.free();
  deepStrictEqual(calls, [
    "seal 193",
    "open 193",
    "seal 1408",
    "open 1408",
    "free sealer",
    "free opener",
  ]);
});

/** Keys that are used in turns. */
const KEYS = 3;
/** One packet is sealed by one key and then tried by another or the same. */
const anyTurn = fc.record({
  sealedBy: fc.nat(KEYS - 1),
  openedBy: fc.nat(KEYS - 1),
  length: fc.constantFrom(...LENGTHS),
  /** Which of the packets so far is opened, counted from the latest. */
  back: fc.nat(4),
});

Deno.test("withShortPackets() keeps keys apart that are used in turns", () => {
  fc.assert(
    fc.property(fc.array(anyTurn, { minLength: 5, maxLength: 40 }), (turns) => {
      const keys = Array.from({ length: KEYS }, () => randomBytes(32));
      const sealers = keys.map((key) => SHORT.sealer(key));
      const openers = keys.map((key) => SHORT.opener(key));
      const wholes = keys.map((key) => WHOLE.sealer(key));
      const sent: { by: number; low: number; plaintext: Uint8Array; sealed: Uint8Array }[] = [];
      const at = DATA_HEADER_LENGTH;
      for (const [low, { sealedBy, openedBy, length, back }] of turns.entries()) {
        const before = randomBytes(at + length + TAG_LENGTH);
        const [memory, expected] = [memoryOf(before), memoryOf(before)];
        sealers[sealedBy]!.seal(low, 0, memory, 0, at, memory, at, length);
        wholes[sealedBy]!.seal(low, 0, expected, 0, at, expected, at, length);
        deepStrictEqual(memory.u8, expected.u8, "sealed by its key");
        const plaintext = before.slice(at, at + length);
        sent.push({ by: sealedBy, low, plaintext, sealed: memory.u8 });

        const packet = sent[Math.max(0, sent.length - 1 - back)]!;
        const received = memoryOf(packet.sealed);
        const size = packet.plaintext.length;
        const isOpened = openers[openedBy]!.open(packet.low, 0, received, 0, at, size);
        strictEqual(isOpened, openedBy === packet.by, "opened by its key, and by no other");
        if (isOpened) deepStrictEqual(received.u8.slice(at, at + size), packet.plaintext);
      }
      for (const one of [...sealers, ...openers, ...wholes]) one.free();
    }),
    { numRuns: 150 },
  );
});

Deno.test("withShortPackets() seals by its key after others used the module in its thread", () => {
  const key = randomBytes(32);
  const [sealer, whole] = [SHORT.sealer(key), WHOLE.sealer(key)];
  const others: readonly (readonly [name: string, use: () => void])[] = [
    ["nobody", () => {}],
    [
      "transport_aead.ts",
      () =>
        WASM_AEAD.seal(
          randomBytes(32),
          7,
          randomBytes(16),
          randomBytes(100),
          new Uint8Array(116),
          0,
        ),
    ],
    ["aead.ts", () => sealChaCha(randomBytes(32), randomBytes(12), randomBytes(5), randomBytes(9))],
    ["a wipe", () => WASM_AEAD.wipe()],
  ];
  for (const [low, [name, use]] of others.entries()) {
    use();
    const before = randomBytes(SIZE);
    const [memory, expected] = [memoryOf(before), memoryOf(before)];
    sealer.seal(low, 0, memory, 0, 16, memory, 16, 84);
    whole.seal(low, 0, expected, 0, 16, expected, 16, 84);
    deepStrictEqual(memory.u8, expected.u8, `after ${name}`);
  }
  sealer.free();
  whole.free();
});

/** Whether the module's memory has 8 bytes of these in a row anywhere. */
function isInModule(bytes: Uint8Array): boolean {
  const memory = new Uint8Array(wasm.memory.buffer);
  for (let start = 0; start + 8 <= bytes.length; start++) {
    const piece = bytes.subarray(start, start + 8);
    let found = memory.indexOf(piece[0]!);
    while (found >= 0) {
      if (piece.every((byte, i) => byte === memory[found + i])) return true;
      found = memory.indexOf(piece[0]!, found + 1);
    }
  }
  return false;
}

/** Opens a packet of a new key; the opener is left to the caller. */
function openedPacket(length: number) {
  const packet = sealedPacket(length, 1, 0);
  ok(packet.opener.open(1, 0, memoryOf(packet.sealed), 0, DATA_HEADER_LENGTH, length));
  return packet;
}

Deno.test("withShortPackets() leaves nothing of a freed key in the module: neither key nor packet", () => {
  const { key, plaintext, opener } = openedPacket(SHORT_MAX);
  ok(isInModule(key) && isInModule(plaintext), "else this test looks in the wrong place");
  opener.free();
  ok(!isInModule(key), "key of the opener");
  ok(!isInModule(plaintext), "plaintext");

  const sealer = SHORT.sealer(key);
  const memory = memoryOf(randomBytes(SIZE));
  const sealed = memory.u8.slice(16, 16 + SHORT_MAX);
  sealer.seal(2, 0, memory, 0, 16, memory, 16, SHORT_MAX);
  ok(isInModule(key), "else this test looks in the wrong place");
  ok(!isInModule(sealed), "it is encrypted where it stands");
  sealer.free();
  ok(!isInModule(key), "key of the sealer");
});

Deno.test("withShortPackets() leaves nothing of a freed key while another is in use, which stays right", () => {
  const freed = openedPacket(SHORT_MAX);
  const other = openedPacket(20);
  ok(isInModule(freed.plaintext), "behind the shorter packet; else this test shows nothing");
  freed.opener.free();
  ok(!isInModule(freed.key), "key");
  ok(!isInModule(freed.plaintext), "plaintext");

  const whole = WHOLE.sealer(other.key);
  for (const length of [20, SHORT_MAX, SHORT_MAX + 1]) {
    const before = randomBytes(SIZE);
    const memory = memoryOf(before);
    whole.seal(length, 0, memory, 0, 16, memory, 16, length);
    ok(other.opener.open(length, 0, memory, 0, 16, length), `${length} bytes`);
    deepStrictEqual(memory.u8.slice(16, 16 + length), before.slice(16, 16 + length));
  }
  whole.free();
  other.opener.free();
});
