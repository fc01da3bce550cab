/**
 * A network in memory: hosts with several addresses, links that lose, double, reorder and delay,
 * NATs, and an adversary who sees, changes, adds and withholds whatever he likes.
 *
 * Everything happens on a {@linkcode Clock} and from a seed, so a run can be repeated exactly.
 *
 * @module
 */

import type { Clock } from "../../lib/base/clock.ts";
import { type Endpoint, formatEndpoint, type IpAddress } from "../../lib/net/endpoint.ts";
import { formatIpAddress, parseIpAddress } from "../../lib/net/ip_address.ts";
import type { DatagramSocket, UdpPath } from "../../lib/transport/transport.ts";
import { UdpPaths } from "../../lib/transport/udp_path.ts";
import { seededRandom } from "./random.ts";

/** One datagram on its way. Source and destination are what the far end will see. */
export interface Flight {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly datagram: Uint8Array;
  /** Whether it travels in fragments where it does not fit. @default {false} */
  readonly mayFragment?: boolean;
}

/** How a link treats what it carries. Probabilities are from 0 to 1. */
export interface LinkQuality {
  /** One way. @default {5} */
  delayMs: number;
  /** Added at random, so that datagrams overtake each other. @default {0} */
  jitterMs: number;
  /** @default {0} */
  loss: number;
  /** @default {0} */
  duplicate: number;
  /** Probability that one is held back by `reorderMs`. @default {0} */
  reorder: number;
  /** @default {20} */
  reorderMs: number;
  /** @default {false} */
  blocked: boolean;
  /** UDP payloads that are larger are lost and nobody is told. @default {Infinity} */
  largest: number;
  /** Whether what may be fragmented passes in fragments. @default {true} */
  passesFragments: boolean;
}

const GOOD_LINK: LinkQuality = {
  delayMs: 5,
  jitterMs: 0,
  loss: 0,
  duplicate: 0,
  reorder: 0,
  reorderMs: 20,
  blocked: false,
  largest: Infinity,
  passesFragments: true,
};

/** First port that a NAT hands out. */
const FIRST_NAT_PORT = 40_000;

/** The network; make hosts with {@linkcode SimulatedNetwork.host}. */
export class SimulatedNetwork {
  readonly clock: Clock;
  /** Sees each datagram after NAT; what it returns travels on (nothing: withheld). */
  adversary: ((flight: Flight) => readonly Flight[]) | undefined;
  /** Every datagram that left a host, before the adversary. */
  readonly recorded: Flight[] = [];
  /** Largest UDP payload that the network carries; `send` refuses more. */
  maxDatagram = 65_507;
  readonly #quality: LinkQuality;
  readonly #links = new Map<string, Partial<LinkQuality>>();
  readonly #hosts: SimulatedHost[] = [];
  readonly #random: () => number;

  /**
   * @param options `seed` of all chance, and the quality of every link not set apart.
   */
  constructor(options: { clock: Clock; seed?: number } & Partial<LinkQuality>) {
    const { clock, seed = 1, ...quality } = options;
    this.clock = clock;
    this.#random = seededRandom(seed);
    this.#quality = { ...GOOD_LINK, ...quality };
  }

  /** Adds a host with these addresses, the preferred one of each family first. */
  host(name: string, addresses: readonly string[], nat?: SimulatedNat): SimulatedHost {
    const host = new SimulatedHost(this, name, addresses, nat);
    this.#hosts.push(host);
    return host;
  }

  /** Sets the quality of the link from one host to another, this direction only. */
  setLink(from: SimulatedHost, to: SimulatedHost, quality: Partial<LinkQuality>): void {
    const key = `${from.name} ${to.name}`;
    this.#links.set(key, { ...this.#links.get(key), ...quality });
  }

