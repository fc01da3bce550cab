/**
 * Datagrams as bytes. Anybody who can send UDP to us can send these bytes.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  DATA_HEADER_LENGTH,
  dataCounter,
  DATAGRAM_LENGTH,
  DATAGRAM_TYPE,
  datagramFault,
  dataReceiverIndex,
  decodeHandshake,
  encodeCookie,
  encodeInitiation,
  encodeResponse,
  encodeThird,
  initiationHeader,
  isData,
  macFields,
  OFFSET,
  PROFILE_ID,
  type ProfileName,
  writeDataHeader,
} from "../../lib/wire/datagram.ts";
import {
  decodeDiscovery,
  DISCOVERY_LENGTH,
  encodeDiscovery,
} from "../../lib/wire/discovery_datagram.ts";

const PROFILES = Object.keys(PROFILE_ID) as ProfileName[];
const HANDSHAKES = ["initiation", "response", "third"] as const;
const ENCODE = {
  initiation: encodeInitiation,
  response: encodeResponse,
  third: encodeThird,
} as const;

/** Every (profile, kind) that exists, with the length of its Noise message. */
const ROWS = PROFILES.flatMap((profile) =>
  HANDSHAKES.filter((kind) => DATAGRAM_LENGTH[profile][kind] > 0).map((kind) => ({
    profile,
    kind,
    noiseLength: DATAGRAM_LENGTH[profile][kind] - OFFSET[kind].noise -
      (profile === "pair-interop" ? 0 : 32),
  }))
);

const u32 = () => fc.nat({ max: 0xffff_ffff });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

function numbered(length: number, first = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => first + i);
}

/** A well-formed datagram of a type, to be spoilt. */
function sample(type: number, profile: ProfileName = "mesh"): Uint8Array {
  const noise = (kind: "initiation" | "response" | "third") =>
    numbered(ROWS.find((row) => row.profile === profile && row.kind === kind)!.noiseLength);
  switch (type) {
    case 1:
      return encodeInitiation({ profile, senderIndex: 7, noise: noise("initiation") });
    case 2:
      return encodeResponse({
        profile,
        senderIndex: 7,
        receiverIndex: 8,
        noise: noise("response"),
      });
    case 3:
      return encodeThird({
        profile: "pair",
        senderIndex: 7,
        receiverIndex: 8,
        noise: numbered(
          ROWS.find((row) => row.profile === "pair" && row.kind === "third")!.noiseLength,
        ),
      });
    case 4:
      return encodeCookie({
        profile,
        receiverIndex: 8,
        nonce: numbered(24),
        sealed: numbered(32),
      });
    case 5: {
      const datagram = new Uint8Array(32);
      writeDataHeader(8, 9, datagram);
      return datagram;
    }
    default:
      return encodeDiscovery({
        direction: "ask",
        keyId: numbered(8),
        nonce: numbered(24),
        sealed: numbered(42),
      });
  }
}

/** Whether any decoder takes it. */
function isTaken(datagram: Uint8Array): boolean {
  return decodeHandshake(datagram) !== undefined || decodeDiscovery(datagram) !== undefined ||
    isData(datagram);
}

Deno.test("encodeInitiation() lays the bytes out as drawn", () => {
  const datagram = encodeInitiation({
    profile: "mesh",
    senderIndex: 0x04030201,
    noise: numbered(112, 100),
  });
  deepStrictEqual([...datagram.subarray(0, 10)], [1, 1, 1, 0, 1, 2, 3, 4, 100, 101]);
  strictEqual(datagram[119], 211);
  ok(datagram.subarray(120).every((byte) => byte === 0), "no MAC yet");
});

Deno.test("encodeResponse() and encodeThird() lay the bytes out as drawn", () => {
  const indices = { senderIndex: 0x04030201, receiverIndex: 0xf8f7f6f5 };
  const header = [1, 2, 3, 4, 0xf5, 0xf6, 0xf7, 0xf8, 9];
  const response = encodeResponse({ profile: "mesh", ...indices, noise: numbered(52, 9) });
  deepStrictEqual([...response.subarray(0, 13)], [2, 1, 1, 0, ...header]);
  const third = encodeThird({ profile: "pair-interop", ...indices, noise: numbered(64, 9) });
  deepStrictEqual([...third.subarray(0, 13)], [3, 1, 4, 0, ...header]);
});

