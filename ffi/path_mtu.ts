/**
 * What the kernel knows about the largest packet that fits a way: the interface's MTU, or less if a
 * router has said so (ip(7) and ipv6(7), IP_MTU).
 *
 * @module
 */

import { AF, SOCK, SOCKADDR_IN, SOCKET_OPTION } from "./layout.ts";
import { libc } from "./libc.ts";

/** IP and UDP headers without options. */
const HEADERS = { 4: 28, 16: 48 } as const;

/** Both ends of a path; a `LinuxUdpPath` has them. */
export interface SocketNames {
  /** `sockaddr_in` or `sockaddr_in6` of the far end. */
  readonly name: Uint8Array;
  /** The same of the own end, with port 0; `undefined` if the system chooses. */
  readonly localName: Uint8Array | undefined;
}

/**
 * Asks for the largest datagram, without IP and UDP headers, that fits a path.
 *
 * Costs a socket and a handful of calls; meant for after a refusal, not per datagram. Ask in the
 * network namespace in which the path is used.
 *
 * @returns In bytes; `undefined` if there is no way there.
 */
export function largestDatagram(path: SocketNames): number | undefined {
  const isIpv4 = path.name.length === SOCKADDR_IN.size;
  // Safety: integers only.
  const fd = libc.socket(isIpv4 ? AF.INET : AF.INET6, SOCK.DGRAM | SOCK.CLOEXEC, 0);
  if (fd < 0) return undefined;
  try {
    const far = new Uint8Array(path.name);
    // Routing may depend on the source. Connecting a UDP socket sends nothing: it looks up the way.
    // Safety: names and option values are read, and the answer written, before each call returns.
    if (path.localName !== undefined) {
      const own = new Uint8Array(path.localName);
      if (libc.bind(fd, own, own.length) < 0) return undefined;
    }
    if (libc.connect(fd, far, far.length) < 0) return undefined;
    const [level, name] = isIpv4 ? SOCKET_OPTION.IP_MTU : SOCKET_OPTION.IPV6_MTU;
    const value = new Int32Array(1);
    const length = Uint8Array.of(4, 0, 0, 0);
    if (libc.getsockopt(fd, level, name, value, length) < 0) return undefined;
    return Math.max(0, value[0]! - HEADERS[isIpv4 ? 4 : 16]);
  } finally {
    libc.close(fd);
  }
}
