/**
 * What `Sessions` is made of, and what it shows.
 *
 * @module
 */

import type { CryptoBackend } from "../crypto/backend.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import type { SessionProfile } from "./handshake_messages.ts";
import type { Keypair } from "./keypair.ts";
import type { SessionLimits } from "./limits.ts";
import type { Path } from "./path.ts";
import type { PskRing } from "./psk_ring.ts";
import type { TimestampSource } from "./timestamp.ts";
import type { Binding } from "./transport_keys.ts";

/** What `Sessions` needs. */
export interface SessionsOptions {
  /** Which row of the profile table every handshake follows. */
  readonly profile: SessionProfile;
  /** 16 bytes. */
  readonly meshId: Uint8Array;
  /** This node's static key pair; borrowed for good. */
  readonly staticKey: KeyPair;
  /** Preshared keys; required by `mesh`, refused by `allowed-peers`. */
  readonly psks?: PskRing;
  readonly limits: SessionLimits;
  readonly timestamps: TimestampSource;
  /** @default {"strict"} */
  readonly binding?: Binding;
  /**
   * Whether an initiation may go to a source from which data of a session strayed in, or a cookie to
   * one that an initiation came from: not for loopback, multicast, broadcast and mesh addresses,
   * which this layer cannot tell.
   *
   * @default {() => true}
   */
  readonly mayHealTo?: (path: Path) => boolean;
  /** Milliseconds since 1970, for cookies. @default {Date.now} */
  readonly unixNow?: () => number;
  /** @default {NATIVE_BACKEND} */
  readonly crypto?: CryptoBackend;
  /** @default {randomBytes} */
  readonly random?: (length: number) => Uint8Array;
}

/** A peer to have sessions with. */
export interface SessionPeer {
  /** 64 hex digits. */
  readonly nodeId: string;
  /** 32 bytes. */
  readonly staticKey: Uint8Array;
  /**
   * Keep the way open by an empty datagram whenever nothing was sent for a while; also starts a
   * session.
   *
   * @default {false}
   */
  readonly persistentKeepalive?: boolean;
}

/** What there is with one peer. A snapshot. */
export interface PeerSession {
  /** What is sent with; `undefined` where a handshake is needed first. */
  readonly current: Keypair | undefined;
  /** Every keypair that was not retired, the unconfirmed one included. */
  readonly keypairs: readonly Keypair[];
  /** When `current` was completed, or the one before it; `undefined` if there was none. */
  readonly lastHandshakeAt: number | undefined;
  /** Handshakes that led to a confirmed keypair, in either role. */
  readonly handshakes: number;
  /** Round trip of the last echo answered, smoothed. */
  readonly rttMs: number | undefined;
  /** Something was sent, an echo asked for an answer, and none came. */
  readonly isSilent: boolean;
  /** The initiation that waits for its response, to be repeated on further paths; borrowed. */
  readonly outstanding: Uint8Array | undefined;
}
