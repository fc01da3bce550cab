/**
 * Tokens. People paste these texts, and paste them wrong.
 *
 * @module
 */

import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../lib/base/bytes.ts";
import {
  formatToken,
  joinPskOf,
  joinSecretOf,
  parseToken,
  TOKEN_LENGTH,
  tokenIdOf,
  TokenSyntaxError,
} from "../../lib/token/token.ts";

const numbered = (length: number, first: number) =>
  Uint8Array.from({ length }, (_, i) => first + i);
const SECRET = numbered(32, 0);
const JOIN_SECRET = fromHex("43aebc9ecb7f0d368f0f809be0a682b66d8f0e4653c5af6596d8887659de6a4f");
const TOKEN = {
  meshId: numbered(16, 0xa0),
  coordinatorKey: numbered(32, 0x40),
  joinSecret: JOIN_SECRET,
};
/** Written by another program from the description alone. */
const TEXT = "tm1_oKGio6SlpqeoqaqrrK2ur0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fQ668nst_DTaP" +
  "D4Cb4KaCtm2PDkZTxa9lltiIdlneak_Fufp1";

Deno.test("joinSecretOf(), tokenIdOf(), joinPskOf() derive what HKDF-SHA256 says", () => {
  // Computed with another HKDF.
  deepStrictEqual(joinSecretOf(SECRET, 258), JOIN_SECRET);
  strictEqual(toHex(tokenIdOf(JOIN_SECRET)), "f5e16d35803df9a9");
  strictEqual(
    toHex(joinPskOf(JOIN_SECRET)),
    "3abb64034b2b6f1215dda4d084ef2ff3f5657fad969d85807c44833a3b9df626",
  );
});

Deno.test("joinSecretOf() differs by serial and by secret", () => {
  notDeepStrictEqual(joinSecretOf(SECRET, 0), joinSecretOf(SECRET, 1));
  notDeepStrictEqual(joinSecretOf(SECRET, 0), joinSecretOf(SECRET, 2 ** 32), "high half counts");
  notDeepStrictEqual(joinSecretOf(SECRET, 0), joinSecretOf(numbered(32, 1), 0));
  for (const serial of [-1, 0.5, NaN, 2 ** 53]) {
    throws(() => joinSecretOf(SECRET, serial), RangeError);
  }
  throws(() => joinSecretOf(new Uint8Array(31), 0), RangeError);
});

Deno.test("formatToken() writes and parseToken() reads the text that was computed elsewhere", () => {
  strictEqual(formatToken(TOKEN), TEXT);
  deepStrictEqual(parseToken(TEXT), TOKEN);
  strictEqual(TEXT.length, TOKEN_LENGTH);
});

Deno.test("parseToken() reads back what formatToken() writes", () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  const token = fc.tuple(bytes(16), bytes(32), bytes(32)).map((
    [meshId, coordinatorKey, joinSecret],
  ) => ({ meshId, coordinatorKey, joinSecret }));
  fc.assert(fc.property(token, (token) => {
    deepStrictEqual(parseToken(formatToken(token)), token);
  }));
});

Deno.test("parseToken() ignores white space around a token", () => {
  deepStrictEqual(parseToken(`  ${TEXT}\r\n`), TOKEN);
});

/** Text, what the message must say, why. */
const REFUSED: [text: string, says: RegExp, why: string][] = [
  ["", /it is empty/, "nothing"],
  [" \n", /it is empty/, "an empty file"],
  ["hello", /does not begin with "tm1_"/, "another text"],
  [TEXT.slice(4), /does not begin with "tm1_"/, "prefix not copied"],
  [TEXT.replace("tm1_", "tm2_"), /does not begin with "tm1_"/, "another version"],
  [TEXT.replace("tm1_", "TM1_"), /does not begin with "tm1_"/, "wrong case"],
  [TEXT.slice(0, -1), /it has 115 characters, not 116/, "last character not copied"],
  [TEXT + "A", /it has 117 characters/, "one too many"],
  [TEXT + "==", /it has 118 characters/, "padding"],
  ["tm1_", /it has 4 characters/, "prefix alone"],
  [TEXT.replace("_D", "/D"), /characters other than/, "plain base64"],
  [TEXT.slice(0, 50) + " " + TEXT.slice(51), /characters other than/, "space inside"],
  [TEXT.slice(0, 50) + "=" + TEXT.slice(51), /characters other than/, "padding inside"],
];

Deno.test("parseToken() says what is wrong and repeats none of the token", () => {
  for (const [text, says, why] of REFUSED) {
    throws(() => parseToken(text), (error: unknown) => {
      ok(error instanceof TokenSyntaxError && error instanceof SyntaxError, why);
      ok(error.message.startsWith("Cannot read token: "), why);
      ok(says.test(error.message), `${why}: ${error.message}`);
      strictEqual(error.cause, undefined, why);
      for (let at = 4; at + 8 <= text.length; at++) {
        const piece = text.slice(at, at + 8);
        ok(!error.message.includes(piece) && !error.stack?.includes(piece), `${why}: quoted`);
      }
      return true;
    });
  }
});

Deno.test("parseToken() finds every changed character", () => {
  for (let at = 4; at < TEXT.length; at++) {
    for (const other of ["A", "b", "-"]) {
      if (TEXT[at] === other) continue;
      const changed = TEXT.slice(0, at) + other + TEXT.slice(at + 1);
      throws(() => parseToken(changed), /its checksum is wrong/, `character ${at}`);
    }
  }
});

Deno.test("parseToken() throws nothing but TokenSyntaxError on any text", () => {
  const near = fc.string({ minLength: 112, maxLength: 112, unit: fc.constantFrom(..."aB3-_=/") });
  fc.assert(fc.property(fc.oneof(fc.string(), near.map((text) => "tm1_" + text)), (text) => {
    throws(() => parseToken(text), TokenSyntaxError);
  }));
});

Deno.test("formatToken() refuses parts of a wrong length", () => {
  throws(() => formatToken({ ...TOKEN, meshId: new Uint8Array(15) }), RangeError);
  throws(() => formatToken({ ...TOKEN, coordinatorKey: new Uint8Array(33) }), RangeError);
  throws(() => formatToken({ ...TOKEN, joinSecret: new Uint8Array(0) }), RangeError);
  throws(() => tokenIdOf(new Uint8Array(8)), RangeError);
});
