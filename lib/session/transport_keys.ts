/**
 * Seals and opens the transport data of one keypair: counters, replay window, limits, path rule.
 * The one truth of what a keypair may do, for every data plane that works in this thread.
 *
 * A datagram that arrives passes, in this order: age and counter limit, path, window; then the
 * AEAD; only then is anything written down. No buffer is allocated per datagram.
 *
 * ```ts ignore
 * const reason = keys.whyNotOpen(datagram, path, now);
 * if (reason !== undefined) drop(reason);
 * const length = keys.open(datagram, out, path, now); // -1: bad tag
 * ```
 *
 * @module
 */

import type { TransportAead } from "../crypto/transport_aead.ts";
import { DATA_HEADER_LENGTH, dataCounter, TAG_LENGTH, writeDataHeader } from "../wire/datagram.ts";
import type { DropReason } from "./actions.ts";
import { type Keypair, retireKeypair } from "./keypair.ts";
import type { SessionLimits } from "./limits.ts";
import type { Path } from "./path.ts";
import { ReplayWindow } from "./replay_window.ts";

/** Bytes that sealing adds to a plaintext. */
export const DATA_OVERHEAD = DATA_HEADER_LENGTH + TAG_LENGTH;

/** How a session depends on where its datagrams come from (docs/protocol.md §5). */
export type Binding = "strict" | "roam";

/** What the keys of all peers have in common. Read at each use, so that it may change. */
export interface TransportRules {
  readonly limits: SessionLimits;
  readonly binding: Binding;
}

/**
 * Why a keypair may not seal now.
 *
 * @param now On the scale of `Clock.now`.
 * @returns `undefined` if it may.
 */
export function whyNotSend(
  keypair: Keypair,
  limits: SessionLimits,
  now: number,
): DropReason | undefined {
  if (keypair.isRetired || now - keypair.createdAt >= limits.rejectAfterMs) {
    return "expired-keypair";
  }
  if (!keypair.isConfirmed || keypair.path === undefined) return "no-keypair";
  if (keypair.activity.sendCounter >= limits.rejectAfterMessages) return "send-limit";
  return undefined;
}

/**
 * Whether data of a keypair may come by a path. Under `roam` any path of UDP may carry it once it
 * is confirmed, a connection only what is bound to it; confirming is bound to the initiation's paths either way.
 */
export function mayComeBy(keypair: Keypair, path: Path, binding: Binding): boolean {
  if (keypair.path !== undefined) {
    return keypair.path.key === path.key || (binding === "roam" && path.kind === "udp");
  }
  for (const candidate of keypair.unconfirmedPaths) if (candidate.key === path.key) return true;
  return false;
}

/** The working state of one keypair in one thread. */
export class TransportKeys {
  /** The keypair it works for. */
  readonly keypair: Keypair;
  readonly #aead: TransportAead;
  readonly #rules: TransportRules;
  readonly #window = new ReplayWindow();
  /** The header at work, so that none is allocated per datagram. */
  readonly #header = new Uint8Array(DATA_HEADER_LENGTH);

  /**
   * Starts with nothing sent or received.
   *
   * @param rules Borrowed for good; the caller may change what it holds.
   */
  constructor(keypair: Keypair, aead: TransportAead, rules: TransportRules) {
    this.keypair = keypair;
    this.#aead = aead;
    this.#rules = rules;
  }

