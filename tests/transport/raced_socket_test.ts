/**
 * Who connects first where the first attempt gets no answer, on a virtual clock and by sockets that
 * are told what happened to them.
 *
 * @module
 */

import { deepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { connect as connectTcp, createServer, type Server, Socket } from "node:net";
import { raceToConnect } from "../../lib/transport/raced_socket.ts";
import { FakeClock } from "../fakes/clock.ts";

function race() {
  const clock = new FakeClock();
  const sockets: Socket[] = [];
  const open = () => {
    const socket = new Socket();
    sockets.push(socket);
    return socket;
  };
  const winner = raceToConnect({ open, timeoutMs: 15_000, clock });
  winner.catch(() => {});
  return { clock, sockets, winner };
}

Deno.test("raceToConnect() opens one connection where that is answered soon", async () => {
  const { clock, sockets, winner } = race();
  clock.advance(299);
  sockets[0]!.emit("connect");
  strictEqual(await winner, sockets[0]);
  clock.advance(60_000);
  deepStrictEqual([sockets.length, clock.pending, sockets[0]!.destroyed], [1, 0, false]);
});

for (const first of [0, 1]) {
  Deno.test(`raceToConnect() takes attempt ${first + 1} if that is answered first, and ends the other`, async () => {
    const { clock, sockets, winner } = race();
    clock.advance(300);
    strictEqual(sockets.length, 2);
    sockets[first]!.emit("connect");
    sockets[1 - first]!.emit("connect");
    strictEqual(await winner, sockets[first]);
    deepStrictEqual(sockets.map(({ destroyed }) => destroyed), [first !== 0, first !== 1]);
    strictEqual(clock.pending, 0);
    // What happens to the loser, and to a winner that nobody listens to yet, is no uncaught error.
    for (const socket of sockets) socket.emit("error", new Error("reset"));
  });
}

Deno.test("raceToConnect() says at once what the system says of the only attempt", async () => {
  const { clock, sockets, winner } = race();
  sockets[0]!.emit("error", new Error("refused"));
  await rejects(winner, /^Error: refused$/);
  clock.advance(60_000);
  deepStrictEqual([sockets.length, clock.pending], [1, 0], "no second one");
});

Deno.test("raceToConnect() goes on while one attempt of two may be answered", async () => {
  const { clock, sockets, winner } = race();
  clock.advance(300);
  sockets[0]!.emit("error", new Error("unreachable"));
  sockets[1]!.emit("connect");
  strictEqual(await winner, sockets[1]);
});

Deno.test("raceToConnect() gives up where nobody answers", async () => {
  const { clock, sockets, winner } = race();
  clock.advance(15_000);
  await rejects(winner, /no answer/);
  deepStrictEqual(sockets.map(({ destroyed }) => destroyed), [true, true]);
  strictEqual(clock.pending, 0);
});

Deno.test("raceToConnect() connects to a real server", async () => {
  const server: Server = createServer((socket) => socket.end("hello"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const open = () => connectTcp({ host: "127.0.0.1", port });
  const socket = await raceToConnect({ open, timeoutMs: 15_000 });
  let text = "";
  socket.on("data", (bytes: Uint8Array) => text += new TextDecoder().decode(bytes));
  await new Promise((resolve) => socket.once("close", resolve));
  strictEqual(text, "hello");
  await new Promise<void>((resolve) => server.close(() => resolve()));
});
