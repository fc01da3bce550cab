/**
 * How a member asks its coordinator for an invite, for a machine that it has met.
 *
 * What must hold: an invite is into this node's own mesh, whatever the coordinator answers; it
 * reaches nobody but who asked on this machine, and no log.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { formatToken } from "../token/token.ts";
import type { ClientMessage } from "../wire/client_message.ts";
import type { Invite, InviteRefused, MeshSettings } from "../wire/server_message.ts";
import { AgentError } from "./errors.ts";
import type { JoinPlan } from "./joining.ts";

/** How long the answer may take. */
const ANSWER_MS = 10_000;
/** Requests are numbered with four bytes. */
const REQUESTS = 2 ** 32;

/** With what a machine joins. */
export interface MemberInvite {
  /** URL by which this node finds its coordinator. */
  readonly coordinator: string;
  /** A secret. */
  readonly token: string;
}

/** What an {@linkcode Inviting} needs. */
export interface InvitingOptions {
  readonly clock: Clock;
  /** Which mesh this is, and where its coordinator. */
  readonly plan: Pick<JoinPlan, "coordinatorUrl" | "coordinatorKey" | "meshId">;
  /** Whether this node is the member inside a coordinator. */
  readonly isAtCoordinator: boolean;
  /** What the coordinator said of the mesh. */
  readonly mesh: () => MeshSettings;
  /** Whether the line to the coordinator is up. */
  readonly isConnected: () => boolean;
  /** Says something to the coordinator; `false` if the line is down. */
  readonly send: (message: ClientMessage) => boolean;
}

/** Asks for invites, one answer to each wish. */
export class Inviting {
  readonly #o: InvitingOptions;
  readonly #waiting = new Map<number, PromiseWithResolvers<Invite>>();
  #lastRequest = 0;

  constructor(options: InvitingOptions) {
    this.#o = options;
  }

  /**
   * Looks whether asking makes sense.
   *
   * @throws {AgentError} `refused` if this node gets no invites, `unreachable` if the coordinator
   * cannot be asked.
   */
  requireAble(): void {
    const { isAtCoordinator, isConnected, mesh } = this.#o;
    if (isAtCoordinator) {
      throw cannot("usage", "this is the coordinator's own member; name its own folder by --state");
    }
    if (!isConnected()) throw lineDown();
    if (mesh().memberInvites !== true) throw cannot("refused", REFUSALS["not-allowed"]);
  }

  /**
   * Asks for an invite.
   *
   * @param name Of the node that it is for.
   * @throws {AgentError} If there is none, with what to do.
   */
  async invite(name: string): Promise<MemberInvite> {
    this.requireAble();
    const { clock, plan: { coordinatorUrl: coordinator, coordinatorKey, meshId }, send } = this.#o;
    const request = this.#lastRequest = (this.#lastRequest + 1) % REQUESTS;
    const answer = Promise.withResolvers<Invite>();
    answer.promise.catch(() => {}); // the line may break before anybody waits
    this.#waiting.set(request, answer);
    const late = cannot("unreachable", "the coordinator does not answer; it may be an older one");
    const cancel = clock.schedule(clock.now() + ANSWER_MS, () => answer.reject(late));
    try {
      if (!send({ kind: "invite", request, name })) throw lineDown();
      const { joinSecret } = await answer.promise;
      return { coordinator, token: formatToken({ meshId, coordinatorKey, joinSecret }) };
    } finally {
      cancel();
      this.#waiting.delete(request);
    }
  }

  /** The coordinator answers; what nobody waits for any more is dropped. */
  take(message: Invite | InviteRefused): void {
    const waiting = this.#waiting.get(message.request);
    if (message.kind === "invite") waiting?.resolve(message);
    else waiting?.reject(cannot("refused", REFUSALS[message.reason]));
  }

  /** The line to the coordinator broke: no answer comes any more. */
  disconnected(): void {
    for (const { reject } of this.#waiting.values()) reject(lineDown());
  }
}

/**
 * What a node without a coordinator says to whoever wants an invite.
 *
 * @throws {AgentError} Always.
 */
export function refuseInvites(): never {
  throw cannot("usage", "this node is in no mesh of a coordinator; leave out --invite");
}

/** Reason => for the middle of a sentence: why, and what to do. */
const REFUSALS: Readonly<Record<InviteRefused["reason"], string>> = {
  "not-allowed":
    "the coordinator gives members no invites; start it with --member-invites, or set " +
    "memberInvites: true in its configuration; or run tunnelmesh token invite there",
  "too-many": "this node has asked for too many in the last ten minutes; try again later, or run " +
    "tunnelmesh token invite at the coordinator",
  "bad-name": "the coordinator does not take the other machine's name; give it another by --name",
  "reserved-name": "the other machine's name is reserved; give it another by --name",
  "storage-failure": "the coordinator cannot store it (disk full?); its log says why",
};

function cannot(fault: "refused" | "unreachable" | "usage", why: string): AgentError {
  return new AgentError(fault, `Cannot invite: ${why}`);
}

function lineDown(): AgentError {
  return cannot("unreachable", "the coordinator cannot be reached; tunnelmesh status says why");
}
