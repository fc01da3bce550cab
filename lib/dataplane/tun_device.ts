/**
 * The TUN device as the portable data plane sees it. `ffi/` and the tests' fakes provide it.
 *
 * @module
 */

/** A layer-3 network interface whose far side is this process. */
export interface TunDevice {
  /** Interface name, such as `tm0`. */
  readonly name: string;
  /** Largest packet in bytes. */
  readonly mtu: number;
  /**
   * Starts delivering the packets that this machine sends into the device.
   *
   * @param receive Called per packet; the bytes are borrowed until it returns.
   * @param failed Called once if the device cannot be read any more.
   */
  start(receive: (packet: Uint8Array) => void, failed: (error: Error) => void): void;
  /**
   * Hands a packet to this machine's network stack; copied.
   *
   * @returns `false` if the device refused it.
   */
  write(packet: Uint8Array): boolean;
  /** Stops and removes the device, its addresses and routes. Safe to call twice. */
  close(): Promise<void>;
}
