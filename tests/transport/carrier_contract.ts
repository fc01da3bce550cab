/**
 * What every carrier of datagrams between two nodes does whose paths are made by connections: SSH,
 * relay. (UDP, whose paths are made of addresses, has a contract of its own.)
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { DatagramCarrier } from "../../lib/dataplane/datagram_carrier.ts";
import type { Path } from "../../lib/session/path.ts";

/** A carrier that knows its way to nodes. */
export interface PeerCarrierUnderTest extends DatagramCarrier {
  pathTo(nodeId: string): Path | undefined;
}

/** Two nodes with a way between them. */
export interface CarrierBench {
  readonly a: PeerCarrierUnderTest;
  readonly b: PeerCarrierUnderTest;
  /** Node ids. */
  readonly idA: string;
  readonly idB: string;
  /** Kind that paths have. */
  readonly kind: Path["kind"];
  /** Largest datagram in bytes. @default {65533} */
  readonly largest?: number;
  /** Whether the end of one carrier ends the other's way to it. @default {true} */
  readonly knowsWhenTheOtherIsGone?: boolean;
  /** Waits until something holds; throws when that takes too long. */
  until(holds: () => boolean): Promise<void>;
  /** Removes what was set up, the carriers included. */
  close(): Promise<void>;
}

/** What a carrier received, copied. */
interface Arrival {
  readonly datagram: Uint8Array;
  readonly path: Path;
}

/**
 * Registers the contract as tests.
 *
 * @param name What is tested, as it stands in the names of the tests.
 * @param setUp Makes a bench per test.
 */
export function testPeerCarrier(name: string, setUp: () => Promise<CarrierBench>): void {
  for (const [title, run] of CASES) {
    Deno.test(`${name} ${title}`, async () => {
      const bench = await setUp();
      try {
        await run(bench, listen(bench.a), listen(bench.b));
      } finally {
        await bench.close();
      }
    });
  }
}

type Case = (bench: CarrierBench, atA: Arrival[], atB: Arrival[]) => Promise<void>;

const CASES: readonly [title: string, run: Case][] = [
  ["carries datagrams both ways, whole, unchanged and in order", carriesBothWays],
  ["gives the same path object for the same way, and its key names the way", remembersPaths],
  ["carries datagrams of one byte and the largest, and refuses empty ones", carriesEdges],
  ["send() copies before it returns", sendCopies],
  ["knows no path to a node it has no way to", knowsNoPath],
  ["close() ends delivery, and send() then refuses", closes],
];

async function carriesBothWays(
  { a, b, idA, idB, until }: CarrierBench,
  atA: Arrival[],
  atB: Arrival[],
) {
  const sent = Array.from({ length: 200 }, (_, i) => filled(1 + i * 7 % 1500, i));
  for (const datagram of sent) ok(a.send(datagram, a.pathTo(idB)!));
  await until(() => atB.length === sent.length);
  deepStrictEqual(atB.map((arrival) => arrival.datagram), sent);
  for (const { datagram, path } of atB) ok(b.send(datagram, path));
  await until(() => atA.length === sent.length);
  deepStrictEqual(atA.map((arrival) => arrival.datagram), sent);
  ok(b.pathTo(idA) !== undefined);
}

async function remembersPaths(
  { a, b, idA, idB, kind, until }: CarrierBench,
  _: Arrival[],
  atB: Arrival[],
) {
  const path = a.pathTo(idB)!;
  strictEqual(path.kind, kind);
  strictEqual(a.pathTo(idB), path);
  ok(path.key.startsWith(`${kind} `) && path.remote.length > 0);
  for (let i = 0; i < 3; i++) {
    a.send(Uint8Array.of(i), path);
    await until(() => atB.length === i + 1);
  }
  strictEqual(atB[1]!.path, atB[0]!.path);
  strictEqual(atB[2]!.path, atB[0]!.path);
  strictEqual(b.pathTo(idA), atB[0]!.path);
}

async function carriesEdges(
  { a, idB, until, largest = 65_533 }: CarrierBench,
  _: Arrival[],
  atB: Arrival[],
) {
  const path = a.pathTo(idB)!;
  strictEqual(a.send(new Uint8Array(0), path), false);
  const large = filled(largest, 3);
  ok(a.send(Uint8Array.of(9), path));
  ok(a.send(large, path));
  ok(a.send(Uint8Array.of(8), path));
  await until(() => atB.length === 3);
  deepStrictEqual(atB.map((arrival) => arrival.datagram), [
    Uint8Array.of(9),
    large,
    Uint8Array.of(8),
  ]);
}

async function sendCopies({ a, idB, until }: CarrierBench, _: Arrival[], atB: Arrival[]) {
  const datagram = Uint8Array.of(1, 2, 3);
  a.send(datagram, a.pathTo(idB)!);
  datagram.fill(9);
  await until(() => atB.length === 1);
  deepStrictEqual(atB[0]!.datagram, Uint8Array.of(1, 2, 3));
}

function knowsNoPath({ a }: CarrierBench) {
  strictEqual(a.pathTo("00".repeat(32)), undefined);
  return Promise.resolve();
}

async function closes(
  { a, b, idA, idB, until, knowsWhenTheOtherIsGone = true }: CarrierBench,
  _: Arrival[],
  atB: Arrival[],
) {
  const there = a.pathTo(idB)!;
  const back = b.pathTo(idA)!;
  await b.close();
  await b.close();
  strictEqual(b.send(Uint8Array.of(1), back), false);
  if (knowsWhenTheOtherIsGone) {
    await until(() => a.pathTo(idB) === undefined);
    strictEqual(a.send(Uint8Array.of(2), there), false, "the way is gone for good");
  } else {
    a.send(Uint8Array.of(2), there);
  }
  deepStrictEqual(atB, []);
}

function filled(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i * 31 + seed);
}

function listen(carrier: PeerCarrierUnderTest): Arrival[] {
  const arrivals: Arrival[] = [];
  carrier.start(
    (datagram, path) => arrivals.push({ datagram: datagram.slice(), path }),
    (error) => {
      throw error;
    },
  );
  return arrivals;
}
