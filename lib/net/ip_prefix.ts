/**
 * An address with a prefix length.
 *
 * @module
 */

import type { IpAddress } from "./endpoint.ts";

/** A network: an address whose bits past `length` are zero. */
export interface IpPrefix {
  /** 4 or 16 bytes. */
  readonly address: IpAddress;
  /** 0 to 32 or 128. */
  readonly length: number;
}
