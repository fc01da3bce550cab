/**
 * The initiations answered lately: a datagram equal in every byte before mac2 gets the same
 * response again, for one hash and no Diffie-Hellman (docs/protocol.md §4, 2a). So a lost response
 * costs no retry timer, and one initiation may come over several paths.
 *
 * @module
 */

import { equalBytes, toHex } from "../base/bytes.ts";
import type { Initiation } from "../wire/datagram.ts";
import type { Keypair } from "./keypair.ts";
import { MAX_UDP_SOURCES, REPEAT_ANSWER_MS } from "./limits.ts";
import { isOfAnother, type Path } from "./path.ts";

/** How often one initiation is answered: paths × repetitions of an honest sender, and some. */
const MAX_ANSWERS = 40;

/** One initiation that was answered. */
export interface Answer {
  readonly peer: string;
  /** Every byte before mac2. */
  readonly request: Uint8Array;
  readonly response: Uint8Array;
  readonly answeredAt: number;
  readonly keypair: Keypair;
  /** Paths it came by. */
  readonly paths: Path[];
}

/** The answers of the last five seconds: one per peer, the latest. */
export class Answers {
  readonly #byMac1 = new Map<string, Answer & { count: number }>();
  readonly #keyOfPeer = new Map<string, string>();

  /** How many are remembered. */
  get size(): number {
    return this.#byMac1.size;
  }

  /** Remembers an answer instead of the peer's last one. The initiation is copied. */
  remember(initiation: Initiation, answer: Omit<Answer, "request">): void {
    this.forget(answer.peer);
    const key = toHex(initiation.mac1);
    const request = Uint8Array.from(initiation.beforeMac2);
    this.#byMac1.set(key, { ...answer, request, count: 1 });
    this.#keyOfPeer.set(answer.peer, key);
  }

  /**
   * The answer to give to an initiation, whose mac1 was right.
   *
   * @returns `undefined` if it was not answered lately; `rate-limited` if it may not be again, or
   * not by this path; `wrong-path` if it came by the connection of another node.
   */
  repeat(
    initiation: Initiation,
    path: Path,
    now: number,
  ): Answer | "rate-limited" | "wrong-path" | undefined {
    const answer = this.#byMac1.get(toHex(initiation.mac1));
    if (answer === undefined || now - answer.answeredAt >= REPEAT_ANSWER_MS) return undefined;
    if (!equalBytes(answer.request, initiation.beforeMac2)) return undefined;
    // Who got this response would have a keypair that is none any more.
    if (answer.keypair.isRetired) return undefined;
    if (isOfAnother(path, answer.peer)) return "wrong-path";
    if (answer.count >= MAX_ANSWERS || !takePath(answer.paths, path)) return "rate-limited";
    answer.count++;
    return answer;
  }

  /** When the answer to a peer may be forgotten; `Infinity` if there is none. */
  expiresAt(peer: string): number {
    const key = this.#keyOfPeer.get(peer);
    const answer = key === undefined ? undefined : this.#byMac1.get(key);
    return answer === undefined ? Infinity : answer.answeredAt + REPEAT_ANSWER_MS;
  }

  /** Forgets what was answered to a peer: it expired, or the peer was removed. */
  forget(peer: string): void {
    const key = this.#keyOfPeer.get(peer);
    if (key === undefined) return;
    this.#keyOfPeer.delete(peer);
    this.#byMac1.delete(key);
  }
}

/** Adds a path unless it is known; `false` if there are too many of its kind. */
function takePath(paths: Path[], path: Path): boolean {
  if (paths.some((known) => known.key === path.key)) return true;
  const most = path.kind === "udp" ? MAX_UDP_SOURCES : 1;
  if (paths.filter((known) => known.kind === path.kind).length >= most) return false;
  paths.push(path);
  return true;
}
