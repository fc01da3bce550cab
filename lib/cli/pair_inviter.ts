/**
 * Who makes the invite of a pairing: the coordinator on this machine, or the coordinator of the mesh
 * that this machine is a member of, if that lets members ask.
 *
 * @module
 */

import type { InviteAnswer } from "../agent/coordinator_admin.ts";
import { AgentError } from "../agent/errors.ts";
import type { MemberInvite } from "../agent/inviting.ts";
import { AGENT_STATE_FOLDER, COORDINATOR_STATE_FOLDER } from "../config/paths.ts";
import { askAgent, askCoordinator } from "./ask.ts";
import { CommandError, EXIT } from "./exit.ts";

/** How long an invite is good that goes to a machine which is there. */
const INVITE_MS = 600_000;

/** The side of a pairing that invites. */
export interface Inviter {
  /** State folder of the member on this machine, whose keys are shown and whose pins are kept. */
  readonly state: string;
  /**
   * Makes an invite.
   *
   * @param name Of the machine that it is for.
   */
  invite(name: string): Promise<MemberInvite>;
}

/** State folder of a coordinator's own member. @param state The coordinator's. */
export function memberFolderOf(state: string): string {
  return `${state}/member`;
}

/**
 * Finds who invites, before anybody is asked anything.
 *
 * @param state State folder of either; absent: the default folder of a coordinator, then that of an
 * agent.
 * @throws {CommandError | AgentError} If there is nobody, or no invite would be given.
 */
export async function findInviter(state: string | undefined): Promise<Inviter> {
  if (await runs(askCoordinator(state, "status"))) {
    return {
      state: memberFolderOf(state ?? COORDINATOR_STATE_FOLDER),
      invite: (name) => inviteByCoordinator(state, name),
    };
  }
  const folder = state ?? AGENT_STATE_FOLDER;
  if (await runs(askAgent(folder, "invite-check"))) {
    return { state: folder, invite: (name) => askAgent(folder, "invite", { name }) };
  }
  throw new CommandError(
    "Cannot invite: neither a coordinator nor a member of a mesh runs on this machine; start it, or " +
      "name its folder by --state",
    EXIT.notRunning,
  );
}

async function inviteByCoordinator(state: string | undefined, name: string): Promise<MemberInvite> {
  const params = { forMs: INVITE_MS, name };
  const { token, joinCommand } = await askCoordinator<InviteAnswer>(state, "token-invite", params);
  const coordinator = /--coordinator (\S+)/.exec(joinCommand)?.[1] ?? "";
  return { coordinator, token };
}

/** Whether a process answers at all. @throws {AgentError} What it answers, if that is a no. */
async function runs(answer: Promise<unknown>): Promise<boolean> {
  try {
    await answer;
    return true;
  } catch (error) {
    if (error instanceof AgentError && error.fault === "not-running") return false;
    throw error;
  }
}
