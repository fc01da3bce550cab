/**
 * STUN against the test vectors of RFC 5769, and against anything a network may deliver.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../lib/base/bytes.ts";
import {
  decodeStunRequest,
  decodeStunResponse,
  encodeStunRequest,
  encodeStunResponse,
  isStunDatagram,
} from "../../lib/wire/stun.ts";

const TRANSACTION = fromHex("b7e7a701bc34d686fa87dfae");
const HEAD = "2112a442b7e7a701bc34d686fa87dfae";
const SOFTWARE = "8022000b7465737420766563746f7220";

/** RFC 5769 §2.2 and §2.3. */
const VECTORS: [name: string, hex: string, address: string][] = [
  [
    "IPv4",
    `0101003c${HEAD}${SOFTWARE}002000080001a147e112a643` +
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96",
    "c0000201",
  ],
  [
    "IPv6",
    `01010048${HEAD}${SOFTWARE}002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9` +
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
    "20010db8123456780011223344556677",
  ],
];

/** What follows the header of a success response => port it says, `undefined` if it is refused. */
const ATTRIBUTES: [name: string, hex: string, port: number | undefined][] = [
  ["plain address of an old server", "000100080001805dc0000201", 32861],
  ["the masked one counts", "000100080001805dc0000201" + "002000080001a147e112a643", 32853],
  ["the first one counts", "002000080001a147e112a643" + "002000080001a247e112a643", 32853],
  ["attributes of an old server", "000400080001805dc0000201002000080001a147e112a643", 32853],
  ["unknown but optional", "ffff0001aa000000002000080001a147e112a643", 32853],
  ["unknown and required", "00550000002000080001a147e112a643", undefined],
  ["no address", "8022000474657374", undefined],
  ["nothing", "", undefined],
  ["family 3", "002000080003a147e112a643", undefined],
  ["an IPv4 address of 16 bytes", "002000140001a1470113a9faa5d3f179bc25f4b5bed2b9d9", undefined],
  ["port 0", "0020000800012112e112a643", undefined],
  ["a length beyond the end", "0020000c0001a147e112a643", undefined],
  ["half an attribute", "00200004", undefined],
];

Deno.test("decodeStunResponse() reads the vectors of RFC 5769", () => {
  for (const [name, hex, address] of VECTORS) {
    const response = decodeStunResponse(fromHex(hex));
    const mapped = { address: fromHex(address), port: 32853 };
    deepStrictEqual(response, { transaction: TRANSACTION, mapped }, name);
  }
});

Deno.test("decodeStunResponse() takes an address that is understood, or nothing", () => {
  for (const [name, hex, port] of ATTRIBUTES) {
    const length = (hex.length / 2).toString(16).padStart(4, "0");
    const response = decodeStunResponse(fromHex(`0101${length}${HEAD}${hex}`));
    strictEqual(response?.mapped?.port, port, name);
    strictEqual(response === undefined, port === undefined, name);
  }
});

Deno.test("decodeStunResponse() tells an error's code", () => {
  const datagram = fromHex(`01110008${HEAD}0009000400000414`);
  deepStrictEqual(decodeStunResponse(datagram), { transaction: TRANSACTION, errorCode: 420 });
  strictEqual(decodeStunResponse(fromHex(`01110000${HEAD}`)), undefined);
});

Deno.test("encodeStunRequest() is a bare header", () => {
  const request = encodeStunRequest(TRANSACTION);
  strictEqual(toHex(request), `00010000${HEAD}`);
  deepStrictEqual(decodeStunRequest(request), TRANSACTION);
  strictEqual(decodeStunResponse(request), undefined);
  throws(() => encodeStunRequest(new Uint8Array(11)), RangeError);
});

Deno.test("decodeStunResponse() reads what encodeStunResponse() wrote", () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  const address = fc.oneof(bytes(4), bytes(16));
  const port = fc.integer({ min: 1, max: 65535 });
  fc.assert(fc.property(bytes(12), address, port, (transaction, address, port) => {
    const datagram = encodeStunResponse(transaction, { address, port });
    deepStrictEqual(decodeStunResponse(datagram), { transaction, mapped: { address, port } });
    strictEqual(decodeStunRequest(datagram), undefined);
  }));
  throws(
    () => encodeStunResponse(TRANSACTION, { address: new Uint8Array(5), port: 1 }),
    RangeError,
  );
});

Deno.test("decodeStunResponse() takes any bytes, cut and changed ones too", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    decodeStunResponse(bytes);
    decodeStunRequest(bytes);
  }));
  for (const [, hex] of VECTORS) {
    const whole = fromHex(hex);
    for (let length = 0; length < whole.length; length++) {
      strictEqual(decodeStunResponse(whole.subarray(0, length)), undefined, `${length} bytes`);
    }
    for (let at = 0; at < 8; at++) {
      const changed = whole.slice();
      changed[at]! ^= 0xff;
      strictEqual(decodeStunResponse(changed), undefined, `byte ${at}`);
    }
  }
  ok(isStunDatagram(fromHex(`00010000${HEAD}`)));
  ok(!isStunDatagram(fromHex(`80010000${HEAD}`)));
});
