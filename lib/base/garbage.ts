/**
 * Collecting garbage when there is time for it. The engine collects under pressure, and a thread that
 * blocks in a system call has no idle time that the engine would see: what its start left behind
 * would stay for good, 5 MB per thread.
 *
 * @module
 */

/** What V8 offers with `--expose-gc`, which tests/compile.ts builds into the program. */
type Collect = (how: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void;

/**
 * Collects all garbage of this thread, and gives the memory back to the system: 20 to 40 ms in which
 * the thread does nothing else. Does nothing where the engine was not told to offer it, as when the
 * source is run.
 */
export function collectGarbage(): void {
  const { gc } = globalThis as { gc?: Collect };
  gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
}
