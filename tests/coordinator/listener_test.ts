/**
 * The HTTP side: what is served, and who is turned away before anything is decoded.
 *
 * @module
 */

import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { type RawData, WebSocket } from "ws";
import type { ListenerEvents } from "../../lib/coordinator/control_listener.ts";
import { HttpListener, type HttpListenerOptions } from "../../lib/coordinator/listener.ts";
import { WorkerListener } from "../../lib/coordinator/listener_link.ts";

const OPTIONS: HttpListenerOptions = {
  listen: [{ hostname: "127.0.0.1", port: 0 }],
  port: 0,
  tls: undefined,
};

/** A listener that echoes, at a URL. */
async function echoing(
  change: Partial<HttpListenerOptions>,
  run: (url: string, listener: HttpListener, seen: string[]) => Promise<void>,
): Promise<void> {
  const listener = new HttpListener({ ...OPTIONS, ...change });
  const seen: string[] = [];
  const events: ListenerEvents = {
    opened: (id) => seen.push(`opened ${id}`),
    received: (id, message) => {
      seen.push(`received ${message.length}`);
      listener.send(id, message);
    },
    closed: (id) => seen.push(`closed ${id}`),
    failed: (error) => {
      throw error;
    },
  };
  const [address] = await listener.start(events);
  try {
    await run(`http://127.0.0.1:${address!.port}`, listener, seen);
  } finally {
    await listener.stop();
  }
}

/** How a WebSocket ends after sending these messages. */
function endOf(url: string, messages: (string | Uint8Array)[]): Promise<[number, string]> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/control`);
  const { promise, resolve } = Promise.withResolvers<[number, string]>();
  socket.on("open", () => {
    for (const message of messages) socket.send(message);
  });
  socket.on(
    "close",
    (code: number, reason: Uint8Array) => resolve([code, new TextDecoder().decode(reason)]),
  );
  socket.on("error", () => {});
  return promise;
}

/** An open WebSocket; the HTTP status instead where it was turned away. */
function open(url: string): Promise<WebSocket | number> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/control`);
  const { promise, resolve } = Promise.withResolvers<WebSocket | number>();
  socket.on("open", () => resolve(socket));
  socket.on("unexpected-response", (_: unknown, response: { statusCode: number }) => {
    resolve(response.statusCode);
  });
  socket.on("error", () => {});
  return promise;
}

Deno.test("HttpListener.app serves health and nothing that tells about the mesh", async () => {
  const { app } = new HttpListener(OPTIONS);
  /** Path, status, body. */
  const rows: [string, number, string][] = [
    ["/", 200, "tunnelmesh coordinator\n"],
    ["/healthz", 200, "ok\n"],
    ["/control", 426, "this is a WebSocket\n"],
    ["/registry.db", 404, "404 Not Found"],
  ];
  for (const [path, status, body] of rows) {
    const response = await app.request(path);
    deepStrictEqual([response.status, await response.text()], [status, body]);
  }
});

Deno.test("HttpListener carries binary messages both ways, of up to 65535 bytes", async () => {
  await echoing({}, async (url, _, seen) => {
    const socket = await open(url) as WebSocket;
    socket.binaryType = "nodebuffer";
    const message = new Uint8Array(65_535).fill(7);
    const echoed = new Promise<Uint8Array>((resolve) =>
      socket.on("message", (data: RawData) => resolve(new Uint8Array(data as Uint8Array)))
    );
    socket.send(message);
    deepStrictEqual(await echoed, message);
    deepStrictEqual(seen, ["opened 1", "received 65535"]);
    const closed = new Promise((resolve) => socket.on("close", resolve));
    socket.close();
    await closed;
  });
});

Deno.test("HttpListener ends connections that send text or too much", async () => {
  await echoing({}, async (url, _, seen) => {
    for (const message of ["text", new Uint8Array(65_536)]) {
      const [code] = await endOf(url, [message]);
      strictEqual(code, 4401);
    }
    ok(!seen.some((line) => line.startsWith("received")), "nothing of it gets further");
    deepStrictEqual(seen.filter((line) => line.startsWith("closed")), ["closed 1", "closed 2"]);
  });
});

Deno.test("HttpListener bounds strangers, and admitted connections are none", async () => {
  await echoing({ limits: { maxStrangers: 2 } }, async (url, listener) => {
    const sockets = [await open(url), await open(url)] as WebSocket[];
    strictEqual(await open(url), 503);
    listener.admit(1);
    const third = await open(url) as WebSocket;
    ok(third instanceof WebSocket);
    for (const socket of [...sockets, third]) {
      const closed = new Promise((resolve) => socket.on("close", resolve));
      socket.close();
      await closed;
    }
  });
});

Deno.test("HttpListener closes strangers that prove nothing in time", async () => {
  await echoing({ limits: { timeoutMs: 1 } }, async (url) => {
    strictEqual((await endOf(url, []))[0], 4470);
  });
});

Deno.test("WorkerListener.start() rejects when the worker fails", async () => {
  const listener = new WorkerListener(null as never);
  const failed = listener.start({ opened() {}, received() {}, closed() {}, failed() {} });
  await rejects(failed, /the listener's worker failed/);
  await listener.stop();
});