  /** Sets the quality of every link that is not set apart. */
  setQuality(quality: Partial<LinkQuality>): void {
    Object.assign(this.#quality, quality);
  }

  /** Cuts or mends the link between two hosts, both ways. */
  setBlocked(a: SimulatedHost, b: SimulatedHost, blocked: boolean): void {
    this.setLink(a, b, { blocked });
    this.setLink(b, a, { blocked });
  }

  /** The adversary sends a datagram of his own, from any source he likes; arrives after a delay. */
  inject(flight: Flight): void {
    const datagram = flight.datagram.slice();
    this.clock.schedule(
      this.clock.now() + this.#quality.delayMs,
      () => this.#arrive({ ...flight, datagram }, undefined),
    );
  }

  /** Called by a host: carries a datagram, or loses it. */
  carry(flight: Flight, sender: SimulatedHost): void {
    const seen = sender.nat?.translates(flight) === true
      ? { ...flight, from: sender.nat.outbound(flight.from, flight.to) }
      : flight;
    this.recorded.push(seen);
    for (const onward of this.adversary?.(seen) ?? [seen]) this.#travel(onward, sender);
  }

  #travel(flight: Flight, sender: SimulatedHost): void {
    const receiver = this.#owner(flight.to, sender)?.host;
    if (sender.isUdpBlocked || receiver?.isUdpBlocked === true) return;
    const link = receiver && this.#links.get(`${sender.name} ${receiver.name}`);
    const quality = { ...this.#quality, ...link };
    if (quality.blocked || this.#random() < quality.loss) return;
    const mayPass = flight.mayFragment === true && quality.passesFragments;
    if (flight.datagram.length > quality.largest && !mayPass) return;
    const copies = this.#random() < quality.duplicate ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const heldBack = this.#random() < quality.reorder ? quality.reorderMs : 0;
      const delay = quality.delayMs + quality.jitterMs * this.#random() + heldBack;
      this.clock.schedule(this.clock.now() + delay, () => this.#arrive(flight, sender));
    }
  }

  #arrive(flight: Flight, sender: SimulatedHost | undefined): void {
    const owner = this.#owner(flight.to, sender);
    if (owner === undefined) return;
    const to = owner.nat === undefined ? flight.to : owner.nat.inbound(flight.from, flight.to);
    if (to !== undefined) owner.host.arrive({ ...flight, to });
  }

  /** Whose address it is: a host's own, one on the sender's LAN, or a NAT's public one. */
  #owner(
    to: Endpoint,
    sender: SimulatedHost | undefined,
  ): { host: SimulatedHost; nat?: SimulatedNat } | undefined {
    for (const host of this.#hosts) {
      const isInside = host.nat?.isLan(to) === true;
      if (isInside && host.nat !== sender?.nat) continue;
      if (host.has(to.address)) return { host };
    }
    for (const host of this.#hosts) {
      const inside = host.nat?.owner(to);
      if (inside !== undefined && host.has(inside.address)) return { host, nat: host.nat! };
    }
    return undefined;
  }
}

/** A machine on the network. */
export class SimulatedHost {
  readonly name: string;
  nat: SimulatedNat | undefined;
  /** Whether no UDP passes to or from the host. */
  isUdpBlocked = false;
  readonly #network: SimulatedNetwork;
  readonly #sockets = new Map<number, FakeSocket>();
  #addresses: IpAddress[] = [];
  #nextPort = 50_000;

