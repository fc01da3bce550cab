/**
 * One nonblocking UDP socket of one family: options, receiving with the own address, sending from a
 * chosen one (ip(7), ipv6(7), cmsg(3)).
 *
 * @module
 */

import { ERRNO, SyscallError } from "./errno.ts";
import {
  AF,
  CMSGHDR,
  IN6_PKTINFO,
  IN_PKTINFO,
  IOVEC,
  MSGHDR,
  PMTUDISC_DO,
  SOCK,
  SOCKADDR_IN,
  SOCKADDR_IN6,
  SOCKET_OPTION,
} from "./layout.ts";
import { check, errno, libc } from "./libc.ts";
import { Mem } from "./memory.ts";
import {
  type FormatEndpoint,
  hashBytes,
  isLinkLocal,
  LinuxUdpPath,
  type PathCache,
} from "./udp_path.ts";

/** Largest datagram, and more than UDP carries. */
export const DATAGRAM_MAX = 65_535;
/** Datagrams taken per turn; see the TUN's bound. */
const DATAGRAMS_PER_DRAIN = 64;
/**
 * Errors that end receiving. All others are news about one datagram sent earlier (an ICMP answer)
 * or a shortage that passes: the next call goes on.
 */
const FATAL: ReadonlySet<number> = new Set([
  ERRNO.EBADF,
  ERRNO.EFAULT,
  ERRNO.EINVAL,
  ERRNO.ENOTSOCK,
]);

// One memory holds everything a message needs: header, one iovec, name, control.
const HEADER = 0;
const VECTOR = 64;
const NAME = 96;
const CONTROL = 128;
const CONTROL_MAX = 64;
const MESSAGE_SIZE = CONTROL + CONTROL_MAX;

/** Memory shared by the two sockets of a pair, used by one call at a time. */
export class UdpBuffers {
  /** Holds the datagram received. */
  readonly received = new Mem(DATAGRAM_MAX + 1);
  /** Holds the datagram to send. */
  readonly sent = new Mem(DATAGRAM_MAX + 1);
}

/** One UDP socket. */
export class UdpSocket {
  /** The descriptor, for the poller. */
  readonly fd: number;
  /** The port it is bound to. */
  readonly port: number;
  readonly #isIpv4: boolean;
  readonly #buffers: UdpBuffers;
  readonly #paths: PathCache;
  readonly #format: FormatEndpoint;
  readonly #in = new Mem(MESSAGE_SIZE);
  readonly #inPointer = this.#in.pointer(HEADER);
  readonly #out = new Mem(MESSAGE_SIZE);
  readonly #outPointer = this.#out.pointer(HEADER);
  readonly #nameSize: number;
  #lastReceived: LinuxUdpPath | undefined;
  #lastSent: LinuxUdpPath | undefined;
  #isClosed = false;

  /**
   * Opens and binds to every address of one family.
   *
   * @param o Family, port (0: any free one), what it shares with its twin, and the buffer size.
   * @throws {SyscallError} EAFNOSUPPORT where the family does not exist, EADDRINUSE if the port is
   * taken, EACCES for a port below 1024 without the right to it.
   */
  constructor(
    o: {
      family: 4 | 6;
      port: number;
      bufferBytes: number;
      buffers: UdpBuffers;
      paths: PathCache;
      format: FormatEndpoint;
    },
  ) {
    this.#isIpv4 = o.family === 4;
    this.#buffers = o.buffers;
    this.#paths = o.paths;
    this.#format = o.format;
    this.#nameSize = this.#isIpv4 ? SOCKADDR_IN.size : SOCKADDR_IN6.size;
    const attempt = `open UDP port ${o.port === 0 ? "of any number" : o.port} for IPv${o.family}`;
    const family = this.#isIpv4 ? AF.INET : AF.INET6;
    // Safety: integers only.
    const fd = libc.socket(family, SOCK.DGRAM | SOCK.NONBLOCK | SOCK.CLOEXEC, 0);
    this.fd = check(fd, attempt);
    try {
      this.#configure(o.bufferBytes, attempt);
      this.port = this.#bind(o.port, family, attempt);
    } catch (error) {
      libc.close(this.fd);
      throw error;
    }
    this.#point(this.#in, o.buffers.received, DATAGRAM_MAX);
    this.#point(this.#out, o.buffers.sent, 0);
  }

