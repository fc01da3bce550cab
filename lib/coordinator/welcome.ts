/**
 * What a node is told first: who it is, and what holds for the mesh.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { formatIpPrefix } from "../net/ip_prefix.ts";
import type { DiscoveryCredential, Welcome } from "../wire/server_message.ts";
import type { MeshIdentity } from "./mesh_identity.ts";
import type { CoordinatorSecret } from "./secrets.ts";
import type { NodeRow } from "./store.ts";

/** How often agents say that they are there. */
export const HEARTBEAT_MS = 25_000;

/** The part of a welcome that configuration decides. */
export type WelcomeSettings = Pick<Welcome, "software" | "udpPorts"> & {
  readonly mesh: Pick<Welcome["mesh"], "binding" | "limits" | "memberInvites">;
};

/** Writes welcomes. */
export class WelcomeDesk {
  readonly #mesh: MeshIdentity;
  readonly #secret: CoordinatorSecret;
  readonly #clock: Clock;
  readonly #settings: WelcomeSettings;

  constructor(
    options: {
      readonly mesh: MeshIdentity;
      readonly secret: CoordinatorSecret;
      readonly clock: Clock;
      readonly settings: WelcomeSettings;
    },
  ) {
    this.#mesh = options.mesh;
    this.#secret = options.secret;
    this.#clock = options.clock;
    this.#settings = options.settings;
  }

  /** The welcome of a member. */
  welcomeOf(node: NodeRow): Welcome {
    const { addresses, meshId } = this.#mesh;
    return {
      kind: "welcome",
      nodeId: node.nodeId,
      name: node.name,
      addresses: addresses.addressesOf(node.host),
      memberPsk: this.#secret.memberPsk(node.staticKey),
      mesh: {
        id: meshId,
        ipv4Range: formatIpPrefix(addresses.ipv4Range),
        ipv6Range: formatIpPrefix(addresses.ipv6Range),
        policy: "allow-all",
        ...this.#settings.mesh,
      },
      udpPorts: this.#settings.udpPorts,
      discovery: this.discovery(),
      unixMs: Math.max(0, Math.floor(this.#clock.unixNow())),
      heartbeatMs: HEARTBEAT_MS,
      software: this.#settings.software,
    };
  }

  /** A discovery key of its own for each agent, so that no member can answer for the coordinator. */
  discovery(): DiscoveryCredential {
    const { keyId, key } = this.#secret.newDiscoveryKey(this.#clock.unixNow());
    return { id: keyId, key };
  }
}
