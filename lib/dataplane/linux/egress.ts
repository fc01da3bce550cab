/**
 * The sending half of the Linux data plane: TUN → seal → UDP, one synchronous loop in a worker.
 *
 * In the order of the packet:
 * 1. read from the TUN until it is empty; 2. its source is ours; 3. whose its destination is;
 * 4. no keypair: it waits, and one is wanted; 5. too large for the path: tell the sender; 6. split a
 * super-segment; 7. seal; 8. send in runs; when the TUN is empty all runs go out.
 *
 * @module
 */

import { ERRNO, SyscallError } from "../../../ffi/errno.ts";
import { errno, libc } from "../../../ffi/libc.ts";
import type { PacketCipher } from "../../../ffi/libcrypto.ts";
import { Mem } from "../../../ffi/memory.ts";
import { largestDatagram } from "../../../ffi/path_mtu.ts";
import { addToSum, partialChecksumAt } from "../../net/checksum.ts";
import { DESTINATION_AT, ipVersion, ipVersionAt, SOURCE_AT } from "../../net/ip_packet.ts";
import { clampMss } from "../../net/tcp_mss.ts";
import { AllowedIps } from "../../route/allowed_ips.ts";
import { OwnAddresses } from "../../route/inner_addresses.ts";
import type { DropReason } from "../../session/actions.ts";
import type { SessionLimits } from "../../session/limits.ts";
import { DATA_OVERHEAD } from "../../session/transport_keys.ts";
import { PARTIAL_CHECKSUM_BIT } from "../../wire/inner_control.ts";
import { IcmpReplies } from "../icmp_replies.ts";
import { isTooLarge, NO_LIMIT, pathLimit, sameLimit } from "../path_limit.ts";
import { DatagramRing } from "./datagram_ring.ts";
import { EgressPeer } from "./egress_peer.ts";
import { type EgressCommand, isStream, type WorkerReport, type WorkerSetup } from "./messages.ts";
import { PAUSE_MS } from "./pulse.ts";
import { type PacketSink, Segmentation } from "./segmentation.ts";
import { SendKeys } from "./send_keys.ts";
import { SendRuns } from "./send_runs.ts";
import { ACTIVITY, DROP_INDEX } from "./shared_state.ts";
import { GSO, NEEDS_CHECKSUM, VNET } from "./virtio.ts";

/** Where the IP packet stands: on a multiple of 16, with the virtio header before it. */
const PACKET_AT = 16;
const HEADER_AT = PACKET_AT - VNET.size;
/** Longest super-segment. */
const PACKET_MAX = 65_536;
/**
 * Reads before commands and the clock are looked at again while the TUN is never empty. Ours: at
 * 64 KiB each about 5 ms.
 */
const READS_PER_TURN = 32;

/** The egress worker's loop and tables. */
export class Egress implements PacketSink {
  readonly #setup: WorkerSetup;
  readonly #cipher: PacketCipher;
  readonly #report: (report: WorkerReport) => void;
  readonly #drops: Float64Array;
  /** What the control thread has to send by a stream, by the keypair's index. */
  readonly #departures: DatagramRing;
  readonly #memory = new Mem(PACKET_AT + PACKET_MAX + 64);
  readonly #readTo = this.#memory.pointer(HEADER_AT);
  /** The packet as the functions of `lib/net` take it; cut to its length where that counts. */
  readonly #packet = this.#memory.u8.subarray(PACKET_AT);
  readonly #runs: SendRuns;
  readonly #segmentation = new Segmentation();
  readonly #icmp = new IcmpReplies();
  readonly #peers = new Map<string, EgressPeer>();
  readonly #keys = new Map<number, SendKeys>();
  readonly #routes = new AllowedIps<EgressPeer>((peer) => peer.id);
  #limits: SessionLimits;
  #own = new OwnAddresses([]);
  #now = 0;
  #turnedAt = -Infinity;
  /** Whose packet `packet()` seals. */
  #sending: SendKeys | undefined;

