/**
 * What the session layer asks of its caller, and why it drops things.
 *
 * @module
 */

import type { Keypair } from "./keypair.ts";
import type { Path } from "./path.ts";

/** What the caller has to do after feeding the session layer, in this order. */
export type Action =
  /**
   * Send a handshake datagram; without a path, over every candidate path of that peer, or over those
   * alone that are better than the bound one. An initiation may be repeated while its answer could
   * still come.
   */
  | {
    readonly kind: "send";
    readonly peer: string;
    readonly datagram: Uint8Array;
    readonly path?: Path;
    readonly over?: "better";
  }
  /**
   * Send this once by the way that a datagram came: a cookie to a stranger, or our initiation again
   * with the mac2 that was asked for.
   */
  | { readonly kind: "reply"; readonly datagram: Uint8Array; readonly path: Path }
  /** Open what arrives for this keypair from here on. */
  | { readonly kind: "install"; readonly keypair: Keypair }
  /** The initiation came by one more path: this unconfirmed keypair may be confirmed by it, too. */
  | { readonly kind: "widen"; readonly keypair: Keypair }
  /** Send with this keypair from here on: it is current. Queued packets go out first. */
  | { readonly kind: "use"; readonly keypair: Keypair }
  /** Neither seal nor open with this keypair any more, and wipe its keys. */
  | { readonly kind: "retire"; readonly keypair: Keypair }
  /**
   * Seal this plaintext (empty: a keepalive) with this keypair and send it over its path. With
   * `onlyIfUnused`, not if anything was sealed with it before: the queue that `use` sent did its
   * work already. With `isWhole`, in one piece or not at all: whether it fits is the question.
   */
  | {
    readonly kind: "seal";
    readonly keypair: Keypair;
    readonly plaintext: Uint8Array;
    readonly onlyIfUnused?: true;
    readonly isWhole?: true;
  }
  /** The peer answered an echo: tell whoever asked for it (`ping`). */
  | { readonly kind: "echoed"; readonly peer: string; readonly rttMs: number; readonly path: Path }
  /** An echo that was sent for its length arrived whole at the peer (`Sessions.probe`). */
  | { readonly kind: "fits"; readonly peer: string; readonly path: Path; readonly size: number }
  /** Packets were sent and nothing came for a while: an echo asks whether the peer is there. */
  | { readonly kind: "unanswered"; readonly peer: string }
  /**
   * The response that completed the last own handshake came once more, by another path, or a
   * handshake completed that is not to be used: that path works both ways. If it is better,
   * `Sessions.renew` over it alone moves the session there.
   */
  | { readonly kind: "proven"; readonly peer: string; readonly path: Path }
  /** The peer reports about paths (lib/wire/inner_control.ts); the body is borrowed. */
  | { readonly kind: "reported"; readonly peer: string; readonly body: Uint8Array }
  /** The peer said that it is going; its keypairs were retired by the actions before this one. */
  | { readonly kind: "left"; readonly peer: string }
  /** No handshake was answered for 90 s: packets queued for that peer are dropped. */
  | { readonly kind: "gave-up"; readonly peer: string }
  /** Something was refused; count it. */
  | { readonly kind: "drop"; readonly reason: DropReason };

/** Why a datagram or a packet was dropped; also the label of the drop counter. */
export const DROP_REASONS = [
  "malformed",
  "unknown-type",
  "unknown-version",
  "unknown-profile",
  "bad-mac1",
  "bad-mac2",
  "bad-cookie",
  "under-load",
  "dh-budget",
  "unknown-index",
  "wrong-path",
  "bad-handshake",
  "low-order-point",
  "unknown-static-key",
  "unknown-psk-epoch",
  "old-timestamp",
  "no-handshake-outstanding",
  "rate-limited",
  "bad-tag",
  "replayed",
  "expired-keypair",
  "send-limit",
  "bad-plaintext",
  "unknown-control-kind",
  "bad-partial-checksum",
  "source-not-allowed",
  "destination-not-ours",
  "no-route",
  "no-keypair",
  "queue-full",
  "send-failed",
  "tun-write-failed",
] as const;

/** One of {@linkcode DROP_REASONS}. */
export type DropReason = typeof DROP_REASONS[number];
