/**
 * What the control thread and the workers tell each other. Posted through a MessagePort; the workers
 * read theirs between batches, when their eventfd says that there is one. Nothing here may hold many
 * bytes: the reading end goes through them one by one.
 *
 * @module
 */

import type { IpPrefix } from "../../net/ip_prefix.ts";
import type { SessionLimits } from "../../session/limits.ts";
import type { Binding } from "../../session/transport_keys.ts";
import type { PathLimit } from "../path_limit.ts";

/** Both ends of a UDP path as the kernel writes them. */
export interface PathBytes {
  /** `sockaddr_in` or `sockaddr_in6` of the far end. */
  readonly name: Uint8Array;
  /** The same of the own end, with port 0; `undefined`: the system chooses. */
  readonly localName: Uint8Array | undefined;
  /** The interface of a link-local end; else 0. */
  readonly interfaceIndex: number;
  /** Control message that sets the source; empty if the system chooses. */
  readonly control: Uint8Array;
}

/** A way that the control thread keeps (SSH, relay): the workers know it by a number only. */
export interface StreamPath {
  /** Equal exactly for the same way. */
  readonly stream: number;
}

/** A way to send by. */
export type SendPath = PathBytes | StreamPath;

/** Tells the two kinds apart. */
export function isStream(path: SendPath | ReceivedPath | StreamPath): path is StreamPath {
  return "stream" in path;
}

/** To both workers. */
export type CommonCommand =
  | {
    readonly kind: "peer";
    readonly id: string;
    readonly allowedIps: readonly IpPrefix[];
    /** See `PEER` in shared_state.ts. */
    readonly block: SharedArrayBuffer;
  }
  | { readonly kind: "remove-peer"; readonly id: string }
  | { readonly kind: "own-addresses"; readonly addresses: readonly Uint8Array[] }
  | { readonly kind: "limits"; readonly limits: SessionLimits }
  | { readonly kind: "retire"; readonly localIndex: number }
  | { readonly kind: "stop" };

/** What both workers must know of a keypair. */
export interface KeypairFacts {
  readonly peer: string;
  readonly localIndex: number;
  readonly remoteIndex: number;
  /** On the control thread's clock. */
  readonly createdAt: number;
  /** See shared_state.ts. */
  readonly block: SharedArrayBuffer;
}

/** To the egress worker. */
export type EgressCommand =
  | CommonCommand
  | {
    readonly kind: "install";
    readonly keypair: KeypairFacts;
    readonly sendKey: Uint8Array;
    readonly path: SendPath | undefined;
  }
  /** The keypair is confirmed on a path. */
  | { readonly kind: "bind"; readonly localIndex: number; readonly path: SendPath }
  | { readonly kind: "use"; readonly localIndex: number }
  | {
    readonly kind: "seal";
    readonly localIndex: number;
    readonly plaintext: Uint8Array;
    readonly onlyIfUnused: boolean;
    /** In one piece, whatever is known of the path. */
    readonly isWhole: boolean;
  }
  | { readonly kind: "limit"; readonly localIndex: number; readonly limit: PathLimit }
  | { readonly kind: "drop-queue"; readonly peer: string };

/** To the ingress worker. */
export type IngressCommand =
  | CommonCommand
  | {
    readonly kind: "install";
    readonly keypair: KeypairFacts;
    readonly receiveKey: Uint8Array;
    readonly isConfirmed: boolean;
    /** The bound path, or those that may confirm. */
    readonly paths: readonly SendPath[];
  }
  /** All paths that may confirm, of a keypair that is not confirmed. */
  | {
    readonly kind: "widen";
    readonly localIndex: number;
    readonly paths: readonly SendPath[];
  }
  /** Answer to `confirmed`: deliver what waited, or nothing of it. */
  | {
    readonly kind: "confirm";
    readonly localIndex: number;
    readonly path: SendPath | undefined;
  };

/** From a worker. */
export type WorkerReport =
  | { readonly kind: "ready" }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly message: string }
  /** Egress: a packet waits for a peer. */
  | { readonly kind: "wanted"; readonly peer: string }
  /** Egress: the kernel refused a datagram of this keypair as too large for its path. */
  | { readonly kind: "too-large"; readonly localIndex: number }
  /** Egress: its ring has datagrams to be sent by ways that no worker has. */
  | { readonly kind: "departures" }
  /** Ingress: there is something in the ring of datagrams that it hands over. */
  | { readonly kind: "handed" }
  /** Ingress. */
  | {
    readonly kind: "confirmed";
    readonly localIndex: number;
    readonly from: ReceivedPath | StreamPath;
  }
  | {
    readonly kind: "strayed";
    readonly localIndex: number;
    readonly from: ReceivedPath | StreamPath;
  }
  | {
    readonly kind: "control";
    readonly localIndex: number;
    readonly plaintext: Uint8Array;
    readonly from: ReceivedPath | StreamPath;
  };

/** Where a datagram came from and arrived at. */
export interface ReceivedPath {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly port: number;
  /** Own address, of the same family. */
  readonly local: Uint8Array;
  /** The interface of a link-local end; else 0. */
  readonly interfaceIndex: number;
}

/** What a worker is started with. */
export interface WorkerSetup {
  readonly role: "egress" | "ingress";
  readonly port: MessagePort;
  /** Readable when there is a message. */
  readonly eventFd: number;
  readonly tunFd: number;
  /** UDP sockets; -1 where a family is missing. */
  readonly ipv4Fd: number;
  readonly ipv6Fd: number;
  /** Whether the TUN takes super-segments of UDP. */
  readonly hasUdpSegmentation: boolean;
  /** `performance.timeOrigin` of the control thread, whose clock all instants are on. */
  readonly timeOrigin: number;
  readonly limits: SessionLimits;
  readonly binding: Binding;
  /** Of ingress: see handed_datagrams.ts. */
  readonly handed: SharedArrayBuffer;
  /** See `DROP_INDEX` in shared_state.ts. */
  readonly drops: SharedArrayBuffer;
  /**
   * See datagram_ring.ts. Of egress: what it has sealed for a stream, labelled with the keypair's
   * local index. Of ingress: transport data that came by a stream, labelled with its number.
   */
  readonly ring: SharedArrayBuffer;
}
