/**
 * Messages of PCP and NAT-PMP as their RFCs draw them, and what a gateway may send instead.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../lib/base/bytes.ts";
import { parseEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import {
  decodeNatPmpAddress,
  decodeNatPmpMap,
  decodePcpMap,
  encodeNatPmpAddress,
  encodeNatPmpMap,
  encodePcpMap,
  type PcpRequest,
} from "../../lib/transport/port_control.ts";

const NONCE = "000102030405060708090a0b";
const REQUEST: PcpRequest = {
  nonce: fromHex(NONCE),
  client: parseIpAddress("10.1.0.2"),
  internalPort: 41_000,
  suggested: parseEndpoint("192.0.2.1:41001"),
  lifetimeSeconds: 7_200,
};
const CLIENT = "00000000000000000000ffff0a010002";
const OUTSIDE = "00000000000000000000ffffc0000201";
/** Protocol UDP, port 41000 inside, 41001 outside, and its address. */
const MAP = `${NONCE}11000000a028a029${OUTSIDE}`;
const EPOCH = "00000009" + "00".repeat(12);

/** What follows the first two bytes of a response => what it says. */
const PCP_RESPONSES: [name: string, hex: string, says: "grant" | number | undefined][] = [
  ["granted", `0281000000000e10${EPOCH}${MAP}`, "grant"],
  ["granted, with options", `0281000000000e10${EPOCH}${MAP}01000000`, "grant"],
  ["refused", `0281000200000e10${EPOCH}${MAP}`, 2],
  ["only NAT-PMP is spoken", "0081000100000009", 1],
  ["another nonce", `0281000000000e10${EPOCH}${MAP.replace("0a0b", "0a0c")}`, undefined],
  ["another port", `0281000000000e10${EPOCH}${MAP.replace("a028a029", "a027a029")}`, undefined],
  ["TCP", `0281000000000e10${EPOCH}${MAP.replace("11000000", "06000000")}`, undefined],
  ["a request", `0201000000000e10${EPOCH}${MAP}`, undefined],
  ["another opcode", `0282000000000e10${EPOCH}${MAP}`, undefined],
  ["too short", `0281000000000e10${EPOCH}${MAP.slice(0, -2)}`, undefined],
  ["nothing", "", undefined],
];

const NAT_PMP_RESPONSES: [name: string, hex: string, says: "grant" | number | undefined][] = [
  ["granted", "0081000000000009a028a02900000e10", "grant"],
  ["refused", "0081000200000009a028000000000000", 2],
  ["refused in short", "0081000500000009", 5],
  ["another port", "0081000000000009a027a02900000e10", undefined],
  ["TCP", "0082000000000009a028a02900000e10", undefined],
  ["too short", "0081000000000009a028a02900000e", undefined],
  ["a request", "00010000a028a02900000e10", undefined],
  ["nothing", "", undefined],
];

Deno.test("encodePcpMap() is laid out as RFC 6887 draws it", () => {
  strictEqual(toHex(encodePcpMap(REQUEST)), `0201000000001c20${CLIENT}${MAP}`);
  const removal = encodePcpMap({ ...REQUEST, suggested: undefined, lifetimeSeconds: 0 });
  const nothing = `${NONCE}11000000a0280000${"00".repeat(10)}ffff00000000`;
  strictEqual(toHex(removal), `0201000000000000${CLIENT}${nothing}`);
  const ipv6 = parseIpAddress("2001:db8::2");
  strictEqual(toHex(encodePcpMap({ ...REQUEST, client: ipv6 }).subarray(8, 24)), toHex(ipv6));
});

Deno.test("decodePcpMap() takes the answer to its request alone", () => {
  const value = {
    lifetimeSeconds: 3_600,
    externalPort: 41_001,
    external: parseEndpoint("192.0.2.1:41001"),
  };
  for (const [name, hex, says] of PCP_RESPONSES) {
    const expected = typeof says === "number" ? { refusal: says } : says && { value };
    deepStrictEqual(decodePcpMap(fromHex(hex), REQUEST), expected, name);
  }
});

Deno.test("NAT-PMP requests are laid out as RFC 6886 draws them", () => {
  strictEqual(toHex(encodeNatPmpAddress()), "0000");
  strictEqual(toHex(encodeNatPmpMap(41_000, 41_001, 3_600)), "00010000a028a02900000e10");
});

Deno.test("decodeNatPmpMap() takes the answer to its request alone", () => {
  const value = { lifetimeSeconds: 3_600, externalPort: 41_001 };
  for (const [name, hex, says] of NAT_PMP_RESPONSES) {
    const expected = typeof says === "number" ? { refusal: says } : says && { value };
    deepStrictEqual(decodeNatPmpMap(fromHex(hex), 41_000), expected, name);
  }
});

Deno.test("decodeNatPmpAddress() reads the public address", () => {
  const value = parseIpAddress("192.0.2.1");
  deepStrictEqual(decodeNatPmpAddress(fromHex("0080000000000009c0000201")), { value });
  deepStrictEqual(decodeNatPmpAddress(fromHex("0080000300000009")), { refusal: 3 });
  strictEqual(decodeNatPmpAddress(fromHex("0080000000000009c00002")), undefined);
  strictEqual(decodeNatPmpAddress(fromHex("0081000000000009c0000201")), undefined);
});

Deno.test("decoders take any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
    decodePcpMap(bytes, REQUEST);
    decodeNatPmpMap(bytes, 41_000);
    decodeNatPmpAddress(bytes);
  }));
});
