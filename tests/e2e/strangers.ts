/**
 * What strangers on the network may do to the port of a node: send what they like, from addresses
 * that are not theirs, as fast as they can (lab/flood.c).
 *
 * @module
 */

import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { writeU16Le, writeU32Le } from "../../lib/base/integers.ts";
import { mac1Key, writeMac1 } from "../../lib/session/mac.ts";
import { DATAGRAM_LENGTH, DATAGRAM_TYPE, PROFILE_ID } from "../../lib/wire/datagram.ts";
import type { Host } from "../lab/namespaces.ts";
import { type Background, must } from "../lab/processes.ts";

const LAB = decodeURIComponent(new URL("../lab/", import.meta.url).pathname);
/** Where spoofed datagrams come from: 198.18.0.0/15, set aside for benchmarks (RFC 2544). */
export const SPOOFED = { first: "198.18.0.1", sources: 100_000, prefix: "198.18.0.0/15" } as const;

/** What is sent, and whence. */
export interface Flood {
  /** Sent in order, over and over. */
  readonly datagrams: readonly Uint8Array[];
  readonly count: number;
  readonly perSecond: number;
  readonly target: string;
  readonly port: number;
  /** The first address and how many there are. @default {SPOOFED} */
  readonly from?: { readonly first: string; readonly sources: number };
  /** @default another one each time */
  readonly sourcePort?: number;
}

/** A program that sends anything. */
export class Stranger {
  readonly #program: string;
  #floods = 0;

  private constructor(readonly host: Host, readonly folder: string) {
    this.#program = `${folder}/flood`;
  }

  /** Builds it. */
  static async on(host: Host, folder: string): Promise<Stranger> {
    const stranger = new Stranger(host, folder);
    await must(["gcc", "-O2", "-Wall", "-o", stranger.#program, `${LAB}flood.c`]);
    return stranger;
  }

  /** Starts to send; ends when all is sent. */
  async flood(flood: Flood): Promise<Background> {
    const { datagrams, count, perSecond, target, port, from = SPOOFED, sourcePort = 0 } = flood;
    const file = `${this.folder}/flood-${this.#floods++}`;
    await Deno.writeFile(file, fileOf(datagrams));
    const numbers = [from.first, from.sources, sourcePort, target, port, count, perSecond];
    return this.host.start([this.#program, file, ...numbers.map(String)]);
  }
}

/**
 * Initiations of `allowed-peers` with nothing in them, each another.
 *
 * @param publicKey The node's, 32 bytes, for whose port mac1 is made right; `undefined`: mac1 is
 * noise.
 */
export function garbage(count: number, publicKey: Uint8Array | undefined): Uint8Array[] {
  const key = publicKey && mac1Key(NATIVE_BACKEND, publicKey);
  return Array.from({ length: count }, (_, i) => {
    const datagram = new Uint8Array(DATAGRAM_LENGTH["allowed-peers"].initiation);
    datagram.set([DATAGRAM_TYPE.initiation, 1, PROFILE_ID["allowed-peers"]]);
    datagram.fill(0x5a, 8, datagram.length - 16);
    writeU32Le(datagram, 4, i);
    writeU32Le(datagram, 8, i);
    if (key !== undefined) writeMac1(NATIVE_BACKEND, key, datagram);
    return datagram;
  });
}

function fileOf(datagrams: readonly Uint8Array[]): Uint8Array {
  const file = new Uint8Array(datagrams.reduce((sum, { length }) => sum + 2 + length, 0));
  let at = 0;
  for (const datagram of datagrams) {
    writeU16Le(file, at, datagram.length);
    file.set(datagram, at + 2);
    at += 2 + datagram.length;
  }
  return file;
}