Deno.test("encodeCookie(), encodeDiscovery(), writeDataHeader() lay the bytes out as drawn", () => {
  deepStrictEqual([...sample(4).subarray(0, 9)], [4, 1, 1, 0, 8, 0, 0, 0, 1]);
  strictEqual(sample(4)[32], 1, "sealed cookie after 24 bytes of nonce");
  deepStrictEqual([...sample(6).subarray(0, 13)], [6, 1, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1]);
  strictEqual(sample(6)[36], 1, "sealed body after 24 bytes of nonce");
  const header = new Uint8Array(18).fill(0xee);
  writeDataHeader(0x04030201, 0x1f_0807_0605_0403, header, 1);
  deepStrictEqual(
    [...header],
    [0xee, 5, 0, 0, 0, 1, 2, 3, 4, 3, 4, 5, 6, 7, 8, 0x1f, 0, 0xee],
  );
});

Deno.test("every profile's datagrams have the lengths of the table", () => {
  deepStrictEqual(ROWS.map(({ profile, kind, noiseLength }) => [profile, kind, noiseLength]), [
    // Noise: e 32, s 48 (32 sealed), payload its length and 16 of tag.
    ["mesh", "initiation", 32 + 48 + 16 + 16],
    ["mesh", "response", 32 + 4 + 16],
    ["allowed-peers", "initiation", 32 + 48 + 12 + 16],
    ["allowed-peers", "response", 32 + 4 + 16],
    ["pair", "initiation", 32],
    ["pair", "response", 32 + 48 + 4 + 16],
    ["pair", "third", 48 + 16],
    ["pair-interop", "initiation", 32],
    ["pair-interop", "response", 32 + 48 + 16],
    ["pair-interop", "third", 48 + 16],
  ]);
});

Deno.test("decodeHandshake() gives back what was encoded", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...ROWS),
      u32(),
      u32(),
      fc.infiniteStream(fc.nat(255)),
      (row, a, b, s) => {
        const noise = Uint8Array.from([...s.take(row.noiseLength)]);
        const fields = { profile: row.profile, senderIndex: a, receiverIndex: b, noise };
        const datagram = ENCODE[row.kind](fields);
        strictEqual(datagram.length, DATAGRAM_LENGTH[row.profile][row.kind]);
        const decoded = decodeHandshake(datagram);
        ok(decoded !== undefined && decoded.kind === row.kind);
        strictEqual(decoded.profile, row.profile);
        strictEqual(decoded.senderIndex, a);
        if (decoded.kind !== "initiation") strictEqual(decoded.receiverIndex, b);
        else deepStrictEqual(decoded.header, initiationHeader(row.profile, a));
        deepStrictEqual(decoded.noise, noise);
        const macLength = row.profile === "pair-interop" ? 0 : 16;
        deepStrictEqual(decoded.mac1, new Uint8Array(macLength));
        deepStrictEqual(decoded.mac2, new Uint8Array(macLength));
      },
    ),
  );
});

Deno.test("decodeHandshake() gives back an encoded cookie", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("mesh" as const, "allowed-peers" as const, "pair" as const),
      u32(),
      bytes(24),
      bytes(32),
      (profile, receiverIndex, nonce, sealed) => {
        const fields = { profile, receiverIndex, nonce, sealed };
        deepStrictEqual(decodeHandshake(encodeCookie(fields)), { kind: "cookie", ...fields });
      },
    ),
  );
});

Deno.test("decodeDiscovery() gives back what was encoded", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("ask" as const, "answer" as const),
      bytes(8),
      bytes(24),
      bytes(42),
      (direction, keyId, nonce, sealed) => {
        const datagram = encodeDiscovery({ direction, keyId, nonce, sealed });
        strictEqual(datagram.length, DISCOVERY_LENGTH);
        const decoded = decodeDiscovery(datagram)!;
        deepStrictEqual(
          { ...decoded },
          { kind: "discovery", direction, keyId, nonce, sealed, header: datagram.slice(0, 12) },
        );
      },
    ),
  );
});

