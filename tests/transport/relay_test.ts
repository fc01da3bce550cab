/**
 * The relay over real sockets, in TLS on loopback: both ends, proxies on the way, and what T38 of
 * protocol.md §7 names, as a member would try it.
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { WebSocket } from "ws";
import { fromHex } from "../../lib/base/bytes.ts";
import { dialRelay } from "../../lib/transport/relay_dialing.ts";
import { encodeLengthPrefixed } from "../../lib/wire/length_prefix.ts";
import { testPeerCarrier } from "./carrier_contract.ts";
import { TestRelay, until } from "./relay_mesh.ts";

const A = "aa".repeat(32);
const B = "bb".repeat(32);
const C = "cc".repeat(32);
const D = "dd".repeat(32);
const STRANGER = "00".repeat(32);

testPeerCarrier("RelayTransport", async () => {
  const relay = await TestRelay.open([A, B]);
  const isPeer = (nodeId: string) => nodeId === A || nodeId === B;
  const a = relay.transport(A, { isPeer });
  const b = relay.transport(B, { isPeer });
  await until(() => relay.listener.relay.counts.connections === 2, "both connections");
  return {
    a,
    b,
    idA: A,
    idB: B,
    kind: "relay",
    largest: a.largestDatagram(),
    // It is connected to the relay, not to the other node: echoes tell whether that one is there.
    knowsWhenTheOtherIsGone: false,
    until,
    close: () => relay.close(),
  };
});

Deno.test("RelayTransport sends what comes in one turn by few messages, as large as half the most", async () => {
  const relay = await TestRelay.open([A, B]);
  const sizes: number[] = [];
  const a = relay.transport(A, {
    dial: async (events) => {
      const socket = await dialRelay({ url: relay.url, tlsVerify: false }, events);
      return {
        get queuedBytes() {
          return socket.queuedBytes;
        },
        send: (bytes, sent) => {
          sizes.push(bytes.length);
          socket.send(bytes, sent);
        },
        ping: () => socket.ping(),
        close: () => socket.close(),
        terminate: () => socket.terminate(),
      };
    },
  });
  const b = relay.transport(B);
  let received = 0;
  b.start(() => received++);
  await until(() => relay.listener.relay.counts.connections === 2);
  sizes.length = 0;
  for (let i = 0; i < 100; i++) ok(a.send(new Uint8Array(1440), a.pathTo(B)!));
  await until(() => received === 100);
  strictEqual(sizes.length, 5, `22 to a message: ${sizes}`);
  await relay.close();
});

Deno.test("RelayTransport takes nothing from a node that is no peer, and knows no way to it", async () => {
  const relay = await TestRelay.open([A, B, C]);
  const a = relay.transport(A, { isPeer: (nodeId) => nodeId === B });
  const b = relay.transport(B);
  const c = relay.transport(C);
  const from: string[] = [];
  a.start((_, path) => from.push(path.nodeId));
  await until(() => relay.listener.relay.counts.connections === 3);
  c.send(Uint8Array.of(1), c.pathTo(A)!);
  await until(() => relay.listener.relay.counts.forwardedDatagrams === 1);
  b.send(Uint8Array.of(1), b.pathTo(A)!);
  await until(() => from.length > 0);
  deepStrictEqual(from, [B]);
  strictEqual(a.pathTo(C), undefined);
  await relay.close();
});

Deno.test("RelayTransport refuses what does not fit and what the connection is not ready for", async () => {
  const relay = await TestRelay.open([A, B]);
  const a = relay.transport(A, { maxQueuedBytes: 100_000 });
  await until(() => a.isConnected);
  const path = a.pathTo(B)!;
  strictEqual(a.send(new Uint8Array(65_503), path), false);
  let taken = 0;
  while (a.send(new Uint8Array(1_440), path)) taken++;
  ok(taken < 200, `${taken} in one turn`);
  strictEqual(a.drops.queueFull, 1);
  await a.close();
  strictEqual(a.send(Uint8Array.of(1), path), false);
  strictEqual(a.drops.noConnection, 1);
  await relay.close();
});

Deno.test("RelayTransport comes back, by a new ticket, when the connection breaks", async () => {
  const relay = await TestRelay.open([A, B]);
  const events: string[] = [];
  const a = relay.transport(A, {
    random: () => 0,
    events: { opened: () => events.push("opened"), closed: () => events.push("closed") },
  });
  // The relay knows it only once it has read the ticket.
  await until(() => a.isConnected && relay.listener.relay.counts.connections === 1);
  const path = a.pathTo(B);
  relay.listener.relay.stop();
  await until(() => !a.isConnected);
  strictEqual(a.pathTo(B), undefined);
  match(a.failure!, /stopping/);
  a.retryNow();
  await until(() => a.isConnected);
  strictEqual(a.pathTo(B), path, "the same way as before");
  deepStrictEqual(events, ["opened", "closed", "opened"]);
  await relay.close();
});

Deno.test("a slow receiver does not slow another pair", async () => {
  const relay = await TestRelay.open([A, B, C, D], { tls: undefined });
  const a = relay.transport(A);
  const c = relay.transport(C);
  const d = relay.transport(D);
  const slow = await connectAndNeverRead(relay, B);
  await until(() => relay.listener.relay.counts.connections === 4);
  let received = 0;
  d.start(() => received++);
  const { counts } = relay.listener.relay;
  // Until the sockets and queues on B's way are full for good.
  await until(() => {
    for (let i = 0; i < 200; i++) a.send(new Uint8Array(1_440), a.pathTo(B)!);
    return counts.queueFull > 200;
  }, "the slow one's queue to be full");
  for (let i = 0; i < 50; i++) {
    for (let j = 0; j < 20; j++) a.send(new Uint8Array(1_440), a.pathTo(B)!);
    c.send(Uint8Array.of(1), c.pathTo(D)!);
    await until(() => received === i + 1, "the other pair's datagram");
  }
  ok(relay.listener.relay.queuedBytes <= 2_097_152);
  slow.close();
  await relay.close();
});

/** What A writes on its raw connection, whether the ticket is good, and why that ends it. */
const T38_ROWS: [
  why: string,
  code: number,
  write: (socket: WebSocket, ticket: Uint8Array) => void,
][] = [
  ["a reused ticket", 4403, (socket, ticket) => socket.send(ticket.fill(1))],
  ["no ticket", 4401, (socket) => socket.send(messageTo(B))],
  ["text", 4401, (socket) => socket.send("hello")],
  ["a bad length", 4401, (socket, ticket) => {
    socket.send(ticket);
    socket.send(messageTo(B).with(32, 200));
  }],
  ["a destination that is no member", 4401, (socket, ticket) => {
    socket.send(ticket);
    socket.send(messageTo(STRANGER));
  }],
  ["a message that is too long", 4401, (socket, ticket) => {
    socket.send(ticket);
    socket.send(Uint8Array.of(...fromHex(B), ...encodeLengthPrefixed(new Uint8Array(65_503))));
  }],
];

