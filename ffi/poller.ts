/**
 * Waits for descriptors to become readable without a thread per descriptor and without keeping the
 * event loop busy.
 *
 * One foreign call `epoll_wait` sleeps on a pool thread while nothing arrives (no CPU; about 35 µs
 * from readiness to the first byte read). Once something arrived the loop stays on this thread:
 * each ready source drains a bounded number of packets, then timers and other I/O get their turn
 * (`setImmediate`, about 2 µs), then a look without waiting (under 1 µs), and only after some empty
 * looks does it go back to sleep.
 *
 * ```
 * asleep ──ready──▶ drain ──setImmediate──▶ look ──ready──▶ drain
 *    ▲                                       │ empty, EMPTY_LOOKS times in a row
 *    └───────────────────────────────────────┘         close(): from anywhere to closed
 * ```
 *
 * epoll and not poll: a descriptor that is closed while poll sleeps on it stays open in the kernel
 * until poll returns, so a TUN device would outlive its close.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { ERRNO, SyscallError } from "./errno.ts";
import { EFD, EPOLL, EPOLL_EVENT } from "./layout.ts";
import { check, errno, libc } from "./libc.ts";
import { Mem } from "./memory.ts";

/** Most events taken at once; more sources than that only take more looks. */
const EVENTS_MAX = 16;
/** Token of the eventfd; sources count from 1. */
const WAKE_TOKEN = 0;
/**
 * Looks that must come back empty before the loop sleeps. Ours: a look with its turn of the event
 * loop is about 3 µs, and a sleep that is ended at once costs more than ten of them.
 */
const EMPTY_LOOKS = 8;

/** What a descriptor is registered with. */
export interface PollSource {
  /**
   * Reads what is there, but bounded: called again soon if the descriptor is still readable. Must
   * read at least once, or the loop never rests.
   */
  drain(): void;
  /** `drain` threw, or nothing can be waited for any more. The source is removed by then. */
  failed(error: Error): void;
}

/** Shares one sleeping call among any number of descriptors. */
export class Poller {
  readonly #epoll: number;
  readonly #wake: number;
  readonly #events = new Mem(EVENTS_MAX * EPOLL_EVENT.size);
  readonly #eventsPointer = this.#events.pointer(0);
  readonly #scratch = new Mem(EPOLL_EVENT.size);
  readonly #scratchPointer = this.#scratch.pointer(0);
  readonly #sources = new Map<number, { fd: number; source: PollSource }>();
  #nextToken = WAKE_TOKEN + 1;
  #loop: Promise<void> | undefined;
  #isClosing = false;
  #closed: Promise<void> | undefined;

  /**
   * Opens an epoll descriptor and its eventfd. Nothing runs before the first source is added.
   *
   * @throws {SyscallError} If the process is out of descriptors.
   */
  constructor() {
    // Safety: integers only.
    this.#epoll = check(libc.epoll_create1(EPOLL.CLOEXEC), "create an epoll descriptor");
    try {
      // Safety: integers only.
      this.#wake = check(libc.eventfd(0, EFD.CLOEXEC | EFD.NONBLOCK), "create an eventfd");
    } catch (error) {
      libc.close(this.#epoll);
      throw error;
    }
    this.#register(this.#wake, WAKE_TOKEN);
  }

  /**
   * Calls `source.drain()` whenever the descriptor is readable or in error.
   *
   * @param fd A nonblocking descriptor; stays the caller's, who removes it before closing it.
   * @param source Called on this thread, never before `add` has returned.
   * @returns Removes the source: it is not called again. Safe to call twice.
   * @throws {SyscallError} If the descriptor cannot be waited for.
   */
  add(fd: number, source: PollSource): () => void {
    if (this.#isClosing) throw new TypeError("the poller is closed");
    const token = this.#nextToken++;
    this.#register(fd, token);
    this.#sources.set(token, { fd, source });
    this.#loop ??= this.#run();
    return () => this.#remove(token);
  }

  /**
   * Stops waiting and releases the descriptors. No source is called from now on; those that are
   * left are forgotten, not failed.
   *
   * @returns Resolves when the sleeping call has returned. Safe to call twice, and from `drain`.
   */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    this.#sources.clear();
    this.#scratch.u32[0] = 1;
    this.#scratch.u32[1] = 0;
    // Safety: 8 bytes of scratch, read before the call returns. It cannot fail on a fresh eventfd.
    libc.write(this.#wake, this.#scratchPointer, 8);
    await this.#loop;
    libc.close(this.#wake);
    libc.close(this.#epoll);
  }

  async #run(): Promise<void> {
    await undefined; // add() returns first
    let emptyLooks = EMPTY_LOOKS;
    while (!this.#isClosing) {
      let count: number;
      if (emptyLooks < EMPTY_LOOKS) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        if (this.#isClosing) break;
        count = this.#look();
      } else {
        // Safety: the events memory is a field of this object, which the continuation keeps alive;
        // nobody else writes there meanwhile. A negative result hides its errno on the pool
        // thread, so it is treated as "look again", and the look reports what is wrong.
        count = await libc.epollWaitAsync(this.#epoll, this.#eventsPointer, EVENTS_MAX, -1);
        if (count < 0) count = this.#look();
      }
      emptyLooks = count > 0 ? 0 : emptyLooks + 1;
      if (count < 0) return;
      this.#dispatch(count);
    }
  }

  /** Takes what is ready without waiting. @returns How many events; -1 if waiting has failed. */
  #look(): number {
    // Safety: as above, and it returns at once.
    const count = libc.epoll_wait(this.#epoll, this.#eventsPointer, EVENTS_MAX, 0);
    if (count >= 0) return count;
    const code = errno();
    if (code === ERRNO.EINTR) return 0;
    const error = new SyscallError("wait for packets", code);
    for (const token of [...this.#sources.keys()]) this.#fail(token, error);
    return -1;
  }

  #dispatch(count: number): void {
    for (let i = 0; i < count; i++) {
      const token = this.#events.view.getUint32(i * EPOLL_EVENT.size + EPOLL_EVENT.data, true);
      // A token is never reused, so an event of a source removed in this very round, as close() does
      // with all, hits nothing even if its descriptor's number is in use again.
      const entry = this.#sources.get(token);
      if (entry === undefined) continue;
      try {
        entry.source.drain();
      } catch (error) {
        this.#fail(token, error instanceof Error ? error : new Error(String(error)));
      }
    }
  }

  #fail(token: number, error: Error): void {
    const entry = this.#sources.get(token);
    if (entry === undefined) return;
    this.#remove(token);
    entry.source.failed(error);
  }

  #register(fd: number, token: number): void {
    const { view } = this.#scratch;
    view.setUint32(EPOLL_EVENT.events, EPOLL.IN, true);
    view.setUint32(EPOLL_EVENT.data, token, true);
    // Safety: scratch holds one epoll_event, copied by the kernel before the call returns.
    const result = libc.epoll_ctl(this.#epoll, EPOLL.CTL_ADD, fd, this.#scratchPointer);
    check(result, `wait for descriptor ${fd}`);
  }

  #remove(token: number): void {
    const entry = this.#sources.get(token);
    if (entry === undefined) return;
    this.#sources.delete(token);
    // Safety: the event argument is ignored for CTL_DEL; a failure means it is gone already.
    libc.epoll_ctl(this.#epoll, EPOLL.CTL_DEL, entry.fd, this.#scratchPointer);
  }
}
