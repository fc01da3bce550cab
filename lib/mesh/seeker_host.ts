/**
 * What the search for paths to a peer works with, and what it counts.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { Path } from "../session/path.ts";

/** What carries out what a `PathSeeker` decides. Nothing is called back from within. */
export interface SeekerHost {
  readonly clock: Clock;
  /** Whether there may be ways that cost a connection. */
  readonly hasOthers: boolean;
  /** Ways to the peer there are: UDP candidates, SSH, relay. */
  ways(): readonly Path[];
  /** The path of the session in use. */
  bound(): Path | undefined;
  /** Whether this initiation still waits for its response. */
  isOutstanding(datagram: Uint8Array): boolean;
  /**
   * When the last keypair of an own handshake was made that nothing came by yet; `-Infinity` if
   * there is none.
   */
  unheardSince(): number;
  /** When packets last passed; `-Infinity` for never. */
  usedAt(): number;
  /** Sends a handshake datagram. @returns `false` if it could not be sent. */
  send(datagram: Uint8Array, path: Path): boolean;
  /** Starts a handshake, by `Sessions.renew`. */
  renew(over?: Path | "better"): void;
  /** Sends the peer a path report over the session. */
  report(body: Uint8Array): void;
  /** Asks the coordinator to tell the peer that it is wanted. */
  askCoordinator(): void;
  /** Ways are wanted that cost a connection. */
  wantOthers(): void;
}

/** How often the path of a peer changed, and in which direction. */
export interface PathSwitches {
  /** To a better kind. */
  readonly promotions: number;
  /** To a worse kind. */
  readonly demotions: number;
  /** To another path of the same kind. */
  readonly rebinds: number;
}
