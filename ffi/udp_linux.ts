/**
 * UDP on Linux: one port, a socket per family, both ends of every datagram known, datagrams never
 * fragmented.
 *
 * Two sockets and not one dual-stack socket: IPv4 then needs no mapped addresses, and a host
 * without IPv6 is only one socket less.
 *
 * @module
 */

import { ERRNO, SyscallError } from "./errno.ts";
import { allowFragments } from "./fragmentation.ts";
import { SOCKET_OPTION } from "./layout.ts";
import { libc } from "./libc.ts";
import { largestDatagram } from "./path_mtu.ts";
import type { Poller } from "./poller.ts";
import { tellTooBig } from "./too_big.ts";
import {
  type Endpoint,
  type FormatEndpoint,
  hashBytes,
  LinuxUdpPath,
  PathCache,
  unmapped,
} from "./udp_path.ts";
import { UdpBuffers, UdpSocket } from "./udp_socket.ts";

/**
 * Ours: with a quarter of this, ten TCP connections lost datagrams here while this process waited for
 * a processor. A cap, not a cost: the kernel takes the memory when it is needed.
 */
const BUFFER_BYTES = 16 * 1024 * 1024;
/** Ours: twice this many pairs of ends are remembered. */
const PATH_GENERATION = 2048;
/** What the kernel counts as part of a packet by IPv6, without options. */
const IPV6_AND_UDP_HEADERS = 48;
/** How often a free port of one family may turn out to be taken in the other. */
const PORT_TRIES = 16;

/** Why a datagram was not sent. */
export type SendError =
  /** It does not fit the path: send smaller ones. */
  | "too-large"
  /** The system's buffers are full: it is lost, as in any queue. */
  | "full"
  /** No route, the own address is gone, or there is no socket of that family. */
  | "unreachable"
  /** A packet filter of this machine forbids it, or anything else. */
  | "refused";

const SEND_ERROR: ReadonlyMap<number, SendError> = new Map([
  [ERRNO.EMSGSIZE, "too-large"],
  [ERRNO.EAGAIN, "full"],
  [ERRNO.ENOBUFS, "full"],
  [ERRNO.ENOMEM, "full"],
  [ERRNO.ENETUNREACH, "unreachable"],
  [ERRNO.EHOSTUNREACH, "unreachable"],
  [ERRNO.ENETDOWN, "unreachable"],
  [ERRNO.EADDRNOTAVAIL, "unreachable"],
  [ERRNO.EAFNOSUPPORT, "unreachable"],
  [ERRNO.EINVAL, "unreachable"], // the own address or the interface is not there (any more)
  [ERRNO.ENODEV, "unreachable"],
  [ERRNO.ENXIO, "unreachable"],
]);

/** What {@linkcode openUdpSocket} takes. */
export interface UdpOptions {
  /** 1 to 65535, or 0 for one that is free in both families. */
  readonly port: number;
  /** Waits for datagrams; stays the caller's. */
  readonly poller: Poller;
  /** Makes the text of endpoints. */
  readonly formatEndpoint: FormatEndpoint;
  /** Whether to use IPv4. @default {true} */
  readonly ipv4?: boolean;
  /** Whether to use IPv6 where this machine has it. @default {true} */
  readonly ipv6?: boolean;
}

/**
 * Binds a UDP port on all addresses, in the network namespace of the calling thread.
 *
 * @returns The sockets; `families` says which there are.
 * @throws {RangeError} If the port is none.
 * @throws {SyscallError} If the port is taken (EADDRINUSE), or no family can be had.
 */
export function openUdpSocket(options: UdpOptions): UdpLinux {
  const { port, poller, formatEndpoint, ipv4 = true, ipv6 = true } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(`port must be 0 to 65535, is ${port}`);
  }
  if (!ipv4 && !ipv6) throw new TypeError("ipv4 and ipv6 are both off");
  const buffers = new UdpBuffers();
  const paths = new PathCache(PATH_GENERATION);
  const open = (family: 4 | 6, at: number) =>
    new UdpSocket({
      family,
      port: at,
      bufferBytes: BUFFER_BYTES,
      buffers,
      paths,
      format: formatEndpoint,
    });
  for (let triesLeft = PORT_TRIES;; triesLeft--) {
    const v4 = ipv4 ? unlessMissing(() => open(4, port)) : undefined;
    let v6: UdpSocket | undefined;
    try {
      if (ipv6 && hasIpv6()) v6 = unlessMissing(() => open(6, v4?.port ?? port));
    } catch (error) {
      v4?.close();
      const isTaken = error instanceof SyscallError && error.errno === ERRNO.EADDRINUSE;
      if (isTaken && port === 0 && triesLeft > 1) continue;
      throw error;
    }
    if (v4 === undefined && v6 === undefined) {
      throw new SyscallError(`open UDP port ${port}`, ERRNO.EAFNOSUPPORT);
    }
    return new UdpLinux({ v4, v6, paths, poller, formatEndpoint });
  }
}

