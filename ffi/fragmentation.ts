/**
 * Whether the kernel may send what a socket gives it in fragments (ip(7), ipv6(7), IP_MTU_DISCOVER).
 *
 * Sockets here never fragment. Where a path is narrower than the least MTU that must be carried, a
 * single datagram may all the same: the socket is switched for that one call. A handshake that
 * another thread sends meanwhile fits anyway.
 *
 * Over IPv4 whoever meets the narrow link makes the fragments. Over IPv6 this machine does, and so
 * only where it has heard of that link: too_big.ts tells it of one.
 *
 * @module
 */

import { PMTUDISC_DO, PMTUDISC_DONT, SOCKET_OPTION } from "./layout.ts";
import { libc } from "./libc.ts";

/**
 * Switches fragments on or off.
 *
 * @param fd A UDP socket.
 */
export function allowFragments(fd: number, family: 4 | 6, isAllowed: boolean): void {
  const discover = isAllowed ? PMTUDISC_DONT : PMTUDISC_DO;
  if (family === 4) return set(fd, SOCKET_OPTION.IP_MTU_DISCOVER, discover);
  set(fd, SOCKET_OPTION.IPV6_MTU_DISCOVER, discover);
  set(fd, SOCKET_OPTION.IPV6_DONTFRAG, isAllowed ? 0 : 1);
}

function set(fd: number, option: readonly [number, number], value: number): void {
  const bytes = new Uint8Array(Int32Array.of(value).buffer);
  // Safety: 4 bytes, read before the call returns.
  libc.setsockopt(fd, option[0], option[1], bytes, bytes.length);
}
