/**
 * The response that completed the last own handshake. Copies of it that come by other paths prove
 * those paths both ways: the initiation arrived there, and the answer came back
 * (docs/protocol.md §6).
 *
 * @module
 */

import { equalBytes } from "../base/bytes.ts";
import type { Response } from "../wire/datagram.ts";
import type { Keypair } from "./keypair.ts";
import { MAX_UDP_SOURCES, REPEAT_ANSWER_MS } from "./limits.ts";
import type { Path } from "./path.ts";

/** Paths that one response may prove: whoever can copy it must not make us send everywhere. */
const MAX_PROVEN = MAX_UDP_SOURCES + 2;

/** Remembers one response, that of the last handshake. */
export class AcceptedResponse {
  #last: {
    readonly beforeMac2: Uint8Array;
    readonly keypair: Keypair;
    /** Keys of the paths it came by. */
    readonly paths: Set<string>;
  } | undefined;

  /** Called when a response completed a handshake; it is copied. */
  remember({ beforeMac2 }: Response, keypair: Keypair, path: Path): void {
    this.#last = {
      beforeMac2: Uint8Array.from(beforeMac2),
      keypair,
      paths: new Set([path.key]),
    };
  }

  /** Whether a response is a copy of the one remembered, so that there is nothing to complete. */
  isCopy({ beforeMac2 }: Response): boolean {
    return this.#last !== undefined && equalBytes(this.#last.beforeMac2, beforeMac2);
  }

  /** Called with a copy: whether it proves a path that none proved before, and soon enough. */
  proves(path: Path, now: number): boolean {
    if (this.#last === undefined) return false;
    const { keypair, paths } = this.#last;
    if (keypair.isRetired || now - keypair.createdAt > REPEAT_ANSWER_MS) return false;
    if (paths.has(path.key) || paths.size >= MAX_PROVEN) return false;
    paths.add(path.key);
    return true;
  }
}
