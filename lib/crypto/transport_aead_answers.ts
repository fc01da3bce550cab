/**
 * What every implementation of the transport AEAD must answer. Apart from the implementations, so
 * that whoever tests one need not load the others.
 *
 * @module
 */

/**
 * Lengths around the borders of blocks (16, 64) and of the four-block steps after the first three
 * blocks, with the first eight bytes of the tag that a plaintext of that length gets. The tag covers
 * the whole ciphertext, so it stands for it.
 */
export const KNOWN_TAGS: readonly (readonly [length: number, tag: string])[] = [
  [0, "5e12133d2e7cc319"],
  [1, "a5fa49c09e84679b"],
  [15, "f443e2e4a003200d"],
  [16, "e71cdd8113d2fe4e"],
  [17, "bff2ce8b81df24af"],
  [63, "33cb660292e72a0c"],
  [64, "a20593633bd24caf"],
  [65, "ccb4613e124741dd"],
  [191, "5ad5acd106b091fb"],
  [192, "21b0e7b90859f886"],
  [193, "27dab2ebc5cce47a"],
  [447, "b9201c53d4815bd2"],
  [448, "5056309857c608fb"],
  [449, "6351305df2b3b336"],
  [1408, "3c4c5aad2bd1437d"],
  [1499, "8f517780fb1eaa5f"],
];

/** One packet before it is sealed. */
export interface PlainPacket {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** `[0, 2**53)`. */
  readonly counter: number;
  /** Associated data. */
  readonly header: Uint8Array;
  /** What is sealed. */
  readonly plaintext: Uint8Array;
}

/** What the self-test seals for one length; the tests work its answer out by another library. */
export function selfTestInput(length: number): PlainPacket {
  const plaintext = Uint8Array.from({ length }, (_, i) => i * 7 + length);
  const header = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i);
  const key = Uint8Array.from({ length: 32 }, (_, i) => 0x40 + i);
  return { key, counter: 2 ** 33 + length, header, plaintext };
}
