/**
 * One worker's loop with everything around it made up, for a rehearsal (rehearsal.ts): the TUN is a
 * socket pair, the way to the peer a socket that sends to itself on loopback, the keys are random.
 * Nothing of it leaves this process.
 *
 * @module
 */

import { AF, EFD, SOCK, SOCKET_OPTION } from "../../../ffi/layout.ts";
import { check, libc } from "../../../ffi/libc.ts";
import type { PacketCipher, PacketSealer } from "../../../ffi/libcrypto.ts";
import { Mem } from "../../../ffi/memory.ts";
import { LinuxUdpPath } from "../../../ffi/udp_path.ts";
import { hostPrefix } from "../../net/ip_prefix.ts";
import { DATA_HEADER_LENGTH, DATAGRAM_TYPE, TAG_LENGTH } from "../../wire/datagram.ts";
import { pathLimit } from "../path_limit.ts";
import { Egress } from "./egress.ts";
import { newHandedRing } from "./handed_datagrams.ts";
import { Ingress } from "./ingress.ts";
import type { KeypairFacts, PathBytes, WorkerReport, WorkerSetup } from "./messages.ts";
import { Pulse } from "./pulse.ts";
import { ACTIVITY, DROP_BLOCK_SIZE, PEER_BLOCK_SIZE, SharedKeypair } from "./shared_state.ts";
import { VNET } from "./virtio.ts";

/** Payload of an echo as ping sends it, its ICMP header included. */
const ECHO_LENGTH = 64;
/** Plaintext that fits the made-up path, in bytes. */
const PATH_SIZE = 1408;
/** As large as most: numbers from 2^31 on are kept otherwise than smaller ones. */
const INDEX = 0xfedc_ba98;
/** Length of what goes round. */
const SCRATCH_SIZE = 2048;
const READ_AT = 1024;
const ONE = new Uint8Array(BigUint64Array.of(1n).buffer);

/** What differs between the families, of the packets inside and of the way there. */
const FAMILIES = {
  4: {
    domain: AF.INET,
    loopback: Uint8Array.of(127, 0, 0, 1),
    own: Uint8Array.of(192, 0, 2, 1),
    peer: Uint8Array.of(192, 0, 2, 2),
    headerLength: 20,
    options: [SOCKET_OPTION.IP_PKTINFO, SOCKET_OPTION.UDP_GRO],
  },
  6: {
    domain: AF.INET6,
    loopback: Uint8Array.from({ length: 16 }, (_, i) => i === 15 ? 1 : 0),
    own: Uint8Array.from({ length: 16 }, (_, i) => i === 0 ? 0xfd : 1),
    peer: Uint8Array.from({ length: 16 }, (_, i) => i === 0 ? 0xfd : 2),
    headerLength: 40,
    options: [SOCKET_OPTION.IPV6_RECVPKTINFO, SOCKET_OPTION.UDP_GRO],
  },
} as const;

/** What a loop calls that is not its own. */
export interface StageEars {
  readonly report: (report: WorkerReport) => void;
  readonly lookForCommands: () => void;
}

/** One loop, and what plays the rest of the world for it. */
export class RehearsalStage {
  readonly #setup: WorkerSetup;
  readonly #family: typeof FAMILIES[4 | 6];
  readonly #fds: number[] = [];
  readonly #scratch = new Mem(SCRATCH_SIZE);
  readonly #shared = new SharedKeypair();
  readonly #pulse: Pulse | undefined;
  /** The far end of the TUN. */
  readonly #world: number;
  readonly #udp: number;
  readonly #eventFd: number;
  readonly #loop: Egress | Ingress | undefined;
  readonly #sealer: PacketSealer | undefined;
  #scene = 0;
  #counter = 0;

