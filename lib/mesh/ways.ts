/**
 * Where peers may be, as far as this node can send there, and initiations on their way.
 *
 * @module
 */

import type { DataPlane } from "../dataplane/data_plane.ts";
import type { DropCounts } from "../dataplane/drop_counts.ts";
import type { Endpoint } from "../net/endpoint.ts";
import type { Path } from "../session/path.ts";
import type { Sessions } from "../session/sessions.ts";
import type { JoinedCarrier } from "../transport/joined_carrier.ts";
import { isUdpPath } from "../transport/transport.ts";
import type { DeviceOptions } from "./device_options.ts";
import { isReachable } from "./reachable.ts";

/** UDP endpoints that one handshake datagram goes out to. */
const MAX_ENDPOINTS = 16;

/** What {@linkcode Ways} works with. */
export interface WaysOptions {
  readonly device: Pick<DeviceOptions, "socket" | "meshRanges" | "allowLoopback">;
  readonly carrier: JoinedCarrier;
  readonly sessions: Sessions;
  readonly plane: Pick<DataPlane, "send">;
  /** Counts what could not be sent. */
  readonly drops: DropCounts;
}

/** Ways from this node to its peers. */
export class Ways {
  readonly #options: WaysOptions;

  /** Nothing is sent yet. */
  constructor(options: WaysOptions) {
    this.#options = options;
  }

  /** Whether a datagram may be sent to an endpoint at all. */
  isReachable(endpoint: Endpoint): boolean {
    const { socket, meshRanges, allowLoopback = false } = this.#options.device;
    return isReachable(endpoint, { meshRanges, allowLoopback, families: socket.families });
  }

  /** Ways to a peer: the bound path, then wherever else it may be. */
  to(nodeId: string, candidates: readonly Endpoint[]): Path[] {
    const { device: { socket }, carrier, sessions } = this.#options;
    const bound = sessions.peer(nodeId)?.current?.path;
    const isBoundByUdp = bound !== undefined && isUdpPath(bound);
    const ways: Path[] = isBoundByUdp ? [bound] : [];
    for (const endpoint of candidates.slice(0, MAX_ENDPOINTS)) {
      const way = socket.path(endpoint);
      if (!isBoundByUdp || way.remote !== bound.remote) ways.push(way);
    }
    return [...ways, ...carrier.pathsTo(nodeId)];
  }

  /** Sends an initiation by a way. @returns `false` if it could not be sent. */
  sendInitiation(datagram: Uint8Array, path: Path): boolean {
    const { device: { socket }, sessions, plane, drops } = this.#options;
    const bytes = sessions.goingBy(path, datagram);
    if (plane.send(bytes, path)) return true;
    // The own address of the path may be gone; then the system's choice goes there.
    const isSent = isUdpPath(path) && path.local !== undefined &&
      plane.send(bytes, socket.path(path.endpoint));
    if (!isSent) drops["send-failed"]++;
    return isSent;
  }
}
