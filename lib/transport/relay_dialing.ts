/**
 * Opens a WebSocket to the relay, by the `ws` package, through a proxy where there is one.
 *
 * @module
 */

import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { connectThroughProxy, nameOf, type ProxyEnvironment, proxyOf } from "./http_proxy.ts";
import { raceToConnect } from "./raced_socket.ts";

/** Where the coordinator takes relay connections. */
export const RELAY_PATH = "/relay";
/** Most bytes of a message. */
export const MAX_RELAY_MESSAGE = 65_536;
const HANDSHAKE_TIMEOUT_MS = 15_000;

/** A WebSocket that carries relay messages. */
export interface RelaySocket {
  /** Bytes sent that have not left this process. */
  readonly queuedBytes: number;
  /** Sends a message; `bytes` may be used again when `sent` is called. */
  send(bytes: Uint8Array, sent: () => void): void;
  /** Asks for a sign of life. */
  ping(): void;
  /** Ends it, in order. */
  close(): void;
  /** Ends it at once. */
  terminate(): void;
}

/** What happens on it. */
export interface RelaySocketEvents {
  /** It stands. */
  open(): void;
  /** A binary message came; borrowed until return. */
  message(bytes: Uint8Array): void;
  /** The far end answered a ping. */
  pong(): void;
  /** It is over, or never came to be; called once. `reason` is for people. */
  closed(reason: string): void;
}

/** Opens a connection; tests have their own. */
export type RelayDialer = (events: RelaySocketEvents) => Promise<RelaySocket>;

/** Where the relay is. */
export interface RelayTarget {
  /** `wss:` or `ws:`. */
  readonly url: string;
  /** Whether the certificate must be one that this machine trusts. */
  readonly tlsVerify: boolean;
  /** @default {Deno.env.get} */
  readonly env?: ProxyEnvironment;
}

/**
 * Opens a connection to the relay.
 *
 * @throws {Error} when there is no way there; anything later is told by `closed`.
 */
export async function dialRelay(
  target: RelayTarget,
  events: RelaySocketEvents,
): Promise<RelaySocket> {
  const { WebSocket } = await import("ws");
  const url = new URL(target.url);
  const way = await socketTowards(url, target);
  const socket = new WebSocket(url, {
    rejectUnauthorized: target.tlsVerify,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    maxPayload: MAX_RELAY_MESSAGE,
    perMessageDeflate: false, // sealed bytes do not shrink
    followRedirects: false,
    createConnection: () => way,
    // RFC 6455 §10.3 masks against programs that choose the bytes on the wire of a plain
    // connection. TLS hides them, and they are sealed besides; a zero mask saves a pass over them.
    ...(url.protocol === "wss:" && { generateMask: () => {} }),
  });
  let error: string | undefined;
  socket.binaryType = "nodebuffer";
  socket.on("open", () => events.open());
  socket.on("message", (data: unknown, isBinary: boolean) => {
    // No Buffer: what a Buffer calls a slice is no copy.
    if (!isBinary || !(data instanceof Uint8Array)) return;
    events.message(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  });
  socket.on("pong", () => events.pong());
  socket.on("error", (cause: Error) => error ??= cause.message);
  socket.on("close", (code: number, reason: Uint8Array) => {
    const text = new TextDecoder().decode(reason).replace(/\p{Cc}/gu, "");
    events.closed(error ?? (text === "" ? `closed (code ${code})` : text));
  });
  return {
    get queuedBytes() {
      return socket.bufferedAmount;
    },
    send: (bytes, sent) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes, () => sent());
    },
    ping: () => {
      if (socket.readyState === WebSocket.OPEN) socket.ping();
    },
    close: () => socket.close(1000),
    terminate: () => socket.terminate(),
  };
}

/**
 * A connection on the way to a URL, through the proxy where there is one, with TLS begun on it where
 * the URL wants that.
 *
 * @throws {ProxyError} when the proxy does not let it through.
 * @throws {Error} when nobody is there.
 */
export async function socketTowards(
  url: URL,
  target: Pick<RelayTarget, "tlsVerify" | "env">,
): Promise<Socket> {
  const isSecure = url.protocol === "wss:";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? (isSecure ? 443 : 80) : Number(url.port);
  const timeoutMs = HANDSHAKE_TIMEOUT_MS;
  const tls = { servername: nameOf(host), rejectUnauthorized: target.tlsVerify };
  const proxy = proxyOf(url, target.env ?? ((name) => Deno.env.get(name)));
  if (proxy === undefined) {
    const open = () =>
      isSecure ? connectTls({ ...tls, host, port }) : connectTcp({ host, port, noDelay: true });
    return await raceToConnect({ open, timeoutMs });
  }
  const socket = await connectThroughProxy(proxy, { host, port, timeoutMs });
  // The name for the certificate is the host's, whatever the proxy is called.
  return isSecure ? connectTls({ ...tls, socket, host }) : socket;
}