  /** Why nothing may be sealed now; `undefined` if it may. */
  whyNotSend(now: number): DropReason | undefined {
    return whyNotSend(this.keypair, this.#rules.limits, now);
  }

  /**
   * Seals one plaintext into a whole datagram. Ask {@linkcode whyNotSend} first.
   *
   * @param plaintext Borrowed; may lie in `out` where the ciphertext goes (`outOffset` + 16).
   * @param out Has room for the plaintext and {@linkcode DATA_OVERHEAD} bytes from `outOffset` on.
   * @returns Length of the datagram.
   * @throws {RangeError} when the keypair may not seal; so no nonce can be used twice, whatever the
   * caller forgot.
   */
  seal(plaintext: Uint8Array, out: Uint8Array, outOffset: number, now: number): number {
    const { keypair } = this;
    const refused = this.whyNotSend(now);
    if (refused !== undefined) throw new RangeError(`Cannot seal: ${refused}`);
    const { activity } = keypair;
    const counter = activity.sendCounter;
    // Spent before it is used: whatever happens below, it does not come again.
    activity.sendCounter = counter + 1;
    // Read before the ciphertext may be written over it.
    const isPayload = isInnerPacket(plaintext);
    const header = this.#header;
    writeDataHeader(keypair.remoteIndex, counter, header);
    this.#aead.seal(
      keypair.sendKey,
      counter,
      header,
      plaintext,
      out,
      outOffset + DATA_HEADER_LENGTH,
    );
    out.set(header, outOffset);
    activity.sentAt = now;
    if (isPayload) {
      if (activity.payloadSentAt <= activity.receivedAt) activity.unansweredSince = now;
      activity.payloadSentAt = now;
    }
    return DATA_OVERHEAD + plaintext.length;
  }

  /**
   * Why a datagram is refused before any AEAD work.
   *
   * @param datagram Transport data (`isData`) with this keypair's receiver index; borrowed.
   * @returns `undefined` if {@linkcode open} may be tried; `wrong-path` may be worth a `strayed`
   * event, see {@linkcode isAhead}.
   */
  whyNotOpen(datagram: Uint8Array, path: Path, now: number): DropReason | undefined {
    const { keypair } = this;
    const { limits, binding } = this.#rules;
    if (keypair.isRetired || now - keypair.createdAt >= limits.rejectAfterMs) {
      return "expired-keypair";
    }
    const counter = dataCounter(datagram);
    if (counter >= limits.rejectAfterMessages) return "expired-keypair";
    if (!mayComeBy(keypair, path, binding)) return "wrong-path";
    if (!this.#window.mayAccept(counter)) return "replayed";
    return undefined;
  }

  /** Whether a datagram's counter is above every one that authenticated so far. */
  isAhead(datagram: Uint8Array): boolean {
    return dataCounter(datagram) > this.keypair.activity.receiveCounter;
  }

  /**
   * Opens a datagram that {@linkcode whyNotOpen} lets through, and writes down that it came.
   *
   * The first one that opens on an unconfirmed keypair must be told to the session layer
   * (`confirmed`) before its plaintext is delivered, and delivered only if the keypair is
   * confirmed and not retired afterwards.
   *
   * @param datagram Borrowed.
   * @param out Gets the plaintext from its start on; room for `datagram.length - 32` bytes.
   * @returns Length of the plaintext; -1 if the tag is wrong, and then nothing has changed.
   * @throws {RangeError} when `out` is too short.
   */
  open(datagram: Uint8Array, out: Uint8Array, path: Path, now: number): number {
    const { keypair } = this;
    const { activity } = keypair;
    const counter = dataCounter(datagram);
    const header = this.#header;
    for (let i = 0; i < DATA_HEADER_LENGTH; i++) header[i] = datagram[i]!;
    const ciphertext = datagram.subarray(DATA_HEADER_LENGTH);
    const length = this.#aead.open(keypair.receiveKey, counter, header, ciphertext, out, 0);
    if (length < 0) return -1;
    this.#window.accept(counter);
    if (counter > activity.receiveCounter) {
      activity.receiveCounter = counter;
      if (keypair.path !== undefined && keypair.path.key !== path.key) this.#roam(path);
    }
    activity.receivedAt = now;
    if (length > 0 && isInnerPacket(out)) {
      if (activity.payloadReceivedAt <= activity.sentAt) activity.unacknowledgedSince = now;
      activity.payloadReceivedAt = now;
    }
    return length;
  }

  /** Ends the keypair and wipes its keys, here and in the keypair. Repeatable. */
  retire(): void {
    retireKeypair(this.keypair);
    this.#aead.wipe();
  }

  /** Moves to where the newest authentic datagram came from; only where the mesh wants that. */
  #roam(path: Path): void {
    if (this.#rules.binding === "roam") this.keypair.path = path;
  }
}

/** Neither a keepalive nor control: something that is expected to be answered. */
function isInnerPacket(plaintext: Uint8Array): boolean {
  return plaintext.length > 0 && plaintext[0] !== 0;
}
