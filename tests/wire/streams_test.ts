/**
 * Frames and datagrams in byte streams. Streams are cut anywhere, and the far end may be hostile.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  encodeStreamFrame,
  MAX_BODY_LENGTH,
  StreamFrameDecoder,
} from "../../lib/wire/stream_frame.ts";
import {
  decodeLengthPrefixed,
  encodeLengthPrefixed,
  LengthPrefixDecoder,
} from "../../lib/wire/length_prefix.ts";
import { concatBytes } from "../../lib/base/bytes.ts";

/** Cuts a stream at places that the property chooses. */
function cut(stream: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [0, ...places.map((place) => place % (stream.length + 1)), stream.length];
  at.sort((a, b) => a - b);
  return at.slice(1).map((end, i) => stream.subarray(at[i], end));
}

const bodies = () => fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
const datagrams = () => fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 });
const places = () => fc.array(fc.nat(), { maxLength: 12 });

Deno.test("StreamFrameDecoder.push() gives back the bodies however the stream is cut", () => {
  fc.assert(fc.property(bodies(), places(), (bodies, places) => {
    const stream = concatBytes(...bodies.map(encodeStreamFrame));
    const decoder = new StreamFrameDecoder();
    deepStrictEqual(cut(stream, places).flatMap((piece) => decoder.push(piece)!), bodies);
  }));
});

Deno.test("StreamFrameDecoder.push() works byte by byte", () => {
  const decoder = new StreamFrameDecoder();
  const stream = concatBytes(
    encodeStreamFrame(Uint8Array.of(1, 2)),
    encodeStreamFrame(new Uint8Array(0)),
  );
  const got = [...stream].map((byte) => decoder.push(Uint8Array.of(byte))!.length);
  deepStrictEqual(got, [0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
});

Deno.test("StreamFrameDecoder.push() stops for good at a body over the limit", () => {
  const decoder = new StreamFrameDecoder(10);
  deepStrictEqual(decoder.push(encodeStreamFrame(new Uint8Array(10)))!.length, 1, "on the limit");
  strictEqual(decoder.push(encodeStreamFrame(new Uint8Array(11))), undefined);
  strictEqual(decoder.push(encodeStreamFrame(new Uint8Array(1))), undefined, "and stays stopped");
  const whole = new StreamFrameDecoder();
  strictEqual(whole.push(Uint8Array.of(0, 0, 0, 1))?.length, 0, "16 MiB");
  strictEqual(new StreamFrameDecoder().push(Uint8Array.of(1, 0, 0, 1)), undefined, "16 MiB + 1");
  strictEqual(new StreamFrameDecoder().push(Uint8Array.of(255, 255, 255, 255)), undefined, "4 GiB");
});

Deno.test("StreamFrameDecoder.push() keeps no view of what it was given", () => {
  const decoder = new StreamFrameDecoder();
  const piece = encodeStreamFrame(Uint8Array.of(1, 2, 3));
  const [body] = decoder.push(piece)!;
  piece.fill(9);
  deepStrictEqual(body, Uint8Array.of(1, 2, 3));
});

Deno.test("encodeStreamFrame() and StreamFrameDecoder refuse what is over 16 MiB", () => {
  throws(() => encodeStreamFrame(new Uint8Array(MAX_BODY_LENGTH + 1)), RangeError);
  throws(() => new StreamFrameDecoder(MAX_BODY_LENGTH + 1), RangeError);
  throws(() => new StreamFrameDecoder(NaN), RangeError);
});

Deno.test("StreamFrameDecoder.push() takes any bytes without an error", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (pieces) => {
    const decoder = new StreamFrameDecoder(30);
    for (const piece of pieces) decoder.push(piece);
  }));
});

Deno.test("decodeLengthPrefixed() gives back the datagrams", () => {
  fc.assert(fc.property(datagrams(), (datagrams) => {
    deepStrictEqual(decodeLengthPrefixed(encodeLengthPrefixed(...datagrams)), datagrams);
  }));
});

Deno.test("encodeLengthPrefixed() writes the length little-endian", () => {
  deepStrictEqual([...encodeLengthPrefixed(new Uint8Array(0x102)).subarray(0, 2)], [2, 1]);
});

Deno.test("decodeLengthPrefixed() refuses whatever does not fit exactly", () => {
  const refused: [number[], string][] = [
    [[1], "half a length"],
    [[2, 0, 9], "datagram cut"],
    [[1, 0, 9, 1], "half a second length"],
    [[0, 0], "empty datagram"],
    [[1, 0, 9, 0, 0], "empty datagram after another"],
  ];
  for (const [message, why] of refused) {
    strictEqual(decodeLengthPrefixed(Uint8Array.from(message)), undefined, why);
  }
  deepStrictEqual(decodeLengthPrefixed(new Uint8Array(0)), []);
});

Deno.test("LengthPrefixDecoder.push() gives back the datagrams however the stream is cut", () => {
  fc.assert(fc.property(datagrams(), places(), (datagrams, places) => {
    const decoder = new LengthPrefixDecoder();
    const pieces = cut(encodeLengthPrefixed(...datagrams), places);
    deepStrictEqual(
      pieces.flatMap((piece) => decoder.push(piece)!.map((d) => d.slice())),
      datagrams,
    );
  }));
});

Deno.test("LengthPrefixDecoder.push() stops for good at an empty datagram", () => {
  const decoder = new LengthPrefixDecoder();
  strictEqual(decoder.push(Uint8Array.of(1, 0, 7))?.length, 1);
  strictEqual(decoder.push(Uint8Array.of(0, 0)), undefined);
  strictEqual(decoder.push(Uint8Array.of(1, 0, 7)), undefined);
});

Deno.test("encodeLengthPrefixed() refuses an empty and an oversized datagram", () => {
  throws(() => encodeLengthPrefixed(new Uint8Array(0)), RangeError);
  throws(() => encodeLengthPrefixed(new Uint8Array(65536)), RangeError);
  ok(decodeLengthPrefixed(encodeLengthPrefixed(new Uint8Array(65535)))?.length === 1);
});
