/**
 * Bodies in a byte stream: `length u32 │ body`, the form of the control channel's plaintext.
 *
 * The stream is cut anywhere: a body may come in many pieces, and a piece may end many bodies. What
 * waits for its rest is bounded by what has really arrived, never by what a length promises.
 *
 * @module
 */

import { concatBytes } from "../base/bytes.ts";
import { readU32Le, writeU32Le } from "../base/integers.ts";

/** Longest body, in bytes. */
export const MAX_BODY_LENGTH = 16 * 1024 * 1024;
/** Bytes before a body. */
export const STREAM_PREFIX_LENGTH = 4;

/**
 * Encodes one frame.
 *
 * @param body 0 to 16 MiB; copied.
 * @throws {RangeError} when the body is longer.
 */
export function encodeStreamFrame(body: Uint8Array): Uint8Array {
  if (body.length > MAX_BODY_LENGTH) {
    throw new RangeError(
      `Cannot encode frame: body is ${body.length} bytes, over ${MAX_BODY_LENGTH}`,
    );
  }
  const frame = new Uint8Array(STREAM_PREFIX_LENGTH + body.length);
  writeU32Le(frame, 0, body.length);
  frame.set(body, STREAM_PREFIX_LENGTH);
  return frame;
}

/** Cuts a stream into its bodies. */
export class StreamFrameDecoder {
  readonly #maxBodyLength: number;
  readonly #prefix = new Uint8Array(STREAM_PREFIX_LENGTH);
  #prefixFill = 0;
  /** Pieces of the body that is being gathered, and how many bytes of it are missing. */
  #pieces: Uint8Array[] = [];
  #missing = 0;
  #isBroken = false;

  /**
   * @param maxBodyLength Longest body taken, in bytes, at most 16 MiB.
   * @throws {RangeError} when it is out of range.
   */
  constructor(maxBodyLength: number = MAX_BODY_LENGTH) {
    if (!(maxBodyLength >= 0 && maxBodyLength <= MAX_BODY_LENGTH)) {
      throw new RangeError(`Cannot decode frames: maxBodyLength ${maxBodyLength} is out of range`);
    }
    this.#maxBodyLength = maxBodyLength;
  }

  /**
   * Takes the next piece of the stream.
   *
   * @param piece Copied where it is kept.
   * @returns The bodies it completes, in order, owned by the caller; `undefined` once a length was
   * too large: then nothing after it can be understood, and every later call gives the same.
   */
  push(piece: Uint8Array): Uint8Array[] | undefined {
    const bodies: Uint8Array[] = [];
    let at = 0;
    while (!this.#isBroken && at < piece.length) {
      at = this.#prefixFill < STREAM_PREFIX_LENGTH
        ? this.#takePrefix(piece, at, bodies)
        : this.#takeBody(piece, at, bodies);
    }
    return this.#isBroken ? undefined : bodies;
  }

  #takePrefix(piece: Uint8Array, at: number, bodies: Uint8Array[]): number {
    this.#prefix[this.#prefixFill++] = piece[at]!;
    if (this.#prefixFill === STREAM_PREFIX_LENGTH) {
      this.#missing = readU32Le(this.#prefix, 0);
      if (this.#missing > this.#maxBodyLength) this.#isBroken = true;
      else if (this.#missing === 0) this.#complete(bodies);
    }
    return at + 1;
  }

  #takeBody(piece: Uint8Array, at: number, bodies: Uint8Array[]): number {
    const end = Math.min(at + this.#missing, piece.length);
    this.#pieces.push(piece.slice(at, end));
    this.#missing -= end - at;
    if (this.#missing === 0) this.#complete(bodies);
    return end;
  }

  #complete(bodies: Uint8Array[]): void {
    bodies.push(this.#pieces.length === 1 ? this.#pieces[0]! : concatBytes(...this.#pieces));
    this.#pieces = [];
    this.#prefixFill = 0;
  }
}
