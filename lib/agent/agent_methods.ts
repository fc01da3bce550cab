/**
 * What the control socket of a running node answers.
 *
 * @module
 */

import { DeviceError } from "../mesh/device_options.ts";
import type { ControlMethod } from "./control_socket.ts";
import type { DataSide } from "./data_side.ts";
import { AgentError } from "./errors.ts";
import type { Inviting } from "./inviting.ts";
import { nodeMetrics } from "./metrics.ts";
import type { PeerBook } from "./peer_book.ts";
import { type PeerTrust, refusalText } from "./peer_trust.ts";
import type { AgentStatus } from "./status.ts";
import { type TrustMethodParts, trustMethods } from "./trust_methods.ts";

const DEFAULT_PING_TIMEOUT_MS = 5_000;
const MAX_PING_TIMEOUT_MS = 60_000;

/** What the methods ask and tell. */
export interface AgentMethodParts extends TrustMethodParts {
  readonly status: () => AgentStatus;
  /** See {@linkcode pingPeer}. */
  readonly ping: (peer: string, timeoutMs: number) => Promise<unknown>;
  /** The system's SSH server serves this node, or does no more. */
  readonly sshChanged: () => void;
  readonly leave: () => Promise<void>;
  readonly inviting: Pick<Inviting, "requireAble" | "invite">;
}

/** Makes the methods of `agent.sock`, by name. */
export function agentMethods(parts: AgentMethodParts): Readonly<Record<string, ControlMethod>> {
  return {
    status: () => parts.status(),
    metrics: () => nodeMetrics(parts.status()),
    peers: () => parts.status().peers,
    ping: ({ peer, timeoutMs }) => parts.ping(String(peer), pingTimeoutOf(timeoutMs)),
    "ssh-changed": () => parts.sshChanged(),
    leave: () => parts.leave().then(() => ({ left: true })),
    "invite-check": () => parts.inviting.requireAble(),
    invite: ({ name }) => parts.inviting.invite(String(name)),
    ...trustMethods(parts),
  };
}

/** The peer, who it is and how it was reached. */
export interface PingAnswer {
  readonly name: string;
  readonly nodeId: string;
  readonly rttMs: number;
  readonly path: { readonly kind: string };
}

/**
 * Asks a peer through its sealed session.
 *
 * @param parts A live node's.
 * @param peer Name, mesh address or node id.
 * @param timeoutMs How long to wait for the answer.
 * @throws {AgentError} `unreachable` if none came, `failed` if there is no such peer, or it is
 * refused.
 */
export async function pingPeer(
  parts: { readonly book: PeerBook; readonly trust: PeerTrust; readonly data: DataSide },
  peer: string,
  timeoutMs: number,
): Promise<PingAnswer> {
  const node = parts.book.find(peer);
  const { refusal } = parts.trust.judge(node);
  if (refusal !== undefined) {
    throw new AgentError("failed", `Cannot ping "${node.name}": ${refusalText(refusal)}`);
  }
  const device = parts.data.device!;
  try {
    const rttMs = await device.ping(node.nodeId, { timeoutMs });
    const path = device.peerStatus(node.nodeId)?.path ?? { kind: "none" };
    return { name: node.name, nodeId: node.nodeId, rttMs, path };
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    const fault = error.fault === "no-answer" ? "unreachable" : "failed";
    throw new AgentError(fault, `Cannot ping "${node.name}": ${error.fault}`, { cause: error });
  }
}

function pingTimeoutOf(value: unknown): number {
  const isGood = typeof value === "number" && value > 0 && value <= MAX_PING_TIMEOUT_MS;
  return isGood ? value : DEFAULT_PING_TIMEOUT_MS;
}
