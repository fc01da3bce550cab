/**
 * The header that a TUN with `IFF_VNET_HDR` puts before each packet (linux/virtio_net.h).
 *
 * ```text
 * 0 flags 1 │ 1 GSO type 1 │ 2 header length 2 │ 4 GSO size 2 │ 6 checksum start 2 │ 8 offset 2 = 10
 * ```
 *
 * Host byte order (little-endian on every supported machine). It lets a packet be a super-segment:
 * headers once, then the payloads of up to 64 KiB of segments of `GSO size` bytes each.
 *
 * @module
 */

/** Offsets of the fields, and the whole length. */
export const VNET = {
  flags: 0,
  gsoType: 1,
  headerLength: 2,
  gsoSize: 4,
  checksumStart: 6,
  checksumOffset: 8,
  size: 10,
} as const;

/** In `flags`: the checksum at start + offset holds only the pseudo-header's sum. */
export const NEEDS_CHECKSUM = 1;

/** Values of the GSO type. */
export const GSO = { none: 0, tcpIpv4: 1, tcpIpv6: 4, udp: 5 } as const;
/** Set in the GSO type besides: the first segment carries the congestion mark (CWR). */
export const GSO_ECN = 0x80;

/** Offset of the checksum in the TCP header. */
export const TCP_CHECKSUM = 16;
/** Offset of the checksum in the UDP header. */
export const UDP_CHECKSUM = 6;
/** Offset of the flags in the TCP header. */
export const TCP_FLAGS = 13;
/** Flags of TCP that segmentation treats apart. */
export const TCP_FLAG = {
  fin: 1,
  syn: 2,
  rst: 4,
  psh: 8,
  ack: 16,
  urg: 32,
  ece: 64,
  cwr: 128,
} as const;
