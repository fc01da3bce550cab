/**
 * Opens a connection to one peer while one is wanted, and again when it breaks.
 *
 * ```
 *         want                     connected
 *  idle ───────▶ dialing ──────────────────────▶ open
 *   ▲ nobody      │  ▲ after a wait, with jitter    │
 *   │ wants it    ▼  │                              │ closed
 *   └────────── waiting ◀───────────────────────────┘ while it was in use; idle otherwise
 * ```
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { SshAddress } from "./ssh_address.ts";
import type { SshDialed } from "./ssh_dialing.ts";

/** Head start of an address over the next one. */
const NEXT_ADDRESS_AFTER_MS = 400;
const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 30_000;
/** How long a wish holds: as long as a handshake is tried for. */
const WANTED_FOR_MS = 90_000;
/** Addresses of a peer that are tried. */
const MAX_ADDRESSES = 8;

/** What a dialer needs. */
export interface SshDialerOptions {
  readonly clock: Clock;
  /** Gives `[0, 1)`; need not be unpredictable. */
  readonly random: () => number;
  /** Connects. */
  readonly dial: (address: SshAddress, signal: AbortSignal) => Promise<SshDialed>;
  /** A connection stands; when it ends, `closed` must be called. */
  readonly connected: (dialed: SshDialed, address: SshAddress) => void;
  /** None of the addresses led anywhere. */
  readonly failed: (errors: readonly unknown[]) => void;
}

/** Connections to one peer, one at a time. */
export class SshDialer {
  readonly #options: SshDialerOptions;
  #addresses: readonly SshAddress[] = [];
  #state: "idle" | "dialing" | "waiting" | "open" | "closed" = "idle";
  #wantedUntil = -Infinity;
  #waitMs = FIRST_WAIT_MS;
  #abort: AbortController | undefined;
  #cancelWait: (() => void) | undefined;

  /** Starts idle. */
  constructor(options: SshDialerOptions) {
    this.#options = options;
  }

  /** Sets where the peer may be; tries at once if that is news while a connection is wanted. */
  setAddresses(addresses: readonly SshAddress[]): void {
    const isNews = JSON.stringify(addresses) !== JSON.stringify(this.#addresses);
    this.#addresses = addresses.slice(0, MAX_ADDRESSES);
    if (isNews && this.#state === "waiting") this.#dialNow();
  }

  /** A connection is wanted for a while. */
  want(): void {
    this.#wantedUntil = this.#options.clock.now() + WANTED_FOR_MS;
    if (this.#state === "idle" && this.#addresses.length > 0) this.#dial();
  }

  /**
   * The connection is over.
   *
   * @param wasInUse Whether another one is wanted in its place; one that never carried anything
   * counts as an attempt that failed.
   */
  closed(wasInUse: boolean): void {
    if (this.#state !== "open") return;
    if (wasInUse) {
      this.#waitMs = FIRST_WAIT_MS;
      this.#wantedUntil = this.#options.clock.now() + WANTED_FOR_MS;
    }
    this.#wait();
  }

  /** The network changed: a waiting one tries at once. */
  retryNow(): void {
    if (this.#state === "waiting") this.#dialNow();
  }

  /** Opens no more. Safe to call twice. */
  close(): void {
    this.#state = "closed";
    this.#cancelWait?.();
    this.#abort?.abort();
  }

  #dialNow(): void {
    this.#cancelWait?.();
    this.#waitMs = FIRST_WAIT_MS;
    this.#dial();
  }

  #dial(): void {
    if (this.#addresses.length === 0) {
      this.#state = "idle";
      return;
    }
    this.#state = "dialing";
    const abort = this.#abort = new AbortController();
    let before: Promise<unknown> = Promise.resolve();
    const attempts = this.#addresses.map((address, turn) => {
      const isFirst = turn === 0;
      const attempt = this.#attempt(address, isFirst ? undefined : before, turn, abort);
      before = attempt;
      return attempt;
    });
    Promise.any(attempts).then(({ dialed, address }) => {
      if (this.#state === "closed") return dialed.stream.close();
      this.#state = "open";
      this.#options.connected(dialed, address);
    }, (error: AggregateError) => {
      if (this.#state === "closed") return;
      this.#wait();
      this.#options.failed(error.errors);
    });
  }

  /** One address, in its turn; the first to stand ends the others. */
  async #attempt(
    address: SshAddress,
    before: Promise<unknown> | undefined,
    turn: number,
    abort: AbortController,
  ) {
    if (before !== undefined) await this.#headStart(before, turn, abort.signal);
    const dialed = await this.#options.dial(address, abort.signal);
    if (abort.signal.aborted) {
      dialed.stream.close();
      throw new Error("Another address was faster");
    }
    abort.abort();
    return { dialed, address };
  }

  /** Until the address before has failed, or has had its head start. */
  #headStart(before: Promise<unknown>, turn: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      const cancel = clock.schedule(clock.now() + turn * NEXT_ADDRESS_AFTER_MS, resolve);
      before.catch(() => {
        cancel();
        if (!signal.aborted) resolve();
      });
      signal.addEventListener("abort", () => {
        cancel();
        reject(new Error("Another address was faster"));
      });
    });
  }

  #wait(): void {
    const { clock, random } = this.#options;
    const waitMs = this.#waitMs * (0.5 + random());
    this.#waitMs = Math.min(MOST_WAIT_MS, this.#waitMs * 2);
    if (clock.now() + waitMs > this.#wantedUntil) {
      this.#state = "idle";
      return;
    }
    this.#state = "waiting";
    this.#cancelWait = clock.schedule(clock.now() + waitMs, () => this.#dial());
  }
}