/**
 * Tells whether IPv6 exists here and is switched on for at least one interface, loopback included,
 * in the network namespace of the calling thread. Setting an IPv6 address fails where it is not.
 *
 * @returns `true` also where `/proc` does not tell.
 */
export function hasIpv6(): boolean {
  const folder = "/proc/sys/net/ipv6/conf";
  try {
    for (const { name } of Deno.readDirSync(folder)) {
      if (name === "all" || name === "default") continue; // they are no interfaces
      if (Deno.readTextFileSync(`${folder}/${name}/disable_ipv6`).trim() === "0") return true;
    }
    return false;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound);
  }
}

/** What makes a path; any `UdpPath` has it. */
export interface UdpEnds {
  /** The far end. */
  readonly endpoint: Endpoint;
  /** Own address; `undefined`: the system chooses. */
  readonly local: Uint8Array | undefined;
}

/** A pair of UDP sockets; has the shape of `DatagramSocket` in lib/transport. */
export class UdpLinux {
  /** The port both are bound to. */
  readonly port: number;
  /** Which families it can send and receive. */
  readonly families: { readonly ipv4: boolean; readonly ipv6: boolean };
  readonly #v4: UdpSocket | undefined;
  readonly #v6: UdpSocket | undefined;
  readonly #paths: PathCache;
  readonly #poller: Poller;
  readonly #format: FormatEndpoint;
  #stops: (() => void)[] | undefined;
  #isClosed = false;
  #sendErrno = 0;

  /**
   * Joins two sockets; use {@linkcode openUdpSocket}.
   *
   * @param o The sockets, owned from now on, at least one; and what they share.
   */
  constructor(
    o: {
      v4: UdpSocket | undefined;
      v6: UdpSocket | undefined;
      paths: PathCache;
      poller: Poller;
      formatEndpoint: FormatEndpoint;
    },
  ) {
    this.#v4 = o.v4;
    this.#v6 = o.v6;
    this.#paths = o.paths;
    this.#poller = o.poller;
    this.#format = o.formatEndpoint;
    this.port = (o.v4 ?? o.v6)!.port;
    this.families = { ipv4: o.v4 !== undefined, ipv6: o.v6 !== undefined };
  }

  /** Why the last `send` returned `false`; `undefined` after one that did not. */
  get sendError(): SendError | undefined {
    return this.#sendErrno === 0 ? undefined : SEND_ERROR.get(this.#sendErrno) ?? "refused";
  }

  /** The error number behind {@linkcode sendError}, for the log; 0 for none. */
  get sendErrno(): number {
    return this.#sendErrno;
  }

