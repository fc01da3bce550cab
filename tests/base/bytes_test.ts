import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  compareBytes,
  concatBytes,
  equalBytes,
  fromBase64,
  fromBase64Url,
  fromHex,
  isAllZero,
  toBase64,
  toBase64Url,
  toHex,
  utf8,
  wipe,
} from "../../lib/base/bytes.ts";

const bytes = (...values: number[]) => Uint8Array.from(values);
const anyBytes = fc.uint8Array({ maxLength: 80 });

/** Texts of RFC 4648 §10, and two that differ between the alphabets. */
const TEXTS: [bytes: Uint8Array, hex: string, base64: string, base64Url: string][] = [
  [bytes(), "", "", ""],
  [utf8("f"), "66", "Zg==", "Zg"],
  [utf8("fo"), "666f", "Zm8=", "Zm8"],
  [utf8("foo"), "666f6f", "Zm9v", "Zm9v"],
  [utf8("foobar"), "666f6f626172", "Zm9vYmFy", "Zm9vYmFy"],
  [bytes(0xfb, 0xff), "fbff", "+/8=", "-_8"],
];

Deno.test("text forms agree with RFC 4648", () => {
  for (const [value, hex, base64, base64Url] of TEXTS) {
    strictEqual(toHex(value), hex);
    strictEqual(toBase64(value), base64);
    strictEqual(toBase64Url(value), base64Url);
    deepStrictEqual(fromHex(hex), value);
    deepStrictEqual(fromHex(hex.toUpperCase()), value);
    deepStrictEqual(fromBase64(base64), value);
    deepStrictEqual(fromBase64Url(base64Url), value);
  }
});

Deno.test("text forms read back whatever was written", () => {
  fc.assert(fc.property(anyBytes, (value) => {
    deepStrictEqual(fromHex(toHex(value)), Uint8Array.from(value));
    deepStrictEqual(fromBase64(toBase64(value)), Uint8Array.from(value));
    deepStrictEqual(fromBase64Url(toBase64Url(value)), Uint8Array.from(value));
  }));
});

/** Reader, text, why it is refused. */
const REFUSED: [read: (text: string) => Uint8Array, text: string, why: string][] = [
  [fromHex, "0", "half a byte"],
  [fromHex, "0g", "not a digit"],
  [fromHex, "0x00", "a prefix"],
  [fromHex, " 00", "white space, odd"],
  [fromHex, "00 ", "white space, even with its neighbour"],
  [fromHex, "00\n\n", "line ends"],
  [fromBase64, "Zg", "padding left out"],
  [fromBase64, "Zg=", "half the padding"],
  [fromBase64, "Zh==", "bits after the last byte"],
  [fromBase64, "Zm 9v", "white space"],
  [fromBase64, "Zm9v\n", "a line end"],
  [fromBase64, "-_8=", "the other alphabet"],
  [fromBase64, "Z", "less than a byte"],
  [fromBase64Url, "Zg==", "padding"],
  [fromBase64Url, "Zh", "bits after the last byte"],
  [fromBase64Url, "+/8", "the other alphabet"],
  [fromBase64Url, "Zm9v ", "white space"],
];

Deno.test("text readers refuse every other spelling", () => {
  for (const [read, text, why] of REFUSED) {
    throws(() => read(text), { name: "SyntaxError" }, `${read.name}: ${why}`);
  }
});

Deno.test("text readers throw nothing but SyntaxError", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    for (const read of [fromHex, fromBase64, fromBase64Url]) {
      try {
        read(text);
      } catch (error) {
        ok(error instanceof SyntaxError);
      }
    }
  }));
});

Deno.test("concatBytes() joins in order and copies", () => {
  const part = bytes(1, 2);
  const joined = concatBytes(part, bytes(), bytes(3));
  part[0] = 9;
  deepStrictEqual(joined, bytes(1, 2, 3));
  deepStrictEqual(concatBytes(), bytes());
});

Deno.test("equalBytes() sees every one-bit difference and every length", () => {
  fc.assert(fc.property(anyBytes, fc.nat(), (value, at) => {
    const other = Uint8Array.from(value);
    ok(equalBytes(value, other));
    ok(!equalBytes(value, concatBytes(other, bytes(0))));
    if (value.length === 0) return;
    other[at % value.length]! ^= 1 << (at % 8);
    ok(!equalBytes(value, other));
    ok(!equalBytes(value, value.subarray(1)));
  }));
});

Deno.test("compareBytes() orders as the hex text does", () => {
  fc.assert(fc.property(anyBytes, anyBytes, (a, b) => {
    const [x, y] = [toHex(a), toHex(b)];
    strictEqual(Math.sign(compareBytes(a, b)), x < y ? -1 : x > y ? 1 : 0);
  }));
});

Deno.test("wipe() leaves zeros", () => {
  const secret = bytes(1, 2, 3);
  wipe(secret);
  deepStrictEqual(secret, bytes(0, 0, 0));
});

Deno.test("isAllZero() finds a single bit anywhere", () => {
  ok(isAllZero(bytes()));
  ok(isAllZero(bytes(0, 0)));
  for (let bit = 0; bit < 24; bit++) {
    const value = bytes(0, 0, 0);
    value[bit >> 3] = 1 << (bit & 7);
    ok(!isAllZero(value), `bit ${bit}`);
  }
});
