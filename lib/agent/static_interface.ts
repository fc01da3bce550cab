/**
 * The network interface of a node in allow-list mode: TUN device, the addresses of its
 * configuration, and a route for what its peers may send from.
 *
 * A peer that is disabled keeps its routes: what is sent to it is dropped here then, instead of
 * leaving this machine in the clear by the next best way.
 *
 * @module
 */

import { ERRNO, SyscallError } from "../../ffi/errno.ts";
import { hasIpv6 } from "../../ffi/udp_linux.ts";
import { networkOf } from "../config/allowed_peers.ts";
import type { IpAddress } from "../net/endpoint.ts";
import { equalPrefixes, formatIpPrefix, type IpPrefix, prefixContains } from "../net/ip_prefix.ts";
import { DefaultRoute } from "./default_route.ts";
import { refuseOverlap } from "./interface.ts";
import { orAgentError } from "./syscall_fault.ts";
import { TunInterface } from "./tun_interface.ts";

/** A TUN device with its addresses and routes; all gone once it is closed. */
export class StaticInterface extends TunInterface {
  #routes: readonly IpPrefix[] = [];
  #networks: readonly IpPrefix[] = [];
  #own: readonly IpAddress[] = [];
  #defaultRoute: DefaultRoute | undefined;

  /** Own addresses that the interface has: those of IPv6 are left out where there is none. */
  get addresses(): readonly IpAddress[] {
    return this.#own;
  }

  /** Networks of the own addresses. */
  get networks(): readonly IpPrefix[] {
    return this.#networks;
  }

  /**
   * Gives the device its addresses.
   *
   * @param addresses Each with the length of its network.
   * @throws {AgentError} `config` if something else on this machine uses such addresses.
   */
  configure(addresses: readonly IpPrefix[]): void {
    orAgentError(() => {
      const usable = addresses.filter(({ address }) => address.length === 4 || hasIpv6());
      this.#networks = usable.map(networkOf);
      refuseOverlap(this.netlink, this.#networks, "choose other addresses");
      const { index } = this.tun;
      this.netlink.setLink(index, { autoLinkLocal: false });
      this.netlink.setLink(index, { isUp: true });
      for (const prefix of usable) this.netlink.addAddress(index, prefix);
      this.#own = usable.map(({ address }) => address);
    });
  }

  /**
   * Sets what is routed here beside the own networks.
   *
   * @param prefixes Of all peers. The whole of a family is left to {@linkcode routeEverything}.
   * @throws {AgentError} `config` if there is such a route already.
   */
  setRoutes(prefixes: readonly IpPrefix[]): void {
    const wanted = prefixes.filter((prefix) =>
      prefix.length > 0 && this.#own.some(({ length }) => length === prefix.address.length) &&
      !this.#networks.some((own) =>
        own.length <= prefix.length && prefixContains(own, prefix.address)
      )
    );
    const isIn = (list: readonly IpPrefix[], prefix: IpPrefix) =>
      list.some((other) => equalPrefixes(other, prefix));
    orAgentError(() => {
      for (const prefix of this.#routes) if (!isIn(wanted, prefix)) this.#remove(prefix);
      for (const prefix of wanted) if (!isIn(this.#routes, prefix)) this.#add(prefix);
    });
    this.#routes = wanted;
  }

  /**
   * Sends everything that has no nearer way through the tunnel, and nothing beside it.
   *
   * @param port UDP port of this node: its own datagrams go the usual way.
   * @param families What the tunnel carries; the other one goes nowhere.
   */
  routeEverything(
    port: number,
    families: { readonly ipv4: boolean; readonly ipv6: boolean },
  ): void {
    this.#defaultRoute = orAgentError(() =>
      DefaultRoute.install({
        netlink: this.netlink,
        interfaceIndex: this.tun.index,
        port,
        families,
        hasIpv6: hasIpv6(),
        sources: this.#own,
      })
    );
  }

  /** Removes what {@linkcode routeEverything} of a process that died has left. */
  sweepDefaultRoute(): void {
    orAgentError(() => DefaultRoute.sweep(this.netlink, hasIpv6()));
  }

  /** @inheritdoc */
  override async close(): Promise<void> {
    this.#defaultRoute?.remove();
    this.#defaultRoute = undefined;
    await super.close();
  }

  #add(destination: IpPrefix): void {
    const preferredSource = this.#own.find(({ length }) => length === destination.address.length);
    this.netlink.addRoute({
      destination,
      interfaceIndex: this.tun.index,
      ...(preferredSource && { preferredSource }),
    });
  }

  #remove(destination: IpPrefix): void {
    try {
      this.netlink.deleteRoute({ destination, interfaceIndex: this.tun.index });
    } catch (error) {
      if (error instanceof SyscallError && error.errno === ERRNO.ESRCH) return; // gone already
      throw error;
    }
  }
}

/** Text of prefixes, for logs. */
export function formatPrefixes(prefixes: readonly IpPrefix[]): string {
  return prefixes.map(formatIpPrefix).join(", ");
}
