/**
 * Echoes that are sent for their length: whether so much arrives at the peer. They say nothing about
 * whether it is there: nobody waits for their answers.
 *
 * @module
 */

import { toHex } from "../base/bytes.ts";
import type { Path } from "./path.ts";

/** Echoes whose answer may still come; older ones are forgotten. */
const MAX_PROBES = 64;

/** What was sent, and by which way. */
export interface SizeProbe {
  readonly path: Path;
  /** Length of the plaintext. */
  readonly size: number;
}

/** The echoes of one peer. */
export class SizeProbes {
  readonly #open = new Map<string, SizeProbe>();

  /** Called for each echo that is sealed. `id` is its 8 bytes. */
  sent(id: Uint8Array, probe: SizeProbe): void {
    this.#open.set(toHex(id), probe);
    if (this.#open.size <= MAX_PROBES) return;
    for (const oldest of this.#open.keys()) return void this.#open.delete(oldest);
  }

  /**
   * Called for each echo reply.
   *
   * @param size Length in which the peer says that it arrived.
   * @returns `undefined` if no such echo is open, or it arrived in another length.
   */
  answered(id: Uint8Array, size: number): SizeProbe | undefined {
    const key = toHex(id);
    const probe = this.#open.get(key);
    this.#open.delete(key);
    return probe?.size === size ? probe : undefined;
  }
}