Deno.test("isData() and its accessors give back what writeDataHeader() wrote", () => {
  const counter = fc.oneof(
    fc.constantFrom(0, 1, 0xffff_ffff, 0x1_0000_0000, 2 ** 50, 2 ** 53 - 1),
    fc.maxSafeNat(),
  );
  fc.assert(
    fc.property(u32(), counter, fc.nat(64), (index, count, tail) => {
      const datagram = new Uint8Array(DATA_HEADER_LENGTH + 16 + tail);
      writeDataHeader(index, count, datagram);
      ok(isData(datagram));
      strictEqual(dataReceiverIndex(datagram), index);
      strictEqual(dataCounter(datagram), count);
    }),
  );
});

Deno.test("isData() refuses a counter of 2**53 or more", () => {
  const datagram = sample(5);
  datagram[OFFSET.data.counter + 6] = 0x1f;
  ok(isData(datagram), "2**53 - 2**48 + … is below");
  datagram[OFFSET.data.counter + 6] = 0x20;
  ok(!isData(datagram), "2**53");
  datagram[OFFSET.data.counter + 6] = 0;
  datagram[OFFSET.data.counter + 7] = 0x80;
  ok(!isData(datagram), "2**63");
});

Deno.test("T27: of each type, only its exact length is taken", () => {
  for (const profile of PROFILES) {
    for (let type = 1; type <= 6; type++) {
      const isThere = type < 5
        ? DATAGRAM_LENGTH[profile][
          (["initiation", "response", "third", "cookie"] as const)[type - 1]!
        ]
        : type === 6
        ? DISCOVERY_LENGTH
        : -1;
      for (let length = 0; length <= 2000; length++) {
        const datagram = new Uint8Array(length);
        const header = type === 5
          ? [5, 0, 0, 0]
          : type === 6
          ? [6, 1, 1, 0]
          : [type, 1, PROFILE_ID[profile], 0];
        datagram.set(header.slice(0, length));
        const expected = type === 5 ? length >= 32 : length === isThere && isThere > 0;
        strictEqual(isTaken(datagram), expected, `type ${type} ${profile} length ${length}`);
      }
    }
  }
});

Deno.test("T27: every other first byte is an unknown type, at every length", () => {
  for (const type of [0, 7, 8, 0x45, 0x80, 0xff]) {
    for (let length = 1; length <= 2000; length++) {
      const datagram = new Uint8Array(length).fill(1);
      datagram[0] = type;
      ok(!isTaken(datagram));
      strictEqual(datagramFault(datagram), "unknown-type");
    }
  }
});

Deno.test("T27: random bytes are never an error", () => {
  const aimed = fc.tuple(
    fc.nat(8),
    fc.nat(2),
    fc.nat(5),
    fc.nat(1),
    fc.uint8Array({ maxLength: 200 }),
  )
    .map(([type, version, profile, zero, rest]) =>
      Uint8Array.from([type, version, profile, zero, ...rest])
    );
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 2000 }), aimed), (datagram) => {
      isTaken(datagram);
      datagramFault(datagram);
    }),
    { numRuns: 2000 },
  );
});

/** One header byte spoilt: type, offset, value, fault, why. */
const SPOILT: [type: number, at: number, value: number, fault: string, why: string][] = [
  [1, 1, 0, "unknown-version", "version 0"],
  [1, 1, 2, "unknown-version", "a later version"],
  [2, 1, 2, "unknown-version", "of a response too"],
  [3, 1, 2, "unknown-version", "of a third too"],
  [4, 1, 2, "unknown-version", "of a cookie too"],
  [6, 1, 2, "unknown-version", "of discovery too"],
  [1, 2, 0, "unknown-profile", "profile 0"],
  [1, 2, 5, "unknown-profile", "one past the last"],
  [2, 2, 255, "unknown-profile", "of a response too"],
  [4, 2, 0, "unknown-profile", "of a cookie too"],
  [1, 3, 1, "malformed", "zero byte set"],
  [2, 3, 128, "malformed", "of a response too"],
  [3, 3, 1, "malformed", "of a third too"],
  [4, 3, 1, "malformed", "of a cookie too"],
  [6, 3, 1, "malformed", "of discovery too"],
  [6, 2, 0, "malformed", "direction 0"],
  [6, 2, 3, "malformed", "direction 3"],
  [5, 1, 1, "malformed", "first zero byte of data"],
  [5, 2, 1, "malformed", "second zero byte of data"],
  [5, 3, 1, "malformed", "third zero byte of data"],
];

