/**
 * The search for leaks finds what leaks.
 *
 * @module
 */

import { deepStrictEqual, ok } from "node:assert/strict";
import fc from "fast-check";
import { findMarkers } from "./markers.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const hexOf = (bytes: Uint8Array) =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const base64Of = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes));

Deno.test("findMarkers() finds bytes in each spelling, wherever they stand", () => {
  const bytes = fc.uint8Array({ minLength: 12, maxLength: 40 });
  const around = fc.uint8Array({ maxLength: 7 });
  fc.assert(fc.property(bytes, around, around, (marker, before, after) => {
    const whole = new Uint8Array([...before, ...marker, ...after]);
    const base64 = base64Of(whole);
    const texts: [string, Uint8Array][] = [
      ["raw", whole],
      ["hex", encode(hexOf(whole))],
      ["HEX", encode(hexOf(whole).toUpperCase())],
      ["base64", encode(base64)],
      ["base64url", encode(base64.replaceAll("+", "-").replaceAll("/", "_"))],
    ];
    for (const [name, text] of texts) {
      ok(findMarkers(text, new Map([["m", marker]])).length > 0, name);
    }
  }));
});

Deno.test("findMarkers() finds nothing in what holds no marker", () => {
  const marker = new Uint8Array(32).map((_, at) => at * 7);
  const almost = marker.slice();
  almost[31]! ^= 0x80;
  deepStrictEqual(findMarkers(almost, new Map([["m", marker]])), []);
  deepStrictEqual(findMarkers(encode(base64Of(almost)), new Map([["m", marker]])), []);
});
