/**
 * The HTTP side of a coordinator: Hono on `Deno.serve`, with the control channel's WebSocket at
 * `/control`. It moves messages and knows nothing of what is in them; what it guards is memory and
 * time: strangers are limited in number, rate and duration, slow readers are cut off.
 *
 * @module
 */

import { type Context, Hono } from "hono";
import { SYSTEM_CLOCK } from "../base/clock.ts";
import { MAX_CONTROL_MESSAGE } from "../session/control_channel.ts";
import { closeOf, RefusalError, type RefusalReason } from "../wire/refusal.ts";
import {
  type ControlListener,
  type ListenAddress,
  type ListenerEvents,
  ListenError,
} from "./control_listener.ts";
import { RELAY_IDLE_SECONDS, RelayEndpoint } from "./relay_endpoint.ts";
import { RelayHub } from "./relay_hub.ts";
import type { RelayLimits } from "./relay_limits.ts";
import { DEFAULT_STRANGER_LIMITS, StrangerGate, type StrangerLimits } from "./stranger_limits.ts";

/** What a listener opens. */
export interface HttpListenerOptions {
  /** Where to listen; empty: at `port` of every address, in both families if there are two. */
  readonly listen: readonly ListenAddress[];
  /** Port for an empty `listen`; 0: any. */
  readonly port: number;
  /** PEM certificate chain and key; without them plain HTTP. */
  readonly tls: { readonly certificate: string; readonly key: string } | undefined;
  /** @default {DEFAULT_STRANGER_LIMITS} */
  readonly limits?: Partial<StrangerLimits>;
  /** @default {DEFAULT_RELAY_LIMITS} */
  readonly relayLimits?: Partial<RelayLimits>;
}

/** Bytes waiting for one connection; a full roster of a large mesh fits. */
const MAX_BUFFERED = 16 * 1024 * 1024;
/** What comes on a connection so soon belongs to a join. */
const JOINING_MS = 2_000;
/** How long stopping waits, for closing frames and then for the servers. */
const CLOSE_WITHIN_MS = 80;

interface Connection {
  readonly socket: WebSocket;
  isStranger: boolean;
  timer: ReturnType<typeof setTimeout> | undefined;
}

interface Bindings {
  readonly remoteAddr?: Deno.Addr;
}

/** A {@linkcode ControlListener} on real sockets, in the thread that makes it. */
export class HttpListener implements ControlListener {
  readonly relay: RelayHub;
  readonly #relayEndpoint: RelayEndpoint;
  readonly #options: HttpListenerOptions;
  readonly #limits: StrangerLimits;
  readonly #gate: StrangerGate;
  readonly #connections = new Map<number, Connection>();
  /** Sockets that were told to close and have not said that they did. */
  readonly #closing = new Set<WebSocket>();
  readonly #servers: Deno.HttpServer<Deno.NetAddr>[] = [];
  #events: ListenerEvents | undefined;
  #nextId = 1;
  #isStopped = false;

