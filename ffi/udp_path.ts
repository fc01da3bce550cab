/**
 * The two ends of a UDP datagram, as the kernel writes them and as the rest of the program sees
 * them, and the memory of those seen lately.
 *
 * @module
 */

import {
  AF,
  CMSGHDR,
  IN6_PKTINFO,
  IN_PKTINFO,
  SOCKADDR_IN,
  SOCKADDR_IN6,
  SOCKET_OPTION,
} from "./layout.ts";

/** An IP address with a port. */
export interface Endpoint {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  /** 1 to 65535. */
  readonly port: number;
}

/** Makes text of an endpoint. */
export type FormatEndpoint = (endpoint: Endpoint) => string;

/**
 * Both ends; has the shape of `UdpPath` in lib/transport. What follows from them is made when it is
 * asked for: most datagrams of strangers are dropped without.
 */
export class LinuxUdpPath {
  readonly kind = "udp";
  /** The far end. */
  readonly endpoint: Endpoint;
  /** Own address; `undefined`: the system chooses. */
  readonly local: Uint8Array | undefined;
  /** The interface of a link-local end; 0 otherwise, then routing decides. */
  readonly interfaceIndex: number;
  readonly #format: FormatEndpoint;
  #remote: string | undefined;
  #key: string | undefined;
  #name: Uint8Array | undefined;
  #localName: Uint8Array | undefined;
  #control: Uint8Array | undefined;

  /**
   * Joins two ends.
   *
   * @param endpoint The far end; kept.
   * @param local Own address of the same family; kept.
   * @param interfaceIndex The interface, if an end is link-local; else 0.
   * @param format Makes the text of both ends.
   */
  constructor(
    endpoint: Endpoint,
    local: Uint8Array | undefined,
    interfaceIndex: number,
    format: FormatEndpoint,
  ) {
    this.endpoint = endpoint;
    this.local = local;
    this.interfaceIndex = interfaceIndex;
    this.#format = format;
  }

  /** The far end as text. */
  get remote(): string {
    return this.#remote ??= this.#format(this.endpoint);
  }

  /** Equal exactly for equal endpoint, own address and, for link-local ones, interface. */
  get key(): string {
    return this.#key ??= this.#keyOf();
  }

  /** `sockaddr_in` or `sockaddr_in6` of the far end. */
  get name(): Uint8Array {
    return this.#name ??= socketName(this.endpoint, this.interfaceIndex);
  }

  /** The same of the own end, with port 0; `undefined` if the system chooses. */
  get localName(): Uint8Array | undefined {
    const { local: address } = this;
    if (address === undefined) return undefined;
    return this.#localName ??= socketName({ address, port: 0 }, this.interfaceIndex);
  }

  /** Control message that sets the source; empty if the system chooses. */
  get control(): Uint8Array {
    return this.#control ??= this.#controlOf();
  }

  #keyOf(): string {
    const { local: address, interfaceIndex } = this;
    const scope = interfaceIndex === 0 ? "" : `%${interfaceIndex}`;
    const own = address === undefined ? "*" : this.#format({ address, port: 0 });
    return `udp ${this.remote}${scope} ${own}`;
  }

  #controlOf(): Uint8Array {
    const { local, interfaceIndex } = this;
    if (local === undefined) return new Uint8Array(0);
    return sourceControl(local, isLinkLocal(local) ? interfaceIndex : 0);
  }
}

/**
 * Remembers paths, so that datagrams of the same two ends meet the same object and nothing is made
 * for them.
 *
 * Two generations: when the young one is full it becomes the old one, whose members move over when
 * they are met again. So at most twice `generationSize` are held, the lately used among them, and
 * a hit costs one look-up. Paths with one hash displace each other: then one is made again, equal.
 */
export class PathCache {
  readonly #generationSize: number;
  #young = new Map<number, LinuxUdpPath>();
  #old = new Map<number, LinuxUdpPath>();

  /**
   * Starts empty.
   *
   * @param generationSize Half of the most paths that are held.
   */
  constructor(generationSize: number) {
    this.#generationSize = generationSize;
  }

  /**
   * Finds a path by what makes it.
   *
   * @param hash From {@linkcode hashBytes} over all of it.
   * @param isSame Compares everything.
   * @param make Called if it is not remembered.
   */
  find(
    hash: number,
    isSame: (path: LinuxUdpPath) => boolean,
    make: () => LinuxUdpPath,
  ): LinuxUdpPath {
    const young = this.#young.get(hash);
    if (young !== undefined && isSame(young)) return young;
    const old = this.#old.get(hash);
    const path = old !== undefined && isSame(old) ? old : make();
    if (this.#young.size >= this.#generationSize) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(hash, path);
    return path;
  }
}

/**
 * Mixes bytes into a hash (FNV-1a). Not secret: who makes collisions only evicts.
 *
 * @param hash What to start from.
 * @param bytes What to mix in.
 * @param start First byte.
 * @param length How many.
 */
export function hashBytes(hash: number, bytes: Uint8Array, start: number, length: number): number {
  for (let i = start; i < start + length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash;
}

/**
 * Turns an IPv4-mapped address into the IPv4 address it stands for.
 *
 * @param address 4 or 16 bytes.
 * @returns A view of 4 bytes if it was mapped, else `address`.
 */
export function unmapped(address: Uint8Array): Uint8Array {
  if (address.length !== 16 || address[10] !== 0xff || address[11] !== 0xff) return address;
  for (let i = 0; i < 10; i++) if (address[i] !== 0) return address;
  return address.subarray(12);
}

/**
 * Tells whether an IPv6 address is link-local (fe80::/10), and so means nothing without an interface.
 *
 * @param bytes Where it is.
 * @param start Where it starts.
 */
export function isLinkLocal(bytes: Uint8Array, start = 0): boolean {
  return bytes[start] === 0xfe && (bytes[start + 1]! & 0xc0) === 0x80;
}

function socketName(endpoint: Endpoint, interfaceIndex: number): Uint8Array {
  const { address, port } = endpoint;
  const layout = address.length === 4 ? SOCKADDR_IN : SOCKADDR_IN6;
  const name = new Uint8Array(layout.size);
  const view = new DataView(name.buffer);
  view.setUint16(layout.family, address.length === 4 ? AF.INET : AF.INET6, true);
  view.setUint16(layout.port, port);
  name.set(address, layout.address);
  if (address.length === 16 && isLinkLocal(address)) {
    view.setUint32(SOCKADDR_IN6.scope, interfaceIndex, true);
  }
  return name;
}

function sourceControl(local: Uint8Array, interfaceIndex: number): Uint8Array {
  const isIpv4 = local.length === 4;
  const info = isIpv4 ? IN_PKTINFO : IN6_PKTINFO;
  const [level, type] = isIpv4 ? SOCKET_OPTION.IP_PKTINFO : SOCKET_OPTION.IPV6_PKTINFO;
  const control = new Uint8Array((CMSGHDR.data + info.size + 7) & ~7);
  const view = new DataView(control.buffer);
  view.setUint32(CMSGHDR.length, CMSGHDR.data + info.size, true);
  view.setInt32(CMSGHDR.level, level, true);
  view.setInt32(CMSGHDR.type, type, true);
  control.set(local, CMSGHDR.data + info.local);
  view.setUint32(CMSGHDR.data + info.interfaceIndex, interfaceIndex, true);
  return control;
}
