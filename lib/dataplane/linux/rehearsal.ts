/**
 * A worker's loop, played through with made-up packets while the real one has nothing to do: a loop
 * that has run some ten thousand times is compiled, and the first real packets do not pay for that.
 *
 * It has to go every way that a packet usually goes: where the real loop takes another, what was
 * compiled is thrown away. So there are two stages, one for each family, with functions of their
 * own to call: what is compiled then counts neither on the only family nor on the only function.
 * What is compiled is also thrown away when something that it knows is collected: so the stages stay,
 * without descriptors and keys.
 *
 * @module
 */

import { SyscallError } from "../../../ffi/errno.ts";
import type { PacketCipher } from "../../../ffi/libcrypto.ts";
import type { WorkerReport, WorkerSetup } from "./messages.ts";
import { RehearsalStage, type StageEars } from "./rehearsal_stage.ts";

/** Packets in all. Ours: the last compiler waits for some ten thousand. */
const PACKETS = 30_000;
/** Packets per step: about a millisecond. */
const PACKETS_PER_STEP = 100;

/** Plays a worker's part, a few packets at a time. */
export class Rehearsal {
  readonly #setup: WorkerSetup;
  readonly #cipher: PacketCipher;
  readonly #stages: RehearsalStage[] = [];
  #steps = 0;
  #isOver = false;
  /** The latest report of each kind. */
  readonly #heard = new Map<string, WorkerReport>();

  constructor(setup: WorkerSetup, cipher: PacketCipher) {
    this.#setup = setup;
    this.#cipher = cipher;
  }

  /**
   * Plays some packets.
   *
   * @param now On the control thread's clock.
   * @returns `false` when there is nothing left to play, or it cannot be played here.
   */
  step(now: number): boolean {
    if (this.#isOver) return false;
    if (this.#steps === 0) this.#begin(now);
    const played = this.#steps++ * PACKETS_PER_STEP;
    const stage = this.#stages[this.#steps % this.#stages.length];
    if (stage === undefined || played >= PACKETS) this.close();
    if (stage === undefined || this.#isOver) return false;
    for (let i = 0; i < PACKETS_PER_STEP; i++) stage.play(now);
    return true;
  }

  /** Ends it early. Safe to call twice. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const stage of this.#stages) stage.close();
  }

  #begin(now: number): void {
    const heard = this.#heard;
    this.#add(4, { report: (it) => heard.set(it.kind, it), lookForCommands: () => {} }, now);
    this.#add(6, { report: (it) => heard.set(it.kind, it), lookForCommands: () => {} }, now);
  }

  #add(family: 4 | 6, ears: StageEars, now: number): void {
    try {
      this.#stages.push(new RehearsalStage(this.#setup, this.#cipher, family, ears, now));
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
    }
  }
}
