/**
 * How the transport watches its connection and comes back, on a clock moved by hand.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { RelayTransport } from "../../lib/transport/relay.ts";
import type { RelaySocket, RelaySocketEvents } from "../../lib/transport/relay_dialing.ts";
import { FakeClock } from "../fakes/clock.ts";

const B = "bb".repeat(32);

/** A clock of a process that may stand still: its timers come late then. */
class LateClock extends FakeClock {
  #stoodStillMs = 0;

  override now(): number {
    return super.now() + this.#stoodStillMs;
  }

  override schedule(at: number, callback: () => void): () => void {
    return super.schedule(at - this.#stoodStillMs, callback);
  }

  standStill(ms: number): void {
    this.#stoodStillMs += ms;
  }
}

class Bench {
  readonly clock = new LateClock();
  readonly log: string[] = [];
  canAsk = true;
  dials = 0;
  events!: RelaySocketEvents;
  readonly transport: RelayTransport;

  constructor() {
    const socket: RelaySocket = {
      queuedBytes: 0,
      send: (_, sent) => sent(),
      ping: () => this.log.push("ping"),
      close: () => this.log.push("close"),
      terminate: () => this.log.push("terminate"),
    };
    this.transport = new RelayTransport({
      clock: this.clock,
      random: () => 0.5,
      isPeer: () => true,
      askTicket: () => {
        this.log.push("ask");
        return this.canAsk;
      },
      dial: (events) => {
        this.dials++;
        this.events = events;
        return Promise.resolve(socket);
      },
      events: {
        opened: () => this.log.push("opened"),
        closed: (reason) => this.log.push(`closed: ${reason}`),
      },
    });
    this.transport.start(() => {});
  }

  async open(): Promise<void> {
    this.transport.takeTicket(new Uint8Array(32));
    await Promise.resolve();
    this.events.open();
  }