for (const [why, code, write] of T38_ROWS) {
  Deno.test(`T38: ${why} ends a relay connection, and nothing is forwarded`, async () => {
    const relay = await TestRelay.open([A, B]);
    const b = relay.transport(B);
    let received = 0;
    b.start(() => received++);
    await until(() => b.isConnected);
    const socket = new WebSocket(relay.url, { rejectUnauthorized: false });
    const ended = Promise.withResolvers<number>();
    socket.on("close", (closeCode: number) => ended.resolve(closeCode));
    await new Promise((resolve) => socket.on("open", resolve));
    write(socket, relay.ticket(A));
    socket.send(messageTo(B));
    // What is still sent to a connection that is being closed may cost it the closing frame.
    ok([code, 1006].includes(await ended.promise));
    deepStrictEqual([received, relay.listener.relay.counts.forwardedDatagrams], [0, 0]);
    await relay.close();
  });
}

Deno.test("a relay connection without a ticket is closed after a while", async () => {
  const relay = await TestRelay.open([A], { limits: { timeoutMs: 50 } });
  const socket = new WebSocket(relay.url, { rejectUnauthorized: false });
  const code = await new Promise((resolve) => socket.on("close", resolve));
  strictEqual(code, 4470);
  await relay.close();
});

Deno.test("RelayTransport checks the certificate where that is asked for", async () => {
  const relay = await TestRelay.open([A]);
  const a = relay.transport(A, {}, { tlsVerify: true });
  await until(() => a.failure !== undefined);
  match(a.failure!, /certificate|issuer|self.signed/i);
  strictEqual(relay.listener.relay.counts.connections, 0);
  await relay.close();
});

