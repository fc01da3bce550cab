/**
 * Where a datagram goes: an address and a UDP or TCP port.
 *
 * @module
 */

/** 4 bytes (IPv4) or 16 bytes (IPv6), network byte order. IPv4-mapped IPv6 never occurs. */
export type IpAddress = Uint8Array;

/** An IP address with a port. */
export interface Endpoint {
  /** 4 or 16 bytes. */
  readonly address: IpAddress;
  /** 1 to 65535. */
  readonly port: number;
}
