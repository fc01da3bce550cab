/**
 * The ingress loop without its worker: batches are laid into its memory, what it writes to the TUN
 * and reports is collected. Sealing is done by libcrypto in place, so that it is fast.
 *
 * @module
 */

import { strictEqual } from "node:assert/strict";
import { IOVEC } from "../../../ffi/layout.ts";
import type { PacketCipher, PacketOpener, PacketSealer } from "../../../ffi/libcrypto.ts";
import { Mem } from "../../../ffi/memory.ts";
import { DatagramRing } from "../../../lib/dataplane/linux/datagram_ring.ts";
import { newHandedRing } from "../../../lib/dataplane/linux/handed_datagrams.ts";
import { Ingress } from "../../../lib/dataplane/linux/ingress.ts";
import type { MessageHeader } from "../../../lib/dataplane/linux/message_header.ts";
import type {
  IngressCommand,
  PathBytes,
  SendPath,
  WorkerReport,
  WorkerSetup,
} from "../../../lib/dataplane/linux/messages.ts";
import { pathWordsOf } from "../../../lib/dataplane/linux/path_words.ts";
import {
  DROP_BLOCK_SIZE,
  DROP_INDEX,
  PEER_BLOCK_SIZE,
  SharedKeypair,
} from "../../../lib/dataplane/linux/shared_state.ts";
import { parseIpPrefix } from "../../../lib/net/ip_prefix.ts";
import { DROP_REASONS, type DropReason } from "../../../lib/session/actions.ts";
import { newActivity } from "../../../lib/session/keypair.ts";
import { DEFAULT_LIMITS } from "../../../lib/session/limits.ts";
import { seededBytes } from "../../fakes/random.ts";
import { completeChecksums, naiveSplit } from "./naive_offload.ts";

/** Where the vectors of a message header stand. */
const VECTORS_AT = 64 + 32 + 160;
const HEADER = 16;

/** One write to the TUN, as it was gathered. */
export interface TunWrite {
  /** The virtio header. */
  readonly header: Uint8Array;
  /** The super-segment or packet. */
  readonly packet: Uint8Array;
}

/** A keypair in the ingress loop, and the far end's half of it. */
export interface FarKeys {
  readonly localIndex: number;
  readonly shared: SharedKeypair;
  readonly sealer: PacketSealer;
  /** Next counter of the far end. */
  counter: number;
}

/** An IPv4 path from 10.9.9.9 to 10.9.9.1. */
export function udpPath(port: number): PathBytes {
  const name = Uint8Array.of(2, 0, port >> 8, port & 255, 10, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0);
  const localName = Uint8Array.of(2, 0, 0, 0, 10, 9, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0);
  return { name, localName, interfaceIndex: 0, control: new Uint8Array(0) };
}

/** The loop, and all that went in and out. */
export class IngressScene {
  readonly ingress: Ingress;
  readonly reports: WorkerReport[] = [];
  /** Writes to the TUN since they were taken last. */
  writes: TunWrite[] = [];
  /** Where it leaves what is no transport data. */
  readonly handed = newHandedRing();
  /** Calls of the AEAD, and how many of them opened. */
  readonly aead = { opens: 0, opened: 0 };
  /** Where the control thread puts what came by streams. */
  readonly arrivals = new DatagramRing();
  /** On every open, before the AEAD. */
  onOpen = () => {};
  /** What the control thread has told meanwhile. */
  onLookForCommands = () => {};
  readonly #cipher: PacketCipher;
  readonly #drops = new Float64Array(new SharedArrayBuffer(DROP_BLOCK_SIZE));
  #seed = 1;

