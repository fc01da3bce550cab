/**
 * A worker's loop, played through with made-up packets while the real one has nothing to do: a loop
 * that has run some thousand times is compiled, and the first real packets do not pay for that.
 *
 * It has to go every way that a packet usually goes: where the real loop takes another, what was
 * compiled is thrown away.
 *
 * Nothing of it leaves this process: the TUN is a socket pair, the way to the peer a socket that
 * sends to itself on loopback, the keys are made up.
 *
 * @module
 */

import { AF, SOCK, SOCKET_OPTION } from "../../../ffi/layout.ts";
import { libc } from "../../../ffi/libc.ts";
import type { PacketCipher, PacketSealer } from "../../../ffi/libcrypto.ts";
import { Mem } from "../../../ffi/memory.ts";
import { hostPrefix } from "../../net/ip_prefix.ts";
import { DATA_HEADER_LENGTH, DATAGRAM_TYPE, TAG_LENGTH } from "../../wire/datagram.ts";
import { DatagramRing } from "./datagram_ring.ts";
import { Egress } from "./egress.ts";
import { Ingress } from "./ingress.ts";
import { Pulse } from "./pulse.ts";
import type { KeypairFacts, PathBytes, WorkerSetup } from "./messages.ts";
import { pathLimit } from "../path_limit.ts";
import { ACTIVITY, DROP_BLOCK_SIZE, PEER_BLOCK_SIZE, SharedKeypair } from "./shared_state.ts";
import { VNET } from "./virtio.ts";

/** Packets in all. Ours: after some thousand the compilers have little left to do. */
const PACKETS = 6_000;
/** Packets per step: about half a millisecond. */
const PACKETS_PER_STEP = 25;
/** An ICMP echo as ping sends it. */
const PACKET_LENGTH = 84;
/** Plaintext that fits the made-up path, in bytes. */
const PATH_SIZE = 1408;
const OWN = Uint8Array.of(192, 0, 2, 1);
const PEER = Uint8Array.of(192, 0, 2, 2);
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const INDEX = 1;

/** One worker's loop with everything around it made up. */
export class Rehearsal {
  readonly #setup: WorkerSetup;
  readonly #cipher: PacketCipher;
  readonly #pair = new Int32Array(2).fill(-1);
  readonly #scratch = new Mem(2048);
  #udp = -1;
  #pulse: Pulse | undefined;
  #sealer: PacketSealer | undefined;
  #egressLoop: Egress | undefined;
  readonly #shared = new SharedKeypair();
  #name = new Uint8Array(0);
  #left = PACKETS;

  constructor(setup: WorkerSetup, cipher: PacketCipher) {
    this.#setup = setup;
    this.#cipher = cipher;
  }

