/**
 * How this node is reached by UDP, and what it is told of that: endpoints, port forwarding at the
 * gateway, and the servers that are asked.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import type { Endpoint, IpAddress } from "../net/endpoint.ts";
import { isPerDestination } from "../transport/nat_behaviour.ts";
import type { EndpointHint } from "../wire/control_message.ts";
import type { Welcome } from "../wire/server_message.ts";
import type { PortMappingWish, StunServer } from "./agent_options.ts";
import type { DataSide } from "./data_side.ts";
import { EndpointFinder } from "./endpoint_finder.ts";
import { reasonOf } from "./errors.ts";
import { GatewayMapping } from "./gateway_mapping.ts";
import { AT_COORDINATOR } from "./peer_book.ts";
import { addressesOfHost, addressesOfUrl } from "./resolve.ts";

const log = logOf("agent");

/** What a {@linkcode Reach} needs. */
export interface ReachOptions {
  readonly clock: Clock;
  readonly data: DataSide;
  /** URL of the coordinator. */
  readonly url: string;
  /** Whether this is the coordinator's own member: it is where the coordinator is. */
  readonly isAtCoordinator: boolean;
  readonly portMapping: PortMappingWish;
  readonly stun: readonly StunServer[];
  /** The endpoints are others than before. */
  readonly changed: () => void;
  /** This node is in another network, or was asleep. */
  readonly moved: (move: { readonly isElsewhere: boolean }) => void;
  /** The coordinator's addresses as seen from here. */
  readonly coordinatorFound: (addresses: readonly IpAddress[]) => void;
}

/** Everything about being reached by UDP. */
export class Reach {
  readonly #options: ReachOptions;
  readonly #finder: EndpointFinder;
  readonly #gateway: GatewayMapping | undefined;

  /** Looks at the local addresses; nobody is asked yet. */
  constructor(options: ReachOptions) {
    this.#options = options;
    const { clock, data } = options;
    if (options.portMapping === "auto" && !options.isAtCoordinator) {
      this.#gateway = new GatewayMapping({
        clock,
        port: data.port,
        changed: () => this.#finder.mappingChanged(),
      });
    }
    this.#finder = new EndpointFinder({
      clock,
      port: data.port,
      families: data.families,
      meshRanges: () => data.meshRanges,
      mapped: () => this.#gateway?.mapped ?? [],
      send: (datagram, to) => data.send(datagram, to),
      watchNetwork: data.watchNetwork,
      changed: options.changed,
      learned: () => this.#describe(),
      moved: (move) => {
        this.#gateway?.update();
        this.#findServers();
        options.moved(move);
      },
    });
  }

  /** Endpoints for status and SSH. */
  get hints(): EndpointHint[] {
    return this.#finder.hints;
  }

  /** Endpoints for the coordinator. */
  get endpoints(): EndpointHint[] {
    const { isAtCoordinator, data } = this.#options;
    if (!isAtCoordinator) return this.hints;
    return [...this.hints, { endpoint: `0.0.0.0:${data.port}`, source: AT_COORDINATOR }];
  }

  /** What a person should know. */
  get notes(): string[] {
    const notes = [this.#gateway?.note];
    if (isPerDestination(this.#finder.behaviour)) {
      notes.push("Symmetric NAT: peers behind another one are reached by SSH or relay only");
    }
    if (this.#finder.isUdpOpen === false) {
      notes.push("Nobody answers by UDP: a firewall here, or at the coordinator, may block it");
    }
    return notes.filter((note) => note !== undefined);
  }

  /** The node is live: watches the network, and asks gateway and servers. */
  start(): void {
    this.#finder.lookAgain();
    this.#finder.watch();
    this.#gateway?.update();
    this.#findStunServers();
    this.#describe();
  }

  /** Takes what the coordinator says about asking it. */
  welcomed(welcome: Welcome): void {
    this.#finder.setCredential(welcome.discovery, welcome.udpPorts);
    this.findCoordinator();
  }

  /** Takes another key to ask the coordinator with. */
  setCredential(discovery: Welcome["discovery"]): void {
    this.#finder.setCredential(discovery, undefined);
  }

  /** A peer is sought: it has to know where this node is, as of now. */
  checkMapping(): void {
    this.#finder.checkMapping();
  }

  /** Takes a discovery datagram; borrowed. */
  takeDiscovery(datagram: Uint8Array, from: Endpoint): void {
    this.#finder.receive(datagram, from);
  }

  /** Takes a datagram if it is an awaited answer of a STUN server; borrowed. */
  takeStun(datagram: Uint8Array): boolean {
    return this.#finder.receiveStun(datagram);
  }

  /** Looks up where the coordinator is: for discovery, and because its own member is there too. */
  findCoordinator(): void {
    if (this.#options.isAtCoordinator) return;
    addressesOfUrl(this.#options.url).then((addresses) => {
      this.#options.coordinatorFound(addresses);
      this.#finder.setCoordinatorAddresses(addresses);
    }, (error) => {
      log.warning("Address of the coordinator not found", { reason: reasonOf(error) });
    });
  }

  /** Stops, and takes the forwarding at the gateway back if that answers soon. */
  async close(): Promise<void> {
    this.#finder.close();
    await this.#gateway?.stop();
  }

  /** Another network may have other names, or other addresses for them. */
  #findServers(): void {
    this.findCoordinator();
    this.#findStunServers();
  }

  #findStunServers(): void {
    const { stun } = this.#options;
    if (stun.length === 0) return;
    const found = stun.map(({ hostname, port }) =>
      addressesOfHost(hostname).then(
        (addresses) => addresses.map((address): Endpoint => ({ address, port })),
        (error) => {
          log.warning("STUN server not found", { name: hostname, reason: reasonOf(error) });
          return [];
        },
      )
    );
    Promise.all(found).then((servers) => this.#finder.setStunServers(servers.flat()));
  }

  #describe(): void {
    const { nat, isUdpOpen, mapped } = this.#finder;
    this.#options.data.device?.setUnderlay({ nat, isUdpOpen, mapped });
  }
}
