/**
 * What the command line may ask a coordinator to do with members, tokens and keys, over the control
 * socket.
 *
 * @module
 */

import { nearestOf } from "../config/edit_distance.ts";
import type { Coordinator, CoordinatorPeer } from "../coordinator/coordinator.ts";
import type { NodeState } from "../coordinator/store.ts";
import { AgentError } from "./errors.ts";
import type { ControlMethod } from "./control_socket.ts";

/** Shortest beginning of a node id that may stand for it. */
const MIN_NODE_ID_PREFIX = 8;

/** A member after somebody asked for a change. */
export interface ChangedPeer extends CoordinatorPeer {
  /** Whether it was otherwise before. */
  readonly changed: boolean;
}

/** What an {@linkcode adminMethods} table works on. */
export interface AdminOptions {
  readonly coordinator: Coordinator;
  /** Node id of the coordinator's own member; `undefined` where there is none. */
  readonly ownNodeId: string | undefined;
}

/**
 * The methods, by the names that the command line knows.
 *
 * Each throws an {@linkcode AgentError} with a message for a person, and has changed nothing then.
 */
export function adminMethods(options: AdminOptions): Record<string, ControlMethod> {
  const { coordinator } = options;
  return {
    "status": () => coordinator.status(),
    "peers": () => coordinator.peers(),
    "peer-disable": ({ peer }) => change(options, "disable", textOf(peer)),
    "peer-enable": ({ peer }) => change(options, "enable", textOf(peer)),
    "peer-remove": ({ peer }) => change(options, "remove", textOf(peer)),
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
function find(coordinator: Coordinator, verb: Verb, text: string): CoordinatorPeer {
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

function textOf(value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw new AgentError("usage", "Cannot find a peer: its name must be text");
}
