/**
 * The port that the gateway of the default route forwards to this node, where it is asked to:
 * another gateway is asked after a change of network.
 *
 * Only IPv4, and only from a private address: whoever has a public one needs none.
 *
 * @module
 */

import { Netlink } from "../../ffi/netlink.ts";
import type { Clock } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import { isPrivateAddress } from "../mesh/path_selection.ts";
import { type Endpoint, formatEndpoint, type IpAddress } from "../net/endpoint.ts";
import { equalIpAddresses } from "../net/ip_address.ts";
import { natPmp, pcp, udpExchange } from "../transport/port_control_client.ts";
import { type MappingProtocol, PortMapping } from "../transport/port_mapping.ts";
import { upnp } from "../transport/upnp.ts";
import { reasonOf } from "./errors.ts";

/** Longest time that the end of the process waits for the gateway. */
const STOP_WITHIN_MS = 200;
/** Some address of the Internet (192.0.2.1, RFC 5737): nothing is ever sent to it. */
const ELSEWHERE = Uint8Array.of(192, 0, 2, 1);

const log = logOf("agent");

/** Who forwards. */
export interface Gateway {
  readonly gateway: IpAddress;
  /** Own address towards it. */
  readonly local: IpAddress;
}

/** What a {@linkcode GatewayMapping} needs. */
export interface GatewayMappingOptions {
  readonly clock: Clock;
  /** Own UDP port. */
  readonly port: number;
  /** Called when {@linkcode GatewayMapping.mapped} is another one than before. */
  readonly changed: () => void;
  /** Ways to ask, for tests. @default {PCP, NAT-PMP and UPnP} */
  readonly protocols?: () => readonly MappingProtocol[];
  /** Finds the gateway, for tests. @default from the route table */
  readonly findGateway?: () => Gateway | undefined;
}

/** Keeps a port open at whichever gateway there is. */
export class GatewayMapping {
  readonly #options: GatewayMappingOptions;
  #at: Gateway | undefined;
  #mapping: PortMapping | undefined;
  #isStopped = false;

  /** Asks nobody before {@linkcode GatewayMapping.update}. */
  constructor(options: GatewayMappingOptions) {
    this.#options = options;
  }

  /** Where peers can send to. */
  get mapped(): readonly Endpoint[] {
    const mapped = this.#mapping?.mapped;
    return mapped === undefined ? [] : [mapped];
  }

  /** For people; `undefined` while nothing is mapped. */
  get note(): string | undefined {
    const [mapped] = this.mapped;
    if (mapped === undefined) return undefined;
    return `The gateway forwards ${
      formatEndpoint(mapped)
    } to this node (${this.#mapping?.protocol})`;
  }

  /** Looks which gateway there is, and asks it if it is another one than before. */
  update(): void {
    if (this.#isStopped) return;
    const found = this.#find();
    const isSame = found === undefined || this.#at === undefined
      ? found === this.#at
      : equalIpAddresses(found.gateway, this.#at.gateway) &&
        equalIpAddresses(found.local, this.#at.local);
    if (isSame) return;
    const hadMapping = this.mapped.length > 0;
    // The former one cannot be reached from here any more, or by chance: nobody waits for it.
    this.#mapping?.stop().catch(() => {});
    this.#at = found;
    this.#mapping = found && this.#ask(found);
    if (hadMapping) this.#options.changed();
  }

  /** Removes the mapping, if there is one and the gateway answers soon. Safe to call twice. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    const mapping = this.#mapping;
    if (mapping === undefined) return;
    const stopped = mapping.stop().catch(() => {});
    if (mapping.mapped === undefined) return; // what is still being asked for expires
    const { clock } = this.#options;
    const late = Promise.withResolvers<void>();
    const cancel = clock.schedule(clock.now() + STOP_WITHIN_MS, late.resolve);
    await Promise.race([stopped, late.promise]);
    cancel();
  }

  #ask(at: Gateway): PortMapping {
    const { clock, port, protocols } = this.#options;
    const exchange = udpExchange(clock);
    const mapping = new PortMapping({
      clock,
      ...at,
      port,
      protocols: protocols?.() ?? [pcp(exchange), natPmp(exchange), upnp(clock)],
      changed: () => {
        if (mapping !== this.#mapping) return;
        if (this.note !== undefined) log.info(this.note);
        this.#options.changed();
      },
    });
    return mapping;
  }

  #find(): Gateway | undefined {
    try {
      const found = (this.#options.findGateway ?? gatewayOf)();
      return found !== undefined && isPrivateAddress(found.local) ? found : undefined;
    } catch (error) {
      log.debug("Gateway not found", { reason: reasonOf(error) });
      return undefined;
    }
  }
}

/** The gateway of the default route, by asking for the way to the Internet. */
function gatewayOf(): Gateway | undefined {
  using netlink = new Netlink();
  const { gateway, preferredSource } = netlink.routeTo(ELSEWHERE) ?? {};
  if (gateway === undefined || preferredSource === undefined) return undefined;
  return { gateway, local: preferredSource };
}
