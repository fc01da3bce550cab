/**
 * Makes path objects for UDP, the same object for the same two ends while it is remembered, so that
 * a data plane may compare paths by identity first and by key only when that fails.
 *
 * @module
 */

import { type Endpoint, formatEndpoint, type IpAddress } from "../net/endpoint.ts";
import { formatIpAddress } from "../net/ip_address.ts";
import type { UdpPath } from "./transport.ts";

/** How many paths are remembered by default. */
const DEFAULT_CAPACITY = 4096;

/** Path objects of one socket. */
export class UdpPaths {
  readonly #capacity: number;
  readonly #byKey = new Map<string, UdpPath>();

  /**
   * @param capacity How many to remember; strangers can fill it, so the oldest make room.
   */
  constructor(capacity = DEFAULT_CAPACITY) {
    this.#capacity = capacity;
  }

  /**
   * Returns the path between two ends.
   *
   * @param endpoint The far end; copied.
   * @param local Own address, or `undefined` where the system chooses; copied.
   */
  path(endpoint: Endpoint, local?: IpAddress): UdpPath {
    const remote = formatEndpoint(endpoint);
    const key = `udp ${remote} ${local === undefined ? "*" : formatIpAddress(local)}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (this.#byKey.size >= this.#capacity) {
      const [oldest] = this.#byKey.keys();
      this.#byKey.delete(oldest!);
    }
    const path: UdpPath = Object.freeze({
      kind: "udp",
      key,
      remote,
      endpoint: { address: endpoint.address.slice(), port: endpoint.port },
      local: local?.slice(),
    });
    this.#byKey.set(key, path);
    return path;
  }
}
