/**
 * Error numbers of failed system calls, and the error they become.
 *
 * Values are those of Linux on every architecture Deno supports (asm-generic/errno-base.h and
 * asm-generic/errno.h).
 *
 * @module
 */

/** The names this program has something to say about. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOSPC: 28,
  ENOTSOCK: 88,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EBADFD: 77,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ENOBUFS: 105,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
} as const;

const NAME_OF = new Map<number, string>(
  Object.entries(ERRNO).map(([name, errno]) => [errno, name]),
);

/**
 * What a failed call means to whoever has to do something about it: a right is missing, the
 * device or protocol does not exist here, somebody else holds the name or port, or anything else.
 */
export type SyscallFault = "no-privilege" | "no-device" | "in-use" | "other";

const FAULT_OF = new Map<number, SyscallFault>([
  [ERRNO.EPERM, "no-privilege"],
  [ERRNO.EACCES, "no-privilege"],
  [ERRNO.ENOENT, "no-device"],
  [ERRNO.ENXIO, "no-device"],
  [ERRNO.ENODEV, "no-device"],
  [ERRNO.EAFNOSUPPORT, "no-device"],
  [ERRNO.EBUSY, "in-use"],
  [ERRNO.EADDRINUSE, "in-use"],
]);

/** A system call that failed. */
export class SyscallError extends Error {
  /** Always `"SyscallError"`. */
  override readonly name = "SyscallError";
  /** What was being done, as in `open TUN device "tm0"`. */
  readonly attempt: string;
  /** Value of `errno` right after the call, a positive integer. */
  readonly errno: number;
  /** What it means; picks the exit code. */
  readonly fault: SyscallFault;

  /**
   * Creates an error for one failed call.
   *
   * @param attempt What was being done, as in `open TUN device "tm0"`.
   * @param errno Value of `errno` right after the call, a positive integer.
   * @param remedy What the user can do about it, as in `run as root`; ends the message.
   */
  constructor(attempt: string, errno: number, remedy?: string) {
    super(`Cannot ${attempt}: ${errnoName(errno)} (${errno})${remedy ? `; ${remedy}` : ""}`);
    this.attempt = attempt;
    this.errno = errno;
    this.fault = FAULT_OF.get(errno) ?? "other";
  }
}

/**
 * Names an error number.
 *
 * @param errno A positive integer.
 * @returns Such as `"EPERM"`; `"errno"` for one this program has no name for.
 */
export function errnoName(errno: number): string {
  return NAME_OF.get(errno) ?? "errno";
}
