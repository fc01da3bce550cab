/**
 * The receiving half of the Linux data plane: UDP → open → TUN, one synchronous loop in a worker.
 *
 * In the order of the datagram:
 * 1. receive up to 64 KiB of datagrams of one source at once (`UDP_GRO`); 2. what is no transport
 * data goes to the control thread; 3. index; 4. revoked or expired; 5. path, before any AEAD work;
 * 6. replay window; 7. open in place; revoked meanwhile; 8. the first datagram waits until the
 * control thread has confirmed; 9. kind of plaintext; 10. its source is the peer's, its destination
 * ours; 11. coalesce, and write into the TUN at the latest when the batch ends.
 *
 * Bytes from outside never make anything here throw: each datagram ends delivered or counted.
 *
 * @module
 */

import { ERRNO, SyscallError } from "../../../ffi/errno.ts";
import { CMSGHDR, IN6_PKTINFO, IN_PKTINFO, SOCKET_OPTION } from "../../../ffi/layout.ts";
import { errno, libc } from "../../../ffi/libc.ts";
import type { PacketCipher } from "../../../ffi/libcrypto.ts";
import { Mem } from "../../../ffi/memory.ts";
import { AllowedIps } from "../../route/allowed_ips.ts";
import { OwnAddresses, receivedPacketFaultAt } from "../../route/inner_addresses.ts";
import type { DropReason } from "../../session/actions.ts";
import type { SessionLimits } from "../../session/limits.ts";
import {
  DATA_HEADER_LENGTH,
  DATAGRAM_TYPE,
  datagramFault,
  TAG_LENGTH,
} from "../../wire/datagram.ts";
import { PARTIAL_CHECKSUM_BIT } from "../../wire/inner_control.ts";
import { Coalescing, type WritePackets } from "./coalescing.ts";
import { DatagramRing } from "./datagram_ring.ts";
import { IngressPeer } from "./ingress_peer.ts";
import { CONTROL_AT, CONTROL_SIZE, MessageHeader, NAME_SIZE } from "./message_header.ts";
import type { IngressCommand, SendPath, WorkerReport, WorkerSetup } from "./messages.ts";
import {
  isSamePath,
  newPathWords,
  pathWordsOf,
  readPathWords,
  receivedPathOf,
} from "./path_words.ts";
import { ReceiveKeys } from "./receive_keys.ts";
import { ACTIVITY, BACKLOG, DROP_INDEX, PEER } from "./shared_state.ts";

/** Most bytes in one batch: what UDP_GRO joins at most. */
const BATCH_MAX = 65_536;
/** Room behind it: a packet that waited for its confirmation is delivered from there. */
const WAITING_AT = BATCH_MAX + 64;
/** Batches before commands and the clock are looked at again. Ours. */
const BATCHES_PER_TURN = 16;
/** Datagrams that wait for the control thread. Ours: some milliseconds of its work. */
const HANDED_MAX = 512;
/** Strayed datagrams that the control thread is told of. Ours; it heals ten per second. */
const STRAYS_PER_SECOND = 50;
/** Plaintexts that wait per keypair until the control thread has confirmed it. Ours. */
const WAITING_MAX = 256;

/** The ingress worker's loop and tables. */
export class Ingress {
  readonly #setup: WorkerSetup;
  readonly #cipher: PacketCipher;
  readonly #report: (report: WorkerReport) => void;
  readonly #lookForCommands: () => void;
  readonly #drops: Float64Array;
  readonly #backlog: Int32Array;
  /** What came by ways that the control thread keeps, by their numbers. */
  readonly #arrivals: DatagramRing;
  readonly #memory = new Mem(WAITING_AT + BATCH_MAX);
  readonly #message = new MessageHeader(1);
  readonly #path = newPathWords();
  readonly #coalescing: Coalescing;
  readonly #peers = new Map<string, IngressPeer>();
  readonly #keys = new Map<number, ReceiveKeys>();
  readonly #routes = new AllowedIps<IngressPeer>((peer) => peer.id);
  #limits: SessionLimits;
  #own = new OwnAddresses([]);
  #now = 0;
  #hasLookedForCommands = false;
  /** Commands that would use the memory and the path of the batch at hand; they wait for its end. */
  readonly #later: IngressCommand[] = [];
  #isInBatch = false;
  #isCatchingUp = false;
  /** Strayed datagrams reported since then. */
  #strays = 0;
  #straysFrom = -Infinity;
  /** The keys of the datagram before, which are most often those of the next. */
  #last: ReceiveKeys | undefined;

