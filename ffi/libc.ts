/**
 * The C library's functions that this program calls, and its `errno`.
 *
 * What makes a call cheap (Deno 2.9, measured): 32-bit integers and pointer objects made beforehand
 * cost about 5 ns; a `buffer` argument 32; an address computed as a BigInt 27; a 64-bit integer
 * given as a number 135. So sizes are `u32`, results `i32` (no transfer here comes near 2 GiB) and
 * hot calls take pointers from {@linkcode Mem}. `open`, `fcntl` and `ioctl` are variadic in C; on
 * the 64-bit Linux calling conventions they are called like any other function.
 *
 * @module
 */

import { SyscallError } from "./errno.ts";

const SYMBOLS = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  write: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  writeBuffer: { name: "write", parameters: ["i32", "buffer", "u32"], result: "i32" },
  writev: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  ioctlInteger: { name: "ioctl", parameters: ["i32", "usize", "usize"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  sendBuffer: { name: "send", parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  recv: { parameters: ["i32", "pointer", "u32", "i32"], result: "i32" },
  sendmsg: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  recvmsg: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "pointer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "pointer", "i32", "i32"], result: "i32" },
  /** Runs on a thread of its own pool; `errno` is out of reach then. */
  epollWaitAsync: {
    name: "epoll_wait",
    parameters: ["i32", "pointer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  memcpy: { parameters: ["pointer", "pointer", "u32"], result: "void" },
  clock_gettime: { parameters: ["i32", "pointer"], result: "i32" },
  madvise: { parameters: ["pointer", "usize", "i32"], result: "i32" },
  /** Only glibc has it. */
  malloc_trim: { parameters: ["usize"], result: "i32", optional: true },
  setpriority: { parameters: ["i32", "u32", "i32"], result: "i32" },
  geteuid: { parameters: [], result: "u32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The symbols of the C library. Results below zero mean: read {@linkcode errno} at once. */
export const libc = load().symbols;

// Safety: __errno_location takes nothing and returns the address of this thread's errno, which
// lives as long as the thread; a runtime runs on one thread only, so the address stays right.
const errnoCell = errnoMemory();

/**
 * Reads `errno` of the last failed call. Meaningful only directly after a result below zero of a
 * blocking symbol of {@linkcode libc}.
 *
 * @returns A positive integer.
 */
export function errno(): number {
  return errnoCell[0]!;
}

/**
 * Returns `result` unless it reports failure.
 *
 * @param result What the call returned; below zero for failure.
 * @param attempt What was being done, for the message.
 * @param remedy What the user can do about each error number that has a remedy.
 * @returns `result`, never negative.
 * @throws {SyscallError} If `result` is negative.
 */
export function check(
  result: number,
  attempt: string,
  remedy?: Readonly<Record<number, string>>,
): number {
  if (result >= 0) return result;
  const code = errno();
  throw new SyscallError(attempt, code, remedy?.[code]);
}

/**
 * Makes a C string.
 *
 * @param text Without a zero character.
 * @returns UTF-8 with a final zero byte.
 */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}

function load(): Deno.DynamicLibrary<typeof SYMBOLS> {
  const names = ["libc.so.6", `libc.musl-${Deno.build.arch}.so.1`];
  let cause: unknown;
  for (const name of names) {
    try {
      return Deno.dlopen(name, SYMBOLS);
    } catch (error) {
      cause = error;
    }
  }
  throw new Error(`Cannot load the C library: tried ${names.join(" and ")}`, { cause });
}

function errnoMemory(): Int32Array {
  const address = libc.__errno_location();
  if (address === null) throw new Error("Cannot find errno: __errno_location returned NULL");
  return new Int32Array(Deno.UnsafePointerView.getArrayBuffer(address, 4));
}
