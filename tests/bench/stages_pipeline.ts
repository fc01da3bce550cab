/**
 * One batch after the other through every stage of the Linux data plane, each stage timed apart.
 *
 * @module
 */

import { libc } from "../../ffi/libc.ts";
import type { PacketCipher } from "../../ffi/libcrypto.ts";
import { Mem } from "../../ffi/memory.ts";
import type { TunLinux } from "../../ffi/tun_linux.ts";
import { Coalescing } from "../../lib/dataplane/linux/coalescing.ts";
import { type PacketSink, Segmentation } from "../../lib/dataplane/linux/segmentation.ts";
import { GSO, VNET } from "../../lib/dataplane/linux/virtio.ts";
import { hostPrefix } from "../../lib/net/ip_prefix.ts";
import { AllowedIps } from "../../lib/route/allowed_ips.ts";
import { OwnAddresses, receivedPacketFaultAt } from "../../lib/route/inner_addresses.ts";
import { ReplayWindow } from "../../lib/session/replay_window.ts";
import { DATA_HEADER_LENGTH, TAG_LENGTH } from "../../lib/wire/datagram.ts";
import { PARTIAL_CHECKSUM_BIT } from "../../lib/wire/inner_control.ts";
import { ipPacket } from "../fakes/packets.ts";
import { median } from "./compiled.ts";
import { prepare, receiveInto, sendTo, udpSocket } from "./stages_sockets.ts";

/** What sealing adds. */
export const OVERHEAD = DATA_HEADER_LENGTH + TAG_LENGTH;
/** This end of the tunnel and the other, and where datagrams go. */
const OWN = Uint8Array.of(10, 9, 0, 1);
const PEER = Uint8Array.of(10, 9, 0, 2);
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const PORTS = { wire: 4000, inner: 5000 } as const;
/** Where the packet stands in a memory, behind its virtio header. */
const PACKET_AT = 16;
const UDP_HEADERS = 28;
const TCP_HEADERS = 52;
/** Batches before the count begins: foreign calls are slow until their callers are compiled. */
export const WARM_UP = 1500;

const NOBODY: PacketSink = { packet() {} };

/** The stages, in the order of the packet. */
export const STAGES = [
  "egress: read from the TUN",
  "egress: split (TCP)",
  "egress: seal",
  "egress: sendmsg",
  "ingress: recvmsg",
  "ingress: replay window",
  "ingress: open",
  "ingress: inner addresses",
  "ingress: coalesce (TCP)",
  "ingress: coalesce and writev (UDP)",
] as const;
/** Name of a stage. */
export type Stage = typeof STAGES[number];

/** A column of the table. */
export interface Load {
  readonly title: string;
  /** Bytes of each packet, and how many make a batch. */
  readonly size: number;
  readonly count: number;
  /** Whether this machine sends a batch as one super-segment. */
  readonly isSuperSegment: boolean;
}

/** All stages with one kind of packets. */
export class Pipeline {
  readonly #tun: TunLinux;
  readonly #load: Load;
  readonly #times = new Map<Stage, number[]>();
  readonly #stride: number;
  /** Plaintexts, one behind the other. */
  readonly #plain = new Mem(65_536);
  readonly #sealed = new Mem(65_536);
  readonly #received = new Mem(65_536);
  /** Held here, since a message header does not hold what it points to. */
  readonly #delivered = new Mem(65_536);
  readonly #fromTun = new Mem(PACKET_AT + 65_536);

  readonly #cipher: PacketCipher;
  readonly #batches: number;

  /** @param batches How many to time. */
  constructor(tun: TunLinux, cipher: PacketCipher, load: Load, batches: number) {
    this.#tun = tun;
    this.#cipher = cipher;
    this.#batches = batches;
    this.#load = load;
    this.#stride = load.size + OVERHEAD;
    for (let i = 0; i < load.count; i++) {
      this.#plain.u8.set(packetOf(17, load.size, 0), i * load.size);
    }
  }