  /**
   * Reads what is there, up to a bound.
   *
   * @param receive Called per datagram; the bytes are borrowed until it returns. May close.
   * @throws {SyscallError} If nothing can be received any more.
   */
  drain(receive: (datagram: Uint8Array, path: LinuxUdpPath) => void): void {
    const { u8 } = this.#buffers.received;
    for (let i = 0; i < DATAGRAMS_PER_DRAIN && !this.#isClosed; i++) {
      const words = this.#in.u32;
      words[(HEADER + MSGHDR.nameLength) >> 2] = this.#nameSize;
      words[(HEADER + MSGHDR.controlLength) >> 2] = CONTROL_MAX;
      // Safety: the header points into two Mem that this object holds; the kernel writes at most
      // the lengths it names.
      const length = libc.recvmsg(this.fd, this.#inPointer, 0);
      if (length >= 0) {
        const path = this.#receivedPath();
        if (path !== undefined) receive(u8.subarray(0, length), path);
        continue;
      }
      const code = errno();
      if (code === ERRNO.EAGAIN) return;
      if (FATAL.has(code)) throw new SyscallError(`receive on UDP port ${this.port}`, code);
    }
  }

  /**
   * Sends one datagram.
   *
   * @param datagram Copied.
   * @param path Of this family.
   * @returns 0, or the errno of what kept it from being sent.
   */
  send(datagram: Uint8Array, path: LinuxUdpPath): number {
    if (this.#isClosed) return ERRNO.EBADF;
    if (datagram.length > DATAGRAM_MAX) return ERRNO.EMSGSIZE;
    if (path !== this.#lastSent) this.#aim(path);
    this.#buffers.sent.u8.set(datagram);
    this.#out.u32[(VECTOR + IOVEC.length) >> 2] = datagram.length;
    for (let tries = 0;; tries++) {
      // Safety: as in drain(); the kernel only reads.
      if (libc.sendmsg(this.fd, this.#outPointer, 0) >= 0) return 0;
      const code = errno();
      // An error kept from an earlier datagram is reported, and cleared, in place of sending this.
      const isStale = code === ERRNO.ECONNREFUSED || code === ERRNO.EINTR;
      if (!isStale || tries === 2) return code;
    }
  }

  /** Closes. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // Safety: our own descriptor, closed once; the owner took it out of the poller before.
    libc.close(this.fd);
  }

  #configure(bufferBytes: number, attempt: string): void {
    const size = int32(bufferBytes);
    const set = (option: readonly [number, number], value: Uint8Array<ArrayBuffer>) =>
      // Safety: 4 bytes, read before the call returns.
      libc.setsockopt(this.fd, option[0], option[1], value, 4);
    // Past the system's limit with CAP_NET_ADMIN, up to it without; a small buffer only loses more.
    if (set(SOCKET_OPTION.SO_RCVBUFFORCE, size) < 0) set(SOCKET_OPTION.SO_RCVBUF, size);
    if (set(SOCKET_OPTION.SO_SNDBUFFORCE, size) < 0) set(SOCKET_OPTION.SO_SNDBUF, size);
    if (this.#isIpv4) {
      check(set(SOCKET_OPTION.IP_PKTINFO, int32(1)), `${attempt} (IP_PKTINFO)`);
      check(set(SOCKET_OPTION.IP_MTU_DISCOVER, int32(PMTUDISC_DO)), `${attempt} (don't fragment)`);
      return;
    }
    check(set(SOCKET_OPTION.IPV6_V6ONLY, int32(1)), `${attempt} (IPV6_V6ONLY)`);
    check(set(SOCKET_OPTION.IPV6_RECVPKTINFO, int32(1)), `${attempt} (IPV6_RECVPKTINFO)`);
    check(set(SOCKET_OPTION.IPV6_MTU_DISCOVER, int32(PMTUDISC_DO)), `${attempt} (don't fragment)`);
    check(set(SOCKET_OPTION.IPV6_DONTFRAG, int32(1)), `${attempt} (don't fragment)`);
  }

  #bind(port: number, family: number, attempt: string): number {
    const name = new Uint8Array(this.#nameSize);
    const view = new DataView(name.buffer);
    view.setUint16(SOCKADDR_IN.family, family, true);
    view.setUint16(SOCKADDR_IN.port, port);
    // Safety: the name is read before the call returns.
    check(libc.bind(this.fd, name, name.length), attempt, {
      [ERRNO.EADDRINUSE]: "another program has this port, choose another or stop it",
      [ERRNO.EACCES]: "choose a port above 1023 or run as root",
    });
    // Safety: the kernel writes at most name.length bytes, which the second buffer says.
    check(libc.getsockname(this.fd, name, int32(name.length)), attempt);
    return view.getUint16(SOCKADDR_IN.port);
  }

  /** Makes a message header point at its own name and control, and at a buffer. */
  #point(message: Mem, buffer: Mem, length: number): void {
    const words = message.u32;
    message.putAddress(NAME, words, (HEADER + MSGHDR.name) >> 2);
    message.putAddress(VECTOR, words, (HEADER + MSGHDR.iov) >> 2);
    message.putAddress(CONTROL, words, (HEADER + MSGHDR.control) >> 2);
    buffer.putAddress(0, words, (VECTOR + IOVEC.base) >> 2);
    words[(HEADER + MSGHDR.nameLength) >> 2] = this.#nameSize;
    words[(HEADER + MSGHDR.iovCount) >> 2] = 1;
    words[(VECTOR + IOVEC.length) >> 2] = length;
  }

  #aim(path: LinuxUdpPath): void {
    this.#lastSent = path;
    this.#out.u8.set(path.name, NAME);
    this.#out.u8.set(path.control, CONTROL);
    this.#out.u32[(HEADER + MSGHDR.controlLength) >> 2] = path.control.length;
  }

  /** The ends of the datagram just received; `undefined` if the kernel did not tell both. */
  #receivedPath(): LinuxUdpPath | undefined {
    const { u8, u32, view } = this.#in;
    const isIpv4 = this.#isIpv4;
    const info = isIpv4 ? IN_PKTINFO : IN6_PKTINFO;
    const [level, type] = isIpv4 ? SOCKET_OPTION.IP_PKTINFO : SOCKET_OPTION.IPV6_PKTINFO;
    // No other control message is asked for, so the first is the one.
    if (
      u32[(HEADER + MSGHDR.controlLength) >> 2]! < CMSGHDR.data + info.size ||
      view.getInt32(CONTROL + CMSGHDR.level, true) !== level ||
      view.getInt32(CONTROL + CMSGHDR.type, true) !== type
    ) return undefined;
    const last = this.#lastReceived;
    if (last !== undefined && this.#isFrom(last)) return last;
    const nameLayout = isIpv4 ? SOCKADDR_IN : SOCKADDR_IN6;
    const addressLength = isIpv4 ? 4 : 16;
    const remoteAt = NAME + nameLayout.address;
    const localAt = CONTROL + CMSGHDR.data + info.local;
    const index = this.#linkLocalInterface();
    let hash = hashBytes(index, u8, NAME + nameLayout.port, 2);
    hash = hashBytes(hash, u8, remoteAt, addressLength);
    hash = hashBytes(hash, u8, localAt, addressLength);
    const make = () =>
      new LinuxUdpPath(
        {
          address: u8.slice(remoteAt, remoteAt + addressLength),
          port: view.getUint16(NAME + nameLayout.port),
        },
        u8.slice(localAt, localAt + addressLength),
        index,
        this.#format,
      );
    return this.#lastReceived = this.#paths.find(hash, (path) => this.#isFrom(path), make);
  }

  /** Compares the ends just received with those of a path, without making anything. */
  #isFrom(path: LinuxUdpPath): boolean {
    const { u8 } = this.#in;
    const isIpv4 = this.#isIpv4;
    const length = isIpv4 ? 4 : 16;
    const nameLayout = isIpv4 ? SOCKADDR_IN : SOCKADDR_IN6;
    const { address, port } = path.endpoint;
    const local = path.local;
    if (local === undefined || address.length !== length || local.length !== length) return false;
    if ((u8[NAME + nameLayout.port]! << 8 | u8[NAME + nameLayout.port + 1]!) !== port) return false;
    const remoteAt = NAME + nameLayout.address;
    const localAt = CONTROL + CMSGHDR.data + (isIpv4 ? IN_PKTINFO : IN6_PKTINFO).local;
    for (let i = 0; i < length; i++) {
      if (u8[remoteAt + i] !== address[i] || u8[localAt + i] !== local[i]) return false;
    }
    return path.interfaceIndex === this.#linkLocalInterface();
  }

  /** The interface of the datagram just received if one of its ends is link-local, else 0. */
  #linkLocalInterface(): number {
    if (this.#isIpv4) return 0;
    const { u8, view } = this.#in;
    const remoteAt = NAME + SOCKADDR_IN6.address;
    const localAt = CONTROL + CMSGHDR.data + IN6_PKTINFO.local;
    const isScoped = isLinkLocal(u8, remoteAt) || isLinkLocal(u8, localAt);
    if (!isScoped) return 0;
    return view.getUint32(CONTROL + CMSGHDR.data + IN6_PKTINFO.interfaceIndex, true);
  }
}

function int32(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Int32Array.of(value).buffer);
}
