/**
 * Epochs of the mesh PSK (protocol.md §2): which one is previous, current and next.
 *
 * ```
 *            rotate()                 all connected members acknowledged, or 10 min
 * current ────────────→ current, next ─────────────────────────────────────────────→ previous, current
 *                                                                      24 h after that: current
 * ```
 *
 * @module
 */

import type { EpochPsk, Psks } from "../wire/server_message.ts";
import type { Ledger } from "./ledger.ts";
import type { CoordinatorSecret } from "./secrets.ts";

/** A next epoch becomes current after this long, acknowledged or not. */
export const PSK_SWITCH_AFTER_MS = 10 * 60_000;
/** A previous epoch is given up after this long. */
export const PSK_PREVIOUS_FOR_MS = 24 * 3_600_000;

/** The epochs in force; all times are unix milliseconds, since they outlive the process. */
export class PskEpochs {
  readonly #ledger: Ledger;
  readonly #secret: CoordinatorSecret;

  constructor(ledger: Ledger, secret: CoordinatorSecret) {
    this.#ledger = ledger;
    this.#secret = secret;
  }

  /** What members are told. */
  psks(): Psks {
    const current = this.#ledger.number("psk-current");
    const next = this.#ledger.number("psk-next");
    const hasPrevious = this.#ledger.number("psk-previous-until") > 0;
    return {
      kind: "psks",
      ...(hasPrevious ? { previous: this.#epoch(current - 1) } : {}),
      current: this.#epoch(current),
      ...(next > 0 ? { next: this.#epoch(next) } : {}),
    };
  }

  /** The epoch that waits to become current, if one does. */
  get pending(): number | undefined {
    return this.#ledger.number("psk-next") || undefined;
  }

  /**
   * Announces the next epoch.
   *
   * @returns Whether there is something new to tell; not while one is already pending.
   */
  rotate(unixMs: number): boolean {
    if (this.pending !== undefined) return false;
    this.#ledger.commit({
      settings: {
        "psk-next": String(this.#ledger.number("psk-current") + 1),
        "psk-next-since": String(unixMs),
      },
    });
    return true;
  }

  /**
   * Lets time pass.
   *
   * @param isAcknowledged Whether every connected member has the pending epoch.
   * @returns Whether there is something new to tell.
   */
  advance(unixMs: number, isAcknowledged: boolean): boolean {
    const { pending } = this;
    const since = this.#ledger.number("psk-next-since");
    if (pending !== undefined && (isAcknowledged || unixMs >= since + PSK_SWITCH_AFTER_MS)) {
      this.#ledger.commit({
        settings: {
          "psk-current": String(pending),
          "psk-next": "",
          "psk-previous-until": String(unixMs + PSK_PREVIOUS_FOR_MS),
        },
      });
      return true;
    }
    const until = this.#ledger.number("psk-previous-until");
    if (until === 0 || unixMs < until) return false;
    this.#ledger.commit({ settings: { "psk-previous-until": "" } });
    return true;
  }

  #epoch(epoch: number): EpochPsk {
    return { epoch, psk: this.#secret.meshPsk(epoch) };
  }
}
