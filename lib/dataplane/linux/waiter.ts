/**
 * Waits, blocking this thread, until one of a few descriptors can be read or written.
 *
 * epoll(7) and not poll(2): what is waited for is said once, so a packet that comes alone finds less
 * to be done before and after the sleep.
 *
 * @module
 */

import { EPOLL, EPOLL_EVENT } from "../../../ffi/layout.ts";
import { check, libc } from "../../../ffi/libc.ts";
import { Mem } from "../../../ffi/memory.ts";

/** Waits for descriptors. */
export class Waiter {
  readonly #count: number;
  readonly #events: Mem;
  readonly #pointer;
  readonly #epoll: number;

  /**
   * @param fds Negative ones are ignored; the others stay the caller's, who closes them later.
   * @param forWhat What is waited for.
   * @throws {SyscallError} If the process is out of descriptors.
   */
  constructor(fds: readonly number[], forWhat: "reading" | "writing") {
    this.#count = fds.length;
    this.#events = new Mem(fds.length * EPOLL_EVENT.size);
    this.#pointer = this.#events.pointer(0);
    const { view } = this.#events;
    // Safety: integers only.
    this.#epoll = check(libc.epoll_create1(EPOLL.CLOEXEC), "create an epoll descriptor");
    try {
      for (const [i, fd] of fds.entries()) {
        if (fd < 0) continue;
        view.setUint32(EPOLL_EVENT.events, forWhat === "reading" ? EPOLL.IN : EPOLL.OUT, true);
        view.setUint32(EPOLL_EVENT.data, 1 << i, true);
        // Safety: one event in a field of this object, copied before the call returns.
        const result = libc.epoll_ctl(this.#epoll, EPOLL.CTL_ADD, fd, this.#pointer);
        check(result, `wait for descriptor ${fd}`);
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Waits until one is ready, or has an error to be fetched.
   *
   * @param timeoutMs -1: for ever.
   * @returns Bit i for descriptor i; 0 if the time was up. All of them if a signal came.
   */
  wait(timeoutMs: number): number {
    // Safety: the kernel writes at most as many events as a field of this object has room for.
    const count = libc.epoll_wait(this.#epoll, this.#pointer, this.#count, timeoutMs);
    if (count <= 0) return count;
    const { view } = this.#events;
    let ready = 0;
    for (let i = 0; i < count; i++) {
      ready |= view.getUint32(i * EPOLL_EVENT.size + EPOLL_EVENT.data, true);
    }
    return ready;
  }

  /** Ends it. Once. */
  close(): void {
    // Safety: our own descriptor, closed once.
    libc.close(this.#epoll);
  }
}