  constructor(cipher: PacketCipher) {
    this.#cipher = cipher;
    const setup: WorkerSetup = {
      role: "ingress",
      port: new MessageChannel().port1,
      eventFd: -1,
      tunFd: -1,
      ipv4Fd: -1,
      ipv6Fd: -1,
      hasUdpSegmentation: true,
      timeOrigin: 0,
      limits: DEFAULT_LIMITS,
      binding: "strict",
      handed: this.handed.buffer,
      drops: this.#drops.buffer as SharedArrayBuffer,
      ring: this.arrivals.buffer,
    };
    setup.port.close();
    this.ingress = new Ingress(
      setup,
      { ...cipher, opener: (key) => this.#counted(cipher.opener(key)) },
      (report) => this.reports.push(report),
      () => this.onLookForCommands(),
      (_fd, message, vectors) => this.#write(message, vectors),
    );
  }

  /** Takes what was handed over; how many. */
  takeHanded(): number {
    let count = 0;
    for (; !this.handed.isEmpty(); count++) this.handed.shift();
    return count;
  }

  /** Carries out a command. */
  tell(command: IngressCommand): void {
    this.ingress.command(command, 1_000);
  }

  /** Adds a peer with these prefixes. */
  addPeer(id: string, ...prefixes: string[]): Float64Array {
    const block = new SharedArrayBuffer(PEER_BLOCK_SIZE);
    const allowedIps = prefixes.map((text) => parseIpPrefix(text));
    this.tell({ kind: "peer", id, allowedIps, block });
    return new Float64Array(block);
  }

  /** Installs a keypair of a peer. */
  install(
    peer: string,
    o: { readonly path: SendPath; readonly isConfirmed?: boolean; readonly createdAt?: number },
  ): FarKeys {
    const seed = this.#seed++;
    const key = seededBytes(seed)(32);
    const shared = new SharedKeypair();
    shared.write(newActivity());
    const localIndex = (0x9000_0000 + seed) >>> 0;
    const sealer = this.#cipher.sealer(key);
    const { isConfirmed = true, createdAt = 1_000, path } = o;
    this.tell({
      kind: "install",
      keypair: { peer, localIndex, remoteIndex: seed, createdAt, block: shared.buffer },
      receiveKey: key.slice(),
      isConfirmed,
      paths: [path],
    });
    return { localIndex, shared, sealer, counter: 0 };
  }

  /** From where the next batches come. */
  comesFrom(path: SendPath): void {
    this.ingress.path.set(pathWordsOf(path));
  }

  /**
   * Seals in place the plaintext that stands behind the header at `at`.
   *
   * @param memory Where a batch is made.
   * @param length Of the datagram, header and tag included.
   */
  seal(memory: Mem, at: number, length: number, keys: FarKeys, counter = keys.counter++): void {
    writeHeader(memory, at, keys.localIndex, counter);
    const low = counter >>> 0;
    const high = Math.floor(counter / 2 ** 32);
    const body = at + HEADER;
    keys.sealer.seal(low, high, memory, at, body, memory, body, length - HEADER - 16);
  }

  /** Seals a plaintext into a datagram of its own. */
  sealed(plaintext: Uint8Array, keys: FarKeys): Uint8Array {
    const length = HEADER + plaintext.length + 16;
    const memory = new Mem(length);
    memory.u8.set(plaintext, HEADER);
    this.seal(memory, 0, length, keys);
    return memory.u8.slice(0, length);
  }

  /** Handles one batch of datagrams of one length, of which the last may be shorter. */
  batch(...datagrams: Uint8Array[]): void {
    let at = 0;
    for (const datagram of datagrams) {
      this.ingress.memory.u8.set(datagram, at);
      at += datagram.length;
    }
    this.ingress.batch(at, datagrams[0]!.length);
  }

  /** How often it dropped for this reason. */
  drops(reason: DropReason): number {
    return this.#drops[DROP_INDEX[reason]]!;
  }

  /** All drops. */
  get dropped(): number {
    return DROP_REASONS.reduce((sum, reason) => sum + this.drops(reason), 0);
  }

  /** Takes what it wrote, as the kernel makes packets of it. */
  packets(): Uint8Array[] {
    const packets = this.writes.flatMap(packetsOf);
    this.writes = [];
    return packets;
  }

  #counted(opener: PacketOpener): PacketOpener {
    return {
      open: (...args) => {
        this.aead.opens++;
        this.onOpen();
        const isOpen = opener.open(...args);
        if (isOpen) this.aead.opened++;
        return isOpen;
      },
      free: () => opener.free(),
    };
  }

  /** Reads what the vectors point to, all of it inside the batch's memory. */
  #write(message: MessageHeader, vectors: number): number {
    const { view } = message.memory;
    const { u8 } = this.ingress.memory;
    const base = Deno.UnsafePointer.value(Deno.UnsafePointer.of(u8));
    const parts: Uint8Array[] = [];
    for (let i = 1; i < vectors; i++) {
      const entry = VECTORS_AT + i * IOVEC.size;
      const from = Number(view.getBigUint64(entry, true) - base);
      const length = view.getUint32(entry + IOVEC.length, true);
      if (from < 0 || from + length > u8.length) throw new Error("writes what is no batch's");
      parts.push(u8.subarray(from, from + length));
    }
    const pointer = Deno.UnsafePointer.create(view.getBigUint64(VECTORS_AT, true))!;
    const header = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, 10)).slice();
    const packet = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let to = 0;
    for (const part of parts) {
      packet.set(part, to);
      to += part.length;
    }
    this.writes.push({ header, packet });
    return packet.length;
  }
}

/** Writes the header of transport data. */
export function writeHeader(memory: Mem, at: number, index: number, counter: number): void {
  const { view } = memory;
  view.setUint32(at, 5, true);
  view.setUint32(at + 4, index, true);
  view.setUint32(at + 8, counter >>> 0, true);
  view.setUint32(at + 12, Math.floor(counter / 2 ** 32), true);
}

function packetsOf({ header, packet }: TunWrite): Uint8Array[] {
  if ((header[0]! & 1) === 0) {
    strictEqual(header[1], 0, "a super-segment has a partial checksum");
    return [packet];
  }
  const view = new DataView(header.buffer);
  const transport = view.getUint16(6, true);
  const isTcp = view.getUint16(8, true) === 16;
  if (header[1] !== 0) {
    return naiveSplit({ bytes: packet, gsoSize: view.getUint16(4, true), transport, isTcp });
  }
  completeChecksums(packet, transport, isTcp);
  return [packet];
}
