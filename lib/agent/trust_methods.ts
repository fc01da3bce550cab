/**
 * What the control socket of a running node answers about whom it knows: `peer show`, `peer verify`
 * and `peer forget`.
 *
 * What must hold: what is verified, or forgotten, is the very key that a person was shown.
 *
 * @module
 */

import type { ControlMethod } from "./control_socket.ts";
import { AgentError } from "./errors.ts";
import type { PeerBook } from "./peer_book.ts";
import { type PeerTrust, refusalText } from "./peer_trust.ts";
import type { NamedKey, Pin, PinState } from "./pins.ts";
import type { StaticStatus } from "./static_status.ts";

/** Whom the methods ask and tell. */
export interface TrustMethodParts {
  readonly book: PeerBook;
  readonly trust: PeerTrust;
  /** This node itself. */
  readonly self: () => NamedKey;
}

/** Who a node is, for a person to compare. */
export interface PeerIdentity extends NamedKey {
  /** Absent for this node itself, and where there are no pins. */
  readonly trust?: PinState;
  /** Why there is no session with it. */
  readonly refused?: string;
  /** The node id that its name was seen with before. */
  readonly keyBefore?: string;
}

/** What is known of a name, and who has it. */
export interface PinnedPeer {
  readonly pin: Pin;
  /** Who the coordinator says has this name; absent if nobody has. */
  readonly present?: NamedKey;
}

/** What became of a name. */
export interface ForgottenPeer {
  /** The pin that is no more. */
  readonly forgotten: Pin;
  /** Who the coordinator says has this name; absent if nobody has. */
  readonly present?: NamedKey;
}

/** Makes the methods, by name. */
export function trustMethods(parts: TrustMethodParts): Readonly<Record<string, ControlMethod>> {
  return {
    "peer-identity": ({ peer }) =>
      peer === undefined ? parts.self() : identityOf(parts, String(peer)),
    "peer-verify": ({ name, nodeId }) => verify(parts, String(name), String(nodeId)),
    "peer-pin": ({ name }) => pinOf(parts, String(name)),
    "peer-forget": ({ name, nodeId }) => forget(parts, String(name), String(nodeId)),
  };
}

/**
 * The same names where a file says who is a peer: keys are shown, and everything else is the file's.
 *
 * @param status Of the node.
 */
export function fileTrustMethods(
  status: () => Pick<StaticStatus, "name" | "nodeId" | "peers" | "config">,
): Readonly<Record<string, ControlMethod>> {
  const refuse = () => {
    const why = `"${status().config.path}" says who is a peer here; change it there`;
    throw new AgentError("failed", `Cannot verify or forget peers: ${why}`);
  };
  return {
    "peer-identity": ({ peer }): PeerIdentity => {
      const own = status();
      if (peer === undefined) return { name: own.name, nodeId: own.nodeId };
      const wanted = String(peer).toLowerCase();
      const found = own.peers.find(({ name, nodeId, addresses }) =>
        [name.toLowerCase(), nodeId, addresses.ipv4, addresses.ipv6].includes(wanted)
      );
      if (found !== undefined) return { name: found.name, nodeId: found.nodeId };
      throw new AgentError("failed", `Cannot find peer "${peer}": "${own.config.path}" has none`);
    },
    "peer-verify": refuse,
    "peer-pin": refuse,
    "peer-forget": refuse,
  };
}

function identityOf({ book, trust }: TrustMethodParts, peer: string): PeerIdentity {
  const node = book.find(peer);
  const { name, nodeId } = node;
  const { state, refusal } = trust.judge(node);
  const keyBefore = trust.keyBefore(node);
  return {
    ...{ name, nodeId, trust: state },
    ...(refusal !== undefined && { refused: refusalText(refusal) }),
    ...(keyBefore !== undefined && { keyBefore }),
  };
}

/** A name that nobody has yet may be verified, too: whoever comes by it later needs this key. */
function verify({ book, trust }: TrustMethodParts, name: string, nodeId: string): NamedKey {
  const present = withName(book, name);
  const node = present.find((one) => one.nodeId === nodeId);
  if (node === undefined && present.length > 0) {
    throw new AgentError(
      "failed",
      `Cannot verify "${name}": the mesh has it with another key than the one that was compared; ` +
        "look again",
    );
  }
  trust.verify(name, nodeId, node === undefined ? [] : Object.values(node.addresses));
  book.reconsider();
  return { name, nodeId };
}

function pinOf({ book, trust }: TrustMethodParts, name: string): PinnedPeer {
  const pin = trust.pin(name);
  if (pin === undefined) {
    throw new AgentError("failed", `Cannot forget "${name}": nothing is known of that name`);
  }
  const [node] = withName(book, name);
  return { pin, ...(node !== undefined && { present: { name: node.name, nodeId: node.nodeId } }) };
}

/** Forgets the pin that a person was shown; another one since then stays. */
function forget(parts: TrustMethodParts, name: string, nodeId: string): ForgottenPeer {
  const { pin, ...present } = pinOf(parts, name);
  if (pin.nodeId !== nodeId) {
    throw new AgentError("failed", `Cannot forget "${name}": its pin is another one; look again`);
  }
  parts.trust.forget(name);
  parts.book.reconsider();
  return { forgotten: pin, ...present };
}

function withName(book: PeerBook, name: string) {
  return book.peers.filter((node) => node.name.toLowerCase() === name.toLowerCase());
}