  /** Made by {@linkcode SimulatedNetwork.host}. */
  constructor(
    network: SimulatedNetwork,
    name: string,
    addresses: readonly string[],
    nat: SimulatedNat | undefined,
  ) {
    this.#network = network;
    this.name = name;
    this.nat = nat;
    this.setAddresses(addresses);
    for (const address of this.#addresses) nat?.adopt(address);
  }

  /** The host moves: from now on it has these addresses and no others. */
  setAddresses(addresses: readonly string[]): void {
    this.#addresses = addresses.map(parseIpAddress);
  }

  /** The host moves into another network. */
  move(addresses: readonly string[], nat: SimulatedNat | undefined): void {
    this.setAddresses(addresses);
    this.nat = nat;
    for (const address of this.#addresses) nat?.adopt(address);
  }

  /** Its addresses. */
  get addresses(): readonly IpAddress[] {
    return this.#addresses;
  }

  /** Whether an address is one of its own. */
  has(address: IpAddress): boolean {
    const text = formatIpAddress(address);
    return this.#addresses.some((own) => formatIpAddress(own) === text);
  }

  /** Binds a socket to a port (0: a free one) of all its addresses. */
  socket(port = 0): FakeSocket {
    const bound = port === 0 ? this.#nextPort++ : port;
    if (this.#sockets.has(bound)) throw new Error(`Cannot bind port ${bound}: it is in use`);
    const socket = new FakeSocket(this, this.#network, bound);
    this.#sockets.set(bound, socket);
    return socket;
  }

  /** An endpoint of this host: its `index`-th address with a port. */
  endpoint(port: number, index = 0): Endpoint {
    return { address: this.#addresses[index]!, port };
  }

  /** Where a server that is asked from a port sees the question come from. */
  seenFrom(port: number, server: Endpoint): Endpoint | undefined {
    const from = this.#addresses.find((own) => own.length === server.address.length);
    if (from === undefined || this.isUdpBlocked) return undefined;
    const flight = { from: { address: from, port }, to: server, datagram: new Uint8Array(0) };
    return this.nat?.translates(flight) === true
      ? this.nat.outbound(flight.from, server)
      : flight.from;
  }

  /** Called by a socket that closes. */
  release(port: number): void {
    this.#sockets.delete(port);
  }

  /** Called by the network. */
  arrive(flight: Flight): void {
    this.#sockets.get(flight.to.port)?.arrive(flight);
  }
}

/** A socket of a {@linkcode SimulatedHost}. */
export class FakeSocket implements DatagramSocket {
  readonly port: number;
  /** Sends that were refused. */
  refused = 0;
  readonly #host: SimulatedHost;
  readonly #network: SimulatedNetwork;
  readonly #paths = new UdpPaths();
  #receive: ((datagram: Uint8Array, path: UdpPath) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;
  #isClosed = false;

  /** Made by {@linkcode SimulatedHost.socket}. */
  constructor(host: SimulatedHost, network: SimulatedNetwork, port: number) {
    this.#host = host;
    this.#network = network;
    this.port = port;
  }

  get families(): { readonly ipv4: boolean; readonly ipv6: boolean } {
    return {
      ipv4: this.#host.addresses.some((address) => address.length === 4),
      ipv6: this.#host.addresses.some((address) => address.length === 16),
    };
  }

  start(
    receive: (datagram: Uint8Array, path: UdpPath) => void,
    failed: (error: Error) => void,
  ): void {
    this.#receive = receive;
    this.#failed = failed;
  }

  path(endpoint: Endpoint, local?: IpAddress): UdpPath {
    return this.#paths.path(endpoint, local);
  }

  send(datagram: Uint8Array, path: UdpPath, mayFragment = false): boolean {
    const { endpoint, local } = path;
    const source = local ??
      this.#host.addresses.find((own) => own.length === endpoint.address.length);
    const isOwn = source !== undefined && this.#host.has(source);
    const isTooLarge = datagram.length > this.#network.maxDatagram && !mayFragment;
    if (this.#isClosed || !isOwn || isTooLarge) {
      this.refused++;
      return false;
    }
    this.#network.carry({
      from: { address: source, port: this.port },
      to: endpoint,
      datagram: datagram.slice(),
      ...(mayFragment && { mayFragment }),
    }, this.#host);
    return true;
  }

  largestDatagram(): number {
    return this.#network.maxDatagram;
  }

  /** The socket breaks. */
  fail(error = new Error("The socket is gone")): void {
    this.#failed?.(error);
  }

  /** Called by the host. The bytes are scribbled over afterwards. */
  arrive(flight: Flight): void {
    if (this.#isClosed) return;
    const borrowed = flight.datagram.slice();
    this.#receive?.(borrowed, this.#paths.path(flight.from, flight.to.address));
    borrowed.fill(0xdb); // whoever kept it would see it
  }

  close(): Promise<void> {
    if (!this.#isClosed) this.#host.release(this.port);
    this.#isClosed = true;
    return Promise.resolve();
  }
}

/** How a NAT maps and filters. */
export type NatKind =
  /** One public port per inside endpoint, open to all. */
  | "full-cone"
  /** One public port per inside endpoint, open to addresses it was used towards. */
  | "address-restricted"
  /** One public port per inside endpoint, open to endpoints it was used towards. */
  | "restricted"
  /** One public port per inside endpoint and destination. */
  | "symmetric";

/** A router that shares one public address among the hosts behind it, for its family only. */
export class SimulatedNat {
  readonly kind: NatKind;
  /** May be changed: the provider assigned another one. */
  publicAddress: IpAddress;
  /** How long a mapping is kept without traffic from inside, by `now`. @default for ever */
  lifetime: { readonly ms: number; readonly now: () => number } | undefined;
  #nextPort = FIRST_NAT_PORT;
  #mappings: {
    readonly inside: Endpoint;
    readonly port: number;
    /** Endpoints and addresses that it was used towards. */
    readonly towards: Set<string>;
    readonly addresses: Set<string>;
    readonly key: string;
    usedAt: number;
  }[] = [];
  readonly #lan: IpAddress[] = [];

  constructor(publicAddress: string, kind: NatKind = "restricted") {
    this.publicAddress = parseIpAddress(publicAddress);
    this.kind = kind;
  }

  /** Forgets every mapping; the next datagrams out get other public ports. */
  rebind(): void {
    this.#mappings = [];
  }

  /** Called by a host: this address is inside, if it is of the NAT's family. */
  adopt(address: IpAddress): void {
    if (address.length === this.publicAddress.length) this.#lan.push(address);
  }

  /** Whether the source of a datagram from inside is to be replaced. */
  translates(flight: Flight): boolean {
    return flight.from.address.length === this.publicAddress.length && !this.isLan(flight.to);
  }

  /** Whether an endpoint is inside. */
  isLan(endpoint: Endpoint): boolean {
    const text = formatIpAddress(endpoint.address);
    return this.#lan.some((address) => formatIpAddress(address) === text);
  }

  /** What the world sees as the source of a datagram from inside. */
  outbound(from: Endpoint, to: Endpoint): Endpoint {
    this.#expire();
    const usedAt = this.lifetime?.now() ?? 0;
    const towards = formatEndpoint(to);
    const key = formatEndpoint(from) + (this.kind === "symmetric" ? ` ${towards}` : "");
    let mapping = this.#mappings.find((known) => known.key === key);
    if (mapping === undefined) {
      const port = this.#nextPort++;
      mapping = { inside: from, port, towards: new Set(), addresses: new Set(), key, usedAt };
      this.#mappings.push(mapping);
    }
    mapping.usedAt = usedAt;
    mapping.towards.add(towards);
    mapping.addresses.add(formatIpAddress(to.address));
    return { address: this.publicAddress, port: mapping.port };
  }

  /** The inside endpoint that a public one stands for, filters aside. */
  owner(to: Endpoint): Endpoint | undefined {
    this.#expire();
    if (formatIpAddress(to.address) !== formatIpAddress(this.publicAddress)) return undefined;
    return this.#mappings.find((mapping) => mapping.port === to.port)?.inside;
  }

  #expire(): void {
    const { lifetime } = this;
    if (lifetime === undefined) return;
    this.#mappings = this.#mappings.filter(({ usedAt }) => lifetime.now() - usedAt <= lifetime.ms);
  }

  /** The inside endpoint that gets a datagram from outside; `undefined`: filtered. */
  inbound(from: Endpoint, to: Endpoint): Endpoint | undefined {
    const mapping = this.#mappings.find((known) => known.port === to.port);
    if (mapping === undefined) return undefined;
    const isOpen = this.kind === "full-cone" || mapping.towards.has(formatEndpoint(from)) ||
      (this.kind === "address-restricted" && mapping.addresses.has(formatIpAddress(from.address)));
    return isOpen ? mapping.inside : undefined;
  }
}
