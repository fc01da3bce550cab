/**
 * What a node is to its coordinator: one that wants to join, or a member; and what it was told.
 *
 * ```
 * stranger ──welcome──▶ member ──"removed" or "not-a-member", and a token is at hand──▶ stranger
 * ```
 *
 * Who was welcomed by this process and is "removed" then was put out by somebody, and does not come
 * back by itself; a person has to start it again with a token.
 *
 * @module
 */

import { logOf } from "../base/log.ts";
import type { ClientCredential } from "../session/control_channel.ts";
import type { Statement } from "../wire/control_message.ts";
import type { Welcome } from "../wire/server_message.ts";
import type { Refusal } from "../wire/refusal.ts";
import { reasonOf } from "./errors.ts";
import { credentialOf, type JoinPlan } from "./joining.ts";
import { removeMembership, writeMembership } from "./membership.ts";
import type { StateFolder } from "./state_folder.ts";

const log = logOf("agent");

/** A node's standing with its coordinator; kept on disk once it is a member. */
export class Standing {
  readonly #folder: StateFolder;
  readonly #plan: JoinPlan;
  readonly #statement: Statement;
  #welcome: Welcome | undefined;
  #isStranger: boolean;
  #hasJoinedNow = false;
  #wasWelcomed = false;

  /**
   * Starts as what the state folder knows.
   *
   * @param statement That this static key is the SSH key's.
   */
  constructor(folder: StateFolder, plan: JoinPlan, statement: Statement) {
    this.#folder = folder;
    this.#plan = plan;
    this.#statement = statement;
    this.#welcome = plan.membership?.welcome;
    this.#isStranger = plan.membership === undefined;
  }

  /** What the coordinator said last. @throws {TypeError} If it never welcomed this node. */
  get welcome(): Welcome {
    if (this.#welcome === undefined) throw new TypeError("the node has not joined yet");
    return this.#welcome;
  }

  /** Whether the next connection is to join, not to come back. */
  get isStranger(): boolean {
    return this.#isStranger;
  }

  /** Whether this process made the node a member. */
  get hasJoinedNow(): boolean {
    return this.#hasJoinedNow;
  }

  /** What to prove the right to connect with. */
  get credential(): ClientCredential {
    const memberPsk = this.#isStranger ? undefined : this.#welcome?.memberPsk;
    return credentialOf(memberPsk, this.#plan.token);
  }

  /** What a `hello` has to carry besides: only who joins has to say whose the key is. */
  get introduction(): { readonly statement?: Statement } {
    return this.#isStranger ? { statement: this.#statement } : {};
  }

  /**
   * A refusal came: becomes a stranger if that may help.
   *
   * @returns Whether to try again at once, with the token.
   */
  takeRefusal(refusal: Refusal | undefined): boolean {
    const isForgotten = refusal?.reason === "not-a-member" ||
      (refusal?.reason === "removed" && !this.#wasWelcomed);
    if (!isForgotten || this.#isStranger || this.#plan.token === undefined) return false;
    this.#isStranger = true;
    return true;
  }

  /**
   * The coordinator welcomed this node.
   *
   * @throws {AgentError} If a new member cannot be saved: a node that would not know itself after a
   * restart must not join; one that is on disk already goes on.
   */
  takeWelcome(welcome: Welcome): void {
    const { coordinatorUrl, coordinatorKey } = this.#plan;
    const statement = this.#statement;
    this.#welcome = welcome;
    this.#wasWelcomed = true;
    this.#hasJoinedNow ||= this.#isStranger;
    try {
      writeMembership(this.#folder, { coordinatorUrl, coordinatorKey, statement, welcome });
    } catch (error) {
      if (this.#isStranger) throw error;
      log.error("Membership not saved", { reason: reasonOf(error) });
    }
    this.#isStranger = false;
  }

  /** The node is no member any more, and this folder forgets that it was. */
  end(): void {
    removeMembership(this.#folder);
  }
}
