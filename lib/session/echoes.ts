/**
 * Echoes to one peer: whether it is there, how long a round trip takes, and how much fits the path.
 *
 * @module
 */

import { ECHO_ID_LENGTH, encodeEcho } from "../wire/inner_control.ts";
import type { Action } from "./actions.ts";
import type { Keypair } from "./keypair.ts";
import { Liveness } from "./liveness.ts";
import type { Path } from "./path.ts";
import { SizeProbes } from "./size_probes.ts";

/** The echoes of one peer. */
export class Echoes {
  /** Whether the peer still answers. */
  readonly liveness = new Liveness();
  readonly #nodeId: string;
  readonly #context: { readonly random: (length: number) => Uint8Array };
  readonly #sizes = new SizeProbes();
  #isPingWanted = false;

  /** Nothing was sent. */
  constructor(nodeId: string, context: { readonly random: (length: number) => Uint8Array }) {
    this.#nodeId = nodeId;
    this.#context = context;
  }

  /** Somebody waits for an answer, and there is no session to ask by: the next one is for it. */
  wantPing(): void {
    this.#isPingWanted = true;
  }

  /** Whether somebody waits for an answer that the keypair used so far will not bring. */
  takeOpenPings(): boolean {
    const isOpen = this.liveness.takeOpenPings() || this.#isPingWanted;
    this.#isPingWanted = false;
    return isOpen;
  }

  /** Asks whether the peer is there; with `isPing`, somebody waits for the answer. */
  ask(keypair: Keypair, now: number, isPing: boolean, out: Action[]): void {
    const id = this.#context.random(ECHO_ID_LENGTH);
    this.liveness.echoSent(id, now, isPing);
    out.push({ kind: "seal", keypair, plaintext: encodeEcho(id) });
  }

  /** Asks whether so much arrives, in one piece or in fragments. */
  probe(keypair: Keypair, size: number, how: "whole" | "in-fragments", out: Action[]): void {
    if (keypair.path === undefined) return;
    const id = this.#context.random(ECHO_ID_LENGTH);
    this.#sizes.sent(id, { path: keypair.path, size });
    const whole = how === "whole" ? { isWhole: true } as const : {};
    out.push({ kind: "seal", keypair, plaintext: encodeEcho(id, size), ...whole });
  }

  /**
   * Takes an answer.
   *
   * @param id 8 bytes of the echo.
   * @param size Length in which the echo arrived at the peer.
   */
  answered(id: Uint8Array, size: number, path: Path, now: number): Action[] {
    const peer = this.#nodeId;
    const answer = this.liveness.echoAnswered(id, now);
    if (answer !== undefined) {
      return answer.isPing ? [{ kind: "echoed", peer, rttMs: answer.rttMs, path }] : [];
    }
    const probe = this.#sizes.answered(id, size);
    return probe === undefined ? [] : [{ kind: "fits", peer, ...probe }];
  }
}
