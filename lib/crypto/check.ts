/**
 * Checks at the door of every primitive.
 *
 * @module
 */

/**
 * Refuses a byte string of another length than the primitive takes.
 *
 * @param name What it is, for the message.
 * @param bytes Borrowed until the call returns.
 * @param length Wanted length in bytes.
 * @throws {TypeError} If it is no `Uint8Array`.
 * @throws {RangeError} If it has another length.
 */
export function checkLength(name: string, bytes: Uint8Array, length: number): void {
  if (!(bytes instanceof Uint8Array)) throw new TypeError(`Cannot use ${name}: not a Uint8Array`);
  if (bytes.length !== length) {
    throw new RangeError(`Cannot use ${name}: need ${length} bytes, got ${bytes.length}`);
  }
}
