/**
 * What the command line may ask a coordinator to do with members, tokens and keys, over the control
 * socket.
 *
 * @module
 */

import { nearestOf } from "../config/edit_distance.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import type {
  CoordinatorPeer,
  CoordinatorToken,
  Invitation,
  PskStatus,
} from "../coordinator/coordinator_options.ts";
import type { NodeState } from "../coordinator/store.ts";
import { RefusalError } from "../wire/refusal.ts";
import type { ControlMethod } from "./control_socket.ts";
import { AgentError } from "./errors.ts";
import { coordinatorMetrics } from "./metrics.ts";

/** Shortest beginning of a node id that may stand for it. */
const MIN_NODE_ID_PREFIX = 8;

/** A member after somebody asked for a change. */
export interface ChangedPeer extends CoordinatorPeer {
  /** Whether it was otherwise before. */
  readonly changed: boolean;
}

/** What `token show` and `token rotate` answer. Secrets. */
export interface TokenAnswer {
  /** Text of the token. */
  readonly token: string;
  /** The command that joins another machine by it. */
  readonly joinCommand: string;
}

/** What `token invite` answers. Secrets. */
export type InviteAnswer = Invitation & TokenAnswer;

/** What `psk rotate` answers. */
export interface PskAnswer extends PskStatus {
  /** Whether this request announced the next key; `false` if one was announced before. */
  readonly changed: boolean;
  /** Members that are connected, and so have to say that they have it. */
  readonly online: number;
}

/** The part of a coordinator that is asked. */
export type AdministeredCoordinator = Pick<
  Coordinator,
  | "status"
  | "peers"
  | "isRemoved"
  | "setState"
  | "token"
  | "rotateToken"
  | "createInvite"
  | "listTokens"
  | "revokeInvite"
  | "pskStatus"
  | "rotatePsk"
>;

/** What an {@linkcode adminMethods} table works on. */
export interface AdminOptions {
  readonly coordinator: AdministeredCoordinator;
  /** Node id of the coordinator's own member; `undefined` where there is none. */
  readonly ownNodeId: string | undefined;
  /** The command that joins another machine by a token. */
  readonly joinCommandOf: (token: string) => string;
}

/** Shortest and longest life of an invite: a second and a year. */
const INVITE_MS = { least: 1_000, most: 366 * 86_400_000 };

/**
 * The methods, by the names that the command line knows.
 *
 * Each throws an {@linkcode AgentError} with a message for a person, and has changed nothing then.
 */
export function adminMethods(options: AdminOptions): Record<string, ControlMethod> {
  const { coordinator, joinCommandOf } = options;
  const tokenAnswer = (): TokenAnswer => {
    const token = coordinator.token();
    return { token, joinCommand: joinCommandOf(token) };
  };
  return {
    "status": () => coordinator.status(),
    "metrics": () => coordinatorMetrics(coordinator.status()),
    "peers": () => coordinator.peers(),
    "peer-disable": ({ peer }) => change(options, "disable", textOf(peer)),
    "peer-enable": ({ peer }) => change(options, "enable", textOf(peer)),
    "peer-remove": ({ peer }) => change(options, "remove", textOf(peer)),
    "token-show": tokenAnswer,
    "token-rotate": () => {
      coordinator.rotateToken();
      return tokenAnswer();
    },
    "token-invite": (params): InviteAnswer => {
      const made = invite(coordinator, params);
      return { ...made, joinCommand: joinCommandOf(made.token) };
    },
    "token-list": () => coordinator.listTokens(),
    "token-revoke": ({ id }) => revoke(coordinator, id),
    "psk-status": () => coordinator.pskStatus(),
    "psk-rotate": (): PskAnswer => {
      const changed = coordinator.rotatePsk();
      return { changed, online: coordinator.status().online, ...coordinator.pskStatus() };
    },
  };
}

type Verb = "disable" | "enable" | "remove";

/** Verb => the state that it brings about. */
const STATE_AFTER: Readonly<Record<Verb, NodeState>> = {
  disable: "disabled",
  enable: "active",
  remove: "removed",
};

function change({ coordinator, ownNodeId }: AdminOptions, verb: Verb, text: string): ChangedPeer {
  const found = find(coordinator, verb, text);
  if (found.nodeId === ownNodeId && verb !== "enable") {
    throw new AgentError(
      "failed",
      `Cannot ${verb} "${found.name}": it is the coordinator itself; to have none of its own in ` +
        "the mesh, start it with --no-member",
    );
  }
  const state = STATE_AFTER[verb];
  coordinator.setState(found.nodeId, state);
  const isOnline = state === "active" && found.online;
  const { remote: _, ...offline } = found;
  return {
    ...(isOnline ? found : offline),
    online: isOnline,
    state,
    changed: found.state !== state,
  };
}

/** The member that a person means by name, mesh address, node id or the beginning of one. */
function find(coordinator: AdministeredCoordinator, verb: Verb, text: string): CoordinatorPeer {
  const wanted = text.toLowerCase();
  const members = coordinator.peers();
  const exact = members.find(({ name, nodeId, addresses }) =>
    [name, nodeId, addresses.ipv4, addresses.ipv6].includes(wanted)
  );
  if (exact !== undefined) return exact;
  const beginning = wanted.length < MIN_NODE_ID_PREFIX
    ? []
    : members.filter(({ nodeId }) => nodeId.startsWith(wanted));
  if (beginning.length === 1) return beginning[0]!;
  throw new AgentError("failed", `Cannot ${verb} "${text}": ${whyNone()}`);

  function whyNone(): string {
    if (beginning.length > 1) return "more than one node id begins so; give more digits";
    if (coordinator.isRemoved(wanted)) return "it was removed; it may join again with a token";
    const nearest = nearestOf(wanted, members.map(({ name }) => name));
    if (nearest === undefined) return "the mesh has no members";
    return `no member is called so; did you mean "${nearest}"? See tunnelmesh peer list`;
  }
}

function invite(
  coordinator: AdministeredCoordinator,
  { forMs, name }: Record<string, unknown>,
): Invitation {
  if (typeof forMs !== "number" || !(forMs >= INVITE_MS.least && forMs <= INVITE_MS.most)) {
    throw new AgentError("usage", "Cannot invite: an invite lasts from a second to a year");
  }
  try {
    return coordinator.createInvite(forMs, name === undefined ? undefined : textOf(name));
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error;
    throw new AgentError("failed", `Cannot invite: ${error.message}`, { cause: error });
  }
}

/** Revokes an invite, or says why there is nothing to revoke and what to do instead. */
function revoke(coordinator: AdministeredCoordinator, id: unknown): CoordinatorToken {
  const token = coordinator.listTokens().find((one) => one.id === id);
  const why = whyNotRevocable(token);
  if (why !== undefined) throw new AgentError("failed", `Cannot revoke token ${id}: ${why}`);
  return coordinator.revokeInvite(token!.id);
}

function whyNotRevocable(token: CoordinatorToken | undefined): string | undefined {
  if (token === undefined) return "there is no such token; see tunnelmesh token list";
  if (token.state === "rotated") return "it was replaced and admits nobody any more";
  if (token.kind === "mesh") return "it is the mesh token; replace it by tunnelmesh token rotate";
  if (token.state !== "spent") return undefined;
  const name = token.usedBy?.name ?? "";
  return `"${name}" has used it; to put that out, see tunnelmesh peer disable`;
}

function textOf(value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw new AgentError("usage", "Cannot read the name: it must be text");
}
