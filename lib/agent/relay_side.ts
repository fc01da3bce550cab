/**
 * The relay of a node: its transport, with what it needs of the line to the coordinator.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import { type RelayPath, RelayTransport } from "../transport/relay.ts";
import { dialRelay, RELAY_PATH } from "../transport/relay_dialing.ts";
import { controlUrl } from "./websocket.ts";

const log = logOf("agent");

/** What a {@linkcode RelaySide} is made of. */
export interface RelaySideOptions {
  /** Of the coordinator, as a person wrote it. */
  readonly url: string;
  /** Whether its certificate must be one that this machine trusts. */
  readonly tlsVerify: boolean;
  /** Whether the coordinator is this process: no proxy is on the way. @default {false} */
  readonly isInside?: boolean;
  readonly clock: Clock;
  /** Asks the coordinator for a ticket. @returns `false` if the line to it is down. */
  readonly askTicket: () => boolean;
  /** Node ids of the peers, always as they are. */
  readonly peers: () => ReadonlyMap<string, unknown>;
  /** There is a way to a peer from here on. */
  readonly opened: (nodeId: string, path: RelayPath) => void;
  /** A way is no more. */
  readonly closed: (nodeId: string, path: RelayPath) => void;
}

/** The relay as a node uses it. */
export class RelaySide {
  readonly transport: RelayTransport;

  /** Opens nothing: `prepare` and `welcomed` do. @throws {AgentError} `usage` if the URL is none. */
  constructor(options: RelaySideOptions) {
    const url = controlUrl(options.url, RELAY_PATH);
    const { clock, tlsVerify, isInside = false, askTicket, peers } = options;
    const target = { url, tlsVerify, ...(isInside && { env: () => undefined }) };
    let lastFailure: string | undefined;
    /** Those that were there when the connection opened, or were asked for since. */
    const ways = new Map<string, RelayPath>();
    this.transport = new RelayTransport({
      clock,
      dial: (events) => dialRelay(target, events),
      askTicket,
      isPeer: (nodeId) => peers().has(nodeId),
      events: {
        opened: () => {
          lastFailure = undefined;
          log.info("Connected to the relay", { url });
          for (const nodeId of peers().keys()) {
            const path = this.transport.pathTo(nodeId);
            if (path === undefined) continue;
            ways.set(nodeId, path);
            options.opened(nodeId, path);
          }
        },
        closed: (reason) => {
          if (reason !== lastFailure) log.warning("Connection to the relay is down", { reason });
          lastFailure = reason;
          for (const [nodeId, path] of ways) options.closed(nodeId, path);
          ways.clear();
        },
      },
    });
  }

  /** The coordinator answers: it can be asked soon. */
  prepare(): void {
    this.transport.prepare();
  }

  /** The coordinator can be asked: connects, for a peer may need this way before this node does. */
  welcomed(): void {
    if (!this.transport.connect()) this.transport.retryNow();
  }
}