Deno.test("a wrong header byte is refused, with its reason", () => {
  for (const [type, at, value, fault, why] of SPOILT) {
    const datagram = sample(type);
    ok(isTaken(datagram), `type ${type} as it should be`);
    datagram[at] = value;
    ok(!isTaken(datagram), why);
    strictEqual(datagramFault(datagram), fault, why);
  }
  strictEqual(datagramFault(new Uint8Array(0)), "malformed");
  strictEqual(datagramFault(sample(1).subarray(0, 100)), "malformed", "too short");
  strictEqual(datagramFault(sample(5).subarray(0, 31)), "malformed", "data too short");
});

Deno.test("a datagram of one profile is refused under the length of another", () => {
  // IK and IKpsk2 differ by four bytes; naming the other profile must not help.
  const datagram = sample(1, "mesh");
  datagram[2] = PROFILE_ID["allowed-peers"];
  strictEqual(decodeHandshake(datagram), undefined);
});

Deno.test("macFields() and decodeHandshake() agree on what each MAC covers", () => {
  const datagram = sample(1);
  const fields = macFields(datagram);
  fields.mac1.fill(0xaa);
  fields.mac2.fill(0xbb);
  const decoded = decodeHandshake(datagram);
  ok(decoded?.kind === "initiation");
  deepStrictEqual(decoded.mac1, new Uint8Array(16).fill(0xaa));
  deepStrictEqual(decoded.mac2, new Uint8Array(16).fill(0xbb));
  deepStrictEqual(decoded.beforeMac1, datagram.subarray(0, 120));
  deepStrictEqual(decoded.beforeMac2, datagram.subarray(0, 136));
  deepStrictEqual(fields.beforeMac1, decoded.beforeMac1);
  deepStrictEqual(fields.beforeMac2, decoded.beforeMac2);
});

Deno.test("decoding copies nothing", () => {
  const decoded = decodeHandshake(sample(1));
  ok(decoded?.kind === "initiation");
  strictEqual(decoded.noise.buffer, decoded.mac1.buffer);
});

Deno.test("encoding refuses fields of a wrong length and datagrams a profile does not have", () => {
  const indices = { senderIndex: 1, receiverIndex: 2 };
  const refused: [() => unknown, string][] = [
    [() => encodeInitiation({ profile: "mesh", ...indices, noise: numbered(111) }), "noise short"],
    [() => encodeInitiation({ profile: "mesh", ...indices, noise: numbered(113) }), "noise long"],
    [() => encodeThird({ profile: "mesh", ...indices, noise: numbered(64) }), "mesh has no third"],
    [
      () =>
        encodeCookie({
          profile: "pair-interop",
          receiverIndex: 1,
          nonce: numbered(24),
          sealed: numbered(32),
        }),
      "pair-interop has no cookies",
    ],
    [
      () =>
        encodeCookie({
          profile: "mesh",
          receiverIndex: 1,
          nonce: numbered(12),
          sealed: numbered(32),
        }),
      "nonce short",
    ],
    [
      () =>
        encodeDiscovery({
          direction: "ask",
          keyId: numbered(7),
          nonce: numbered(24),
          sealed: numbered(42),
        }),
      "key id short",
    ],
  ];
  for (const [encode, why] of refused) throws(encode, RangeError, why);
});

Deno.test("no two types share a first byte", () => {
  const types = Object.values(DATAGRAM_TYPE);
  strictEqual(new Set(types).size, types.length);
});