  /**
   * @param setup Of the real worker.
   * @param now On the control thread's clock.
   * @throws {SyscallError} If this machine lacks the family on loopback.
   */
  constructor(
    setup: WorkerSetup,
    cipher: PacketCipher,
    family: 4 | 6,
    ears: StageEars,
    now: number,
  ) {
    this.#family = FAMILIES[family];
    try {
      // Safety: integers only.
      this.#eventFd = this.#opened(libc.eventfd(0, EFD.NONBLOCK | EFD.CLOEXEC));
      const pair = new Int32Array(2);
      const kind = SOCK.DGRAM | SOCK.NONBLOCK | SOCK.CLOEXEC;
      // Safety: the two descriptors are written before the call returns.
      check(libc.socketpair(AF.UNIX, kind, 0, pair), "make a socket pair");
      this.#fds.push(...pair);
      this.#world = pair[1]!;
      // Safety: integers only.
      this.#udp = this.#opened(libc.socket(this.#family.domain, kind, 0));
      this.#setup = {
        ...setup,
        tunFd: pair[0]!,
        ipv4Fd: family === 4 ? this.#udp : -1,
        ipv6Fd: family === 6 ? this.#udp : -1,
        drops: new SharedArrayBuffer(DROP_BLOCK_SIZE),
        handed: newHandedRing().buffer,
        ring: newHandedRing().buffer,
      };
      const path = this.#connect();
      const key = crypto.getRandomValues(new Uint8Array(32));
      this.#sealer = setup.role === "ingress" ? cipher.sealer(key) : undefined;
      this.#loop = setup.role === "egress"
        ? this.#makeEgress(cipher, key, path, ears, now)
        : this.#makeIngress(cipher, key, path, ears, now);
      const { tunFd, ipv4Fd, ipv6Fd } = this.#setup;
      this.#pulse = new Pulse({
        loop: this.#loop,
        eventFd: this.#eventFd,
        sources: setup.role === "egress" ? [tunFd] : [ipv4Fd, ipv6Fd],
        offset: performance.timeOrigin - setup.timeOrigin,
        lookForCommands: ears.lookForCommands,
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Lets one packet come, and sometimes something else. */
  play(now: number): void {
    // What the other worker would write: a ping is answered before the next one goes out.
    const { activity } = this.#shared;
    activity[ACTIVITY.sentAt] = activity[ACTIVITY.receivedAt] = now;
    const scene = this.#scene++ & 15;
    if (scene === 15) this.#hearCommand();
    this.#bring(scene);
    if (scene === 5) this.#bring(scene);
    this.#pulse?.run(0);
    // Safety: here and below, the memory is a field of this object.
    const out = this.#sealer === undefined ? this.#udp : this.#world;
    while (libc.read(out, this.#scratch.at(READ_AT), SCRATCH_SIZE - READ_AT) > 0);
  }

  /** Gives everything back. Once. */
  close(): void {
    this.#pulse?.close();
    this.#sealer?.free();
    this.#loop?.command({ kind: "stop" }, 0);
    // Safety: our own descriptors, closed once.
    for (const fd of this.#fds) libc.close(fd);
  }

  #opened(fd: number): number {
    this.#fds.push(check(fd, "open a descriptor"));
    return fd;
  }

  /** Ties the socket to itself. @returns The way, as a message brings it. */
  #connect(): PathBytes {
    const { loopback, options } = this.#family;
    const address = (port: number) =>
      new LinuxUdpPath({ address: loopback, port }, loopback, 0, () => "");
    const name = address(0).name.slice();
    const attempt = "use loopback";
    // Safety: names and values are read or written before each call returns.
    check(libc.bind(this.#udp, name, name.length), attempt);
    const length = Uint8Array.of(name.length, 0, 0, 0);
    check(libc.getsockname(this.#udp, name, length), attempt);
    for (const [level, option] of options) {
      libc.setsockopt(this.#udp, level, option, Uint8Array.of(1, 0, 0, 0), 4);
    }
    // Connected, it can be written to. Fails where loopback is down.
    check(libc.connect(this.#udp, name, name.length), attempt);
    const { localName, interfaceIndex, control } = address(name[2]! << 8 | name[3]!);
    // Objects that a message brings are made otherwise than those of this thread.
    return structuredClone({ name, localName, interfaceIndex, control });
  }

  #facts(now: number): KeypairFacts {
    return {
      peer: "",
      localIndex: INDEX,
      remoteIndex: INDEX,
      createdAt: now,
      block: this.#shared.buffer,
    };
  }

  #makeEgress(
    cipher: PacketCipher,
    sendKey: Uint8Array,
    path: PathBytes,
    { report }: StageEars,
    now: number,
  ): Egress {
    const { own, peer } = this.#family;
    const loop = new Egress(this.#setup, cipher, report);
    loop.command({ kind: "own-addresses", addresses: [own] }, now);
    const block = new SharedArrayBuffer(PEER_BLOCK_SIZE);
    loop.command({ kind: "peer", id: "", allowedIps: [hostPrefix(peer)], block }, now);
    loop.command({ kind: "install", keypair: this.#facts(now), sendKey, path }, now);
    loop.command({ kind: "use", localIndex: INDEX }, now);
    // Of most paths the size is known soon, of some never.
    const limit = structuredClone(pathLimit(PATH_SIZE));
    if (own.length === 4) loop.command({ kind: "limit", localIndex: INDEX, limit }, now);
    return loop;
  }

  #makeIngress(
    cipher: PacketCipher,
    receiveKey: Uint8Array,
    path: PathBytes,
    { report, lookForCommands }: StageEars,
    now: number,
  ): Ingress {
    const { own, peer } = this.#family;
    const loop = new Ingress(this.#setup, cipher, report, lookForCommands);
    loop.command({ kind: "own-addresses", addresses: [peer] }, now);
    const block = new SharedArrayBuffer(PEER_BLOCK_SIZE);
    loop.command({ kind: "peer", id: "", allowedIps: [hostPrefix(own)], block }, now);
    const [keypair, paths] = [this.#facts(now), [path]];
    loop.command({ kind: "install", keypair, receiveKey, isConfirmed: true, paths }, now);
    return loop;
  }

  /** Writes an echo to our scratch. @returns Its length. */
  #makeEcho(at: number): number {
    const { own, peer, headerLength } = this.#family;
    const { u8, view } = this.#scratch;
    const length = headerLength + ECHO_LENGTH;
    u8.fill(0, at, at + length);
    if (headerLength === 20) {
      u8[at] = 0x45;
      view.setUint16(at + 2, length);
      u8[at + 8] = 64;
      u8[at + 9] = 1;
      u8.set(own, at + 12);
      u8.set(peer, at + 16);
    } else {
      u8[at] = 0x60;
      view.setUint16(at + 4, ECHO_LENGTH);
      u8[at + 6] = 58;
      u8[at + 7] = 64;
      u8.set(own, at + 8);
      u8.set(peer, at + 24);
    }
    return length;
  }

  #fromTun(): void {
    this.#scratch.u8.fill(0, 0, VNET.size);
    const length = VNET.size + this.#makeEcho(VNET.size);
    libc.write(this.#world, this.#scratch.at(0), length);
  }

  #bring(scene: number): void {
    if (this.#sealer === undefined) this.#fromTun();
    else if (scene === 3) this.#fromPeer(0, INDEX);
    else if (scene === 7) this.#fromPeer(2, INDEX);
    else if (scene === 11) this.#fromStranger();
    else this.#fromPeer(this.#makeEcho(DATA_HEADER_LENGTH), scene === 13 ? 0 : INDEX);
  }

  /** What stands in scratch behind the header; of 2 bytes: a control message that nobody knows. */
  #fromPeer(length: number, index: number): void {
    const counter = this.#counter++;
    const { u8, view } = this.#scratch;
    const at = DATA_HEADER_LENGTH;
    if (length === 2) u8.fill(0, at, at + length);
    view.setUint32(0, DATAGRAM_TYPE.data, true);
    view.setUint32(4, index, true);
    view.setUint32(8, counter, true);
    view.setUint32(12, 0, true);
    this.#sealer!.seal(counter, 0, this.#scratch, 0, at, this.#scratch, at, length);
    libc.write(this.#udp, this.#scratch.at(0), at + length + TAG_LENGTH);
  }

  #fromStranger(): void {
    this.#scratch.u8[0] = DATAGRAM_TYPE.discovery;
    libc.write(this.#udp, this.#scratch.at(0), ECHO_LENGTH);
  }

  #hearCommand(): void {
    libc.writeBuffer(this.#eventFd, ONE, 8);
    this.#pulse?.beat(0);
    libc.read(this.#eventFd, this.#scratch.at(READ_AT), 8);
  }
}
