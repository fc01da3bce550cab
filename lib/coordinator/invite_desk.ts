/**
 * Invites that members ask for over their control channels, where the coordinator allows it.
 *
 * What must hold: an invite admits one node, for a short time, and not once the member that asked
 * for it is none; whoever runs the coordinator sees who asked (`token list`), and can revoke it.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { InviteRequest } from "../wire/client_message.ts";
import { RefusalError } from "../wire/refusal.ts";
import { type Invite, INVITE_REFUSALS, type InviteRefused } from "../wire/server_message.ts";
import type { TokenRow } from "./store.ts";
import type { TokenBook } from "./token_book.ts";

/** How long such an invite is good: for a machine that is there. */
export const MEMBER_INVITE_MS = 600_000;
/** So many a member may have asked for within that time, whatever became of them. */
export const MAX_MEMBER_INVITES = 10;

/** What an {@linkcode InviteDesk} works with. */
export interface InviteDeskOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly tokens: TokenBook;
  /** Whether members may ask at all. */
  readonly isAllowed: boolean;
}

/** Gives invites to members, or says why not. */
export class InviteDesk {
  readonly #o: InviteDeskOptions;

  constructor(options: InviteDeskOptions) {
    this.#o = options;
  }

  /** The answer to a member. @param nodeId Who asks, proven. */
  answer(nodeId: string, { request, name }: InviteRequest): Invite | InviteRefused {
    const { tokens, log } = this.#o;
    try {
      const invite = this.#invite(nodeId, name);
      if (typeof invite === "string") return this.#refuse(nodeId, request, invite);
      log.info("a member asked for an invite", { peer: nodeId, index: invite.serial });
      return { kind: "invite", request, joinSecret: tokens.joinSecret(invite) };
    } catch (error) {
      const reason = error instanceof RefusalError && reasonOf(error);
      if (!reason) throw error;
      return this.#refuse(nodeId, request, reason);
    }
  }

  #invite(nodeId: string, name: string): TokenRow | InviteRefused["reason"] {
    const { clock, tokens, isAllowed } = this.#o;
    if (!isAllowed) return "not-allowed";
    const unixMs = Math.floor(clock.unixNow());
    // By their time of making: the clock may have been set back since, which makes none older.
    const recent = tokens.askedBy(nodeId)
      .filter(({ createdAt }) => createdAt > unixMs - MEMBER_INVITE_MS);
    if (recent.length >= MAX_MEMBER_INVITES) return "too-many";
    return tokens.invite(unixMs, unixMs + MEMBER_INVITE_MS, name, nodeId);
  }

  #refuse(peer: string, request: number, reason: InviteRefused["reason"]): InviteRefused {
    const { log } = this.#o;
    const say = reason === "storage-failure" ? log.error : log.info;
    say.call(log, "a member asked for an invite, and gets none", { peer, reason });
    return { kind: "invite-refused", request, reason };
  }
}

function reasonOf({ reason }: RefusalError): InviteRefused["reason"] | undefined {
  return INVITE_REFUSALS.find((one) => one === reason);
}
