/**
 * Where this node can be reached: its local endpoints, the port that the gateway forwards to it, and
 * what the coordinator's two UDP ports and STUN servers see its data socket come from (protocol.md
 * §6); and what that says about the NATs between.
 *
 * Asked again as soon as the network changes or the machine wakes up, and often enough to keep a
 * NAT's mapping alive where there is one. What was seen in another network is forgotten.
 *
 * @module
 */

import { Netlink } from "../../ffi/netlink.ts";
import type { NetworkChange } from "../../ffi/netlink_monitor.ts";
import type { Clock } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import type { NatMapping } from "../mesh/path_selection.ts";
import { type Endpoint, formatEndpoint, type IpAddress, parseEndpoint } from "../net/endpoint.ts";
import { isUnicast } from "../net/ip_address.ts";
import { type IpPrefix, prefixContains } from "../net/ip_prefix.ts";
import { DiscoveryAsks } from "../session/discovery.ts";
import { StunAsks } from "../session/stun_asks.ts";
import {
  candidates,
  isPerDestination,
  type NatBehaviour,
  natBehaviour,
  needsKeepalive,
  type Observation,
} from "../transport/nat_behaviour.ts";
import type { EndpointHint } from "../wire/control_message.ts";
import type { DiscoveryCredential } from "../wire/server_message.ts";
import { reasonOf } from "./errors.ts";
import { localEndpoints } from "./local_endpoints.ts";

/** How often the local addresses are looked at where nobody tells of changes. */
const LOOK_EVERY_MS = 5_000;
/** When an ask is sent again, from the first one on, to those that have not answered. */
const ASK_AT_MS = [0, 250, 750, 1_750, 3_750];
/** When a round of asking is over. */
const ROUND_MS = 5_000;
/** How often to ask behind a NAT, so that its mapping stays. */
const KEEP_MAPPING_MS = 25_000;
/** How often to ask where there is no NAT. */
const CHECK_MAPPING_MS = 300_000;
/** An answer is good for so long, while no path says otherwise. */
const FRESH_MS = 5_000;
/** An observation so much older than another one is no longer told. */
const FORGET_AFTER_MS = 90_000;

const log = logOf("agent");

/** Tells of changes of the network until it is closed. */
export type WatchNetwork = (events: {
  readonly changed: (change: NetworkChange) => void;
  readonly failed: (error: Error) => void;
}) => { close(): void };

/** What an {@linkcode EndpointFinder} needs. */
export interface EndpointFinderOptions {
  readonly clock: Clock;
  /** Port of the data socket. */
  readonly port: number;
  /** Which families it has. */
  readonly families: { readonly ipv4: boolean; readonly ipv6: boolean };
  /** Ranges of the mesh, once they are known. */
  readonly meshRanges: () => readonly IpPrefix[];
  /** What gateways forward to the data socket. @default nothing */
  readonly mapped?: () => readonly Endpoint[];
  /** Sends from the data socket; may drop. */
  readonly send: (datagram: Uint8Array, to: Endpoint) => void;
  /** Tells of changes. @default the local addresses are looked at every five seconds */
  readonly watchNetwork?: WatchNetwork;
  /** Lists the local endpoints, for tests. @default by netlink */
  readonly local?: () => readonly string[];
  /** Called when the list is another one than before. */
  readonly changed: () => void;
  /** Called when there may be news of the NAT, or of whether UDP passes. @default nobody cares */
  readonly learned?: () => void;
  /**
   * Called when this node is in another network, or was asleep: sessions may have lost their way.
   * `isElsewhere`: an address that it had is gone.
   */
  readonly moved: (move: { readonly isElsewhere: boolean }) => void;
}

/** Finds out, and keeps finding out, where this node can be reached. */
export class EndpointFinder {
  readonly #options: EndpointFinderOptions;
  #local: readonly string[] = [];
  /** By server. */
  readonly #observations = new Map<string, Observation>();
  #asks: DiscoveryAsks | undefined;
  readonly #stunAsks = new StunAsks<Endpoint>();
  #ports: readonly number[] = [];
  #addresses: readonly IpAddress[] = [];
  #stunServers: readonly Endpoint[] = [];
  #isAskingRegularly = false;
  readonly #cancels = new Set<() => void>();
  #cancelRound: (() => void)[] = [];
  /** Servers that answered in this round. */
  readonly #answered = new Set<string>();
  #isUdpOpen: boolean | undefined;
  #askedAt = -Infinity;
  #told = "";
  #monitor: { close(): void } | undefined;
  #isClosed = false;

