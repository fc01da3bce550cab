/**
 * Structures and numbers of the Linux kernel's user interface, 64-bit little-endian machines
 * (x86-64 and arm64, which differ only in `epoll_event`).
 *
 * Drawn as offset, field, size in bytes; host byte order unless "net" says network order.
 *
 * @module
 */

/**
 * `struct epoll_event` (linux/eventpoll.h), packed on x86-64 only.
 *
 * ```
 * x86-64   0 events 4 │ 4 data 8                  = 12
 * others   0 events 4 │ 4 (gap) 4 │ 8 data 8      = 16
 * ```
 */
export const EPOLL_EVENT = Deno.build.arch === "x86_64"
  ? { events: 0, data: 4, size: 12 } as const
  : { events: 0, data: 8, size: 16 } as const;

/**
 * `struct ifreq` (linux/if.h) as TUNSETIFF takes it.
 *
 * ```
 * 0 name 16 (zero-terminated) │ 16 flags 2 │ 18 (rest of the union) 22   = 40
 * ```
 */
export const IFREQ = { name: 0, flags: 16, size: 40 } as const;
/** Longest interface name in bytes: IFNAMSIZ without the final zero. */
export const INTERFACE_NAME_MAX = 15;

/**
 * `struct msghdr` (bits/socket.h); sizes as 64-bit words whose high half stays zero.
 *
 * ```
 * 0 name* 8 │ 8 namelen 4 │ 12 (gap) 4 │ 16 iov* 8 │ 24 iovlen 8 │ 32 control* 8 │ 40 controllen 8
 * 48 flags 4 │ 52 (gap) 4                                                             = 56
 * ```
 */
export const MSGHDR = {
  name: 0,
  nameLength: 8,
  iov: 16,
  iovCount: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
  size: 56,
} as const;

/** `struct iovec`: 0 base* 8 │ 8 length 8 = 16. */
export const IOVEC = { base: 0, length: 8, size: 16 } as const;

/** `struct cmsghdr`: 0 length 8 (header and data) │ 8 level 4 │ 12 type 4 │ 16 data, padded to 8. */
export const CMSGHDR = { length: 0, level: 8, type: 12, data: 16 } as const;

/** `struct in_pktinfo`: 0 ifindex 4 │ 4 spec_dst 4 net (own address) │ 8 addr 4 net = 12. */
export const IN_PKTINFO = { interfaceIndex: 0, local: 4, size: 12 } as const;

/** `struct in6_pktinfo`: 0 addr 16 (own address) │ 16 ifindex 4 = 20. */
export const IN6_PKTINFO = { local: 0, interfaceIndex: 16, size: 20 } as const;

/** `struct sockaddr_in`: 0 family 2 │ 2 port 2 net │ 4 addr 4 net │ 8 (zero) 8 = 16. */
export const SOCKADDR_IN = { family: 0, port: 2, address: 4, size: 16 } as const;

/** `struct sockaddr_in6`: 0 family 2 │ 2 port 2 net │ 4 flow 4 │ 8 addr 16 │ 24 scope 4 = 28. */
export const SOCKADDR_IN6 = { family: 0, port: 2, address: 8, scope: 24, size: 28 } as const;

/** Address families (bits/socket.h). */
export const AF = { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16 } as const;

/** Socket types and their flags (bits/socket_type.h). */
export const SOCK = { DGRAM: 2, RAW: 3, CLOEXEC: 0x80000, NONBLOCK: 0x800 } as const;

/** Flags of open (asm-generic/fcntl.h; the same on x86-64 and arm64). */
export const O = { RDWR: 2, NONBLOCK: 0x800, CLOEXEC: 0x80000 } as const;

/** Flags of sendmsg and recvmsg. */
export const MSG = { DONTWAIT: 0x40, TRUNC: 0x20 } as const;

/** Socket options: level and name (asm-generic/socket.h, linux/in.h, linux/in6.h). */
export const SOCKET_OPTION = {
  SO_SNDBUF: [1, 7],
  SO_RCVBUF: [1, 8],
  SO_SNDBUFFORCE: [1, 32],
  SO_RCVBUFFORCE: [1, 33],
  IP_PKTINFO: [0, 8],
  IP_MTU_DISCOVER: [0, 10],
  IP_MTU: [0, 14],
  IPV6_MTU_DISCOVER: [41, 23],
  IPV6_MTU: [41, 24],
  IPV6_V6ONLY: [41, 26],
  IPV6_RECVPKTINFO: [41, 49],
  IPV6_PKTINFO: [41, 50],
  IPV6_DONTFRAG: [41, 62],
  UDP_SEGMENT: [17, 103],
  UDP_GRO: [17, 104],
  NETLINK_EXT_ACK: [270, 11],
  NETLINK_GET_STRICT_CHK: [270, 12],
} as const satisfies Record<string, readonly [level: number, name: number]>;

/** ICMPv6 (RFC 4443): its number, the length of its header, and the message of a narrow link. */
export const ICMPV6 = { protocol: 58, header: 8, packetTooBig: 2 } as const;

/** Value of IP_MTU_DISCOVER and IPV6_MTU_DISCOVER: never fragment, honour the known path MTU. */
export const PMTUDISC_DO = 2;
/** Another one: let anybody on the way fragment. */
export const PMTUDISC_DONT = 0;

/** epoll (sys/epoll.h). */
export const EPOLL = { CTL_ADD: 1, CTL_DEL: 2, IN: 1, OUT: 4, CLOEXEC: 0x80000 } as const;
/** Flags of eventfd. */
export const EFD = { NONBLOCK: 0x800, CLOEXEC: 0x80000 } as const;

/** TUN devices (linux/if_tun.h). */
export const TUN = {
  TUNSETIFF: 0x400454can,
  IFF_TUN: 0x0001,
  IFF_NO_PI: 0x1000,
  /** Each packet behind a virtio header. */
  IFF_VNET_HDR: 0x4000,
  TUNSETOFFLOAD: 0x400454d0,
  F_CSUM: 1,
  F_TSO4: 2,
  F_TSO6: 4,
  F_TSO_ECN: 8,
  /** The kernel takes USO4 and USO6 only together. */
  F_USO4: 0x20,
  F_USO6: 0x40,
  /** Refuse a name that any interface has, instead of attaching to a device that is there. */
  IFF_TUN_EXCL: 0x8000,
} as const;
