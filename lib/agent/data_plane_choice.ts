/**
 * Which data plane a node gets: the one of Linux where this kernel can, else the portable one, and
 * then why.
 *
 * @module
 */

import { SyscallError } from "../../ffi/errno.ts";
import type { Poller } from "../../ffi/poller.ts";
import { openTun, type TunLinux } from "../../ffi/tun_linux.ts";

/** What may be asked for. */
export const DATA_PLANES = ["auto", "linux", "portable"] as const;

/** One of {@linkcode DATA_PLANES}. */
export type DataPlaneWish = typeof DATA_PLANES[number];

/** A TUN device fit for the data plane that was chosen. */
export interface ChosenDataPlane {
  readonly kind: "linux" | "portable";
  /** Why it is the portable one though nobody asked for it. */
  readonly reason?: string;
  readonly tun: TunLinux;
}

/**
 * Opens the TUN device for the best data plane that may be had.
 *
 * @throws {SyscallError} If there is no TUN device to be had at all, or the data plane asked for is
 * not.
 */
export function openForDataPlane(
  options: {
    readonly wish: DataPlaneWish;
    readonly name?: string | undefined;
    readonly mtu: number;
    readonly poller: Poller;
  },
): ChosenDataPlane {
  const { wish, mtu, poller, name } = options;
  const open = (hasOffloads: boolean) =>
    openTun({ mtu, poller, hasOffloads, ...(name === undefined ? {} : { name }) });
  if (wish === "portable") return { kind: "portable", tun: open(false) };
  try {
    return { kind: "linux", tun: open(true) };
  } catch (error) {
    // Missing rights, a missing driver and a taken name hold for both.
    if (wish === "linux" || !(error instanceof SyscallError) || error.fault !== "other") {
      throw error;
    }
    return { kind: "portable", reason: `no offloads: ${error.message}`, tun: open(false) };
  }
}