  /** Looks at the local addresses once, at once. */
  constructor(options: EndpointFinderOptions) {
    this.#options = options;
    this.#local = this.#look();
    this.#told = this.#summary();
  }

  /** For `hello` and `endpoints`: discovered ones last. */
  get hints(): EndpointHint[] {
    return candidates({
      local: this.#local.map(parseEndpoint),
      mapped: this.#options.mapped?.() ?? [],
      behaviours: this.#behaviours,
      meshRanges: this.#options.meshRanges(),
    }).map(({ endpoint, source }) => ({ endpoint: formatEndpoint(endpoint), source }));
  }

  /** How the NAT maps, by IPv4 if anything is known of that. */
  get behaviour(): NatBehaviour {
    const [ipv4, ipv6] = this.#behaviours;
    return ipv4.mapping === "unknown" ? ipv6 : ipv4;
  }

  /** The same for the choice of paths. */
  get nat(): NatMapping {
    const { behaviour } = this;
    if (isPerDestination(behaviour)) return "varying";
    if (behaviour.mapping === "endpoint-independent") return "same";
    return behaviour.mapping === "none" ? "none" : "unknown";
  }

  /** In which families a NAT has a mapping for this node that ends without traffic. */
  get mapped(): { readonly ipv4: boolean; readonly ipv6: boolean } {
    const [ipv4, ipv6] = this.#behaviours;
    return { ipv4: needsKeepalive(ipv4), ipv6: needsKeepalive(ipv6) };
  }

  /** Whether any server answers by UDP; `undefined`: not known (yet). */
  get isUdpOpen(): boolean | undefined {
    return this.#isUdpOpen;
  }

