import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex, utf8 } from "../../lib/base/bytes.ts";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { NOBLE_BACKEND } from "../../lib/crypto/noble.ts";

const SUNSCREEN = utf8(
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, " +
    "sunscreen would be it.",
);
const DRAFTS = utf8(
  "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, " +
    "replaced, or obsoleted by other documents at any time. It is inappropriate to use " +
    "Internet-Drafts as reference material or to cite them other than as /“work in progress./”",
);

/** One known answer; the tag is the end of `sealed`. */
interface Row {
  source: string;
  key: string;
  nonce: string;
  ad: string;
  plaintext: Uint8Array;
  sealed: string;
}

const CHACHA: Row[] = [
  {
    source: "RFC 8439 §2.8.2",
    key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    nonce: "070000004041424344454647",
    ad: "50515253c0c1c2c3c4c5c6c7",
    plaintext: SUNSCREEN,
    sealed: "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6" +
      "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36" +
      "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc" +
      "3ff4def08e4b7a9de576d26586cec64b6116" +
      "1ae10b594f09e26a7e902ecbd0600691",
  },
  {
    source: "RFC 8439 appendix A.5",
    key: "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0",
    nonce: "000000000102030405060708",
    ad: "f33388860000000000004e91",
    plaintext: DRAFTS,
    sealed: "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2" +
      "4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf" +
      "332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855" +
      "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4" +
      "b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e" +
      "af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a" +
      "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10" +
      "49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29" +
      "a6ad5cb4022b02709b" +
      "eead9d67890cbb22392336fea1851f38",
  },
];

const XCHACHA: Row[] = [{
  source: "draft-irtf-cfrg-xchacha-03 appendix A.3.1",
  key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
  nonce: "404142434445464748494a4b4c4d4e4f5051525354555657",
  ad: "50515253c0c1c2c3c4c5c6c7",
  plaintext: SUNSCREEN,
  sealed: "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb" +
    "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452" +
    "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9" +
    "21f9664c97637da9768812f615c68b13b52e" +
    "c0875924c1c7987947deafd8780acf49",
}];

for (const backend of [NATIVE_BACKEND, NOBLE_BACKEND]) {
  const ciphers = [
    ["ChaCha20-Poly1305", CHACHA, backend.seal, backend.open],
    ["XChaCha20-Poly1305", XCHACHA, backend.sealX, backend.openX],
  ] as const;
  for (const [cipher, rows, seal, open] of ciphers) {
    Deno.test(`${cipher} of ${backend.name} gives the published answers`, () => {
      for (const row of rows) {
        const [key, nonce, ad] = [row.key, row.nonce, row.ad].map(fromHex);
        strictEqual(toHex(seal(key!, nonce!, ad!, row.plaintext)), row.sealed, row.source);
        deepStrictEqual(open(key!, nonce!, ad!, fromHex(row.sealed)), row.plaintext, row.source);
      }
    });

    Deno.test(`${cipher} of ${backend.name} opens nothing that was changed`, () => {
      const row = rows[0]!;
      const [key, nonce, ad] = [row.key, row.nonce, row.ad].map(fromHex);
      const sealed = fromHex(row.sealed);
      for (let i = 0; i < sealed.length; i++) {
        const forged = Uint8Array.from(sealed);
        forged[i]! ^= 1 << (i % 8);
        strictEqual(open(key!, nonce!, ad!, forged), undefined, `byte ${i}`);
        strictEqual(open(key!, nonce!, ad!, sealed.subarray(0, i)), undefined, `cut at ${i}`);
      }
      const otherAd = ad!.subarray(1);
      strictEqual(open(key!, nonce!, otherAd, sealed), undefined, "other associated data");
    });
  }
}

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const anyBytes = fc.uint8Array({ maxLength: 200 });

Deno.test("seal() and open() of both backends agree on any input", () => {
  fc.assert(
    fc.property(bytesOf(32), bytesOf(24), anyBytes, anyBytes, (key, nonce24, ad, plaintext) => {
      const nonce = nonce24.subarray(12);
      const expected = Uint8Array.from(plaintext);
      for (
        const [one, other] of [[NATIVE_BACKEND, NOBLE_BACKEND], [NOBLE_BACKEND, NATIVE_BACKEND]]
      ) {
        const sealed = one!.seal(key, nonce, ad, plaintext);
        deepStrictEqual(other!.open(key, nonce, ad, sealed), expected);
        const sealedX = one!.sealX(key, nonce24, ad, plaintext);
        deepStrictEqual(other!.openX(key, nonce24, ad, sealedX), expected);
      }
    }),
  );
});

Deno.test("seal() and open() refuse keys and nonces of other lengths", () => {
  const none = new Uint8Array(0);
  const { seal, open, sealX, openX } = NATIVE_BACKEND;
  for (const length of [0, 8, 11, 13, 16, 23, 25, 31, 33]) {
    const bad = new Uint8Array(length);
    const [key, nonce, nonceX] = [new Uint8Array(32), new Uint8Array(12), new Uint8Array(24)];
    for (const work of [seal, open]) {
      throws(() => work(bad, nonce, none, new Uint8Array(16)), RangeError);
      throws(() => work(key, bad, none, new Uint8Array(16)), RangeError);
    }
    for (const work of [sealX, openX]) {
      throws(() => work(bad, nonceX, none, new Uint8Array(16)), RangeError);
      throws(() => work(key, bad, none, new Uint8Array(16)), RangeError);
    }
  }
});
