/**
 * Notices a cloned state folder: two machines with one static key displace each other's control
 * channel again and again (protocol.md §1). A single displacement is normal: a node whose old
 * connection is not known to be dead yet.
 *
 * @module
 */

/** So many displacements … */
const DISPLACEMENTS = 3;
/** … in this time are a clone, and both are refused for as long. */
const WINDOW_MS = 60_000;

/** The displacements of every node, while they matter. */
export class CloneWatch {
  readonly #displacedAt = new Map<string, number[]>();
  readonly #refusedUntil = new Map<string, number>();

  /** Whether the node is refused for now. */
  isRefused(nodeId: string, now: number): boolean {
    return now < (this.#refusedUntil.get(nodeId) ?? -Infinity);
  }

  /**
   * Notes that a connection of the node displaced an older one.
   *
   * @param now Milliseconds that never step back.
   * @returns Whether this was one too many: refuse both.
   */
  displaced(nodeId: string, now: number): boolean {
    const recent = (this.#displacedAt.get(nodeId) ?? []).filter((at) => now - at < WINDOW_MS);
    recent.push(now);
    this.#displacedAt.set(nodeId, recent);
    if (recent.length < DISPLACEMENTS) return false;
    this.#displacedAt.delete(nodeId);
    this.#refusedUntil.set(nodeId, now + WINDOW_MS);
    return true;
  }

  /** Forgets what no longer matters; call it now and then. */
  sweep(now: number): void {
    for (const [nodeId, until] of this.#refusedUntil) {
      if (now >= until) this.#refusedUntil.delete(nodeId);
    }
    for (const [nodeId, times] of this.#displacedAt) {
      if (times.every((at) => now - at >= WINDOW_MS)) this.#displacedAt.delete(nodeId);
    }
  }
}