  /** Starts to watch the network. Where nobody tells of changes, it is looked at now and then. */
  watch(): void {
    const { watchNetwork } = this.#options;
    if (watchNetwork === undefined) return this.#poll();
    try {
      this.#monitor = watchNetwork({
        changed: (change) => this.networkChanged(change),
        failed: (error) => this.#pollInstead(error),
      });
    } catch (error) {
      this.#pollInstead(error);
    }
  }

  /** Takes news of the network. */
  networkChanged({ defaultRoute, sleptMs }: NetworkChange): void {
    if (this.#isClosed) return;
    const local = this.#look();
    if (defaultRoute || sleptMs > 0 || !this.#isKnown(local)) this.#moved(local);
  }

  /** Looks at the local addresses now. */
  lookAgain(): void {
    const local = this.#look();
    if (!this.#isKnown(local)) this.#moved(local);
  }

  /** A peer does not answer where it did: perhaps the NAT gave this node another port. */
  checkMapping(): void {
    if (this.#options.clock.now() - this.#askedAt >= FRESH_MS) this.#askAll();
  }

  /** The gateway forwards another port than before. */
  mappingChanged(): void {
    this.#tell();
  }

  /**
   * Sets with which key and at which ports to ask.
   *
   * @param credential Key and its id, from the control channel.
   * @param ports The coordinator's UDP ports that answer; `undefined`: the same as before.
   */
  setCredential(credential: DiscoveryCredential, ports: readonly number[] | undefined): void {
    this.#asks = new DiscoveryAsks({ key: credential.key, keyId: credential.id });
    this.#ports = ports ?? this.#ports;
    this.#serversChanged();
  }

  /** Sets the addresses under which this node reaches the coordinator. */
  setCoordinatorAddresses(addresses: readonly IpAddress[]): void {
    this.#addresses = addresses;
    this.#serversChanged();
  }

  /** Sets STUN servers that are asked, too. */
  setStunServers(servers: readonly Endpoint[]): void {
    this.#stunServers = servers;
    this.#serversChanged();
  }

  /**
   * Takes a discovery datagram; anything but an awaited answer does nothing.
   *
   * @param from Who sent it: one of those that were asked.
   */
  receive(datagram: Uint8Array, from: Endpoint): void {
    const seen = this.#asks?.receive(datagram, this.#options.clock.now());
    if (seen !== undefined) this.#observe(from, seen);
  }

  /**
   * Takes a datagram that may be the answer of a STUN server; borrowed.
   *
   * @returns Whether it was one.
   */
  receiveStun(datagram: Uint8Array): boolean {
    const answer = this.#stunAsks.receive(datagram, this.#options.clock.now());
    if (answer === undefined) return false;
    this.#observe(answer.server, answer.seen);
    return true;
  }

  /** Stops. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    this.#monitor?.close();
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }

  get #behaviours(): readonly [NatBehaviour, NatBehaviour] {
    const observations = [...this.#observations.values()];
    const local = this.#local.map(parseEndpoint);
    return [natBehaviour(4, observations, local), natBehaviour(16, observations, local)];
  }

  #observe(server: Endpoint, seen: Endpoint): void {
    if (!this.#isUseful(seen)) return;
    const now = this.#options.clock.now();
    const name = formatEndpoint(server);
    this.#answered.add(name);
    this.#isUdpOpen = true;
    this.#observations.set(name, { server, seen, at: now });
    for (const [other, { at }] of this.#observations) {
      if (now - at > FORGET_AFTER_MS) this.#observations.delete(other);
    }
    this.#tell();
  }

  #poll(): void {
    this.#after(LOOK_EVERY_MS, () => {
      this.lookAgain();
      this.#poll();
    });
  }

  #pollInstead(error: unknown): void {
    log.warning("Changes of the network are noticed late", { reason: reasonOf(error) });
    this.#monitor = undefined;
    this.#poll();
  }

  #isKnown(local: readonly string[]): boolean {
    return local.join() === this.#local.join();
  }

  #moved(local: readonly string[]): void {
    const isElsewhere = this.#local.some((text) => !local.includes(text));
    this.#local = local;
    this.#observations.clear();
    this.#isUdpOpen = undefined;
    this.#tell();
    this.#options.moved({ isElsewhere });
    this.#askAll();
  }

  /** Tells whoever it concerns. */
  #tell(): void {
    this.#options.learned?.();
    const summary = this.#summary();
    if (summary === this.#told) return;
    this.#told = summary;
    this.#options.changed();
  }

  #summary(): string {
    return this.hints.map(({ endpoint, source }) => `${source} ${endpoint}`).join();
  }

  #look(): readonly string[] {
    const { port, families, meshRanges, local } = this.#options;
    if (local !== undefined) return local();
    using netlink = new Netlink();
    return localEndpoints({
      addresses: netlink.addresses(),
      links: netlink.links(),
      port,
      families,
      meshRanges: meshRanges(),
    });
  }

  #isUseful({ address }: Endpoint): boolean {
    return isUnicast(address) && address[0] !== 127 &&
      !this.#options.meshRanges().some((range) => prefixContains(range, address));
  }

  get #servers(): Endpoint[] {
    if (this.#asks === undefined) return [];
    return this.#addresses.flatMap((address) => this.#ports.map((port) => ({ address, port })));
  }

  #serversChanged(): void {
    if (this.#servers.length + this.#stunServers.length === 0) return;
    if (this.#isAskingRegularly) return this.#askAll();
    this.#isAskingRegularly = true;
    this.#askRegularly();
  }

  #askRegularly(): void {
    const now = this.#options.clock.now();
    const isMapped = this.#behaviours.some(needsKeepalive);
    const isDue = now - this.#askedAt >= CHECK_MAPPING_MS;
    if (isMapped || isDue || this.#answered.size === 0) this.#askAll();
    this.#after(KEEP_MAPPING_MS, () => this.#askRegularly());
  }

  /** Begins a round: everybody is asked until they have answered. */
  #askAll(): void {
    for (const cancel of this.#cancelRound) cancel();
    if (this.#servers.length + this.#stunServers.length === 0) return;
    this.#askedAt = this.#options.clock.now();
    this.#answered.clear();
    this.#cancelRound = [
      ...ASK_AT_MS.map((ms) => this.#after(ms, () => this.#askOnce())),
      this.#after(ROUND_MS, () => this.#endRound()),
    ];
  }

  #askOnce(): void {
    const { clock, send } = this.#options;
    const isOpen = (server: Endpoint) => !this.#answered.has(formatEndpoint(server));
    for (const server of this.#servers.filter(isOpen)) send(this.#asks!.ask(clock.now()), server);
    for (const server of this.#stunServers.filter(isOpen)) {
      send(this.#stunAsks.ask(server, clock.now()), server);
    }
  }

  #endRound(): void {
    if (this.#answered.size > 0) return;
    this.#isUdpOpen = false;
    this.#tell();
  }

  #after(ms: number, callback: () => void): () => void {
    if (this.#isClosed) return () => {};
    const { clock } = this.#options;
    const cancelTimer = clock.schedule(clock.now() + ms, () => {
      this.#cancels.delete(cancel);
      callback();
    });
    const cancel = () => {
      this.#cancels.delete(cancel);
      cancelTimer();
    };
    this.#cancels.add(cancel);
    return cancel;
  }
}