  /**
   * @param lookForCommands Carries out what the control thread has told meanwhile.
   * @param write Writes to the TUN; for tests.
   */
  constructor(
    setup: WorkerSetup,
    cipher: PacketCipher,
    report: (report: WorkerReport) => void,
    lookForCommands: () => void,
    write?: WritePackets,
  ) {
    this.#lookForCommands = lookForCommands;
    this.#setup = setup;
    this.#cipher = cipher;
    this.#report = report;
    this.#limits = setup.limits;
    this.#drops = new Float64Array(setup.drops);
    this.#backlog = new Int32Array(setup.backlog);
    this.#arrivals = new DatagramRing(setup.ring);
    this.#message.vector(0, this.#memory, 0, BATCH_MAX);
    this.#coalescing = new Coalescing({
      memory: this.#memory,
      fd: setup.tunFd,
      hasUdp: setup.hasUdpSegmentation,
      failed: () => this.#drop("tun-write-failed"),
      ...(write && { write }),
    });
  }

  /**
   * Takes what has arrived, at most some batches of each family.
   *
   * @param now On the control thread's clock.
   * @returns `false` if there is nothing more.
   */
  turn(now: number): boolean {
    this.#now = now;
    const { ipv4Fd, ipv6Fd } = this.#setup;
    const more4 = ipv4Fd >= 0 && this.#receive(ipv4Fd, true);
    const more6 = ipv6Fd >= 0 && this.#receive(ipv6Fd, false);
    // Last, for what is told from here on wakes this thread.
    return this.#receiveByStreams() || more4 || more6;
  }

  /** Carries out a command of the control thread. */
  command(command: IngressCommand, now: number): void {
    this.#now = now;
    switch (command.kind) {
      case "peer": {
        const peer = this.#peers.get(command.id) ?? new IngressPeer(command.id, command.block);
        this.#peers.set(command.id, peer);
        this.#routes.replace(peer, command.allowedIps);
        return;
      }
      case "remove-peer":
        return this.#removePeer(command.id);
      case "own-addresses":
        this.#own = new OwnAddresses(command.addresses);
        return;
      case "limits":
        this.#limits = command.limits;
        return;
      case "install":
        return this.#install(command);
      case "widen":
        return this.#widen(command.localIndex, command.paths);
      case "confirm":
        if (this.#isInBatch) this.#later.push(command);
        else this.#confirm(command);
        return;
      case "retire":
        return this.#retire(command.localIndex);
      case "stop":
        for (const id of [...this.#peers.keys()]) this.#removePeer(id);
        return;
    }
  }

  /**
   * Handles one batch that stands in memory; apart from the system call, for tests.
   *
   * @param length Of the batch.
   * @param stride Of each datagram but the last.
   */
  batch(length: number, stride: number): void {
    this.#begin();
    for (let at = 0; at < length; at += stride) {
      this.#datagram(at, Math.min(stride, length - at));
    }
    this.#end();
  }

  /** Where batches stand; for tests. */
  get memory(): Mem {
    return this.#memory;
  }

  /** Where the batch came from; for tests. */
  get path(): Uint32Array {
    return this.#path;
  }

  /** Takes what came by streams; `false` if there is nothing more. */
  #receiveByStreams(): boolean {
    for (let i = 0; i < BATCHES_PER_TURN; i++) {
      if (this.#arrivals.isEmpty()) return false;
      this.#arrived();
    }
    return true;
  }

  /** Datagrams that follow each other and came by one stream: a batch. */
  #arrived(): void {
    const arrivals = this.#arrivals;
    const stream = arrivals.label;
    this.#path.set(pathWordsOf({ stream }));
    this.#begin();
    for (let at = 0; arrivals.label === stream;) {
      const { length } = arrivals;
      if (at + length > BATCH_MAX) break;
      this.#memory.u8.set(arrivals.peek(), at);
      arrivals.shift();
      this.#datagram(at, length);
      at += length;
    }
    this.#end();
  }

  #begin(): void {
    this.#hasLookedForCommands = false;
    this.#isInBatch = true;
  }

  /** Writes what the batch left, then does what had to wait for its end. */
  #end(): void {
    this.#coalescing.flush();
    this.#isInBatch = false;
    if (this.#later.length > 0 && !this.#isCatchingUp) this.#catchUp();
  }

  #catchUp(): void {
    this.#isCatchingUp = true;
    // What runs here may be a batch of its own, with commands that have to wait for its end.
    for (let next = this.#later.shift(); next !== undefined; next = this.#later.shift()) {
      this.command(next, this.#now);
    }
    this.#isCatchingUp = false;
  }

  #receive(fd: number, isIpv4: boolean): boolean {
    const message = this.#message;
    for (let i = 0; i < BATCHES_PER_TURN; i++) {
      message.nameLength = NAME_SIZE;
      message.controlLength = CONTROL_SIZE;
      // Safety: header, name, control and buffer are fields of this object; the kernel writes at
      // most the lengths that the header names.
      const length = libc.recvmsg(fd, message.pointer, 0);
      if (length < 0) {
        const code = errno();
        if (code === ERRNO.EAGAIN) return false;
        if (code === ERRNO.EBADF || code === ERRNO.ENOTSOCK) {
          throw new SyscallError("receive datagrams", code);
        }
        continue; // news about a datagram sent earlier
      }
      const stride = this.#readControl(isIpv4, length);
      // Nothing in it, or nobody said where it arrived.
      if (stride === 0) this.#drop("malformed");
      else this.batch(length, stride);
    }
    return true;
  }

  /** Reads path and segment size; the size of each datagram, or 0 if the own end is unknown. */
  #readControl(isIpv4: boolean, length: number): number {
    const { memory, controlLength } = this.#message;
    const { view } = memory;
    const [infoLevel, infoType] = isIpv4 ? SOCKET_OPTION.IP_PKTINFO : SOCKET_OPTION.IPV6_PKTINFO;
    const [groLevel, groType] = SOCKET_OPTION.UDP_GRO;
    const infoSize = isIpv4 ? IN_PKTINFO.size : IN6_PKTINFO.size;
    let stride = length;
    let hasPath = false;
    const end = CONTROL_AT + controlLength;
    for (let at = CONTROL_AT; at + CMSGHDR.data <= end;) {
      const size = view.getUint32(at + CMSGHDR.length, true);
      const level = view.getInt32(at + CMSGHDR.level, true);
      const type = view.getInt32(at + CMSGHDR.type, true);
      if (size < CMSGHDR.data) break;
      if (level === infoLevel && type === infoType && size >= CMSGHDR.data + infoSize) {
        readPathWords(memory, at + CMSGHDR.data, isIpv4, this.#path);
        hasPath = true;
      } else if (level === groLevel && type === groType) {
        stride = view.getInt32(at + CMSGHDR.data, true);
      }
      at += (size + 7) & ~7;
    }
    return hasPath ? stride : 0;
  }

  // The datagram's way.

  #datagram(at: number, length: number): void {
    const { view, u8 } = this.#memory;
    if (u8[at] !== DATAGRAM_TYPE.data) return this.#hand(at, length);
    const size = length - DATA_HEADER_LENGTH - TAG_LENGTH;
    if (size < 0 || view.getUint32(at, true) !== DATAGRAM_TYPE.data) {
      return this.#drop("malformed");
    }
    const index = view.getUint32(at + 4, true);
    let keys = this.#last;
    if (keys === undefined || keys.localIndex !== index) {
      keys = this.#keys.get(index) ?? this.#installedMeanwhile(index);
      if (keys === undefined) return this.#drop("unknown-index");
      this.#last = keys;
    }
    const low = view.getUint32(at + 8, true);
    const high = view.getUint32(at + 12, true);
    const counter = high * 0x1_0000_0000 + low;
    const limits = this.#limits;
    if (
      !keys.shared.isLive || this.#now - keys.createdAt >= limits.rejectAfterMs ||
      counter >= limits.rejectAfterMessages
    ) return this.#drop("expired-keypair");
    if (!this.#mayCome(keys) && !this.#mayComeMeanwhile(keys)) return this.#stray(keys, counter);
    if (!keys.window.mayAccept(counter)) return this.#drop("replayed");
    const body = at + DATA_HEADER_LENGTH;
    if (!keys.opener.open(low, high, this.#memory, at, body, size)) return this.#drop("bad-tag");
    // Revocation waits for nobody, and nothing that it overtook is delivered.
    if (!keys.shared.isLive) return this.#drop("expired-keypair");
    keys.window.accept(counter);
    this.#note(keys, counter, size > 0 && u8[body] !== 0);
    if (keys.isConfirmed) this.#plaintext(keys, body, size);
    else this.#awaitConfirmation(keys, body, size);
  }

  /**
   * The peer's first datagram may be here before this thread has looked for the command that
   * installed its keypair; once per batch it looks again.
   */
  #installedMeanwhile(index: number): ReceiveKeys | undefined {
    this.#lookOnce();
    return this.#keys.get(index);
  }

  /** Likewise for the path by which it may be confirmed. */
  #mayComeMeanwhile(keys: ReceiveKeys): boolean {
    if (keys.isConfirmed) return false;
    this.#lookOnce();
    return this.#mayCome(keys);
  }

  #lookOnce(): void {
    if (this.#hasLookedForCommands) return;
    this.#hasLookedForCommands = true;
    this.#lookForCommands();
  }

  /**
   * What is no transport data is the control thread's, if it is anything. Anybody can send it, and
   * each costs that thread a hash or more: past what it can deal with at once they are dropped here,
   * early, so that a flood fills no queue.
   */
  #hand(at: number, length: number): void {
    const { u8 } = this.#memory;
    const type = u8[at]!;
    if (type < DATAGRAM_TYPE.initiation || type > DATAGRAM_TYPE.discovery) {
      return this.#drop(datagramFault(u8.subarray(at, at + length)));
    }
    if (Atomics.load(this.#backlog, BACKLOG.datagrams) >= HANDED_MAX) {
      return this.#drop("rate-limited");
    }
    Atomics.add(this.#backlog, BACKLOG.datagrams, 1);
    const datagram = u8.slice(at, at + length);
    this.#report({ kind: "datagram", datagram, from: receivedPathOf(this.#path) });
  }

  #mayCome(keys: ReceiveKeys): boolean {
    const { paths } = keys;
    if (keys.isConfirmed && this.#setup.binding === "roam") return true;
    for (let i = 0; i < paths.length; i++) if (isSamePath(paths[i]!, this.#path)) return true;
    return false;
  }

  #stray(keys: ReceiveKeys, counter: number): void {
    this.#drop("wrong-path");
    const isAhead = counter > keys.shared.activity[ACTIVITY.receiveCounter]!;
    if (!keys.isConfirmed || !isAhead) return;
    const { localIndex } = keys;
    // A stranger who saw an index could send these without end; the session layer takes few.
    if (this.#now - this.#straysFrom >= 1_000) {
      this.#straysFrom = this.#now;
      this.#strays = 0;
    }
    if (this.#strays++ >= STRAYS_PER_SECOND) return;
    this.#report({ kind: "strayed", localIndex, from: receivedPathOf(this.#path) });
  }
  #note(keys: ReceiveKeys, counter: number, isPayload: boolean): void {
    const { activity } = keys.shared;
    const now = this.#now;
    if (isPayload) {
      if (activity[ACTIVITY.payloadReceivedAt]! <= activity[ACTIVITY.sentAt]!) {
        activity[ACTIVITY.unacknowledgedSince] = now;
      }
      activity[ACTIVITY.payloadReceivedAt] = now;
    }
    activity[ACTIVITY.receivedAt] = now;
    if (counter > activity[ACTIVITY.receiveCounter]!) activity[ACTIVITY.receiveCounter] = counter;
  }

  #awaitConfirmation(keys: ReceiveKeys, body: number, size: number): void {
    if (keys.waiting === undefined) {
      keys.waiting = [];
      const { localIndex } = keys;
      this.#report({ kind: "confirmed", localIndex, from: receivedPathOf(this.#path) });
    }
    if (keys.waiting.length >= WAITING_MAX) return this.#drop("queue-full");
    keys.waiting.push(this.#memory.u8.slice(body, body + size));
  }

  #plaintext(keys: ReceiveKeys, at: number, size: number): void {
    if (size === 0) return; // a keepalive
    const { u8 } = this.#memory;
    const first = u8[at]!;
    const kind = first >> 4;
    if (kind === 4 || kind === 6) {
      if (!this.#isAllowed(keys.peer, at, size)) return;
      this.#coalescing.whole(at, size);
    } else if (kind === 0xc || kind === 0xe) {
      u8[at] = first & ~PARTIAL_CHECKSUM_BIT;
      if (!this.#isAllowed(keys.peer, at, size)) return;
      if (!this.#coalescing.partial(at, size)) return this.#drop("bad-partial-checksum");
    } else if (first === 0) {
      const plaintext = u8.slice(at, at + size);
      const { localIndex } = keys;
      return this.#report({
        kind: "control",
        localIndex,
        plaintext,
        from: receivedPathOf(this.#path),
      });
    } else return this.#drop("bad-plaintext");
    const { block } = keys.peer;
    block[PEER.rxPackets]! += 1;
    block[PEER.rxBytes]! += size;
  }

  #isAllowed(peer: IngressPeer, at: number, size: number): boolean {
    const { u8 } = this.#memory;
    const fault = receivedPacketFaultAt(u8, at, size, peer, this.#routes, this.#own);
    if (fault === undefined) return true;
    this.#drop(fault);
    return false;
  }

  // Commands.

  #install(command: IngressCommand & { kind: "install" }): void {
    const { keypair, receiveKey, isConfirmed } = command;
    const peer = this.#peers.get(keypair.peer);
    if (peer !== undefined && !this.#keys.has(keypair.localIndex)) {
      const opener = this.#cipher.opener(receiveKey);
      const paths = command.paths.map(pathWordsOf);
      const keys = new ReceiveKeys(keypair, peer, opener, { isConfirmed, paths });
      this.#keys.set(keypair.localIndex, keys);
    }
    receiveKey.fill(0);
  }

  #widen(localIndex: number, paths: readonly SendPath[]): void {
    const keys = this.#keys.get(localIndex);
    if (keys !== undefined && !keys.isConfirmed) keys.paths = paths.map(pathWordsOf);
  }

  #confirm(command: IngressCommand & { kind: "confirm" }): void {
    const keys = this.#keys.get(command.localIndex);
    if (keys === undefined) return;
    const waiting = keys.waiting ?? [];
    keys.waiting = undefined;
    if (command.path === undefined) return this.#drop("expired-keypair", waiting.length);
    keys.isConfirmed = true;
    keys.paths = [pathWordsOf(command.path)];
    this.#path.set(keys.paths[0]!);
    for (const plaintext of waiting) {
      this.#memory.u8.set(plaintext, WAITING_AT);
      this.#plaintext(keys, WAITING_AT, plaintext.length);
      this.#coalescing.flush();
    }
  }

  #removePeer(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    for (const keys of [...this.#keys.values()]) {
      if (keys.peer === peer) this.#retire(keys.localIndex);
    }
    this.#routes.removeValue(peer);
    this.#peers.delete(id);
  }

  #retire(localIndex: number): void {
    const keys = this.#keys.get(localIndex);
    if (keys === undefined) return;
    this.#keys.delete(localIndex);
    if (this.#last === keys) this.#last = undefined;
    keys.opener.free();
  }

  #drop(reason: DropReason, times = 1): void {
    this.#drops[DROP_INDEX[reason]]! += times;
  }
}
