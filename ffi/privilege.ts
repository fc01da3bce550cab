/**
 * What this process may do.
 *
 * @module
 */

import { libc } from "./libc.ts";

const CAP_NET_ADMIN_BIT = 12n; // linux/capability.h

/**
 * Tells whether this process may create interfaces and set addresses and routes.
 *
 * Root inside a container often may not, and a service user with the capability may, so the
 * effective capability set decides and not the user id.
 *
 * @returns `false` also where `/proc` cannot tell.
 */
export function hasNetAdmin(): boolean {
  try {
    const status = Deno.readTextFileSync("/proc/thread-self/status");
    const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
    return effective !== undefined && (BigInt(`0x${effective}`) >> CAP_NET_ADMIN_BIT & 1n) === 1n;
  } catch {
    return false;
  }
}

/** Tells whether this process runs as root (effective user id 0). */
export function isRoot(): boolean {
  // Safety: takes nothing and cannot fail.
  return libc.geteuid() === 0;
}
