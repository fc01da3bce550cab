/**
 * What every network interface of a node begins with: a TUN device that suits the data plane, and
 * the way to configure it.
 *
 * @module
 */

import { Netlink } from "../../ffi/netlink.ts";
import type { Poller } from "../../ffi/poller.ts";
import type { TunLinux } from "../../ffi/tun_linux.ts";
import { type DataPlaneWish, openForDataPlane } from "./data_plane_choice.ts";
import { orAgentError } from "./syscall_fault.ts";

/** What makes a {@linkcode TunInterface}. */
export interface TunInterfaceOptions {
  /** Name or pattern with `%d`. @default {"tm%d"} */
  readonly name?: string | undefined;
  /** Largest packet in bytes. */
  readonly mtu: number;
  readonly poller: Poller;
  /** Which data plane will use the device. */
  readonly dataPlane: DataPlaneWish;
}

/** A TUN device; gone with its addresses and routes once it is closed. */
export class TunInterface {
  /** The data plane that the device is fit for. */
  readonly dataPlane: { readonly kind: "linux" | "portable"; readonly reason?: string };
  /** The device packets come from and go to. */
  readonly tun: TunLinux;
  /** Open until the interface is closed. */
  protected readonly netlink: Netlink;

  /**
   * Makes the device, without addresses.
   *
   * @throws {AgentError} `privilege` or `device` if a right or the driver is missing.
   */
  constructor(options: TunInterfaceOptions) {
    const { name, mtu, poller, dataPlane: wish } = options;
    this.netlink = orAgentError(() => new Netlink());
    try {
      const chosen = orAgentError(() => openForDataPlane({ wish, name, mtu, poller }));
      this.dataPlane = chosen;
      this.tun = chosen.tun;
    } catch (error) {
      this.netlink.close();
      throw error;
    }
  }

  /** Interface name. */
  get name(): string {
    return this.tun.name;
  }

  /** Removes the device, and with it addresses and routes. Safe to call twice. */
  async close(): Promise<void> {
    this.netlink.close();
    await this.tun.close();
  }
}
