/**
 * Which of this machine's addresses peers may try.
 *
 * Not those that nobody else can reach: loopback, link-local, the mesh's own (a datagram would go
 * through the mesh that it carries), and the bridges of container engines, whose addresses are the
 * same on every second machine.
 *
 * @module
 */

import type { InterfaceAddress, Link } from "../../ffi/netlink.ts";
import { formatEndpoint } from "../net/endpoint.ts";
import { isLinkLocal, isLoopback, isUnicast } from "../net/ip_address.ts";
import { type IpPrefix, prefixContains } from "../net/ip_prefix.ts";

/** Names that container engines and virtual machine managers give their bridges. */
const CONTAINER_BRIDGE =
  /^(docker\d+|docker_gwbridge|br-[0-9a-f]{12}|podman\d+|cni\d+|cni-podman\d+|cbr\d+|lxcbr\d+|lxdbr\d+|virbr\d+|flannel\.\d+|cali.*|nerdctl\d+)$/;

/** Ours: more are noise to every peer, who tries them all. */
const MOST = 16;

/** What is known of this machine. */
export interface LocalSituation {
  readonly addresses: readonly InterfaceAddress[];
  readonly links: readonly Link[];
  /** Port of the data socket. */
  readonly port: number;
  /** Which families the data socket has. */
  readonly families: { readonly ipv4: boolean; readonly ipv6: boolean };
  /** Ranges of the mesh. */
  readonly meshRanges: readonly IpPrefix[];
}

/**
 * Lists the local endpoints worth telling peers about.
 *
 * @returns Their texts, in the order of the interfaces, lasting addresses before privacy ones, at
 * most 16.
 */
export function localEndpoints(situation: LocalSituation): string[] {
  const { addresses, links, port, families, meshRanges } = situation;
  const useful = new Set(
    links.filter((link) => link.isUp && !CONTAINER_BRIDGE.test(link.name)).map(({ index }) =>
      index
    ),
  );
  const fit = addresses.filter((own) => {
    const { address } = own;
    return useful.has(own.interfaceIndex) &&
      (address.length === 4 ? families.ipv4 : families.ipv6) &&
      (own.scope === "global" || own.scope === "site") && !own.isTentative && !own.isDeprecated &&
      isUnicast(address) && !isLoopback(address) && !isLinkLocal(address) &&
      !meshRanges.some((range) => prefixContains(range, address));
  });
  const ordered = [
    ...fit.filter((own) => !own.isTemporary),
    ...fit.filter((own) => own.isTemporary),
  ];
  return [...new Set(ordered.map(({ address }) => formatEndpoint({ address, port })))].slice(
    0,
    MOST,
  );
}
