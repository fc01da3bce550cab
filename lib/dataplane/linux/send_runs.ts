/**
 * Seals packets into runs of equal-sized datagrams, one run per keypair, and sends each run with one
 * system call (`UDP_SEGMENT`). A run goes out when it is full, when the size changes, and when the
 * TUN has nothing more: so nothing ever waits for company.
 *
 * @module
 */

import { ERRNO } from "../../../ffi/errno.ts";
import { allowFragments } from "../../../ffi/fragmentation.ts";
import { AF, CMSGHDR, SOCKET_OPTION } from "../../../ffi/layout.ts";
import { errno, libc } from "../../../ffi/libc.ts";
import { Mem } from "../../../ffi/memory.ts";
import { DATA_HEADER_LENGTH, DATAGRAM_TYPE, TAG_LENGTH } from "../../wire/datagram.ts";
import type { DropReason } from "../../session/actions.ts";
import { CONTROL_AT, MessageHeader, NAME_AT } from "./message_header.ts";
import { isStream, type PathBytes } from "./messages.ts";
import type { SendKeys } from "./send_keys.ts";
import { ACTIVITY } from "./shared_state.ts";
import { Waiter } from "./waiter.ts";

/** Most bytes in one call: what a UDP datagram over IPv4 can carry; over IPv6 it is no less. */
const RUN_BYTES = 65_507;
/** Most datagrams in one call: UDP_MAX_SEGMENTS of older kernels. */
const RUN_DATAGRAMS = 64;
/** Runs open at a time: peers that are sent to between two looks at an empty TUN. Ours. */
const RUNS = 8;
/** How long a full socket buffer is waited for before a run is dropped. Ours. */
const FULL_WAIT_MS = 20;
/** Length of a control message with the segment size. */
const SEGMENT_CONTROL = 24;

/** A run being filled. */
class Run {
  readonly memory = new Mem(RUN_BYTES + 64);
  keys: SendKeys | undefined;
  /** Datagrams in it. */
  count = 0;
  /** Bytes of each; the last one may have fewer, and closes the run. */
  stride = 0;
  /** Bytes in all. */
  used = 0;
}

/** What is told of a run that did not go out by UDP. */
export interface SendTroubles {
  /** The way of these keys is a stream: the control thread has to send. Borrowed until return. */
  stream(keys: SendKeys, bytes: Uint8Array, stride: number): void;
  drop(reason: DropReason, times: number): void;
  /**
   * The kernel refused datagrams of this size on the path of these keys; this was the packet in
   * the first of them.
   */
  tooLarge(keys: SendKeys, packet: Uint8Array): void;
}

/** Seals and sends; the caller has checked that the keys may seal. */
export class SendRuns {
  readonly #ipv4Fd: number;
  readonly #ipv6Fd: number;
  readonly #troubles: SendTroubles;
  /** The open ones first. A further one is made when it is first needed: each holds 64 KiB. */
  readonly #runs = [new Run()];
  readonly #message = new MessageHeader(1);
  /** The path that name and control of the message are set for. */
  #aimedAt: PathBytes | undefined;
  #open = 0;
  /** Whether the kernel refuses `UDP_SEGMENT` on some way: then datagrams go one by one there. */
  readonly #unsegmented = new WeakSet<PathBytes>();

  constructor(ipv4Fd: number, ipv6Fd: number, troubles: SendTroubles) {
    this.#ipv4Fd = ipv4Fd;
    this.#ipv6Fd = ipv6Fd;
    this.#troubles = troubles;
  }

