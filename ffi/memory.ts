/**
 * Memory that does not move, with pointers to its places.
 *
 * Structures that hold addresses (`msghdr`, `iovec`) are written as pairs of 32-bit words, so that
 * no BigInt is made per call; pointer arguments are objects made once per place and kept.
 *
 * @module
 */

/** A pointer as foreign calls take it. */
export type Pointer = Deno.PointerValue;

/** How many pointers are remembered together. */
const PAGE_BITS = 10;
const PAGE = 1 << PAGE_BITS;
/** Stands where none is remembered yet. */
const NONE: Pointer[] = [];

/**
 * A fixed piece of zeroed memory.
 *
 * It must be kept reachable for as long as the kernel or a call may use an address inside: a field
 * of the object that makes the calls does that.
 */
export class Mem {
  /** All of it as bytes. */
  readonly u8: Uint8Array<ArrayBuffer>;
  /** All of it as words, host order (little-endian on every supported machine). */
  readonly u32: Uint32Array<ArrayBuffer>;
  /** All of it, for fields at odd places. */
  readonly view: DataView<ArrayBuffer>;
  readonly #base: bigint;
  readonly #low: number;
  readonly #high: number;
  #pages: Pointer[][] | undefined;

  /**
   * Allocates.
   *
   * @param sizeBytes Rounded up to a multiple of 8; at least 8.
   */
  constructor(sizeBytes: number) {
    const size = Math.max(8, (sizeBytes + 7) & ~7);
    for (;;) {
      // An ArrayBuffer made as such lives outside the moving heap, unlike a small typed array.
      this.u8 = new Uint8Array(new ArrayBuffer(size));
      // Safety: only the address is taken; whoever passes it on keeps this object reachable.
      this.#base = Deno.UnsafePointer.value(Deno.UnsafePointer.of(this.u8));
      // putAddress() adds within the low half, so a block across a 4 GiB line is not usable.
      if (this.#base >> 32n === (this.#base + BigInt(size)) >> 32n) break;
    }
    this.#low = Number(this.#base & 0xffffffffn);
    this.#high = Number(this.#base >> 32n);
    this.u32 = new Uint32Array(this.u8.buffer);
    this.view = new DataView(this.u8.buffer);
  }

  /**
   * Makes a pointer to a place; for pointers that the caller keeps.
   *
   * @param offset In bytes.
   * @throws {RangeError} If it is outside.
   */
  pointer(offset: number): Pointer {
    if (offset < 0 || offset > this.u8.length) throw new RangeError(`offset ${offset} is outside`);
    return Deno.UnsafePointer.create(this.#base + BigInt(offset));
  }

  /**
   * The pointer to a place, made at the first call for it and remembered: for hot loops over many
   * places. Costs 8 bytes per byte of each kibibyte in which a place was asked for.
   *
   * @param offset In bytes.
   * @throws {RangeError} If it is outside.
   */
  at(offset: number): Pointer {
    const pages = this.#pages ??= new Array<Pointer[]>((this.u8.length >> PAGE_BITS) + 1).fill(
      NONE,
    );
    let page = pages[offset >> PAGE_BITS];
    if (page === undefined) throw new RangeError(`offset ${offset} is outside`);
    if (page === NONE) pages[offset >> PAGE_BITS] = page = new Array<Pointer>(PAGE).fill(null);
    return page[offset & (PAGE - 1)] ??= this.pointer(offset);
  }

  /**
   * Stores the address of a place of this memory as a 64-bit pointer.
   *
   * @param offset Which place, in bytes.
   * @param target Where to store, as words.
   * @param index Word index in `target`; two words are written.
   */
  putAddress(offset: number, target: Uint32Array, index: number): void {
    target[index] = this.#low + offset;
    target[index + 1] = this.#high;
  }
}
