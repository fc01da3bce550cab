/**
 * Datagrams from one thread to another without a message for each: a ring of shared memory with one
 * writer and one reader. A message costs as much as some hundred packets, so only an empty ring is
 * worth one.
 *
 * ```text
 * word 0    position after the last record, counted in bytes from the start of time, modulo 2^32
 * word 16   position of the oldest record
 * word 32   1 while the reader has been told that there is something and has not looked yet
 * byte 256  the records: label u32 │ length u32 │ datagram │ up to 7 bytes of nothing
 * ```
 *
 * What must hold: a record is published after it was written and freed after it was read; records do
 * not wrap. The ring is all that may wait between the threads: what finds no room is lost.
 *
 * @module
 */

const WRITTEN = 0;
const READ = 16;
const TOLD = 32;
const RECORDS_AT = 256;
const HEADER = 8;
/** Length that stands where the rest up to the end of the ring is not used. */
const SKIP = 0xffff_ffff;
/** Bytes that may wait: 16 ms at 1 Gbit/s. Ours. */
const SIZE = 2_097_152;

/** Both ends; each thread has its own object, of which it uses one end. */
export class DatagramRing {
  /** To be posted to the other thread. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #numbers: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #mask: number;
  /** Of this end only: what the other end may read or overwrite is in the shared words. */
  #position = 0;

  /**
   * @param source The buffer that the other thread made; or how many bytes may wait in a new one, a
   * power of two from 262144 on.
   * @throws {RangeError} when it is not.
   */
  constructor(source: SharedArrayBuffer | number = SIZE) {
    this.buffer = typeof source === "number" ? new SharedArrayBuffer(RECORDS_AT + source) : source;
    const size = this.buffer.byteLength - RECORDS_AT;
    if (size < 262_144 || (size & (size - 1)) !== 0) {
      throw new RangeError(`Cannot make a ring: ${size} is no power of two from 262144 on`);
    }
    this.#mask = size - 1;
    this.#words = new Int32Array(this.buffer, 0, RECORDS_AT / 4);
    this.#numbers = new Uint32Array(this.buffer, RECORDS_AT);
    this.#bytes = new Uint8Array(this.buffer, RECORDS_AT);
  }

  // The writer's end.

  /**
   * Writes a datagram.
   *
   * @param label Whatever the reader knows its way by: 32 bits.
   * @param source Holds the datagram; copied.
   * @param at Where it begins there, in bytes.
   * @param length At most 65535 bytes.
   * @returns `false` if there is no room: it is lost.
   */
  push(label: number, source: Uint8Array, at: number, length: number): boolean {
    const size = HEADER + ((length + 7) & ~7);
    const mask = this.#mask;
    let place = this.#position & mask;
    const rest = mask + 1 - place;
    const needed = size > rest ? rest + size : size;
    const used = (this.#position - Atomics.load(this.#words, READ)) >>> 0;
    if (used + needed > mask + 1) return false;
    if (size > rest) {
      this.#numbers[(place >> 2) + 1] = SKIP;
      place = 0;
    }
    this.#numbers[place >> 2] = label;
    this.#numbers[(place >> 2) + 1] = length;
    const whole = at === 0 && length === source.length;
    this.#bytes.set(whole ? source : source.subarray(at, at + length), place + HEADER);
    this.#position = (this.#position + needed) | 0;
    Atomics.store(this.#words, WRITTEN, this.#position);
    return true;
  }

  /** Whether the reader has to be woken for what was written: true once until it looks. */
  mustWake(): boolean {
    return Atomics.exchange(this.#words, TOLD, 1) === 0;
  }

  // The reader's end.

  /**
   * Whether there is nothing. Whatever is written later than this call began is told, so a reader
   * that sees nothing may sleep.
   */
  isEmpty(): boolean {
    Atomics.store(this.#words, TOLD, 0);
    return Atomics.load(this.#words, WRITTEN) === this.#position;
  }

  /** Label of the oldest datagram; -1 if there is none. */
  get label(): number {
    const place = this.#oldest();
    return place < 0 ? -1 : this.#numbers[place >> 2]!;
  }

  /** Length of the oldest datagram in bytes; 0 if there is none. */
  get length(): number {
    const place = this.#oldest();
    return place < 0 ? 0 : this.#numbers[(place >> 2) + 1]!;
  }

  /** The oldest datagram, borrowed until `shift`; there must be one. */
  peek(): Uint8Array {
    const place = this.#oldest();
    const from = place + HEADER;
    return this.#bytes.subarray(from, from + this.#numbers[(place >> 2) + 1]!);
  }

  /** Lets the oldest datagram go; there must be one. */
  shift(): void {
    const size = HEADER + ((this.length + 7) & ~7);
    this.#position = (this.#position + size) | 0;
    Atomics.store(this.#words, READ, this.#position);
  }

  /** Where the oldest record stands; -1 if there is none. */
  #oldest(): number {
    if (Atomics.load(this.#words, WRITTEN) === this.#position) return -1;
    const mask = this.#mask;
    const place = this.#position & mask;
    if (this.#numbers[(place >> 2) + 1] !== SKIP) return place;
    this.#position = (this.#position + (mask + 1 - place)) | 0;
    return 0;
  }
}