  /**
   * Seals `length` bytes of `source` from `at` on as the next datagram of a keypair.
   *
   * @param now On the control thread's clock.
   */
  seal(keys: SendKeys, source: Mem, at: number, length: number, now: number): void {
    const size = DATA_HEADER_LENGTH + length + TAG_LENGTH;
    let run = this.#runOf(keys);
    if (
      run.count !== 0 &&
      (size > run.stride || run.used + size > RUN_BYTES || run.count === RUN_DATAGRAMS)
    ) {
      this.#send(run);
      run = this.#runOf(keys);
    }
    if (run.count === 0) run.stride = size;
    const { memory, used } = run;
    const counter = keys.counter;
    // Spent before it is used: whatever happens below, it does not come again.
    keys.counter = counter + 1;
    const low = counter >>> 0;
    const high = (counter / 0x1_0000_0000) >>> 0;
    const { view } = memory;
    view.setUint32(used, DATAGRAM_TYPE.data, true);
    view.setUint32(used + 4, keys.remoteIndex, true);
    view.setUint32(used + 8, low, true);
    view.setUint32(used + 12, high, true);
    const body = used + DATA_HEADER_LENGTH;
    keys.sealer.seal(low, high, memory, used, body, source, at, length);
    const { activity } = keys.shared;
    activity[ACTIVITY.sendCounter] = counter + 1;
    activity[ACTIVITY.sentAt] = now;
    run.used = used + size;
    run.count++;
    if (size < run.stride) this.#send(run);
  }