  /** @returns Median nanoseconds per packet of every stage. */
  run(): Map<Stage, number> {
    const { size, count } = this.#load;
    const key = crypto.getRandomValues(new Uint8Array(32));
    const [sealer, opener] = [this.#cipher.sealer(key), this.#cipher.opener(key)];
    const wire = udpSocket(LOOPBACK, PORTS.wire);
    const inner = udpSocket(OWN, PORTS.inner);
    const toWire = sendTo(LOOPBACK, PORTS.wire, this.#sealed, count * this.#stride, this.#stride);
    const [fromWire, fromInner] = [receiveInto(this.#received), receiveInto(this.#delivered)];
    const routes = new AllowedIps<string>((peer) => peer);
    routes.insert(hostPrefix(PEER), "peer");
    const own = new OwnAddresses([OWN]);
    const window = new ReplayWindow();
    const coalescing = new Coalescing({
      memory: this.#received,
      fd: this.#tun.fd,
      hasUdp: this.#tun.hasUdpSegmentation,
      failed: () => {
        throw new Error("Cannot write to the TUN");
      },
    });
    let counter = 0;
    for (let batch = -WARM_UP; batch < this.#batches; batch++) {
      if (batch === 0) this.#times.clear();
      this.#readTun();
      this.#splitTcp();
      this.#take("egress: seal", () => {
        for (let i = 0; i < count; i++) {
          const at = i * this.#stride;
          const body = at + DATA_HEADER_LENGTH;
          sealer.seal(i, 0, this.#sealed, at, body, this.#plain, i * size, size);
        }
      });
      // Safety, here and below: message and memories are fields or locals that outlive the call.
      let sent = 0;
      this.#take("egress: sendmsg", () => sent = libc.sendmsg(wire, toWire.pointer, 0));
      if (sent !== count * this.#stride) throw new Error(`Cannot send a batch: ${sent}`);
      let left = sent;
      let receivedTime = 0;
      while (left > 0) {
        prepare(fromWire);
        const startedAt = performance.now();
        const length = libc.recvmsg(wire, fromWire.pointer, 0);
        receivedTime += performance.now() - startedAt;
        if (length <= 0) throw new Error("Cannot receive a batch");
        left -= length;
      }
      this.#note("ingress: recvmsg", receivedTime);
      this.#take("ingress: replay window", () => {
        for (let i = 0; i < count; i++, counter++) {
          if (!window.mayAccept(counter) || !window.accept(counter)) throw new Error("replayed");
        }
      });
      // What came last of a batch in parts lies at the front: open what was sent instead.
      this.#received.u8.set(this.#sealed.u8.subarray(0, count * this.#stride));
      let opened = 0;
      this.#take("ingress: open", () => {
        for (let i = 0; i < count; i++) {
          const at = i * this.#stride;
          const body = at + DATA_HEADER_LENGTH;
          if (opener.open(i, 0, this.#received, at, body, size)) opened++;
        }
      });
      if (opened !== count) throw new Error(`Only ${opened} of ${count} opened`);
      const { u8 } = this.#received;
      for (let i = 0; i < count; i++) {
        u8[i * this.#stride + DATA_HEADER_LENGTH]! &= ~PARTIAL_CHECKSUM_BIT;
      }
      this.#take("ingress: inner addresses", () => {
        for (let i = 0; i < count; i++) {
          const at = i * this.#stride + DATA_HEADER_LENGTH;
          if (receivedPacketFaultAt(u8, at, size, "peer", routes, own) !== undefined) {
            throw new Error("refused");
          }
        }
      });
      this.#take("ingress: coalesce and writev (UDP)", () => {
        for (let i = 0; i < count; i++) {
          coalescing.partial(i * this.#stride + DATA_HEADER_LENGTH, size);
        }
        coalescing.flush();
      });
      prepare(fromInner);
      while (libc.recvmsg(inner, fromInner.pointer, 0) > 0) prepare(fromInner);
    }
    sealer.free();
    opener.free();
    libc.close(wire);
    libc.close(inner);
    return new Map([...this.#times].map(([stage, times]) => [stage, median(times) / count * 1e6]));
  }

  /** This machine sends a batch to the peer; it is read. */
  #readTun(): void {
    const { size, count, isSuperSegment } = this.#load;
    const payload = size - UDP_HEADERS;
    const isWhole = isSuperSegment && this.#tun.hasUdpSegmentation;
    const sender = udpSocket(OWN, 0);
    const message = sendTo(PEER, 9, this.#plain, isWhole ? payload * count : payload, payload);
    for (let i = 0; i < (isWhole ? 1 : count); i++) {
      if (libc.sendmsg(sender, message.pointer, 0) < 0) throw new Error("Cannot send to the TUN");
    }
    libc.close(sender);
    const to = this.#fromTun.at(PACKET_AT - VNET.size);
    let packets = 0;
    this.#take("egress: read from the TUN", () => {
      while (libc.read(this.#tun.fd, to, 65_536) > 0) packets++;
    });
    if (packets < 1) throw new Error("Nothing came through the TUN");
  }

  /** Splits a super-segment of TCP, and joins what came of it again, without writing it. */
  #splitTcp(): void {
    const { size, count, isSuperSegment } = this.#load;
    if (!isSuperSegment) return;
    const payload = size - TCP_HEADERS;
    const length = TCP_HEADERS + payload * count;
    const superSegment = this.#superSegment ??= packetOf(6, length, 12);
    const memory = this.#fromTun;
    const split = (sink: PacketSink) =>
      this.#segmentation.split(memory, PACKET_AT, length, GSO.tcpIpv4, payload, 20, sink);
    memory.u8.set(superSegment, PACKET_AT);
    this.#take("egress: split (TCP)", () => split(NOBODY));
    memory.u8.set(superSegment, PACKET_AT);
    const { u8 } = this.#received;
    let at = 0;
    split({
      packet: (from, start, length) => {
        u8.set(from.u8.subarray(start, start + length), at);
        u8[at]! &= ~PARTIAL_CHECKSUM_BIT;
        at += this.#stride;
      },
    });
    let writes = 0;
    const coalescing = this.#tcpCoalescing ??= new Coalescing({
      memory: this.#received,
      fd: -1,
      hasUdp: true,
      failed() {},
      write: () => ++writes,
    });
    this.#take("ingress: coalesce (TCP)", () => {
      for (let i = 0; i < count; i++) coalescing.partial(i * this.#stride, size);
      coalescing.flush();
    });
    if (writes > 2) throw new Error(`Joined to ${writes} packets only`);
  }
  readonly #segmentation = new Segmentation();
  #superSegment: Uint8Array | undefined;
  #tcpCoalescing: Coalescing | undefined;

  #take(stage: Stage, run: () => void): void {
    const startedAt = performance.now();
    run();
    this.#note(stage, performance.now() - startedAt);
  }

  #note(stage: Stage, ms: number): void {
    const times = this.#times.get(stage);
    if (times === undefined) this.#times.set(stage, [ms]);
    else times.push(ms);
  }
}

/** A packet from the peer to this end, its checksum partial. */
function packetOf(protocol: 6 | 17, length: number, optionsLength: number): Uint8Array {
  const body = new Uint8Array(length - 20);
  const view = new DataView(body.buffer);
  view.setUint16(0, PORTS.inner);
  view.setUint16(2, PORTS.inner);
  if (protocol === 17) view.setUint16(4, body.length);
  else {
    body[12] = (20 + optionsLength) / 4 << 4;
    body[13] = 0x10; // ACK
  }
  const packet = ipPacket({ source: PEER, destination: OWN, protocol, body });
  if (protocol === 17) packet[0]! |= PARTIAL_CHECKSUM_BIT;
  return packet;
}
