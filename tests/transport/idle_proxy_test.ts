/**
 * The relay behind a middlebox that cuts connections on which nothing passes for a minute, on a
 * clock that runs forty times as fast.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { type Clock, SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { TestRelay, until } from "./relay_mesh.ts";

const A = "aa".repeat(32);
const B = "bb".repeat(32);
const FASTER = 40;
const CUT_AFTER_MS = 60_000 / FASTER;

/** What takes a minute takes 1.5 s. */
const FAST_CLOCK: Clock = {
  now: () => SYSTEM_CLOCK.now() * FASTER,
  unixNow: () => SYSTEM_CLOCK.unixNow(),
  schedule: (at, callback) => SYSTEM_CLOCK.schedule(at / FASTER, callback),
};

/** Passes on to a port what comes to its own, until nothing comes either way for too long. */
async function idleProxy(port: number) {
  const sockets = new Set<Socket>();
  let accepted = 0;
  let cut = 0;
  const server = createServer({ noDelay: true }, (near) => {
    accepted++;
    const far = connect({ host: "127.0.0.1", port, noDelay: true });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = () => {
      clearTimeout(timer);
      for (const socket of [near, far]) {
        sockets.delete(socket);
        socket.destroy();
      }
    };
    const touch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        cut++;
        end();
      }, CUT_AFTER_MS);
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
  const proxy = await idleProxy(relay.port);
  const behind = { url: `wss://127.0.0.1:${proxy.port}/relay` };
  const [a, b] = [A, B].map((id) => relay.transport(id, { clock: FAST_CLOCK }, behind));
  // What nobody keeps alive is cut: so the proxy does what it is here for.
  const idle = connect({ host: "127.0.0.1", port: proxy.port });
  idle.on("error", () => {});
  await until(() => a!.isConnected && b!.isConnected, "both connections");
  await until(() => proxy.cut === 1, "the idle one to be cut");
  await new Promise((resolve) => setTimeout(resolve, 1.5 * CUT_AFTER_MS));
  deepStrictEqual([a!.isConnected, b!.isConnected], [true, true]);
  const received: Uint8Array[] = [];
  b!.start((datagram) => received.push(datagram.slice()));
  a!.send(Uint8Array.of(1, 2, 3), a!.pathTo(B)!);
  await until(() => received.length === 1, "the datagram");
  deepStrictEqual(received[0], Uint8Array.of(1, 2, 3));
  strictEqual(proxy.accepted, 3, "no connection was made again");
  await relay.close();
  await proxy.close();
});
