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

import type { PacketCipher } from "../../../ffi/libcrypto.ts";
import { Mem } from "../../../ffi/memory.ts";
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
import { HandedWriter } from "./handed_datagrams.ts";
import type { IngressPeer } from "./ingress_peer.ts";
import { IngressTables } from "./ingress_tables.ts";
import type { IngressCommand, WorkerReport, WorkerSetup } from "./messages.ts";
import { isSamePath, pathWordsOf, receivedPathOf } from "./path_words.ts";
import { PAUSE_MS } from "./pulse.ts";
import type { ReceiveKeys } from "./receive_keys.ts";
import { BATCH_MAX, NEWS, NOTHING_THERE, Receiving } from "./receiving.ts";
import { ACTIVITY, DROP_INDEX, PEER } from "./shared_state.ts";

/** Room behind it: a packet that waited for its confirmation is delivered from there. */
const WAITING_AT = BATCH_MAX + 64;
/** Batches before commands and the clock are looked at again. Ours. */
const BATCHES_PER_TURN = 16;
/** Strayed datagrams that the control thread is told of. Ours; it heals ten per second. */
const STRAYS_PER_SECOND = 50;
/** Plaintexts that wait per keypair until the control thread has confirmed it. Ours: a busy second. */
const WAITING_MAX = 2048;

/** The ingress worker's loop. */
export class Ingress {
  readonly #setup: WorkerSetup;
  readonly #report: (report: WorkerReport) => void;
  readonly #lookForCommands: () => void;
  readonly #drops: Float64Array;
  readonly #handed: HandedWriter;
  /** What came by ways that the control thread keeps, by their numbers. */
  readonly #arrivals: DatagramRing;
  readonly #memory = new Mem(WAITING_AT + BATCH_MAX);
  readonly #receiving = new Receiving(this.#memory);
  /** Where the batch at hand came from. */
  readonly #path = this.#receiving.path;
  readonly #coalescing: Coalescing;
  readonly #tables: IngressTables;
  #limits: SessionLimits;
  #own = new OwnAddresses([]);
  #now = 0;
  #turnedAt = -Infinity;
  #hasLookedForCommands = false;
  /** Commands that would use the memory and the path of the batch at hand; they wait for its end. */
  readonly #later: IngressCommand[] = [];
  #isInBatch = false;
  #isCatchingUp = false;
  /** Strayed datagrams reported since then. */
  #strays = 0;
  #straysFrom = -Infinity;

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
    this.#tables = new IngressTables(cipher);
    this.#report = report;
    this.#limits = setup.limits;
    this.#drops = new Float64Array(setup.drops);
    this.#handed = new HandedWriter(setup.handed, () => report({ kind: "handed" }));
    this.#arrivals = new DatagramRing(setup.ring);
    this.#coalescing = new Coalescing({
      memory: this.#memory,
      fd: setup.tunFd,
      hasUdp: setup.hasUdpSegmentation,
      failed: () => this.#drop("tun-write-failed"),
      ...(write && { write }),
    });
  }

  /**
   * Takes what has arrived, at most some batches of each family; after a pause one.
   *
   * @param now On the control thread's clock.
   * @param ready Bit 0 if there is something by IPv4, bit 1 by IPv6.
   * @returns `false` if there is nothing more, or waiting will tell.
   */
  turn(now: number, ready: number): boolean {
    const isAfterPause = now - this.#turnedAt >= PAUSE_MS;
    this.#now = this.#turnedAt = now;
    const batches = isAfterPause ? 1 : BATCHES_PER_TURN;
    const { ipv4Fd, ipv6Fd } = this.#setup;
    const has4 = (ready & 1) !== 0 && ipv4Fd >= 0 && this.#receive(ipv4Fd, true, batches);
    const has6 = (ready & 2) !== 0 && ipv6Fd >= 0 && this.#receive(ipv6Fd, false, batches);
    // Last, for what is told from here on wakes this thread.
    return this.#receiveByStreams() || (has4 || has6) && !isAfterPause;
  }

  /** Carries out a command of the control thread. */
  command(command: IngressCommand, now: number): void {
    this.#now = now;
    switch (command.kind) {
      case "peer":
        return this.#tables.setPeer(command);
      case "remove-peer":
        return this.#tables.removePeer(command.id);
      case "own-addresses":
        this.#own = new OwnAddresses(command.addresses);
        return;
      case "limits":
        this.#limits = command.limits;
        return;
      case "install":
        return this.#tables.install(command);
      case "widen":
        return this.#tables.widen(command.localIndex, command.paths);
      case "confirm":
        if (this.#isInBatch) this.#later.push(command);
        else this.#confirm(command);
        return;
      case "retire":
        return this.#tables.retire(command.localIndex);
      case "stop":
        return this.#tables.clear();
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

  #receive(fd: number, isIpv4: boolean, batches: number): boolean {
    const receiving = this.#receiving;
    for (let i = 0; i < batches; i++) {
      const length = receiving.receive(fd, isIpv4);
      if (length === NOTHING_THERE) return false;
      if (length === NEWS) continue;
      // Nothing in it, or nobody said where it arrived.
      if (receiving.stride === 0) this.#drop("malformed");
      else this.batch(length, receiving.stride);
    }
    return true;
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
    const keys = this.#tables.find(index) ?? this.#installedMeanwhile(index);
    if (keys === undefined) return this.#drop("unknown-index");
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
    return this.#tables.find(index);
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
    if (!this.#handed.push(this.#path, u8, at, length)) this.#drop("rate-limited");
  }

  #mayCome(keys: ReceiveKeys): boolean {
    const { paths } = keys;
    // A connection is one peer's, and carries what is bound to it.
    const isStream = this.#path[0] === 0;
    if (keys.isConfirmed && this.#setup.binding === "roam" && !isStream) return true;
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
      return this.#hear(keys.localIndex, u8.slice(at, at + size));
    } else return this.#drop("bad-plaintext");
    const { block } = keys.peer;
    block[PEER.rxPackets]! += 1;
    block[PEER.rxBytes]! += size;
  }

  #hear(localIndex: number, plaintext: Uint8Array): void {
    const from = receivedPathOf(this.#path);
    this.#report({ kind: "control", localIndex, plaintext, from });
  }

  #isAllowed(peer: IngressPeer, at: number, size: number): boolean {
    const { u8 } = this.#memory;
    const fault = receivedPacketFaultAt(u8, at, size, peer, this.#tables.routes, this.#own);
    if (fault === undefined) return true;
    this.#drop(fault);
    return false;
  }

  // Commands.

  #confirm(command: IngressCommand & { kind: "confirm" }): void {
    const keys = this.#tables.find(command.localIndex);
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

  #drop(reason: DropReason, times = 1): void {
    this.#drops[DROP_INDEX[reason]]! += times;
  }
}
