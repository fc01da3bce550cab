/**
 * One peer of a device: where it may be, by which path it is reached, how much fits that path, and
 * whether the path has to be kept open. Joins what decides about these with what carries it out.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { DataPlane } from "../dataplane/data_plane.ts";
import type { Action } from "../session/actions.ts";
import type { Keypair } from "../session/keypair.ts";
import type { Path } from "../session/path.ts";
import type { PeerSession, Sessions } from "../session/sessions.ts";
import type { JoinedCarrier } from "../transport/joined_carrier.ts";
import { isUdpPath } from "../transport/transport.ts";
import { Candidates } from "./candidates.ts";
import {
  DEFAULT_MTU,
  type DeviceOptions,
  type DevicePeer,
  type Underlay,
} from "./device_options.ts";
import { type MtuHost, PathMtu } from "./path_mtu.ts";
import { PathSeeker } from "./path_seeker.ts";
import { isThroughNat } from "./path_selection.ts";
import { lastUseOf, unheardSince } from "./peer_status.ts";
import type { SeekerHost } from "./seeker_host.ts";
import type { Ways } from "./ways.ts";

/** What a device shares with its peers. */
export interface DeviceParts {
  readonly clock: Clock;
  readonly options: Pick<DeviceOptions, "carriers" | "mtu" | "onWant" | "onPeerChange">;
  readonly sessions: Sessions;
  readonly plane: DataPlane;
  readonly carrier: JoinedCarrier;
  readonly ways: Ways;
  /** What is known of the network at the moment. */
  readonly underlay: () => Underlay;
  readonly isClosed: () => boolean;
  /** Calls into the session layer, after the actions that are being carried out. */
  readonly do: (call: () => Action[]) => void;
}

/** One peer. */
export class PeerPaths {
  /** As the roster has it now. */
  spec: DevicePeer;
  readonly candidates = new Candidates();
  readonly seeker: PathSeeker;
  readonly mtu: PathMtu;
  readonly #parts: DeviceParts;

  /** Nothing is sought yet. */
  constructor(spec: DevicePeer, parts: DeviceParts) {
    this.spec = spec;
    this.#parts = parts;
    this.seeker = new PathSeeker(this.#seekerHost());
    this.mtu = new PathMtu(this.#mtuHost());
  }

  /** A keypair came into use: from here on it is sent with. */
  use(keypair: Keypair): void {
    const { plane, ways } = this.#parts;
    const { path, isInitiator } = keypair;
    if (path === undefined) return plane.use(keypair);
    if (isUdpPath(path) && ways.isReachable(path.endpoint)) this.candidates.learn(path.endpoint);
    this.#keep(path);
    this.mtu.used(path);
    plane.setPathLimit(keypair, this.mtu.limit);
    plane.use(keypair);
    this.seeker.used(path, isInitiator);
  }

  /** Something else is known of the network that this node is in. */
  underlayChanged(): void {
    const path = this.#session?.current?.path;
    if (path !== undefined) this.#keep(path);
  }

  /** There is no session any more, or the search for one was given up. */
  lost(): void {
    this.seeker.lost();
    this.mtu.lost();
  }

  get #session(): PeerSession | undefined {
    return this.#parts.sessions.peer(this.spec.nodeId);
  }

  /** A NAT on the way wants to see packets as long as the session is used. */
  #keep(path: Path): void {
    const { sessions, underlay } = this.#parts;
    sessions.keepWhileUsed(this.spec.nodeId, isThroughNat(path, underlay()));
  }

  /** What the search for paths works with. */
  #seekerHost(): SeekerHost {
    const { clock, options, sessions, carrier, ways } = this.#parts;
    const { nodeId } = this.spec;
    const act = (call: (now: number) => Action[]) => this.#parts.do(() => call(clock.now()));
    return {
      clock,
      hasOthers: options.carriers !== undefined,
      ways: () => ways.to(nodeId, this.candidates.all()),
      bound: () => this.#session?.current?.path,
      isOutstanding: (datagram) => this.#session?.outstanding === datagram,
      unheardSince: () => unheardSince(this.#session?.keypairs ?? []),
      usedAt: () => lastUseOf(this.#session?.keypairs ?? []),
      send: (datagram, path) => !this.#parts.isClosed() && ways.sendInitiation(datagram, path),
      renew: (over) => act((now) => sessions.renew(nodeId, now, over)),
      report: (body) => act((now) => sessions.report(nodeId, body, now)),
      askCoordinator: () => options.onWant?.(nodeId),
      wantOthers: () => carrier.want(nodeId),
    };
  }

  /** What finding out how much fits the path works with. */
  #mtuHost(): MtuHost {
    const { clock, options, sessions, plane, carrier } = this.#parts;
    const { nodeId } = this.spec;
    return {
      clock,
      mtu: options.mtu ?? DEFAULT_MTU,
      raiseAfterMs: () => sessions.limits.raiseMtuAfterMs,
      largestDatagram: (path) => carrier.largestDatagram(path),
      tellLargest: (path, bytes) => carrier.tellLargest(path, bytes),
      rttMs: () => this.#session?.rttMs,
      usedAt: () => {
        plane.refresh?.();
        return lastUseOf(this.#session?.keypairs ?? []);
      },
      probe: (size, how) => this.#parts.do(() => sessions.probe(nodeId, size, how, clock.now())),
      apply: (limit) => {
        const keypair = this.#session?.current;
        if (keypair !== undefined) plane.setPathLimit(keypair, limit);
        options.onPeerChange?.(nodeId);
      },
    };
  }
}
