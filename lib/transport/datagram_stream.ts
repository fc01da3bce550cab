/**
 * Datagrams in a byte stream, as `lib/wire/length_prefix.ts` has them: `length u16 LE │ datagram`,
 * one after another, none empty. Here for streams that carry a node's data: many datagrams go out
 * by one write, and one that came whole is not copied.
 *
 * @module
 */

import { readU16Le, writeU16Le } from "../base/integers.ts";

/** Most bytes of one write. */
export const MAX_WRITE = 65_536;
const PREFIX = 2;
/** What is shorter is copied for its write, so that its large buffer can go on being filled. */
const SMALL_WRITE = 16_384;

/** The stream that datagrams are gathered for. */
export interface ByteSink {
  /** Bytes written that have not left. */
  readonly queuedBytes: number;
  /** As `SshStream.write`: takes all, and says when `bytes` may be used again. */
  write(bytes: Uint8Array, written: () => void): void;
}

/**
 * Gathers datagrams into writes: what comes until the caller's turn is over, and while an earlier
 * write waits, goes out by one.
 */
export class DatagramGatherer {
  readonly #sink: ByteSink;
  readonly #maxQueuedBytes: number;
  #buffer = new Uint8Array(MAX_WRITE);
  #length = 0;
  #spare: Uint8Array<ArrayBuffer> | undefined;
  /** Writes that the sink has not let go of. */
  #pending = 0;
  #isFlushDue = false;

  /** @param maxQueuedBytes Beyond which a datagram is not taken. */
  constructor(sink: ByteSink, maxQueuedBytes: number) {
    this.#sink = sink;
    this.#maxQueuedBytes = maxQueuedBytes;
  }

  /**
   * Takes a datagram; copied.
   *
   * @param datagram 1 to 65534 bytes.
   * @returns `false` if the stream is behind: it is lost then.
   */
  push(datagram: Uint8Array): boolean {
    const size = PREFIX + datagram.length;
    if (this.#length + size > MAX_WRITE) this.#write();
    if (this.#length === 0 && this.#sink.queuedBytes > this.#maxQueuedBytes) return false;
    writeU16Le(this.#buffer, this.#length, datagram.length);
    this.#buffer.set(datagram, this.#length + PREFIX);
    this.#length += size;
    if (!this.#isFlushDue && this.#pending === 0) {
      this.#isFlushDue = true;
      queueMicrotask(this.#flush);
    }
    return true;
  }

  readonly #flush = (): void => {
    this.#isFlushDue = false;
    if (this.#length > 0) this.#write();
  };

  readonly #written = (): void => {
    this.#pending--;
    if (this.#pending === 0 && this.#length > 0) this.#flush();
  };

  #write(): void {
    this.#pending++;
    const length = this.#length;
    this.#length = 0;
    if (length <= SMALL_WRITE) {
      return this.#sink.write(this.#buffer.slice(0, length), this.#written);
    }
    const full = this.#buffer;
    this.#buffer = this.#spare ?? new Uint8Array(MAX_WRITE);
    this.#spare = undefined;
    this.#sink.write(full.subarray(0, length), () => {
      this.#spare = full;
      this.#written();
    });
  }
}

/** Cuts a stream into its datagrams. */
export class DatagramCutter {
  /** A datagram with its prefix, of which the first `#held` bytes have come. */
  #partial = new Uint8Array(2_048);
  #held = 0;
  #isBroken = false;

  /**
   * Takes the next piece of the stream.
   *
   * @param piece Borrowed until return.
   * @param receive Called per datagram; borrowed until it returns.
   * @returns `false` once a length was zero: then the stream makes no sense any more.
   */
  push(piece: Uint8Array, receive: (datagram: Uint8Array) => void): boolean {
    let at = 0;
    if (this.#held > 0 && !this.#isBroken) {
      at = this.#complete(piece, receive);
      if (this.#held > 0) return !this.#isBroken;
    }
    while (!this.#isBroken && at + PREFIX <= piece.length) {
      const end = at + PREFIX + readU16Le(piece, at);
      this.#isBroken = end === at + PREFIX;
      if (this.#isBroken || end > piece.length) break;
      receive(piece.subarray(at + PREFIX, end));
      at = end;
    }
    if (!this.#isBroken && at < piece.length) this.#hold(piece.subarray(at));
    return !this.#isBroken;
  }

  /** Adds to what is held until it is a datagram; returns how much of the piece that took. */
  #complete(piece: Uint8Array, receive: (datagram: Uint8Array) => void): number {
    let at = 0;
    if (this.#held < PREFIX) this.#hold(piece.subarray(0, at = PREFIX - this.#held));
    if (this.#held < PREFIX) return at;
    const length = readU16Le(this.#partial, 0);
    this.#isBroken = length === 0;
    if (this.#isBroken) return at;
    const missing = PREFIX + length - this.#held;
    this.#hold(piece.subarray(at, at + missing));
    if (this.#held < PREFIX + length) return piece.length;
    this.#held = 0;
    receive(this.#partial.subarray(PREFIX, PREFIX + length));
    return at + missing;
  }

  #hold(bytes: Uint8Array): void {
    const length = this.#held + bytes.length;
    if (length > this.#partial.length) {
      const larger = new Uint8Array(PREFIX + 0xffff);
      larger.set(this.#partial.subarray(0, this.#held));
      this.#partial = larger;
    }
    this.#partial.set(bytes, this.#held);
    this.#held = length;
  }
}
