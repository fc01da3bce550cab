/**
 * What a coordinator starts with, and what it says of itself and its mesh.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { IpPrefix } from "../net/ip_prefix.ts";
import type { EndpointHint } from "../wire/control_message.ts";
import type { NodeAddresses } from "../wire/server_message.ts";
import type { HubCounts } from "./control_hub.ts";
import type { ControlListener, ListenAddress } from "./control_listener.ts";
import type { HttpListenerOptions } from "./listener.ts";
import type { StatementVerifier } from "./registry.ts";
import type { RelayCounts } from "./relay_hub.ts";
import type { RelayLimits } from "./relay_limits.ts";
import type { NodeState } from "./store.ts";
import type { StrangerLimits } from "./stranger_limits.ts";
import type { TlsPair } from "./tls.ts";

/** Port for HTTPS, and for UDP, unless chosen otherwise. */
export const DEFAULT_COORDINATOR_PORT = 8443;

/** How the listener is wrapped. */
export type CoordinatorTls =
  /** A certificate made on the first start and kept; `names` go into it. */
  | { readonly kind: "self-signed"; readonly names: readonly string[] }
  /** PEM texts. */
  | ({ readonly kind: "given" } & TlsPair)
  /** Plain HTTP, behind a proxy. */
  | { readonly kind: "none" };

/** What a coordinator starts with. */
export interface CoordinatorOptions {
  /** Path; made where it is missing. */
  readonly stateFolder: string;
  /** Where to listen; empty: at `port` of all addresses. */
  readonly listen: readonly ListenAddress[];
  /** @default {8443} */
  readonly port?: number;
  readonly tls: CoordinatorTls;
  /** Range of the mesh's IPv4 addresses; fixed by the first start. @default {100.64.0.0/10} */
  readonly ipv4Range?: IpPrefix;
  /** UDP ports at which `answerDiscovery` is wired, told to agents. */
  readonly udpPorts: readonly number[];
  /** @default {"strict"} */
  readonly binding?: "strict" | "roam";
  /** Session limits that are lower than the defaults. @default {{}} */
  readonly limits?: Readonly<Record<string, number>>;
  /** Whether members may ask for invites. @default {false} */
  readonly memberInvites?: boolean;
  /** Name and version of the program. */
  readonly software: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Called once when it cannot go on; the process then ends with this error. */
  readonly onFailed: (error: Error) => void;
  /** @default {DEFAULT_STRANGER_LIMITS} */
  readonly strangers?: Partial<StrangerLimits>;
  /** @default {DEFAULT_RELAY_LIMITS} */
  readonly relayLimits?: Partial<RelayLimits>;
  /** Makes the listener. @default {one in a worker of its own} */
  readonly makeListener?: (options: HttpListenerOptions) => ControlListener;
  /** @default {verifyStatement of lib/crypto} */
  readonly verifyStatement?: StatementVerifier;
}

/** A coordinator as seen from outside. */
export interface CoordinatorStatus {
  /** Mesh id, hex. */
  readonly mesh: string;
  readonly listening: readonly ListenAddress[];
  readonly isTls: boolean;
  readonly udpPorts: readonly number[];
  readonly ipv4Range: string;
  readonly ipv6Range: string;
  /** No packet filter is in force. */
  readonly policy: "allow-all";
  readonly binding: "strict" | "roam";
  /** Whether members may ask for invites. */
  readonly memberInvites: boolean;
  readonly members: number;
  readonly online: number;
  readonly rosterVersion: number;
  readonly pskEpoch: number;
  readonly counts: Readonly<HubCounts>;
  /** What the relay carries and loses; absent without one. */
  readonly relay?: Readonly<RelayCounts>;
}

/** A node as the coordinator knows it. */
export interface CoordinatorPeer {
  readonly nodeId: string;
  readonly name: string;
  readonly addresses: NodeAddresses;
  readonly state: NodeState;
  readonly online: boolean;
  /** Where its control connection comes from. */
  readonly remote?: string;
  readonly endpoints: readonly EndpointHint[];
  readonly os?: string;
  readonly software: string;
  /** ISO 8601. */
  readonly joinedAt: string;
  /** ISO 8601. */
  readonly seenAt: string;
}

/** A token as it may be listed: nothing here admits anybody. */
export interface CoordinatorToken {
  /** By which it is revoked. */
  readonly id: number;
  /** A mesh token admits any number of nodes, an invite one. */
  readonly kind: "mesh" | "invite";
  readonly state: "active" | "rotated" | "spent" | "revoked" | "expired";
  /** Name of the node that an invite is for. */
  readonly name?: string;
  /** The member that asked for the invite, where it was one. */
  readonly askedBy?: { readonly nodeId: string; readonly name: string };
  /** ISO 8601. */
  readonly createdAt: string;
  /** ISO 8601; invites only. */
  readonly expiresAt?: string;
  /** The node that used the invite. */
  readonly usedBy?: { readonly nodeId: string; readonly name: string };
}

/** A token, or a fresh invite, as it is handed out. A secret. */
export interface Invitation extends CoordinatorToken {
  readonly token: string;
}

/** Epochs of the mesh PSK in force; no key is among them. */
export interface PskStatus {
  readonly previous?: number;
  readonly current: number;
  /** Announced, and current as soon as all connected members have it. */
  readonly next?: number;
}