Deno.test("RelayTransport goes through the proxy of the environment", async () => {
  const relay = await TestRelay.open([A, B]);
  const proxy = await TestProxy.open(relay.port);
  const env = (name: string) =>
    name === "HTTPS_PROXY" ? `http://me:a%20secret@127.0.0.1:${proxy.port}` : undefined;
  // A name that only the proxy knows: so the way can only be through it.
  const target = { url: "wss://coordinator.invalid:8443/relay", env };
  const a = relay.transport(A, {}, target);
  const b = relay.transport(B);
  let received = 0;
  b.start((datagram) => received += datagram.length);
  await until(() => relay.listener.relay.counts.connections === 2);
  for (let i = 0; i < 50; i++) a.send(new Uint8Array(1_000), a.pathTo(B)!);
  await until(() => received === 50_000);
  const [request] = proxy.requests;
  match(
    request!,
    /^CONNECT coordinator\.invalid:8443 HTTP\/1\.1\r\nHost: coordinator\.invalid:8443/,
  );
  match(request!, new RegExp(`\r\nProxy-Authorization: Basic ${btoa("me:a secret")}\r\n`));
  await relay.close();
  await proxy.close();
});

Deno.test("RelayTransport says what a proxy that refuses has said", async () => {
  const relay = await TestRelay.open([A]);
  const proxy = await TestProxy.open(
    relay.port,
    "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
  );
  const a = relay.transport(A, {}, {
    url: "wss://coordinator.invalid/relay",
    env: (name) => name === "https_proxy" ? `127.0.0.1:${proxy.port}` : undefined,
  });
  await until(() => a.failure !== undefined);
  match(a.failure!, /proxy at 127\.0\.0\.1:\d+: it answered 407 Proxy Authentication Required/);
  await relay.close();
  await proxy.close();
});

/** An HTTP proxy that leads everywhere to one port. */
class TestProxy {
  readonly requests: string[] = [];
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(port: number, answer = "HTTP/1.1 200 OK\r\n\r\n"): Promise<TestProxy> {
    const server = createServer((client) => {
      client.on("error", () => {});
      client.once("data", (bytes: Uint8Array) => {
        proxy.requests.push(new TextDecoder().decode(bytes));
        client.write(answer);
        if (!answer.includes("200")) return;
        const host = connect(port, "127.0.0.1").on("error", () => {});
        client.pipe(host).pipe(client);
        client.on("close", () => host.destroy());
        host.on("close", () => client.destroy());
      });
    });
    const proxy = new TestProxy(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

/** A connection of a node that shows its ticket and reads nothing more. */
async function connectAndNeverRead(relay: TestRelay, nodeId: string): Promise<Deno.TcpConn> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: relay.port });
  const request = "GET /relay HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\n" +
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
  await connection.write(new TextEncoder().encode(request));
  const answer = new Uint8Array(1_024);
  match(new TextDecoder().decode(answer.subarray(0, (await connection.read(answer))!)), /^\S+ 101/);
  // One binary frame of 32 bytes, masked by zeros.
  await connection.write(Uint8Array.of(0x82, 0x80 | 32, 0, 0, 0, 0, ...relay.ticket(nodeId)));
  return connection;
}

function messageTo(nodeId: string): Uint8Array {
  return Uint8Array.of(...fromHex(nodeId), ...encodeLengthPrefixed(Uint8Array.of(1, 2, 3)));
}