  /**
   * Starts delivering what arrives.
   *
   * @param receive Called per datagram; the bytes are borrowed until it returns. The same two ends
   * give the same path object while it is remembered.
   * @param failed Called once if nothing can be received any more on one of the families.
   * @throws {TypeError} If it was started or closed before.
   */
  start(
    receive: (datagram: Uint8Array, path: LinuxUdpPath) => void,
    failed: (error: Error) => void,
  ): void {
    if (this.#isClosed || this.#stops) throw new TypeError("the socket was started or closed");
    let hasFailed = false;
    const failedOnce = (error: Error) => {
      if (!hasFailed) failed(error);
      hasFailed = true;
    };
    this.#stops = [];
    for (const socket of [this.#v4, this.#v6]) {
      if (socket === undefined) continue;
      const source = { drain: () => socket.drain(receive), failed: failedOnce };
      this.#stops.push(this.#poller.add(socket.fd, source));
    }
  }

  /**
   * The path to an endpoint.
   *
   * @param endpoint The far end; copied. IPv4-mapped addresses become IPv4.
   * @param local Own address to send from, of the same family; copied. `undefined`: the system
   * chooses for every datagram.
   * @throws {RangeError} If the addresses are not 4 or 16 bytes, not of one family, or the port is
   * not 1 to 65535.
   */
  path(endpoint: Endpoint, local?: Uint8Array): LinuxUdpPath {
    const address = unmapped(endpoint.address);
    const own = local && unmapped(local);
    const { port } = endpoint;
    if (address.length !== 4 && address.length !== 16) {
      throw new RangeError(`address must be 4 or 16 bytes, is ${address.length}`);
    }
    if (own !== undefined && own.length !== address.length) {
      throw new RangeError(`local must be of ${address.length} bytes like the far end`);
    }
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new RangeError(`port must be 1 to 65535, is ${port}`);
    }
    // The order of bytes is that of receiving, so that both ways meet the same object.
    let hash = hashBytes(0, Uint8Array.of(port >> 8, port & 255), 0, 2);
    hash = hashBytes(hash, address, 0, address.length);
    if (own !== undefined) hash = hashBytes(hash, own, 0, own.length);
    return this.#paths.find(
      hash,
      (path) =>
        path.interfaceIndex === 0 && path.endpoint.port === port &&
        isEqual(path.endpoint.address, address) &&
        (own === undefined || path.local === undefined
          ? own === path.local
          : isEqual(path.local, own)),
      () => new LinuxUdpPath({ address: address.slice(), port }, own?.slice(), 0, this.#format),
    );
  }

  /**
   * Sends one datagram.
   *
   * @param datagram Copied.
   * @param path From {@linkcode path} or received; one made elsewhere works too, more slowly.
   * @param mayFragment Whether it may travel in fragments. @default {false}
   * @returns `false` if it could not be sent: then it is lost, and {@linkcode sendError} says why.
   */
  send(datagram: Uint8Array, path: UdpEnds, mayFragment = false): boolean {
    const own = this.#own(path);
    const family = own.endpoint.address.length === 4 ? 4 : 6;
    const socket = family === 4 ? this.#v4 : this.#v6;
    if (mayFragment && socket !== undefined) allowFragments(socket.fd, family, true);
    this.#sendErrno = socket === undefined ? ERRNO.EAFNOSUPPORT : socket.send(datagram, own);
    if (mayFragment && socket !== undefined) allowFragments(socket.fd, family, false);
    return this.#sendErrno === 0;
  }

  /**
   * The largest datagram in bytes (without IP and UDP headers) that fits a path, as far as this
   * machine has heard. For after a refusal: it costs some system calls.
   *
   * @returns `undefined` if there is no way there.
   */
  largestDatagram(path: UdpEnds): number | undefined {
    return largestDatagram(this.#own(path));
  }

  /**
   * Tells the system that no longer datagram fits a path in one piece, which it may have heard from
   * nobody: what may travel in fragments does from then on. Only IPv6 has need of that.
   *
   * @param bytes Without IP and UDP headers.
   * @returns `false` if it could not be told.
   */
  tellLargest(path: UdpEnds, bytes: number): boolean {
    return tellTooBig(this.#own(path), this.port, bytes + IPV6_AND_UDP_HEADERS);
  }

  /** The sockets' descriptors, -1 for a family that is missing; they stay ours. */
  get descriptors(): { readonly ipv4: number; readonly ipv6: number } {
    return { ipv4: this.#v4?.fd ?? -1, ipv6: this.#v6?.fd ?? -1 };
  }

  /**
   * Lets the kernel hand over datagrams of one source joined (UDP_GRO): for whoever receives from
   * the descriptors instead of {@linkcode start}. Kernels before 5.0 do not know it.
   */
  enableGro(): void {
    const [level, name] = SOCKET_OPTION.UDP_GRO;
    for (const fd of [this.#v4?.fd, this.#v6?.fd]) {
      // Safety: 4 bytes, read before the call returns.
      if (fd !== undefined) libc.setsockopt(fd, level, name, Uint8Array.of(1, 0, 0, 0), 4);
    }
  }

  /**
   * The path of a datagram that was received from a descriptor.
   *
   * @param endpoint Where it came from; kept.
   * @param local The own address it arrived at; kept.
   * @param interfaceIndex The interface, if an end is link-local; else 0.
   */
  receivedPath(endpoint: Endpoint, local: Uint8Array, interfaceIndex: number): LinuxUdpPath {
    const { address, port } = endpoint;
    let hash = hashBytes(interfaceIndex, Uint8Array.of(port >> 8, port & 255), 0, 2);
    hash = hashBytes(hash, address, 0, address.length);
    hash = hashBytes(hash, local, 0, local.length);
    return this.#paths.find(
      hash,
      (path) =>
        path.interfaceIndex === interfaceIndex && path.endpoint.port === port &&
        isEqual(path.endpoint.address, address) && path.local !== undefined &&
        isEqual(path.local, local),
      () => new LinuxUdpPath(endpoint, local, interfaceIndex, this.#format),
    );
  }

  /** Stops receiving and closes; the port is free when this returns. Safe to call twice. */
  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      for (const stop of this.#stops ?? []) stop();
      this.#v4?.close();
      this.#v6?.close();
    }
    return Promise.resolve();
  }

  #own(path: UdpEnds): LinuxUdpPath {
    return path instanceof LinuxUdpPath ? path : this.path(path.endpoint, path.local);
  }
}

/** Runs `open`, and gives `undefined` where the family does not exist in this kernel. */
function unlessMissing(open: () => UdpSocket): UdpSocket | undefined {
  try {
    return open();
  } catch (error) {
    if (error instanceof SyscallError && error.errno === ERRNO.EAFNOSUPPORT) return undefined;
    throw error;
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
