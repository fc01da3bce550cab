/**
 * The relay behind a middlebox that cuts connections on which nothing passes for a minute, on a
 * clock that runs forty times as fast, and stands still while this process does: so no machine is
 * too slow to answer in time.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { FakeClock } from "../fakes/clock.ts";
import { TestRelay, until } from "./relay_mesh.ts";

const A = "aa".repeat(32);
const B = "bb".repeat(32);
const CUT_AFTER_MS = 60_000;
const TICK_MS = 5;
const FASTER = 40;

/** Moves a clock on, a tick after each turn of this process. @returns Ends that. */
function run(clock: FakeClock): () => void {
  let timer = setTimeout(tick, TICK_MS);
  function tick() {
    clock.advance(TICK_MS * FASTER);
    timer = setTimeout(tick, TICK_MS);
  }
  return () => clearTimeout(timer);
}

/** Passes on to a port what comes to its own, until nothing comes either way for too long. */
async function idleProxy(port: number, clock: FakeClock) {
  const sockets = new Set<Socket>();
  let accepted = 0;
  let cut = 0;
  const server = createServer({ noDelay: true }, (near) => {
    accepted++;
    const far = connect({ host: "127.0.0.1", port, noDelay: true });
    let stop = () => {};
    const end = () => {
      stop();
      for (const socket of [near, far]) {
        sockets.delete(socket);
        socket.destroy();
      }
    };
    const touch = () => {
      stop();
      stop = clock.schedule(clock.now() + CUT_AFTER_MS, () => {
        cut++;
        end();
      });
    };
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.add(from);
      from.on("data", (bytes) => {
        touch();
        to.write(bytes);
      });
      from.on("error", () => {});
      from.on("close", end);
    }
    touch();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    get accepted() {
      return accepted;
    },
    get cut() {
      return cut;
    },
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

Deno.test("RelayTransport survives a proxy that cuts idle connections", async () => {
  const relay = await TestRelay.open([A, B]);
  const clock = new FakeClock();
  const proxy = await idleProxy(relay.port, clock);
  const behind = { url: `wss://127.0.0.1:${proxy.port}/relay` };
  const [a, b] = [A, B].map((id) => relay.transport(id, { clock }, behind));
  // What nobody keeps alive is cut: so the proxy does what it is here for.
  const idle = connect({ host: "127.0.0.1", port: proxy.port });
  idle.on("error", () => {});
  await until(() => a!.isConnected && b!.isConnected && proxy.accepted === 3, "all connections");
  const stop = run(clock);
  await until(() => proxy.cut === 1, "the idle one to be cut");
  const connectedAt = clock.now();
  await until(() => clock.now() - connectedAt > 1.5 * CUT_AFTER_MS, "more than that");
  deepStrictEqual([a!.isConnected, b!.isConnected], [true, true]);
  const received: Uint8Array[] = [];
  b!.start((datagram) => received.push(datagram.slice()));
  a!.send(Uint8Array.of(1, 2, 3), a!.pathTo(B)!);
  await until(() => received.length === 1, "the datagram");
  deepStrictEqual(received[0], Uint8Array.of(1, 2, 3));
  strictEqual(proxy.accepted, 3, "no connection was made again");
  stop();
  await relay.close();
  await proxy.close();
});
