/**
 * What an agent is started with.
 *
 * @module
 */

import type { DataPlaneWish } from "./data_plane_choice.ts";
import type { Clock } from "../base/clock.ts";
import type { Endpoint } from "../net/endpoint.ts";
import type { TrustMode } from "./peer_trust.ts";
import type { SshOptions } from "./ssh_side.ts";
import type { WebSocketDialer } from "./websocket.ts";

/** `auto`: the gateway of the default route, if it does. */
export type PortMappingWish = "auto" | "off";

/** A public STUN server. */
export interface StunServer {
  /** Name or address. */
  readonly hostname: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** What a person, or the coordinator process, wants of an agent. */
export interface AgentOptions {
  /** State folder. */
  readonly state: string;
  /** `https://HOST:PORT`; needed to join. */
  readonly coordinatorUrl?: string | undefined;
  /** Text of a token; needed to join. */
  readonly token?: string | undefined;
  /** Whether the coordinator's certificate must be one that this machine trusts. */
  readonly tlsVerify?: boolean | undefined;
  /** Name to ask for. @default the host's name, which may get a suffix */
  readonly name?: string | undefined;
  /** @default {0}, any free one, the same again at the next start */
  readonly udpPort?: number | undefined;
  /** Interface name or pattern. @default {"tm%d"} */
  readonly interfaceName?: string | undefined;
  /** An SSH key to adopt. */
  readonly sshKeyPath?: string | undefined;
  /** Asks a person for the passphrase of the SSH key. */
  readonly passphrase?: (() => string | undefined | Promise<string | undefined>) | undefined;
  /** Largest packet in bytes. @default {1408} */
  readonly mtu?: number | undefined;
  /** Whether gateways are asked to forward the UDP port. @default {"auto"} */
  readonly portMapping?: PortMappingWish | undefined;
  /** STUN servers that are asked, too, where this node is seen. @default none */
  readonly stun?: readonly StunServer[] | undefined;
  /** Which data plane to use. @default {"auto"} */
  readonly dataPlane?: DataPlaneWish | undefined;
  /** How this node reaches and is reached by SSH. @default no server, no jump host */
  readonly ssh?: SshOptions | undefined;
  /** Which members are peers. @default {"all"} */
  readonly trust?: TrustMode | undefined;
  /** Ends the start. */
  readonly signal?: AbortSignal | undefined;
  /** Only for the member inside a coordinator. */
  readonly inCoordinator?: CoordinatorSide | undefined;
  /** @default {SYSTEM_CLOCK} */
  readonly clock?: Clock | undefined;
}

/** What the member inside a coordinator shares with it. */
export interface CoordinatorSide {
  /** Reaches the coordinator without a socket. */
  readonly dial: WebSocketDialer;
  /** Answers a discovery ask that came to the shared port; `undefined` for none. */
  readonly answerDiscovery: (datagram: Uint8Array, from: Endpoint) => Uint8Array | undefined;
}