  /** Sends every run. */
  flush(): void {
    for (let i = 0; i < this.#open;) {
      const before = this.#open;
      this.#send(this.#runs[i]!);
      if (this.#open === before) i++;
    }
  }

  /** Forgets a keypair that was retired: what is sealed already goes out. */
  forget(keys: SendKeys): void {
    for (let i = 0; i < this.#open; i++) {
      if (this.#runs[i]!.keys === keys) return this.#send(this.#runs[i]!);
    }
  }

  #runOf(keys: SendKeys): Run {
    const runs = this.#runs;
    for (let i = 0; i < this.#open; i++) if (runs[i]!.keys === keys) return runs[i]!;
    if (this.#open === RUNS) this.#send(runs[0]!);
    const run = runs[this.#open] ??= new Run();
    this.#open++;
    run.keys = keys;
    return run;
  }

  /** Sends a run and closes it. */
  #send(run: Run): void {
    const keys = run.keys!;
    const path = keys.path;
    if (run.count > 0 && path !== undefined) {
      if (isStream(path)) {
        this.#troubles.stream(keys, run.memory.u8.subarray(0, run.used), run.stride);
      } else {
        this.#sendByUdp(run, path);
      }
    }
    run.keys = undefined;
    run.count = 0;
    run.used = 0;
    const at = this.#runs.indexOf(run);
    this.#open--;
    this.#runs[at] = this.#runs[this.#open]!;
    this.#runs[this.#open] = run;
  }

  #sendByUdp(run: Run, path: PathBytes): void {
    if (path !== this.#aimedAt) this.#aim(path);
    if (run.stride > run.keys!.limit.whole) {
      this.#sendInFragments(run, path);
    } else if (run.count === 1 || !this.#unsegmented.has(path)) {
      this.#sendPart(run, path, 0, run.used, run.count);
    } else {
      this.#sendEach(run, path);
    }
  }

  /** Datagrams that do not fit the path, and must pass all the same. */
  #sendInFragments(run: Run, path: PathBytes): void {
    const fd = this.#fdOf(path);
    const family = fd === this.#ipv4Fd ? 4 : 6;
    if (fd >= 0) allowFragments(fd, family, true);
    this.#sendEach(run, path);
    if (fd >= 0) allowFragments(fd, family, false);
  }

  /** @returns `false` if the kernel refused one as too large, and the rest with it. */
  #sendEach(run: Run, path: PathBytes): boolean {
    for (let from = 0; from < run.used; from += run.stride) {
      const length = Math.min(run.stride, run.used - from);
      if (this.#sendPart(run, path, from, length, 1)) continue;
      const rest = Math.ceil((run.used - from) / run.stride) - 1;
      if (rest > 0) this.#troubles.drop("send-failed", rest);
      return false;
    }
    return true;
  }

  /** @returns `false` if the kernel refused it as too large. */
  #sendPart(run: Run, path: PathBytes, from: number, length: number, count: number): boolean {
    const message = this.#message;
    message.vector(0, run.memory, from, length);
    const own = path.control.length;
    if (count > 1) message.memory.view.setUint16(CONTROL_AT + own + CMSGHDR.data, run.stride, true);
    message.controlLength = count > 1 ? own + SEGMENT_CONTROL : own;
    const fd = this.#fdOf(path);
    if (fd < 0) return this.#lose(count);
    for (let tries = 0;; tries++) {
      // Safety: header, name, control and the run's memory are fields of this object.
      if (libc.sendmsg(fd, message.pointer, 0) >= 0) return true;
      const code = errno();
      const mayPass = code === ERRNO.EINTR || code === ERRNO.ECONNREFUSED;
      if (mayPass && tries < 3) continue;
      if (code === ERRNO.EAGAIN && tries < 3 && this.#awaitRoom(fd)) continue;
      if (code === ERRNO.EMSGSIZE) {
        this.#troubles.drop("send-failed", count);
        this.#troubles.tooLarge(run.keys!, this.#plaintextOf(run, from));
        return false;
      }
      // A way whose device cannot checksum takes no segments (EIO); nor do some tunnels (EINVAL), nor
      // does any way, in kernels before 6.15, if they are too large for it.
      if (count > 1 && (code === ERRNO.EIO || code === ERRNO.EINVAL)) {
        if (this.#sendEach(run, path)) this.#unsegmented.add(path);
        return true;
      }
      return this.#lose(count);
    }
  }

  /** Whether there is room again in the socket's buffer; that it was full is rare. */
  #awaitRoom(fd: number): boolean {
    const waiter = new Waiter([fd], "writing");
    try {
      return waiter.wait(FULL_WAIT_MS) > 0;
    } finally {
      waiter.close();
    }
  }

  #lose(count: number): true {
    this.#troubles.drop("send-failed", count);
    return true;
  }

  /**
   * What was sealed in the datagram at `from` of a run that will not be sent. ChaCha20 adds a key
   * stream, so adding it again takes it away; what that makes of the tag goes nowhere.
   */
  #plaintextOf(run: Run, from: number): Uint8Array {
    const { view } = run.memory;
    const size = Math.min(run.stride, run.used - from) - DATA_HEADER_LENGTH - TAG_LENGTH;
    const [low, high] = [view.getUint32(from + 8, true), view.getUint32(from + 12, true)];
    const scratch = new Mem(DATA_HEADER_LENGTH + size + TAG_LENGTH);
    const body = from + DATA_HEADER_LENGTH;
    run.keys!.sealer.seal(low, high, scratch, 0, DATA_HEADER_LENGTH, run.memory, body, size);
    return scratch.u8.slice(DATA_HEADER_LENGTH, DATA_HEADER_LENGTH + size);
  }

  #fdOf(path: PathBytes): number {
    return (path.name[0]! | path.name[1]! << 8) === AF.INET ? this.#ipv4Fd : this.#ipv6Fd;
  }

  #aim(path: PathBytes): void {
    this.#aimedAt = path;
    const message = this.#message;
    const { u8, view } = message.memory;
    u8.set(path.name, NAME_AT);
    message.nameLength = path.name.length;
    u8.set(path.control, CONTROL_AT);
    const at = CONTROL_AT + path.control.length;
    const [level, type] = SOCKET_OPTION.UDP_SEGMENT;
    view.setUint32(at + CMSGHDR.length, CMSGHDR.data + 2, true);
    view.setUint32(at + CMSGHDR.length + 4, 0, true);
    view.setInt32(at + CMSGHDR.level, level, true);
    view.setInt32(at + CMSGHDR.type, type, true);
  }
}