  constructor(setup: WorkerSetup, cipher: PacketCipher, report: (report: WorkerReport) => void) {
    this.#setup = setup;
    this.#cipher = cipher;
    this.#report = report;
    this.#limits = setup.limits;
    this.#drops = new Float64Array(setup.drops);
    this.#departures = new DatagramRing(setup.ring);
    this.#runs = new SendRuns(setup.ipv4Fd, setup.ipv6Fd, {
      drop: (reason, times) => this.#drop(reason, times),
      stream: (keys, bytes, stride) => this.#hand(keys, bytes, stride),
      tooLarge: (keys, packet) => this.#learnPathMtu(keys, packet),
    });
  }

  /**
   * Reads what the TUN has, at most some turns' worth. The first packet after a pause goes out before
   * it is asked whether there is another.
   *
   * @param now On the control thread's clock.
   * @returns `false` if there is nothing more, or waiting will tell.
   */
  turn(now: number): boolean {
    const isAfterPause = now - this.#turnedAt >= PAUSE_MS;
    this.#now = this.#turnedAt = now;
    const { tunFd } = this.#setup;
    for (let i = isAfterPause ? READS_PER_TURN - 1 : 0; i < READS_PER_TURN; i++) {
      // Safety: the kernel writes at most so many bytes into a field of this object.
      const length = libc.read(tunFd, this.#readTo, PACKET_MAX + VNET.size);
      if (length >= VNET.size) {
        this.#fromTun(length - VNET.size);
        continue;
      }
      const code = length < 0 ? errno() : ERRNO.EIO;
      if (code === ERRNO.EINTR) continue;
      this.#runs.flush();
      if (code !== ERRNO.EAGAIN) throw new SyscallError("read from the TUN device", code);
      return false;
    }
    this.#runs.flush();
    return !isAfterPause;
  }

  /** Carries out a command of the control thread. */
  command(command: EgressCommand, now: number): void {
    this.#now = now;
    switch (command.kind) {
      case "peer":
        return this.#setPeer(command);
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
      case "bind": {
        const keys = this.#keys.get(command.localIndex);
        if (keys !== undefined) keys.path = command.path;
        return;
      }
      case "use":
        return this.#use(command.localIndex);
      case "retire":
        return this.#retire(command.localIndex);
      case "seal":
        return this.#sealPlaintext(command);
      case "limit": {
        const keys = this.#keys.get(command.localIndex);
        if (keys !== undefined) keys.limit = sameLimit(command.limit);
        return;
      }
      case "drop-queue": {
        const peer = this.#peers.get(command.peer);
        if (peer !== undefined) this.#dropQueue(peer);
        return;
      }
      case "stop":
        return this.#stop();
    }
  }

  /** Seals the packet that stands there for whom `#send` has chosen. */
  packet(memory: Mem, at: number, length: number): void {
    const keys = this.#sending!;
    if (!this.#maySend(keys)) return this.#drop("expired-keypair", 1);
    this.#runs.seal(keys, memory, at, length, this.#now);
    keys.peer.count(1, length);
  }

  // The packet's way.

  #fromTun(length: number): void {
    const { u8 } = this.#memory;
    const version = ipVersionAt(u8, PACKET_AT, length);
    let peer: EgressPeer | undefined;
    if (version === 4) {
      if (!this.#own.hasIpv4(u8, PACKET_AT + SOURCE_AT[4])) {
        return this.#drop("source-not-allowed", 1);
      }
      peer = this.#routes.lookupIpv4(u8, PACKET_AT + DESTINATION_AT[4]);
    } else if (version === 6) {
      if (!this.#own.hasIpv6(u8, PACKET_AT + SOURCE_AT[6])) {
        return this.#drop("source-not-allowed", 1);
      }
      peer = this.#routes.lookupIpv6(u8, PACKET_AT + DESTINATION_AT[6]);
    } else return this.#drop("bad-plaintext", 1);
    if (peer === undefined) {
      this.#drop("no-route", 1);
      return this.#answer(this.#icmp.unreachable(this.#packet.subarray(0, length), this.#now));
    }
    this.#send(peer, length);
  }

  /** Sends the packet in `#memory`, virtio header and all, or lets it wait. */
  #send(peer: EgressPeer, length: number): void {
    const keys = peer.current;
    if (keys === undefined || !this.#maySend(keys)) return this.#enqueue(peer, length);
    const { view, u8 } = this.#memory;
    const gsoType = u8[HEADER_AT + VNET.gsoType]!;
    const gsoSize = view.getUint16(HEADER_AT + VNET.gsoSize, true);
    const start = view.getUint16(HEADER_AT + VNET.checksumStart, true);
    if (keys.limit !== NO_LIMIT && !this.#fits(keys, length, gsoType, gsoSize, start)) return;
    this.#sending = keys;
    const { activity } = keys.shared;
    if (activity[ACTIVITY.payloadSentAt]! <= activity[ACTIVITY.receivedAt]!) {
      activity[ACTIVITY.unansweredSince] = this.#now;
    }
    activity[ACTIVITY.payloadSentAt] = this.#now;
    if (gsoType !== GSO.none) {
      const isSplit = this.#segmentation.split(
        this.#memory,
        PACKET_AT,
        length,
        gsoType,
        gsoSize,
        start,
        this,
      );
      if (!isSplit) this.#drop("malformed", 1);
      return;
    }
    if ((u8[HEADER_AT + VNET.flags]! & NEEDS_CHECKSUM) !== 0) {
      this.#settleChecksum(length, start, start + view.getUint16(HEADER_AT + 8, true));
    }
    this.packet(this.#memory, PACKET_AT, length);
  }

  /** Says that the checksum is partial where the rules allow it, else finishes it. */
  #settleChecksum(length: number, start: number, at: number): void {
    const packet = this.#packet.subarray(0, length);
    if (partialChecksumAt(packet) === at) {
      packet[0]! |= PARTIAL_CHECKSUM_BIT;
      return;
    }
    if (at + 2 > length) return;
    // What stands there is the pseudo-header's sum, so summing it along is all there is to do.
    const sum = ~addToSum(packet, start, length) & 0xffff;
    const isUdp = at - start === 6;
    this.#memory.view.setUint16(PACKET_AT + at, sum === 0 && isUdp ? 0xffff : sum);
  }

  /**
   * Answers with ICMP, and drops, if the packet or one of its segments is too large for the path.
   * What starts a TCP connection is told to ask for no more than fits.
   */
  #fits(
    keys: SendKeys,
    length: number,
    gsoType: number,
    gsoSize: number,
    start: number,
  ): boolean {
    let largest = length;
    if (gsoType !== GSO.none) {
      const isUdp = gsoType === GSO.udp;
      const transport = isUdp ? 8 : (this.#memory.u8[PACKET_AT + start + 12]! >> 4) * 4;
      largest = start + transport + gsoSize;
    }
    const { mtu } = keys.limit;
    // No view is made of a packet that fits: after a pause that costs more than all else here.
    if (largest > mtu) {
      const packet = this.#packet.subarray(0, length);
      if (isTooLarge(packet, largest, keys.limit)) {
        this.#drop("send-failed", 1);
        this.#answer(this.#icmp.tooBig(packet, mtu, this.#now));
        return false;
      }
    }
    if (gsoType === GSO.none) {
      const isPartial = (this.#memory.u8[HEADER_AT + VNET.flags]! & NEEDS_CHECKSUM) !== 0;
      clampMss(this.#memory.u8, PACKET_AT, length, mtu, isPartial);
    }
    return true;
  }

  /** Lets the control thread send, unless it is too far behind. */
  #hand(keys: SendKeys, bytes: Uint8Array, stride: number): void {
    const departures = this.#departures;
    for (let at = 0; at < bytes.length; at += stride) {
      const length = Math.min(stride, bytes.length - at);
      if (!departures.push(keys.localIndex, bytes, at, length)) this.#drop("queue-full", 1);
    }
    if (departures.mustWake()) this.#report({ kind: "departures" });
  }

  /** RFC 1191, RFC 8201: who sends too much at once must hear of it, or its connection hangs. */
  #learnPathMtu(keys: SendKeys, packet: Uint8Array): void {
    const { path } = keys;
    const largest = path === undefined || isStream(path) ? undefined : largestDatagram(path);
    if (largest === undefined || largest <= DATA_OVERHEAD) return;
    if (largest < keys.limit.whole) {
      keys.limit = pathLimit(largest - DATA_OVERHEAD);
      this.#report({ kind: "too-large", localIndex: keys.localIndex });
    }
    packet[0]! &= ~PARTIAL_CHECKSUM_BIT;
    if (ipVersion(packet) === 0 || !isTooLarge(packet, packet.length, keys.limit)) return;
    this.#answer(this.#icmp.tooBig(packet, keys.limit.mtu, this.#now));
  }

  #enqueue(peer: EgressPeer, length: number): void {
    const end = PACKET_AT + length;
    this.#drop("queue-full", peer.queue.push(this.#memory.u8.subarray(HEADER_AT, end)));
    peer.showQueue();
    if (peer.isWanted) return;
    peer.isWanted = true;
    this.#report({ kind: "wanted", peer: peer.id });
  }

  #answer(packet: Uint8Array | undefined): void {
    if (packet === undefined) return;
    const written = new Uint8Array(VNET.size + packet.length);
    written.set(packet, VNET.size);
    // Safety: read before the call returns.
    const result = libc.writeBuffer(this.#setup.tunFd, written, written.length);
    if (result < 0) this.#drop("tun-write-failed", 1);
  }

  #maySend(keys: SendKeys): boolean {
    return keys.shared.isLive && keys.path !== undefined &&
      this.#now - keys.createdAt < this.#limits.rejectAfterMs &&
      keys.counter < this.#limits.rejectAfterMessages;
  }

  // Commands.

  #setPeer({ id, allowedIps, block }: EgressCommand & { kind: "peer" }): void {
    let peer = this.#peers.get(id);
    if (peer === undefined) {
      peer = new EgressPeer(id, block);
      this.#peers.set(id, peer);
    }
    this.#routes.replace(peer, allowedIps);
  }

  #removePeer(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    for (const keys of [...this.#keys.values()]) {
      if (keys.peer === peer) this.#retire(keys.localIndex);
    }
    this.#routes.removeValue(peer);
    this.#dropQueue(peer);
    this.#peers.delete(id);
  }

  #install({ keypair, sendKey, path }: EgressCommand & { kind: "install" }): void {
    const peer = this.#peers.get(keypair.peer);
    if (peer !== undefined && !this.#keys.has(keypair.localIndex)) {
      const keys = new SendKeys(keypair, peer, this.#cipher.sealer(sendKey), path);
      this.#keys.set(keypair.localIndex, keys);
    }
    sendKey.fill(0);
  }

  #use(localIndex: number): void {
    const keys = this.#keys.get(localIndex);
    if (keys === undefined) return;
    const { peer } = keys;
    peer.current = keys;
    peer.isWanted = false;
    for (const waiting of peer.queue.take()) {
      this.#memory.u8.set(waiting, HEADER_AT);
      this.#send(peer, waiting.length - VNET.size);
    }
    peer.showQueue();
    this.#runs.flush();
  }

  #retire(localIndex: number): void {
    const keys = this.#keys.get(localIndex);
    if (keys === undefined) return;
    this.#runs.forget(keys);
    this.#keys.delete(localIndex);
    if (keys.peer.current === keys) keys.peer.current = undefined;
    keys.sealer.free();
  }

  #sealPlaintext(command: EgressCommand & { kind: "seal" }): void {
    const keys = this.#keys.get(command.localIndex);
    if (keys === undefined || !this.#maySend(keys)) return;
    if (command.onlyIfUnused && keys.counter > 0) return;
    this.#memory.u8.set(command.plaintext, PACKET_AT);
    if (command.isWhole) this.#runs.flush();
    const { limit } = keys;
    if (command.isWhole) keys.limit = NO_LIMIT;
    this.#runs.seal(keys, this.#memory, PACKET_AT, command.plaintext.length, this.#now);
    this.#runs.flush();
    if (command.isWhole && limit.whole < keys.limit.whole) keys.limit = limit;
  }

  #dropQueue(peer: EgressPeer): void {
    this.#drop("no-keypair", peer.queue.take().length);
    peer.showQueue();
    peer.isWanted = false;
  }

  #stop(): void {
    for (const id of [...this.#peers.keys()]) this.#removePeer(id);
    this.#runs.flush();
  }

  #drop(reason: DropReason, times: number): void {
    this.#drops[DROP_INDEX[reason]]! += times;
  }
}
