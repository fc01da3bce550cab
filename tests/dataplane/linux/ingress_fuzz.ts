/**
 * Hostile and honest datagrams for the ingress loop, and what must come of each, by a model that
 * knows what was sealed.
 *
 * @module
 */

import { AllowedIps } from "../../../lib/route/allowed_ips.ts";
import { OwnAddresses, receivedPacketFault } from "../../../lib/route/inner_addresses.ts";
import { finishPartialChecksum, writeIpv4Checksum } from "../../../lib/net/checksum.ts";
import { parseIpAddress } from "../../../lib/net/ip_address.ts";
import { parseIpPrefix } from "../../../lib/net/ip_prefix.ts";
import type { Mem } from "../../../ffi/memory.ts";
import { type FarKeys, type IngressScene, udpPath, writeHeader } from "./ingress_scene.ts";

const HEADER = 16;
const OVERHEAD = 32;
/** Most bytes of a batch. */
const BATCH_MAX = 65_535;

const OWN = ["100.64.0.1", "fd00::1"].map((text) => parseIpAddress(text));
const PEERS = [
  { id: "aa", path: udpPath(4000), prefixes: ["100.64.0.2/32", "fd00::2/128"] },
  { id: "bb", path: udpPath(4001), prefixes: ["100.64.0.3/32", "fd00::3/128", "10.5.0.0/16"] },
] as const;
const SOURCES = PEERS.map(({ prefixes }) =>
  prefixes.slice(0, 2).map((text) => parseIpPrefix(text).address)
);

/** Numbers of one run, to be shown and judged. */
export interface Tally {
  datagrams: number;
  /** Carried the index of a keypair in use, whatever else was wrong. */
  liveIndex: number;
  /** Sealed with the right key around whatever. */
  sealed: number;
  delivered: number;
}

/** Makes batches, and compares what came of them. */
export class IngressFuzz {
  readonly tally: Tally = { datagrams: 0, liveIndex: 0, sealed: 0, delivered: 0 };
  readonly #scene: IngressScene;
  readonly #pool = new Uint8Array(1 << 20);
  readonly #routes = new AllowedIps<string>((id) => id);
  readonly #own = new OwnAddresses(OWN);
  readonly #keys: FarKeys[] = [];
  #state: number;
  // Of the batch at hand.
  #expected: Uint8Array[] = [];
  /** Sealed, and without a packet that would be delivered or a drop that would be counted. */
  #silent = 0;
  /** The next packet of a flow continues the one before. */
  #sequence = 0;