  /**
   * Plays some packets.
   *
   * @param now On the control thread's clock.
   * @returns `false` when there is nothing left to play, or it cannot be played here.
   */
  step(now: number): boolean {
    if (this.#left === PACKETS && !this.#begin(now)) this.#left = 0;
    // What the other worker would write: a ping is answered before the next one goes out.
    const { activity } = this.#shared;
    activity[ACTIVITY.sentAt] = activity[ACTIVITY.receivedAt] = now;
    if (this.#left === PACKETS / 2) this.#narrow(now);
    for (let i = 0; i < PACKETS_PER_STEP && this.#left > 0; i++, this.#left--) this.#play();
    if (this.#left > 0) return true;
    this.close();
    return false;
  }

  /** Ends it early. Safe to call twice. */
  close(): void {
    this.#left = 0;
    this.#pulse = undefined;
    this.#egressLoop = undefined;
    this.#sealer?.free();
    this.#sealer = undefined;
    // Safety: our own descriptors, closed once.
    for (const fd of [...this.#pair, this.#udp]) if (fd >= 0) libc.close(fd);
    this.#pair.fill(-1);
    this.#udp = -1;
  }

  #begin(now: number): boolean {
    const kind = SOCK.DGRAM | SOCK.NONBLOCK | SOCK.CLOEXEC;
    // Safety: the two descriptors are written before the call returns.
    if (libc.socketpair(AF.UNIX, kind, 0, this.#pair) < 0) return false;
    // Safety: integers only.
    this.#udp = libc.socket(AF.INET, kind, 0);
    const name = new Uint8Array(16);
    name[0] = AF.INET;
    name.set(LOOPBACK, 4);
    // Safety: names and values are read or written before each call returns.
    if (this.#udp < 0 || libc.bind(this.#udp, name, name.length) < 0) return false;
    if (libc.getsockname(this.#udp, name, Uint8Array.of(16, 0, 0, 0)) < 0) return false;
    for (const [level, option] of [SOCKET_OPTION.IP_PKTINFO, SOCKET_OPTION.UDP_GRO]) {
      libc.setsockopt(this.#udp, level, option, Uint8Array.of(1, 0, 0, 0), 4);
    }
    // Safety: as above. A connected socket can be written to; loopback may be down.
    if (libc.connect(this.#udp, name, name.length) < 0) return false;
    this.#name = name;
    const isEgress = this.#setup.role === "egress";
    this.#pulse = new Pulse({
      loop: isEgress ? this.#egress(now) : this.#ingress(now),
      eventFd: -1,
      sources: isEgress ? [this.#pair[0]!] : [this.#udp, -1],
      offset: performance.timeOrigin - this.#setup.timeOrigin,
      lookForCommands: () => {},
    });
    return true;
  }

  #setupOf(): WorkerSetup {
    return {
      ...this.#setup,
      tunFd: this.#pair[0]!,
      ipv4Fd: this.#udp,
      ipv6Fd: -1,
      drops: new SharedArrayBuffer(DROP_BLOCK_SIZE),
      ring: new DatagramRing().buffer,
    };
  }

  #keypair(now: number): { facts: KeypairFacts; key: Uint8Array; path: PathBytes } {
    const localName = this.#name.slice();
    localName.fill(0, 2, 4);
    return {
      facts: {
        peer: "",
        localIndex: INDEX,
        remoteIndex: INDEX,
        createdAt: now,
        block: this.#shared.buffer,
      },
      key: crypto.getRandomValues(new Uint8Array(32)),
      path: {
        name: this.#name,
        localName,
        interfaceIndex: 0,
        control: new Uint8Array(0),
      },
    };
  }

  #egress(now: number): Egress {
    const loop = new Egress(this.#setupOf(), this.#cipher, () => {});
    const { facts, key, path } = this.#keypair(now);
    loop.command({ kind: "own-addresses", addresses: [OWN] }, now);
    const block = new SharedArrayBuffer(PEER_BLOCK_SIZE);
    loop.command({ kind: "peer", id: "", allowedIps: [hostPrefix(PEER)], block }, now);
    loop.command({ kind: "install", keypair: facts, sendKey: key, path }, now);
    loop.command({ kind: "use", localIndex: INDEX }, now);
    return this.#egressLoop = loop;
  }

  #ingress(now: number): Ingress {
    const loop = new Ingress(this.#setupOf(), this.#cipher, () => {}, () => {});
    const { facts, key, path } = this.#keypair(now);
    this.#sealer = this.#cipher.sealer(key);
    loop.command({ kind: "own-addresses", addresses: [PEER] }, now);
    const block = new SharedArrayBuffer(PEER_BLOCK_SIZE);
    loop.command({ kind: "peer", id: "", allowedIps: [hostPrefix(OWN)], block }, now);
    const paths = [path];
    loop.command(
      { kind: "install", keypair: facts, receiveKey: key, isConfirmed: true, paths },
      now,
    );
    return loop;
  }

  /** From here on the path's size is known, as it is soon for every real one. */
  #narrow(now: number): void {
    const limit = pathLimit(PATH_SIZE);
    this.#egressLoop?.command({ kind: "limit", localIndex: INDEX, limit }, now);
  }

  #play(): void {
    const { u8, view } = this.#scratch;
    const at = DATA_HEADER_LENGTH;
    u8.fill(0, 0, at + PACKET_LENGTH + TAG_LENGTH);
    u8[at] = 0x45;
    view.setUint16(at + 2, PACKET_LENGTH);
    u8[at + 8] = 64;
    u8[at + 9] = 1;
    u8.set(OWN, at + 12);
    u8.set(PEER, at + 16);
    // Safety, here and below: the memory is a field of this object.
    if (this.#sealer === undefined) {
      const start = at - VNET.size;
      libc.write(this.#pair[1]!, this.#scratch.at(start), VNET.size + PACKET_LENGTH);
    } else {
      view.setUint32(0, DATAGRAM_TYPE.data, true);
      view.setUint32(4, INDEX, true);
      const counter = PACKETS - this.#left;
      view.setUint32(8, counter, true);
      this.#sealer.seal(counter, 0, this.#scratch, 0, at, this.#scratch, at, PACKET_LENGTH);
      libc.write(this.#udp, this.#scratch.at(0), at + PACKET_LENGTH + TAG_LENGTH);
    }
    this.#pulse?.beat(0);
    const out = this.#sealer === undefined ? this.#udp : this.#pair[1]!;
    libc.read(out, this.#scratch.at(1024), 1024);
  }
}
