/**
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { MemberListener } from "../../lib/agent/member_listener.ts";
import type { WebSocketEvents } from "../../lib/agent/websocket.ts";
import type { ControlListener, ListenerEvents } from "../../lib/coordinator/control_listener.ts";

const TARGET = { url: "wss://unused", tlsVerify: false, maxMessage: 1 };

async function setUp() {
  const said: string[] = [];
  const outer: ControlListener = {
    start: () => Promise.resolve([]),
    send: (id) => said.push(`outer send ${id}`),
    admit: (id) => said.push(`outer admit ${id}`),
    close: (id) => said.push(`outer close ${id}`),
    stop: () => Promise.resolve(),
  };
  const listener = new MemberListener(outer);
  const events: ListenerEvents = {
    opened: (id) => said.push(`opened ${id}`),
    received: (id, bytes) => said.push(`received ${id} ${bytes.join()}`),
    closed: (id) => said.push(`closed ${id}`),
    failed: () => said.push("failed"),
  };
  await listener.start(events);
  const member: WebSocketEvents = {
    open: () => said.push("member open"),
    message: (bytes) => said.push(`member got ${bytes.join()}`),
    closed: ({ code, reason }) => said.push(`member closed ${code} ${reason}`),
  };
  const connection = await listener.dial(TARGET, member);
  await turn();
  return { listener, connection, said, take: () => said.splice(0) };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("MemberListener carries messages both ways, as they were when they were sent", async () => {
  const { listener, connection, take } = await setUp();
  deepStrictEqual(take(), ["opened -1", "member open"]);
  const bytes = Uint8Array.of(1, 2);
  connection.send(bytes);
  bytes.fill(9);
  listener.admit(-1);
  listener.send(-1, Uint8Array.of(3));
  deepStrictEqual(take(), [], "nothing comes from within a call");
  await turn();
  deepStrictEqual(take(), ["received -1 1,2", "member got 3"]);
});

Deno.test("MemberListener leaves everybody else's connections to the listener inside", async () => {
  const { listener, take } = await setUp();
  take();
  listener.send(5, new Uint8Array());
  listener.admit(5);
  listener.close(5, 1, "");
  deepStrictEqual(take(), ["outer send 5", "outer admit 5", "outer close 5"]);
});

Deno.test("MemberListener tells each side once that the connection is over", async () => {
  const byMember = await setUp();
  byMember.take();
  byMember.connection.close();
  byMember.connection.terminate();
  await turn();
  deepStrictEqual(byMember.take(), ["closed -1", "member closed 1000 "]);
  byMember.connection.send(Uint8Array.of(1));
  await turn();
  deepStrictEqual(byMember.take(), []);

  const byCoordinator = await setUp();
  byCoordinator.take();
  byCoordinator.listener.send(-1, Uint8Array.of(7));
  byCoordinator.listener.close(-1, 4421, "removed");
  await turn();
  deepStrictEqual(byCoordinator.take(), ["member got 7", "member closed 4421 removed"]);
  strictEqual(byCoordinator.said.length, 0);
});
