/**
 * What every {@linkcode DatagramSocket} does, whatever carries its datagrams.
 *
 * @module
 */

import { deepStrictEqual, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { formatEndpoint, type IpAddress } from "../../lib/net/endpoint.ts";
import { formatIpAddress } from "../../lib/net/ip_address.ts";
import type { DatagramSocket, UdpPath } from "../../lib/transport/transport.ts";

/** Two machines, or one that talks to itself, with a free port for each socket asked for. */
export interface TransportBench {
  /** Opens a socket on the first machine. */
  openA(): Promise<DatagramSocket>;
  /** Opens a socket on the second machine. */
  openB(): Promise<DatagramSocket>;
  /**
   * Pairs of addresses that reach each other, `a` on the first machine and `b` on the second. At
   * least one; where a machine has two of one family, a pair for each.
   */
  readonly routes: readonly { readonly a: IpAddress; readonly b: IpAddress }[];
  /** An address of the first machine's family that it does not have, such as a documentation one. */
  readonly foreign: IpAddress;
  /** Lets everything that is on its way arrive. */
  settle(): Promise<void>;
  /** Removes what was set up, the sockets excepted. */
  close(): Promise<void>;
}

/** What a socket received, copied. */
interface Arrival {
  readonly datagram: Uint8Array;
  readonly path: UdpPath;
}

/**
 * Registers the contract as tests.
 *
 * @param name What is tested, as it stands in the names of the tests.
 * @param setUp Makes a bench per test.
 * @param options Passed to `Deno.test`.
 */
export function testDatagramSocket(
  name: string,
  setUp: () => Promise<TransportBench>,
  options: { ignore?: boolean } = {},
): void {
  for (const [title, run] of CASES) {
    Deno.test({ ...options, name: `${name} ${title}` }, async () => {
      const bench = await setUp();
      const a = await bench.openA();
      const b = await bench.openB();
      try {
        await run(bench, a, b);
      } finally {
        await a.close();
        await b.close();
        await bench.close();
      }
    });
  }
}

/** How long a busy machine may take; what is not there by then never will be. */
const GIVE_UP_MS = 30_000;

/**
 * Waits until so many datagrams have arrived: one that left may be in nobody's queue for a while,
 * where a kernel has no time for it.
 */
async function arrived(bench: TransportBench, arrivals: readonly Arrival[], count: number) {
  const until = performance.now() + GIVE_UP_MS;
  do await bench.settle(); while (arrivals.length < count && performance.now() < until);
  strictEqual(arrivals.length, count);
}

type Case = (bench: TransportBench, a: DatagramSocket, b: DatagramSocket) => Promise<void>;

const CASES: readonly [title: string, run: Case][] = [
  ["carries datagrams both ways, whole and unchanged, on every route", carriesBothWays],
  ["says on which own address a datagram arrived, and answers leave from there", keepsBothEnds],
  ["gives the same path object for the same two ends", remembersPaths],
  ["path() makes equal keys for equal ends only", keysFollowEnds],
  ["carries the empty datagram and one of 1472 bytes", carriesEdges],
  ["send() copies before it returns", sendCopies],
  ["send() refuses a local address that is not its own, and lives on", refusesForeignLocal],
  ["close() ends delivery, can be called twice, and send() then refuses", closes],
];

async function carriesBothWays(bench: TransportBench, a: DatagramSocket, b: DatagramSocket) {
  const atA = listen(a);
  const atB = listen(b);
  for (const [i, route] of bench.routes.entries()) {
    const there = Uint8Array.of(1, ...route.a);
    const back = Uint8Array.of(2, ...route.b);
    ok(a.send(there, a.path({ address: route.b, port: b.port })));
    await arrived(bench, atB, i + 1);
    deepStrictEqual(atB.at(-1)?.datagram, there);
    ok(b.send(back, atB.at(-1)!.path));
    await arrived(bench, atA, i + 1);
    deepStrictEqual(atA.at(-1)?.datagram, back);
  }
  strictEqual(atA.length, bench.routes.length, "each exactly once");
  strictEqual(atB.length, bench.routes.length, "each exactly once");
}

async function keepsBothEnds(bench: TransportBench, a: DatagramSocket, b: DatagramSocket) {
  const atA = listen(a);
  const atB = listen(b);
  for (const [i, route] of bench.routes.entries()) {
    a.send(Uint8Array.of(1), a.path({ address: route.b, port: b.port }, route.a));
    await arrived(bench, atB, i + 1);
    const arrival = atB.at(-1)!.path;
    strictEqual(arrival.remote, formatEndpoint({ address: route.a, port: a.port }));
    strictEqual(arrival.remote, formatEndpoint(arrival.endpoint));
    deepStrictEqual(arrival.local, route.b, "the address it was sent to");
    b.send(Uint8Array.of(2), arrival);
    await arrived(bench, atA, i + 1);
    const answer = atA.at(-1)!.path;
    strictEqual(answer.remote, formatEndpoint({ address: route.b, port: b.port }));
    deepStrictEqual(answer.local, route.a);
  }
}

async function remembersPaths(bench: TransportBench, a: DatagramSocket, b: DatagramSocket) {
  const atB = listen(b);
  const path = a.path({ address: bench.routes[0]!.b, port: b.port });
  for (let i = 0; i < 3; i++) {
    a.send(Uint8Array.of(i), path);
    await arrived(bench, atB, i + 1);
  }
  strictEqual(atB[1]!.path, atB[0]!.path);
  strictEqual(atB[2]!.path, atB[0]!.path);
  const same = b.path(atB[0]!.path.endpoint, atB[0]!.path.local);
  strictEqual(same.key, atB[0]!.path.key, "path() makes what arrivals have");
}

async function keysFollowEnds(bench: TransportBench, a: DatagramSocket) {
  const address = bench.routes[0]!.b;
  const local = bench.routes[0]!.a;
  const path = a.path({ address, port: 1000 }, local);
  strictEqual(a.path({ address: address.slice(), port: 1000 }, local.slice()).key, path.key);
  notStrictEqual(a.path({ address, port: 1001 }, local).key, path.key);
  notStrictEqual(a.path({ address, port: 1000 }).key, path.key, "no address is not any address");
  notStrictEqual(a.path({ address, port: 1000 }, bench.foreign).key, path.key);
  strictEqual(path.kind, "udp");
  ok(path.remote.endsWith(":1000") && path.remote.includes(formatIpAddress(address)));
  await bench.settle();
}

async function carriesEdges(bench: TransportBench, a: DatagramSocket, b: DatagramSocket) {
  const atB = listen(b);
  const path = a.path({ address: bench.routes[0]!.b, port: b.port });
  const large = Uint8Array.from({ length: 1472 }, (_, i) => i * 7);
  ok(a.send(new Uint8Array(0), path));
  ok(a.send(large, path));
  await arrived(bench, atB, 2);
  const [first, second] = atB.map((arrival) => arrival.datagram)
    .sort((x, y) => x.length - y.length);
  deepStrictEqual(first, new Uint8Array(0));
  deepStrictEqual(second, large);
}

async function sendCopies(bench: TransportBench, a: DatagramSocket, b: DatagramSocket) {
  const atB = listen(b);
  const datagram = Uint8Array.of(1, 2, 3);
  a.send(datagram, a.path({ address: bench.routes[0]!.b, port: b.port }));
  datagram.fill(9);
  await arrived(bench, atB, 1);
  deepStrictEqual(atB[0]?.datagram, Uint8Array.of(1, 2, 3));
}

async function refusesForeignLocal(bench: TransportBench, a: DatagramSocket, b: DatagramSocket) {
  const atB = listen(b);
  const { a: own, b: far } = bench.routes.find((route) => route.a.length === bench.foreign.length)!;
  const endpoint = { address: far, port: b.port };
  strictEqual(a.send(Uint8Array.of(1), a.path(endpoint, bench.foreign)), false);
  strictEqual(a.send(Uint8Array.of(2), a.path(endpoint, own)), true);
  await arrived(bench, atB, 1);
  deepStrictEqual(atB.map((arrival) => arrival.datagram[0]), [2]);
}

async function closes(bench: TransportBench, a: DatagramSocket, b: DatagramSocket) {
  const atB = listen(b);
  const path = a.path({ address: bench.routes[0]!.b, port: b.port });
  await b.close();
  await b.close();
  a.send(Uint8Array.of(1), path);
  await bench.settle();
  deepStrictEqual(atB, []);
  await a.close();
  strictEqual(a.send(Uint8Array.of(2), path), false);
}

function listen(socket: DatagramSocket): Arrival[] {
  const arrivals: Arrival[] = [];
  socket.start(
    (datagram, path) => arrivals.push({ datagram: datagram.slice(), path }),
    (error) => {
      throw error;
    },
  );
  return arrivals;
}
