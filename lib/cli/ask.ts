/**
 * Asking a running process over its control socket, and finding it first.
 *
 * @module
 */

import { AgentError } from "../agent/errors.ts";
import { AGENT_STATE_FOLDER, COORDINATOR_STATE_FOLDER } from "../config/paths.ts";

/** Control socket of an agent, in its state folder. */
const AGENT_SOCKET = "agent.sock";

/** Control socket of a coordinator, in its state folder. */
const COORDINATOR_SOCKET = "coordinator.sock";

/** Where the coordinator's own member keeps its state, in the coordinator's folder. */
const MEMBER_FOLDER = "member";

/**
 * Asks a node: an agent, or the member inside a coordinator.
 *
 * @param state State folder of either; absent: the default folder of an agent, then that of a
 * coordinator.
 * @param method Name of the method.
 * @param params Its parameters.
 * @param timeoutMs How long to wait for the answer.
 * @returns What the process says.
 * @throws {AgentError} `not-running` if no such process runs, else what it reports.
 */
export async function askNode<Answer>(
  state: string | undefined,
  method: string,
  params: Record<string, unknown> = {},
  timeoutMs?: number,
): Promise<Answer> {
  const folders = state === undefined
    ? [AGENT_STATE_FOLDER, `${COORDINATOR_STATE_FOLDER}/${MEMBER_FOLDER}`]
    : [state, `${state}/${MEMBER_FOLDER}`];
  let first: unknown;
  for (const folder of folders) {
    try {
      return await ask(folder, AGENT_SOCKET, method, params, timeoutMs) as Answer;
    } catch (error) {
      first ??= error;
      if (!(error instanceof AgentError) || error.fault !== "not-running") throw error;
    }
  }
  throw first;
}

/**
 * Asks a node; where there is none but a coordinator without a member, asks that.
 *
 * @param state State folder of either; absent for the defaults.
 * @param method A method that both know.
 * @returns Whose answer it is, and the answer.
 * @throws {AgentError} `not-running` if neither runs, else what it reports.
 */
export async function askNodeOrCoordinator<NodeAnswer, CoordinatorAnswer>(
  state: string | undefined,
  method: string,
): Promise<
  { readonly by: "node"; readonly answer: NodeAnswer } | {
    readonly by: "coordinator";
    readonly answer: CoordinatorAnswer;
  }
> {
  try {
    return { by: "node", answer: await askNode<NodeAnswer>(state, method) };
  } catch (error) {
    if (!(error instanceof AgentError) || error.fault !== "not-running") throw error;
    try {
      return { by: "coordinator", answer: await askCoordinator<CoordinatorAnswer>(state, method) };
    } catch {
      throw error;
    }
  }
}

/**
 * Asks the agent on this very folder.
 *
 * @param folder Its state folder.
 * @param method Name of the method.
 * @param params Its parameters.
 * @returns What the process says.
 * @throws {AgentError} `not-running` if it does not run, else what it reports.
 */
export async function askAgent<Answer>(
  folder: string,
  method: string,
  params: Record<string, unknown> = {},
): Promise<Answer> {
  return await ask(folder, AGENT_SOCKET, method, params) as Answer;
}

/**
 * Asks a coordinator.
 *
 * @param state Its state folder; absent for the default.
 * @param method Name of the method.
 * @param params Its parameters.
 * @returns What the process says.
 * @throws {AgentError} `not-running` if it does not run, else what it reports.
 */
export async function askCoordinator<Answer>(
  state: string | undefined,
  method: string,
  params: Record<string, unknown> = {},
): Promise<Answer> {
  const folder = state ?? COORDINATOR_STATE_FOLDER;
  return await ask(folder, COORDINATOR_SOCKET, method, params) as Answer;
}

async function ask(
  folder: string,
  socket: string,
  method: string,
  params: Record<string, unknown>,
  timeoutMs?: number,
): Promise<unknown> {
  const { callControlSocket } = await import("../agent/control_socket.ts");
  return await callControlSocket(folder, socket, method, params, timeoutMs);
}
