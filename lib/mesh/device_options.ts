/**
 * What goes into a {@linkcode Device} and what it says about itself.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { TransportAead } from "../crypto/transport_aead.ts";
import type { DataPlane, DataPlaneEvents, PeerTraffic } from "../dataplane/data_plane.ts";
import type { TunDevice } from "../dataplane/tun_device.ts";
import type { Endpoint, IpAddress } from "../net/endpoint.ts";
import type { IpPrefix } from "../net/ip_prefix.ts";
import type { SessionsOptions } from "../session/sessions.ts";
import type { JoinedCarrier, PeerCarriers } from "../transport/joined_carrier.ts";
import type { DatagramSocket, UdpPath } from "../transport/transport.ts";
import type { NatMapping } from "./path_selection.ts";
import type { PathSwitches } from "./seeker_host.ts";

/** Largest packet unless said otherwise: fits 1500 over IPv6, and is 22 whole cipher blocks. */
export const DEFAULT_MTU = 1408;

/** What a {@linkcode Device} works with. */
export interface DeviceOptions {
  readonly clock: Clock;
  /** Owned from now on. */
  readonly tun: TunDevice;
  /** Owned from now on. */
  readonly socket: DatagramSocket;
  /** Carriers beside UDP, owned from now on. @default none */
  readonly carriers?: PeerCarriers;
  /** Keys, limits and so on of the session layer. */
  readonly session: Omit<SessionsOptions, "mayHealTo">;
  /** This node's mesh addresses. */
  readonly ownAddresses: readonly IpAddress[];
  /** Ranges of mesh addresses: nothing is ever sent to an endpoint in one of them. */
  readonly meshRanges: readonly IpPrefix[];
  /** Largest packet that the TUN gives, in bytes. @default {1408} */
  readonly mtu?: number;
  /**
   * Whether peers may be reached by loopback addresses: in tests on one machine.
   *
   * @default {false}
   */
  readonly allowLoopback?: boolean;
  /** @default {transportAead()} */
  readonly aead?: TransportAead;
  /**
   * Makes the data plane.
   *
   * @default a `PortablePlane` of `tun` and `socket`
   */
  readonly plane?: (events: DataPlaneEvents, carrier: JoinedCarrier) => DataPlane;
  /**
   * Takes a datagram that only looks like one of ours, such as the answer of a STUN server; borrowed
   * until return. `true` if it was one. @default none is
   */
  readonly isForeign?: (datagram: Uint8Array) => boolean;
  /** A discovery datagram (type 6) came; borrowed until return. */
  readonly onDiscovery?: (datagram: Uint8Array, path: UdpPath) => void;
  /**
   * A peer is sought: the coordinator may tell it, so that it opens its NAT from inside at the same
   * time; then its device gets `peerWants`.
   */
  readonly onWant?: (nodeId: string) => void;
  /** A peer got its first session, another path, or none; for whoever shows or logs it. */
  readonly onPeerChange?: (nodeId: string) => void;
  /** TUN or socket broke: close the device. */
  readonly onFailed?: (error: Error) => void;
}

/** What is known of the network that a node is in. */
export interface Underlay {
  /** Whether anything comes back by UDP; `undefined`: not known. */
  readonly isUdpOpen?: boolean | undefined;
  readonly nat: NatMapping;
  /** Families in which a NAT has mappings that end without traffic. @default none */
  readonly mapped?: { readonly ipv4: boolean; readonly ipv6: boolean };
}

/** A peer as the roster has it. */
export interface DevicePeer {
  /** 64 hex digits. */
  readonly nodeId: string;
  /** 32 bytes. */
  readonly staticKey: Uint8Array;
  /** What it may send from and is routed to; no two peers may overlap. */
  readonly allowedIps: readonly IpPrefix[];
  /** Where it may be; unusable ones are skipped. */
  readonly candidates: readonly Endpoint[];
  /** Whether a NAT on the way needs an empty datagram now and then. @default {false} */
  readonly persistentKeepalive?: boolean;
  /** How its NAT maps, for whoever reads why there is no direct path. @default {"unknown"} */
  readonly nat?: NatMapping;
}

/** How things stand with one peer. Instants are on the scale of `Clock.now`. */
export interface PeerStatus extends PeerTraffic {
  readonly nodeId: string;
  /** How it is reached; `undefined` without a session. */
  readonly path: { readonly kind: "udp" | "ssh" | "relay"; readonly remote: string } | undefined;
  /** Largest packet that passes by that path; `undefined`: whatever the interface takes. */
  readonly mtu: number | undefined;
  /** Why that is no direct path; `undefined` if it is one, or nobody wanted one. */
  readonly why: string | undefined;
  /** How often the path changed. */
  readonly switches: PathSwitches;
  /** Round trip of the last echo answered, smoothed. */
  readonly rttMs: number | undefined;
  readonly lastHandshakeAt: number | undefined;
  /** Handshakes that led to a session, in either role. */
  readonly handshakes: number;
  /** Nothing comes back from it. */
  readonly isSilent: boolean;
  /** Packets that wait for a session. */
  readonly queued: number;
  /** Where it may be, as text. */
  readonly candidates: readonly string[];
}

/** Why a {@linkcode Device} could not do what it was asked. */
export type DeviceFault = "unknown-peer" | "no-answer" | "closed";

/** Thrown where a {@linkcode Device} could not do what it was asked. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";

  /** @param fault Which of the causes. */
  constructor(readonly fault: DeviceFault, message: string) {
    super(message);
  }
}
