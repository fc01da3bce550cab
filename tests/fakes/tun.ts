/**
 * A TUN device of two queues: what a test sends as the machine, and what the device delivered.
 *
 * @module
 */

import type { TunDevice } from "../../lib/dataplane/tun_device.ts";

/** A {@linkcode TunDevice} without a kernel behind it. */
export class FakeTun implements TunDevice {
  readonly name: string;
  readonly mtu: number;
  /** Packets handed to the machine, oldest first; a test empties it as it likes. */
  readonly delivered: Uint8Array[] = [];
  /** Called with each packet handed to the machine, such as a responder; may call `send`. */
  onDelivery: ((packet: Uint8Array) => void) | undefined;
  /** When `true`, the device takes nothing. */
  refuses = false;
  isClosed = false;
  #receive: ((packet: Uint8Array) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;

  constructor(name = "tm0", mtu = 1408) {
    this.name = name;
    this.mtu = mtu;
  }

  start(receive: (packet: Uint8Array) => void, failed: (error: Error) => void): void {
    this.#receive = receive;
    this.#failed = failed;
  }

  /** The machine sends a packet into the device; the bytes are scribbled over afterwards. */
  send(packet: Uint8Array): void {
    if (this.isClosed) return;
    const borrowed = packet.slice();
    this.#receive?.(borrowed);
    borrowed.fill(0xdb); // whoever kept it would see it
  }

  /** The device breaks. */
  fail(error = new Error("The device is gone")): void {
    this.#failed?.(error);
  }

  write(packet: Uint8Array): boolean {
    if (this.refuses || this.isClosed) return false;
    const copy = packet.slice();
    this.delivered.push(copy);
    this.onDelivery?.(copy);
    return true;
  }

  /** Takes all that was delivered so far. */
  take(): Uint8Array[] {
    return this.delivered.splice(0);
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}