  /** What happened since the last time. */
  take(): string[] {
    return this.log.splice(0);
  }
}

async function opened(): Promise<Bench> {
  const bench = new Bench();
  bench.transport.connect();
  await bench.open();
  deepStrictEqual(bench.take(), ["ask", "opened"]);
  return bench;
}

Deno.test("RelayTransport pings a quiet connection before proxies cut it, and no sooner", async () => {
  const bench = await opened();
  bench.clock.advance(24_000);
  deepStrictEqual(bench.take(), []);
  bench.clock.advance(1_000);
  deepStrictEqual(bench.take(), ["ping"]);
  bench.events.pong();
  bench.clock.advance(24_000);
  deepStrictEqual(bench.take(), []);
  bench.clock.advance(6_000);
  deepStrictEqual(bench.take(), ["ping"]);
});

Deno.test("RelayTransport ends a connection that does not answer, and opens another at once", async () => {
  const bench = await opened();
  bench.clock.advance(30_000);
  deepStrictEqual(bench.take(), ["ping", "terminate", "closed: it stopped answering", "ask"]);
  strictEqual(bench.transport.pathTo(B), undefined);
  await bench.open();
  deepStrictEqual(bench.take(), ["opened"]);
});

Deno.test("RelayTransport does not blame the far end when this process stood still", async () => {
  const bench = await opened();
  bench.clock.advance(25_000);
  deepStrictEqual(bench.take(), ["ping"]);
  bench.clock.advance(4_000);
  bench.clock.standStill(60_000);
  bench.clock.advance(1_000);
  deepStrictEqual(bench.take(), [], "the answer may have come, and not be read yet");
  bench.clock.advance(4_999);
  deepStrictEqual(bench.take(), []);
  bench.clock.advance(1);
  deepStrictEqual(bench.take(), ["terminate", "closed: it stopped answering", "ask"]);
});

Deno.test("RelayTransport notices within seconds that nothing comes back while it sends", async () => {
  const bench = await opened();
  bench.transport.send(Uint8Array.of(1), bench.transport.pathTo(B)!);
  bench.clock.advance(10_000);
  deepStrictEqual(bench.take(), ["ping", "terminate", "closed: it stopped answering", "ask"]);
});

Deno.test("RelayTransport.networkChanged() asks the connection, and replaces a silent one", async () => {
  const bench = await opened();
  bench.transport.networkChanged();
  deepStrictEqual(bench.take(), ["ping"]);
  bench.events.pong();
  bench.clock.advance(2_000);
  deepStrictEqual(bench.take(), [], "it answered");
  bench.transport.networkChanged();
  bench.clock.advance(2_000);
  const why = "it did not answer after the network changed";
  deepStrictEqual(bench.take(), ["ping", "terminate", `closed: ${why}`, "ask"]);
});

Deno.test("RelayTransport.networkChanged() gives up the connection of an address that is gone", async () => {
  const bench = await opened();
  bench.transport.networkChanged(true);
  deepStrictEqual(bench.take(), ["terminate", "closed: the network changed", "ask"]);
});

Deno.test("RelayTransport waits longer each time the coordinator cannot be asked", () => {
  const bench = new Bench();
  bench.canAsk = false;
  bench.transport.connect();
  deepStrictEqual(bench.take(), ["ask"]);
  const asked: number[] = [];
  const start = bench.clock.now();
  for (let i = 0; i < 200_000; i += 100) {
    bench.clock.advance(100);
    if (bench.take().includes("ask")) asked.push(bench.clock.now() - start);
  }
  const waits = asked.map((at, i) => at - (asked[i - 1] ?? 0));
  deepStrictEqual(waits, [
    500,
    1_000,
    2_000,
    4_000,
    8_000,
    16_000,
    30_000,
    30_000,
    30_000,
    30_000,
    30_000,
  ]);
  bench.canAsk = true;
  bench.transport.retryNow();
  deepStrictEqual(bench.take(), ["ask"], "the line is up again");
});

Deno.test("RelayTransport asks again when no ticket comes", () => {
  const bench = new Bench();
  bench.transport.connect();
  bench.clock.advance(15_000);
  deepStrictEqual(bench.take(), ["ask"]);
  bench.clock.advance(500);
  deepStrictEqual(bench.take(), ["ask"]);
  bench.transport.close();
  strictEqual(bench.clock.pending, 0);
});

Deno.test("RelayTransport asks again by a new line for the ticket that an old one did not bring", async () => {
  const bench = new Bench();
  bench.transport.connect();
  deepStrictEqual(bench.take(), ["ask"]);
  bench.transport.retryNow();
  deepStrictEqual(bench.take(), ["ask"], "the line is another one");
  await bench.open();
  deepStrictEqual(bench.take(), ["terminate", "opened"], "and so is the connection");
  bench.transport.retryNow();
  bench.clock.advance(15_000);
  deepStrictEqual(bench.take(), [], "it stands");
});

Deno.test("RelayTransport.prepare() dials before anybody can be asked, and connect() makes use of it", async () => {
  const isOpenFirst = [true, false];
  for (const isOpen of isOpenFirst) {
    const bench = new Bench();
    bench.transport.prepare();
    bench.transport.prepare();
    await Promise.resolve();
    if (isOpen) bench.events.open();
    bench.transport.want("a".repeat(64));
    deepStrictEqual([bench.dials, bench.take()], [1, []]);
    strictEqual(bench.transport.connect(), true);
    deepStrictEqual(bench.take(), ["ask"]);
    bench.transport.takeTicket(new Uint8Array(32));
    if (!isOpen) bench.events.open();
    deepStrictEqual([bench.dials, bench.take()], [1, ["opened"]]);
    strictEqual(bench.transport.connect(), false);
    bench.transport.prepare();
    strictEqual(bench.dials, 1);
  }
});

Deno.test("RelayTransport dials anew when what was prepared is over", async () => {
  const bench = new Bench();
  bench.transport.prepare();
  await Promise.resolve();
  bench.events.closed("no ticket");
  deepStrictEqual(bench.take(), [], "nobody had a way by it");
  strictEqual(bench.clock.pending, 0);
  strictEqual(bench.transport.failure, undefined);
  bench.transport.connect();
  await bench.open();
  deepStrictEqual([bench.dials, bench.take()], [2, ["ask", "opened"]]);
  const silent = new Bench();
  silent.transport.prepare();
  await Promise.resolve();
  silent.clock.advance(15_000);
  deepStrictEqual(silent.take(), ["terminate"]);
  silent.transport.prepare();
  silent.transport.close();
  strictEqual(silent.clock.pending, 0);
});

Deno.test("RelayTransport dials while it asks, and asks for another ticket when that fails", async () => {
  const bench = new Bench();
  bench.transport.connect();
  deepStrictEqual([bench.dials, bench.take()], [1, ["ask"]]);
  bench.transport.takeTicket(new Uint8Array(32));
  await Promise.resolve();
  bench.events.closed("refused");
  deepStrictEqual(bench.take(), []);
  bench.clock.advance(500);
  deepStrictEqual([bench.dials, bench.take()], [2, ["ask"]]);
  await Promise.resolve();
  bench.events.open();
  deepStrictEqual(bench.take(), [], "by what ticket?");
  bench.transport.takeTicket(new Uint8Array(32));
  deepStrictEqual(bench.take(), ["opened"]);
});
