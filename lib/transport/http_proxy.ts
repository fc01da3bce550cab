/**
 * HTTP proxies, as the environment names them: which one is between this machine and a host, and a
 * connection through it by `CONNECT` (RFC 9110 §9.3.6).
 *
 * `HTTPS_PROXY` for `https` and `wss`, `HTTP_PROXY` for `http` and `ws`, both also in lower case;
 * `NO_PROXY` names hosts, domains, addresses and prefixes, with a port or without, that are reached
 * directly, and `*` for all. This machine itself is always reached directly.
 *
 * @module
 */

import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { toBase64, utf8 } from "../base/bytes.ts";
import { isLoopback, parseIpAddress } from "../net/ip_address.ts";
import { parseIpPrefix, prefixContains } from "../net/ip_prefix.ts";

/** What is read of the environment. */
export type ProxyEnvironment = (name: string) => string | undefined;

/** A proxy. */
export interface HttpProxy {
  readonly host: string;
  readonly port: number;
  /** Whether the connection to the proxy is itself TLS. */
  readonly isTls: boolean;
  /** `user:password` as they are, not as in the URL. */
  readonly credentials: string | undefined;
}

/** Longest answer of a proxy to `CONNECT`. */
const MAX_ANSWER = 16_384;

/** A connection through a proxy could not be made. */
export class ProxyError extends Error {
  override readonly name = "ProxyError";
}

/**
 * The proxy on the way to a URL.
 *
 * @param url `https:`, `wss:`, `http:` or `ws:`.
 * @param env Reads one variable.
 * @returns `undefined` where there is none.
 * @throws {ProxyError} when the variable is no proxy's URL.
 */
export function proxyOf(url: URL, env: ProxyEnvironment): HttpProxy | undefined {
  const isSecure = url.protocol === "https:" || url.protocol === "wss:";
  const name = isSecure ? "HTTPS_PROXY" : "HTTP_PROXY";
  // As curl: upper case HTTP_PROXY can be set by a request where this runs as CGI; not here.
  const text = env(name.toLowerCase()) || env(name);
  if (!text) return undefined;
  const port = url.port === "" ? (isSecure ? 443 : 80) : Number(url.port);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isDirect(host, port, env("no_proxy") || env("NO_PROXY") || "")) return undefined;
  return parseProxy(text, name);
}

/**
 * Connects to a host through a proxy.
 *
 * @returns The connection, on which the next byte read is the host's.
 * @throws {ProxyError} with a message for people.
 */
export async function connectThroughProxy(
  proxy: HttpProxy,
  to: { readonly host: string; readonly port: number; readonly timeoutMs: number },
): Promise<Socket> {
  const at = `${proxy.host}:${proxy.port}`;
  const socket = proxy.isTls
    ? connectTls({ host: proxy.host, port: proxy.port, servername: nameOf(proxy.host) })
    : connectTcp({ host: proxy.host, port: proxy.port });
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const fail = (why: string, cause?: unknown) =>
    reject(new ProxyError(`Cannot connect through the proxy at ${at}: ${why}`, { cause }));
  const timer = setTimeout(() => fail("no answer"), to.timeoutMs);
  let answer = "";
  const onData = (bytes: Uint8Array) => {
    answer += new TextDecoder("latin1").decode(bytes);
    const end = answer.indexOf("\r\n\r\n");
    if (end < 0 && answer.length <= MAX_ANSWER) return;
    const [, status, text] = /^HTTP\/1\.[01] (\d{3})(.*)/.exec(answer) ?? [];
    if (status === undefined) return fail("it is no HTTP proxy");
    if (!status.startsWith("2")) return fail(`it answered ${status}${text}`);
    // Nobody speaks before we do: neither TLS nor HTTP.
    if (end + 4 !== answer.length) return fail("it sent more than its answer");
    resolve(socket);
  };
  const onError = (cause: Error) => fail(cause.message, cause);
  const onClose = () => fail("it closed the connection");
  socket.on("data", onData).on("error", onError).on("close", onClose);
  socket.on(proxy.isTls ? "secureConnect" : "connect", () => {
    const host = to.host.includes(":") ? `[${to.host}]:${to.port}` : `${to.host}:${to.port}`;
    const lines = [`CONNECT ${host} HTTP/1.1`, `Host: ${host}`];
    if (proxy.credentials !== undefined) {
      lines.push(`Proxy-Authorization: Basic ${toBase64(utf8(proxy.credentials))}`);
    }
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  });
  try {
    return await promise;
  } catch (error) {
    socket.on("error", () => {});
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    socket.off("data", onData).off("error", onError).off("close", onClose);
    socket.pause();
  }
}

/** TLS names are names: an address is none (RFC 6066 §3). */
export function nameOf(host: string): string {
  return isAddress(host) ? "" : host;
}

function parseProxy(text: string, name: string): HttpProxy {
  let url: URL;
  try {
    url = new URL(text.includes("://") ? text : `http://${text}`);
  } catch {
    throw new ProxyError(`Cannot use ${name}: it is no URL; write it as http://HOST:PORT`);
  }
  const isTls = url.protocol === "https:";
  if ((!isTls && url.protocol !== "http:") || url.hostname === "") {
    throw new ProxyError(`Cannot use ${name}: only http:// and https:// proxies are understood`);
  }
  const { username, password } = url;
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port),
    isTls,
    credentials: username === ""
      ? undefined
      : `${decodeURIComponent(username)}:${decodeURIComponent(password)}`,
  };
}

function isDirect(host: string, port: number, noProxy: string): boolean {
  if (host === "localhost" || host.endsWith(".localhost")) return true;
  if (isAddress(host) && isLoopback(parseIpAddress(host))) return true;
  return noProxy.split(/[\s,]+/).some((entry) => matches(entry.toLowerCase(), host, port));
}

/** Whether an entry of `NO_PROXY` means a host. */
function matches(entry: string, host: string, port: number): boolean {
  if (entry === "") return false;
  if (entry === "*") return true;
  if (isAddress(host)) {
    if (entry.includes("/")) {
      try {
        return prefixContains(parseIpPrefix(entry), parseIpAddress(host));
      } catch {
        return false;
      }
    }
    return entry === host || entry === `${host}:${port}` || entry === `[${host}]:${port}` ||
      entry === `[${host}]`;
  }
  const [, name, ownPort] = /^(?:\*)?\.?([^:]*)(?::(\d+))?$/.exec(entry) ?? [];
  if (!name || (ownPort !== undefined && Number(ownPort) !== port)) return false;
  const lower = host.toLowerCase();
  return lower === name || lower.endsWith(`.${name}`);
}

function isAddress(text: string): boolean {
  try {
    parseIpAddress(text);
    return true;
  } catch {
    return false;
  }
}