  /** @param seed Not 0. */
  constructor(scene: IngressScene, seed: number) {
    this.#scene = scene;
    this.#state = seed;
    for (let at = 0; at < this.#pool.length; at += 65_536) {
      crypto.getRandomValues(this.#pool.subarray(at, at + 65_536));
    }
    scene.tell({ kind: "own-addresses", addresses: OWN });
    for (const { id, prefixes } of PEERS) {
      scene.addPeer(id, ...prefixes);
      for (const text of prefixes) this.#routes.insert(parseIpPrefix(text), id);
    }
    this.#rekey();
  }

  /** Makes one batch, has it handled, and compares. @throws {Error} If anything is not as it must. */
  batch(): void {
    const { memory } = this.#scene.ingress;
    if (this.#below(500) === 0) this.#rekey();
    const who = this.#below(2);
    const isStrange = this.#below(20) === 0;
    const { path } = isStrange ? { path: udpPath(5000 + this.#below(100)) } : PEERS[who]!;
    this.#scene.comesFrom(path);
    this.#expected = [];
    this.#silent = 0;
    const stride = OVERHEAD + this.#size();
    const count = Math.min(1 + this.#below(40), Math.floor(BATCH_MAX / stride));
    const last = this.#below(3) === 0 ? 1 + this.#below(stride) : stride;
    const length = (count - 1) * stride + last;
    let replayable = -1;
    const run = this.#below(100);
    for (let i = 0; i < count; i++) {
      const at = i * stride;
      const size = i === count - 1 ? last : stride;
      this.#random(memory, at, size);
      this.tally.datagrams++;
      const dice = this.#below(100);
      if (size < OVERHEAD || dice < 15) this.#noise(memory, at, size);
      else if (dice < 25) writeHeader(memory, at, this.#word(), this.#below(1 << 20));
      else if (dice < 40) {
        const keys = this.#keys[this.#below(this.#keys.length)]!;
        writeHeader(memory, at, keys.localIndex, this.#counter());
        this.tally.liveIndex++;
      } else if (dice < 55) this.#mutated(memory, at, size, this.#keys[who]!);
      else if (dice < 60 && replayable >= 0 && size === stride) {
        memory.u8.copyWithin(at, replayable, replayable + stride);
        this.tally.liveIndex++;
      } else {
        const keys = this.#keys[who]!;
        this.#inner(memory, at + HEADER, size - OVERHEAD, who, run);
        this.#seal(memory, at, size, keys, isStrange ? undefined : PEERS[who]!.id);
        if (size === stride) replayable = at;
      }
    }
    this.#compare(length, stride);
  }

  /** A keypair that must be confirmed first, with what waits for that. */
  confirmation(): void {
    const scene = this.#scene;
    const { id, path } = PEERS[0];
    const keys = scene.install(id, { path, isConfirmed: false });
    scene.comesFrom(path);
    this.#expected = [];
    this.#silent = 0;
    const { memory } = scene.ingress;
    const stride = OVERHEAD + 100;
    const isConfirmed = this.#below(2) === 0;
    const dropped = scene.dropped;
    for (let i = 0; i < 5; i++) {
      this.#random(memory, i * stride, stride);
      this.#inner(memory, i * stride + HEADER, stride - OVERHEAD, 0, 0);
      this.#seal(memory, i * stride, stride, keys, isConfirmed ? id : undefined);
    }
    this.tally.datagrams += 5;
    scene.ingress.batch(5 * stride, stride);
    if (scene.writes.length > 0) throw new Error("delivered before it was confirmed");
    const { localIndex } = keys;
    scene.tell({ kind: "confirm", localIndex, path: isConfirmed ? path : undefined });
    this.#delivered();
    if (!isConfirmed && scene.dropped !== dropped + 5) {
      throw new Error("what waited is not counted");
    }
    scene.reports.length = 0;
    scene.tell({ kind: "retire", localIndex });
    keys.sealer.free();
  }

  #compare(length: number, stride: number): void {
    const scene = this.#scene;
    const dropped = scene.dropped;
    scene.ingress.batch(length, stride);
    const delivered = this.#delivered();
    let reports = scene.takeHanded();
    for (const { kind } of scene.reports) if (kind === "control") reports++;
    scene.reports.length = 0;
    const fate = scene.dropped - dropped + delivered + reports + this.#silent;
    const count = Math.ceil(length / stride);
    if (fate !== count) throw new Error(`${count} datagrams, of which ${fate} came to an end`);
  }

  /** Compares what was written with what had to be. */
  #delivered(): number {
    const packets = this.#scene.packets();
    const expected = this.#expected;
    if (packets.length !== expected.length) {
      throw new Error(`${packets.length} packets delivered, not ${expected.length}`);
    }
    for (let i = 0; i < packets.length; i++) {
      const [packet, wanted] = [normal(packets[i]!), normal(expected[i]!)];
      if (!isSame(packet, wanted)) {
        throw new Error(`delivered\n${packet.toHex()}, not\n${wanted.toHex()}`);
      }
    }
    this.tally.delivered += packets.length;
    return packets.length;
  }

  // Datagrams.

  #noise(memory: Mem, at: number, size: number): void {
    if (this.#below(2) === 0) memory.u8[at] = this.#below(8);
    if (this.#below(2) === 0 && size >= 4) memory.u8.fill(0, at + 1, at + 4);
  }

  /** Seals, then spoils it: nothing may open. */
  #mutated(memory: Mem, at: number, size: number, keys: FarKeys): void {
    // Sealed shorter than it stands there, as if something had been put behind it, or cut.
    const shorter = this.#below(4) === 0 ? this.#below(Math.min(16, size - OVERHEAD + 1)) : 0;
    this.#scene.seal(memory, at, size - shorter, keys);
    if (shorter === 0) {
      const bit = this.#below(size * 8);
      memory.u8[at + (bit >> 3)]! ^= 1 << (bit & 7);
    }
    const { view } = memory;
    if (view.getUint32(at, true) === 5 && view.getUint32(at + 4, true) === keys.localIndex) {
      this.tally.liveIndex++;
    }
  }

  /** @param id Whose it is; `undefined` if it may not come this way. */
  #seal(memory: Mem, at: number, size: number, keys: FarKeys, id: string | undefined): void {
    const plaintext = memory.u8.slice(at + HEADER, at + size - 16);
    if (this.#below(50) === 0) keys.counter += this.#below(20_000);
    this.#scene.seal(memory, at, size, keys);
    this.tally.liveIndex++;
    this.tally.sealed++;
    if (id === undefined) return;
    if (plaintext.length === 0) {
      this.#silent++;
      return;
    }
    const kind = plaintext[0]! >> 4;
    const isPartial = kind === 0xc || kind === 0xe;
    if (kind !== 4 && kind !== 6 && !isPartial) return;
    if (isPartial) plaintext[0]! &= 0x7f;
    if (receivedPacketFault(plaintext, id, this.#routes, this.#own) !== undefined) return;
    if (isPartial && !finishPartialChecksum(plaintext)) return;
    this.#expected.push(plaintext);
  }

  /** A plaintext over the random bytes that stand there. */
  #inner(memory: Mem, at: number, size: number, who: number, run: number): void {
    const { u8 } = memory;
    const dice = this.#below(100);
    if (size < 1 || (run > 20 && dice < 20)) return;
    if (run > 20 && dice < 25) u8[at] = [0, 0x45, 0x60, 0xc5, 0xe0][this.#below(5)]!;
    else {
      const isIpv4 = run <= 20 ? run % 2 === 0 : this.#below(2) === 0;
      const isTcp = run <= 20 ? run % 4 < 2 : this.#below(2) === 0;
      if (size < (isIpv4 ? 20 : 40) + (isTcp ? 20 : 8)) return;
      this.#packet(memory, at, size, { who, isIpv4, isTcp, isFlow: run <= 20 });
      if (run <= 20 || dice < 60) return;
      // Mutated in its headers.
      const changes = 1 + this.#below(3);
      for (let i = 0; i < changes; i++) {
        u8[at + this.#below(Math.min(size, 64))] = [0, 255, 4, 6, 17, this.#below(256)][
          this.#below(6)
        ]!;
      }
    }
  }

  #packet(
    memory: Mem,
    at: number,
    size: number,
    o: {
      readonly who: number;
      readonly isIpv4: boolean;
      readonly isTcp: boolean;
      readonly isFlow: boolean;
    },
  ): void {
    const { u8, view } = memory;
    const { who, isIpv4, isTcp, isFlow } = o;
    const from = this.#below(isFlow ? 200 : 20) === 0 ? 1 - who : who;
    const transport = isIpv4 ? 20 : 40;
    const partial = isFlow || this.#below(2) === 0 ? 0x80 : 0;
    if (isIpv4) {
      view.setUint32(at, (((0x45 | partial) << 24) | size) >>> 0);
      view.setUint32(at + 4, ((this.#sequence++ & 0xffff) << 16) | 0x4000);
      view.setUint16(at + 8, 0x4000 | (isTcp ? 6 : 17));
      u8.set(SOURCES[from]![0]!, at + 12);
      u8.set(OWN[0]!, at + 16);
      let sum = -(partial << 8);
      view.setUint16(at + 10, 0);
      for (let i = 0; i < 20; i += 2) sum += view.getUint16(at + i);
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      view.setUint16(at + 10, ~sum & 0xffff);
    } else {
      view.setUint32(at, ((0x60 | partial) << 24) >>> 0);
      view.setUint32(at + 4, ((size - 40) << 16) | ((isTcp ? 6 : 17) << 8) | 64);
      u8.set(SOURCES[from]![1]!, at + 8);
      u8.set(OWN[1]!, at + 24);
    }
    const t = at + transport;
    view.setUint32(t, 0x1000_2000);
    if (isTcp) {
      view.setUint32(t + 4, this.#flowAt);
      this.#flowAt = (this.#flowAt + size - transport - 20) >>> 0;
      view.setUint32(t + 8, 7);
      const flags = this.#below(30) === 0 ? this.#below(256) : 0x10;
      view.setUint32(t + 12, 0x5000_ffff | (flags << 16));
      view.setUint16(t + 18, 0);
    } else view.setUint16(t + 4, size - transport);
  }
  #flowAt = 0xffff_0000;

  // Numbers.

  #rekey(): void {
    for (const { localIndex, sealer } of this.#keys.splice(0)) {
      this.#scene.tell({ kind: "retire", localIndex });
      sealer.free();
    }
    for (const { id, path } of PEERS) this.#keys.push(this.#scene.install(id, { path }));
  }

  /** Of a plaintext: the small, the usual and the edges. */
  #size(): number {
    switch (this.#below(4)) {
      case 0:
        return this.#below(64);
      case 1:
        return 60 + this.#below(200);
      case 2:
        return [0, 1, 16, 20, 28, 40, 48, 60, 1376, 1408][this.#below(10)]!;
      default:
        return this.#below(1409);
    }
  }

  #counter(): number {
    const near = this.#keys[0]!.counter + this.#below(20_000) - 10_000;
    return this.#below(4) === 0 ? this.#word() * 2 ** this.#below(20) : Math.max(0, near);
  }

  #random(memory: Mem, at: number, length: number): void {
    const from = this.#below(this.#pool.length - length);
    memory.u8.set(this.#pool.subarray(from, from + length), at);
  }

  #below(limit: number): number {
    return this.#word() % limit;
  }

  #word(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 0;
  }
}

/** Without what joining may change: the IPv4 header's checksum, and what UDP never reads. */
function normal(packet: Uint8Array): Uint8Array {
  if (packet[0]! >> 4 !== 4) return packet;
  const copy = packet.slice();
  if ((copy[6]! & 0x40) !== 0 && copy[9] === 17) copy.fill(0, 4, 6);
  writeIpv4Checksum(copy);
  return copy;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
