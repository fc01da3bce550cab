/**
 * One WebSocket to a coordinator, by the `ws` package, which is loaded at the first use.
 *
 * The certificate is not looked at unless that was asked for: the Noise handshake inside
 * authenticates the coordinator, TLS is only the envelope (protocol.md §2).
 *
 * @module
 */

import type { Socket } from "node:net";
import { socketTowards } from "../transport/relay_dialing.ts";
import { AgentError, reasonOf } from "./errors.ts";

/** How long the TCP, TLS and HTTP parts of a connection may take together. */
const HANDSHAKE_TIMEOUT_MS = 15_000;
/** RFC 6455 §7.4.1: the connection broke without a close frame. */
const ABNORMAL_CLOSURE = 1006;
/** What a failed certificate check is called by the TLS library. */
const CERTIFICATE_ERROR = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME|UnknownIssuer|certificate/i;

/** What happens on a connection. No callback may throw. */
export interface WebSocketEvents {
  /** It is open. */
  open(): void;
  /** A binary message came; owned by the receiver. */
  message(bytes: Uint8Array): void;
  /** It is over, or never came to be: then with the reason. Called exactly once. */
  closed(end: WebSocketEnd): void;
}

/** How a connection ended. */
export interface WebSocketEnd {
  /** Close code; 1006 without a close frame. */
  readonly code: number;
  /** Close reason as it was received. */
  readonly reason: string;
  /** Why it failed, if it did not end by a close frame. */
  readonly error?: AgentError;
}

/** A connection, open or opening. */
export interface WebSocketConnection {
  /** Sends a binary message; dropped if the connection is not open. */
  send(bytes: Uint8Array): void;
  /** Closes in order. */
  close(): void;
  /** Ends it at once. */
  terminate(): void;
}

/** Opens a connection; tests have their own. */
export type WebSocketDialer = (
  target: { readonly url: string; readonly tlsVerify: boolean; readonly maxMessage: number },
  events: WebSocketEvents,
) => Promise<WebSocketConnection>;

/** Opens a connection by the `ws` package, through the proxy of the environment if there is one. */
export const dialWebSocket: WebSocketDialer = async ({ url, tlsVerify, maxMessage }, events) => {
  const { WebSocket } = await import("ws");
  const way = await wayTo(url, tlsVerify);
  const socket = new WebSocket(url, {
    rejectUnauthorized: tlsVerify,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    maxPayload: maxMessage,
    perMessageDeflate: false, // sealed bytes do not shrink
    followRedirects: false,
    createConnection: () => way,
  });
  let error: AgentError | undefined;
  let isOver = false;
  const end = (code: number, reason: string) => {
    if (isOver) return;
    isOver = true;
    events.closed({ code, reason, ...(error === undefined ? {} : { error }) });
  };
  socket.binaryType = "nodebuffer";
  socket.on("open", () => events.open());
  socket.on("message", (data: unknown, isBinary: boolean) => {
    if (isBinary && data instanceof Uint8Array) events.message(new Uint8Array(data));
  });
  socket.on("error", (cause: Error) => {
    error ??= dialError(url, tlsVerify, cause);
  });
  socket.on("close", (code: number, reason: Uint8Array) => {
    end(code === 0 ? ABNORMAL_CLOSURE : code, new TextDecoder().decode(reason));
  });
  return {
    send: (bytes) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes);
    },
    close: () => socket.close(1000),
    terminate: () => socket.terminate(),
  };
};

/**
 * Makes the URL of the control channel from what a person wrote.
 *
 * @param text `https://HOST[:PORT]` or `http://HOST[:PORT]`, perhaps with a path before which a
 * proxy hides the coordinator.
 * @param path Of the channel at the coordinator.
 * @returns A `wss:` or `ws:` URL.
 * @throws {AgentError} `usage` if it is none of these.
 */
export function controlUrl(text: string, path: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw notAUrl(text);
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") throw notAUrl(text);
  const scheme = url.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${url.host}${url.pathname.replace(/\/+$/, "")}${path}`;
}

async function wayTo(url: string, tlsVerify: boolean): Promise<Socket> {
  try {
    return await socketTowards(new URL(url), { tlsVerify });
  } catch (cause) {
    throw dialError(url, tlsVerify, cause instanceof Error ? cause : new Error(String(cause)));
  }
}

function notAUrl(text: string): AgentError {
  return new AgentError(
    "usage",
    `Cannot use coordinator "${text}": it is no URL; write it as https://HOST:8443`,
  );
}

function dialError(url: string, tlsVerify: boolean, cause: Error): AgentError {
  const { host } = new URL(url);
  const { code } = cause as { code?: unknown };
  if (
    tlsVerify && CERTIFICATE_ERROR.test(`${typeof code === "string" ? code : ""} ${cause.message}`)
  ) {
    return new AgentError(
      "unreachable",
      `Cannot trust the certificate of coordinator ${host}: ${reasonOf(cause)}; give it a ` +
        "certificate by --tls-cert and --tls-key, or leave out --tls-verify",
      { cause },
    );
  }
  return new AgentError(
    "unreachable",
    `Cannot reach coordinator ${host}: ${reasonOf(cause) || "no connection"}; check that it runs ` +
      "and that the address and port are right",
    { cause },
  );
}