  constructor(options: HttpListenerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_STRANGER_LIMITS, ...options.limits };
    this.#gate = new StrangerGate(this.#limits);
    this.relay = new RelayHub(SYSTEM_CLOCK, options.relayLimits);
    const { timeoutMs } = this.#limits;
    this.#relayEndpoint = new RelayEndpoint({ hub: this.relay, timeoutMs });
  }

  /** The routes; separate from sockets, for tests. */
  get app(): Hono<{ Bindings: Bindings }> {
    const app = new Hono<{ Bindings: Bindings }>();
    app.get("/", (c) => c.text("tunnelmesh coordinator\n"));
    app.get("/healthz", (c) => c.text("ok\n"));
    app.get("/control", (c) =>
      this.#upgrade(c, 0, (socket, remote) => {
        this.relay.giveWay();
        this.#take(socket, remote);
      }));
    app.get("/relay", (c) =>
      this.#upgrade(c, RELAY_IDLE_SECONDS, (socket) => {
        this.#relayEndpoint.take(socket, () => this.#gate.leave());
      }));
    app.onError((_, c) => c.text("internal error\n", 500));
    return app;
  }

  /** @inheritdoc */
  async start(events: ListenerEvents): Promise<readonly ListenAddress[]> {
    this.#events = events;
    const { listen, port } = this.#options;
    try {
      if (listen.length === 0) this.#serveEverywhere(port);
      else for (const address of listen) this.#serve(address);
    } catch (error) {
      await this.stop();
      throw error;
    }
    return this.#servers.map(({ addr }) => ({ hostname: addr.hostname, port: addr.port }));
  }

  /** @inheritdoc */
  send(id: number, message: Uint8Array): void {
    const connection = this.#connections.get(id);
    if (connection === undefined || connection.socket.readyState !== WebSocket.OPEN) return;
    if (connection.socket.bufferedAmount + message.length > MAX_BUFFERED) {
      this.#refuse(id, connection, "too-slow");
      return;
    }
    connection.socket.send(message as Uint8Array<ArrayBuffer>);
  }

  /** @inheritdoc */
  admit(id: number): void {
    const connection = this.#connections.get(id);
    if (connection !== undefined) this.#noLongerStranger(connection);
  }

  /** @inheritdoc */
  close(id: number, code: number, reason: string): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    this.#drop(id, connection);
    this.#closeSocket(connection.socket, code, reason);
  }

  /** @inheritdoc */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    const { code, reason } = closeOf(new RefusalError("shutdown"));
    for (const id of [...this.#connections.keys()]) this.close(id, code, reason);
    this.relay.stop();
    // Shutting down right away would cut the closing frames off; a peer that is gone never answers.
    const deadline = performance.now() + CLOSE_WITHIN_MS;
    const isClosing = () => this.#closing.size > 0 || this.#relayEndpoint.size > 0;
    while (isClosing() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const stopping = Promise.allSettled(this.#servers.map((server) => server.shutdown()));
    await Promise.race([stopping, new Promise((resolve) => setTimeout(resolve, CLOSE_WITHIN_MS))]);
  }

  /** One socket takes both families where the system lets it; else IPv4 alone. */
  #serveEverywhere(port: number): void {
    try {
      this.#serve({ hostname: "::", port });
    } catch (error) {
      if (error instanceof ListenError && error.fault !== "other") throw error;
      this.#serve({ hostname: "0.0.0.0", port });
    }
  }

  #serve({ hostname, port }: ListenAddress): void {
    const { tls } = this.#options;
    const { app } = this;
    const handler = (request: Request, info: Deno.ServeHandlerInfo<Deno.NetAddr>) =>
      app.fetch(request, { remoteAddr: info.remoteAddr });
    const options = { hostname, port, onListen() {} };
    try {
      const server = tls === undefined
        ? Deno.serve(options, handler)
        : Deno.serve({ ...options, cert: tls.certificate, key: tls.key }, handler);
      this.#servers.push(server);
      server.finished.catch((error) => this.#events?.failed(error));
    } catch (cause) {
      throw listenError({ hostname, port }, cause);
    }
  }

  /** @param idleSeconds Without a sign of life, not even the answer to a ping; 0: for ever. */
  #upgrade(
    c: Context<{ Bindings: Bindings }>,
    idleSeconds: number,
    take: (socket: WebSocket, remote: string) => void,
  ): Response {
    if (c.req.header("upgrade")?.toLowerCase() !== "websocket") {
      return c.text("this is a WebSocket\n", 426, { upgrade: "websocket" });
    }
    const remote = c.env.remoteAddr;
    const hostname = remote !== undefined && "hostname" in remote ? remote.hostname : "unknown";
    const port = remote !== undefined && "port" in remote ? remote.port : 0;
    if (this.#isStopped || !this.#gate.enter(hostname, performance.now())) {
      return c.text("too many connections: try again later\n", 503, { "retry-after": "5" });
    }
    let upgrade: Deno.WebSocketUpgrade;
    try {
      upgrade = Deno.upgradeWebSocket(c.req.raw, { idleTimeout: idleSeconds });
    } catch {
      this.#gate.leave();
      return c.text("this is no WebSocket handshake\n", 400);
    }
    take(
      upgrade.socket,
      hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`,
    );
    return upgrade.response;
  }

  #take(socket: WebSocket, remote: string): void {
    const id = this.#nextId++;
    const connection: Connection = { socket, isStranger: true, timer: undefined };
    this.#connections.set(id, connection);
    socket.binaryType = "arraybuffer";
    connection.timer = setTimeout(
      () => this.#refuse(id, connection, "timeout"),
      this.#limits.timeoutMs,
    );
    const openedAt = performance.now();
    socket.onopen = () => this.#events?.opened(id, remote);
    socket.onmessage = ({ data }) => {
      if (!this.#connections.has(id)) return;
      if (performance.now() - openedAt < JOINING_MS) this.relay.giveWay();
      if (!(data instanceof ArrayBuffer) || data.byteLength > MAX_CONTROL_MESSAGE) {
        return this.#refuse(id, connection, "bad-message");
      }
      this.#events?.received(id, new Uint8Array(data));
    };
    // An error is always followed by a close.
    socket.onerror = () => {};
    socket.onclose = () => {
      this.#closing.delete(socket);
      if (this.#drop(id, connection)) this.#events?.closed(id);
    };
  }

  /** Ends a connection from this side and says so to both ends. */
  #refuse(id: number, connection: Connection, refusal: RefusalReason): void {
    if (!this.#drop(id, connection)) return;
    const { code, reason } = closeOf(new RefusalError(refusal));
    this.#closeSocket(connection.socket, code, reason);
    this.#events?.closed(id);
  }

  #closeSocket(socket: WebSocket, code: number, reason: string): void {
    try {
      socket.close(code, reason);
      this.#closing.add(socket);
    } catch {
      // Closed meanwhile by the other side.
    }
  }

  #drop(id: number, connection: Connection): boolean {
    this.#noLongerStranger(connection);
    return this.#connections.delete(id);
  }

  #noLongerStranger(connection: Connection): void {
    if (!connection.isStranger) return;
    connection.isStranger = false;
    clearTimeout(connection.timer);
    this.#gate.leave();
  }
}

function listenError({ hostname, port }: ListenAddress, cause: unknown): ListenError {
  const where = hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
  if (cause instanceof Deno.errors.AddrInUse) {
    const hint = "another program has the port; stop it or choose another by --listen";
    return new ListenError("in-use", `Cannot listen at ${where}: ${hint}`, { cause });
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    const hint = "no right to that port; choose one above 1023 by --listen or start as root";
    return new ListenError("denied", `Cannot listen at ${where}: ${hint}`, { cause });
  }
  const text = cause instanceof Error ? cause.message : String(cause);
  const isCertificate = cause instanceof Deno.errors.InvalidData;
  return new ListenError(
    isCertificate ? "certificate" : "other",
    `Cannot listen at ${where}: ${text}${isCertificate ? "; check --tls-cert and --tls-key" : ""}`,
    { cause },
  );
}
