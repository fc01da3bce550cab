/**
 * Tells the kernel how much fits a way by IPv6, as a router would have: by an ICMPv6 packet too big
 * (RFC 4443 §3.2) that this machine sends to itself.
 *
 * Over IPv6 nobody on the way makes fragments, and the kernel only where it has heard of a narrow
 * link; not every router says so. There is no call for it: IPV6_MTU bounds single fragments, but
 * does not have them made. The kernel believes it for ten minutes, of all traffic to that host.
 *
 * @module
 */

import { AF, ICMPV6, SOCK, SOCKADDR_IN6 } from "./layout.ts";
import { libc } from "./libc.ts";
import { Mem } from "./memory.ts";
import type { SocketNames } from "./path_mtu.ts";

const IPV6_HEADER = 40;
const UDP_HEADER = 8;
const HOP_LIMIT = 64;

/**
 * Tells the kernel.
 *
 * @param path By IPv6; for any other nothing is done.
 * @param ownPort Of the UDP socket that sends there: the kernel wants to know whose packet it was.
 * @param mtu Longest packet with all headers, in bytes; below 1280 the kernel takes no notice.
 * @returns `false` if it could not be told: for want of CAP_NET_RAW, say.
 */
export function tellTooBig(path: SocketNames, ownPort: number, mtu: number): boolean {
  if (path.name.length !== SOCKADDR_IN6.size) return false;
  const own = ownNameOf(path);
  // Safety: integers only.
  const fd = own && libc.socket(AF.INET6, SOCK.RAW | SOCK.CLOEXEC, ICMPV6.protocol);
  if (fd === undefined || fd < 0) return false;
  try {
    const message = new Mem(ICMPV6.header + IPV6_HEADER + UDP_HEADER);
    const { view, u8 } = message;
    u8[0] = ICMPV6.packetTooBig; // the kernel fills in the checksum
    view.setUint32(4, mtu);
    const ip = ICMPV6.header;
    view.setUint32(ip, 6 << 28);
    view.setUint16(ip + 4, mtu + 1 - IPV6_HEADER);
    view.setUint16(ip + 6, 17 << 8 | HOP_LIMIT);
    const { address } = SOCKADDR_IN6;
    u8.set(own!.subarray(address, address + 16), ip + 8);
    u8.set(path.name.subarray(address, address + 16), ip + 24);
    const udp = ip + IPV6_HEADER;
    view.setUint16(udp, ownPort);
    u8.set(path.name.subarray(SOCKADDR_IN6.port, SOCKADDR_IN6.port + 2), udp + 2);
    view.setUint16(udp + 4, mtu + 1 - IPV6_HEADER);
    // Safety: the name and the message are ours until both calls have returned; they are only read.
    return libc.connect(fd, own!, own!.length) >= 0 &&
      libc.write(fd, message.pointer(0), u8.length) === u8.length;
  } finally {
    libc.close(fd);
  }
}

/** The own address that the system uses on a way, with port 0; `undefined` if there is no way. */
function ownNameOf({ name, localName }: SocketNames): Uint8Array<ArrayBuffer> | undefined {
  if (localName !== undefined) return new Uint8Array(localName);
  // Safety: integers only.
  const fd = libc.socket(AF.INET6, SOCK.DGRAM | SOCK.CLOEXEC, 0);
  if (fd < 0) return undefined;
  try {
    const far = new Uint8Array(name);
    const own = new Uint8Array(SOCKADDR_IN6.size);
    // Safety: the name is read, and the answer written into as many bytes as are said, before each
    // call returns. Connecting a UDP socket sends nothing.
    if (libc.connect(fd, far, far.length) < 0) return undefined;
    if (libc.getsockname(fd, own, Uint8Array.of(own.length, 0, 0, 0)) < 0) return undefined;
    own.fill(0, SOCKADDR_IN6.port, SOCKADDR_IN6.port + 2);
    return own;
  } finally {
    libc.close(fd);
  }
}
