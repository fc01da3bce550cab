/**
 * The door to SSH connections (RFC 4251 to 4254): both ends of one, over a stream that somebody else
 * opened, used for a single thing, a byte stream to the service `tunnelmesh`.
 *
 * `ssh2` does the protocol and is loaded when it is first needed, because it is large. What must
 * hold: a client is let in by public key alone, a server is talked to by its host key alone, and
 * nothing but the one service can be asked of the server here: no shell, command, file transfer or
 * forwarding.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { equalBytes } from "../base/bytes.ts";
import {
  loadSsh2,
  type Ssh2,
  type Ssh2Channel,
  type Ssh2Client,
  type Ssh2Incoming,
} from "./ssh2.ts";
import { SshReader } from "./ssh_wire.ts";

/** Name of the service: a subsystem, or what stands for the command of an `exec` request. */
export const SSH_SERVICE = "tunnelmesh";

/** Strong enough, known to OpenSSH, and the fastest of `ssh2` first: that is what the client takes. */
const ALGORITHMS = {
  kex: ["curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"],
  cipher: [
    "chacha20-poly1305@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes256-ctr",
  ],
  hmac: ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256"],
  compress: ["none"],
};

/**
 * What a connection inside another one may use: `ssh2` keeps the nonce of chacha20-poly1305 in a
 * variable that all connections share, and the outer one would change it while the inner one writes.
 */
const NESTED_CIPHERS = ALGORITHMS.cipher.filter((name) => !name.startsWith("chacha20"));

/** Signatures that go with a kind of host key, as the client asks for them. */
const SIGNATURES_OF: Readonly<Record<string, readonly string[]>> = {
  "ssh-ed25519": ["ssh-ed25519"],
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"],
  "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
  "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
  "ecdsa-sha2-nistp521": ["ecdsa-sha2-nistp521"],
};

/** Keys that a client may try before it is sent away. */
const MAX_REFUSED_KEYS = 6;
/** Silence after which the far end is asked whether it is there, and how often it may fail. */
const KEEPALIVE = { keepaliveInterval: 10_000, keepaliveCountMax: 2 };
const READY_TIMEOUT_MS = 10_000;

/** Why an SSH connection could not be had. */
export type SshConnectionFault = "unreachable" | "wrong-host-key" | "refused" | "no-service";

/** Thrown where an SSH connection could not be had. */
export class SshConnectionError extends Error {
  /** Always `"SshConnectionError"`. */
  override readonly name = "SshConnectionError";

  /** @param fault Which of the causes. */
  constructor(readonly fault: SshConnectionFault, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/** What happens on a {@linkcode SshStream}. */
export interface SshStreamEvents {
  /** Bytes came, in order; borrowed until return, and may be overwritten. */
  data(bytes: Uint8Array): void;
  /** It is over, from either side; called once, and nothing after it. */
  closed(): void;
}

/** Bytes both ways to the service at the far end. */
export interface SshStream {
  /** Bytes written that neither the far end's window nor the system has taken yet. */
  readonly queuedBytes: number;
  /** Starts delivering; what came before is delivered first. */
  start(events: SshStreamEvents): void;
  /**
   * Writes; nothing is refused, so look at `queuedBytes` first.
   *
   * @param bytes The stream's until `written`.
   * @param written Called, never before `write` returns, when `bytes` may be used again; not at all
   * once the stream is closed.
   */
  write(bytes: Uint8Array, written: () => void): void;
  /** Ends it, and the connection it runs in. Safe to call twice. */
  close(): void;
}

/** What a client connects with. */
export interface SshClientOptions {
  /** To the server; destroyed with the connection. */
  readonly socket: Duplex;
  /** Name to log in with. */
  readonly user: string;
  /** Private key, OpenSSH text without passphrase. */
  readonly privateKey: string;
  /** Whether `socket` runs inside another SSH connection of this process. @default {false} */
  readonly isNested?: boolean;
  /** Binary host keys that the server may prove itself with; none: any will do. */
  readonly hostKeys: readonly Uint8Array[] | undefined;
}

/** A connection to a server that let us in. */
export class SshClientConnection {
  readonly #client: Ssh2Client;
  readonly #socket: Duplex;

  /** Binary host key that the server proved. */
  readonly hostKey: Uint8Array;

  private constructor(client: Ssh2Client, socket: Duplex, hostKey: Uint8Array) {
    this.#client = client;
    this.#socket = socket;
    this.hostKey = hostKey;
  }

  /**
   * Connects and logs in.
   *
   * @throws {SshConnectionError} `wrong-host-key`, `refused` or `unreachable`; the socket is
   * destroyed then.
   */
  static async open(options: SshClientOptions): Promise<SshClientConnection> {
    const { Client } = await loadSsh2();
    const { socket, hostKeys } = options;
    const client = new Client();
    let shown: Uint8Array = new Uint8Array(0);
    let isWrongHostKey = false;
    const ready = new Promise<void>((resolve, reject) => {
      client.on("ready", resolve);
      client.on("error", reject);
      client.on("close", () => reject(new Error("the connection was closed")));
    });
    try {
      client.connect({
        ...KEEPALIVE,
        sock: socket,
        username: options.user,
        privateKey: options.privateKey,
        authHandler: ["publickey"],
        readyTimeout: READY_TIMEOUT_MS,
        algorithms: {
          ...ALGORITHMS,
          ...(options.isNested && { cipher: NESTED_CIPHERS }),
          ...(hostKeys && { serverHostKey: signaturesFor(hostKeys) }),
        },
        hostVerifier: (key) => {
          shown = Uint8Array.from(key);
          isWrongHostKey = hostKeys !== undefined && !hostKeys.some((one) => equalBytes(one, key));
          return !isWrongHostKey;
        },
      });
      await ready;
    } catch (cause) {
      client.on("error", () => {});
      socket.destroy();
      throw connectionError(cause, isWrongHostKey);
    }
    // From here on the end of the socket says all there is to say.
    client.on("error", () => socket.destroy());
    return new SshClientConnection(client, socket, shown);
  }

  /**
   * Opens the stream to the service; with it ends the connection.
   *
   * @throws {SshConnectionError} `no-service` if the server has none; the connection is closed then.
   */
  openService(): Promise<SshStream> {
    return new Promise((resolve, reject) => {
      const refused = (cause?: Error) => {
        this.close();
        const why = "Cannot use SSH server: it does not offer the service";
        reject(new SshConnectionError("no-service", why, { cause }));
      };
      this.#socket.once("close", () => refused());
      this.#client.exec(SSH_SERVICE, (error, channel) => {
        if (error !== undefined) return refused(error);
        resolve(new ChannelStream(channel, this.#socket, () => this.close()));
      });
    });
  }

  /**
   * Opens a TCP connection from the server to somewhere else: the server is a jump host.
   *
   * @throws {SshConnectionError} `unreachable` if the server does not get there, or may not.
   */
  forward(host: string, port: number): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const refused = (cause?: Error) => {
        this.close();
        const why = "Cannot get past SSH jump host: it does not reach the far end";
        reject(new SshConnectionError("unreachable", why, { cause }));
      };
      this.#socket.once("close", () => refused());
      this.#client.forwardOut("127.0.0.1", 0, host, port, (error, channel) => {
        if (error !== undefined) return refused(error);
        channel.on("close", () => this.close());
        this.#socket.once("close", () => channel.destroy());
        resolve(channel);
      });
    });
  }

  /** Ends the connection. Safe to call twice. */
  close(): void {
    this.#client.end();
    this.#socket.destroy();
  }
}

/** What a server is made of. */
export interface SshServerOptions {
  /** Private host key, OpenSSH text without passphrase. */
  readonly hostKey: string;
  /** Whether who proves to have this key is let in; binary public key, borrowed until return. */
  readonly isClientKey: (publicKey: Uint8Array) => boolean;
}

/**
 * Serves one connection.
 *
 * @param socket From the client; destroyed with the connection.
 * @param options Who is let in.
 * @returns The stream of the first who asked for the service, and the binary public key that was
 * proven; `undefined` if the connection ended before.
 */
export async function serveSsh(
  socket: Duplex,
  options: SshServerOptions,
): Promise<{ readonly stream: SshStream; readonly clientKey: Uint8Array } | undefined> {
  socket.on("error", () => {}); // followed by "close"
  const ssh2 = await loadSsh2();
  if (socket.destroyed) return undefined;
  return await new Promise((resolve) => {
    socket.once("close", () => resolve(undefined));
    // A server of its own per connection: only so is it known which socket a client came by.
    const server = new ssh2.Server({
      ...KEEPALIVE,
      hostKeys: [options.hostKey],
      ident: "tunnelmesh",
      algorithms: ALGORITHMS,
    });
    server.on("connection", (client) => {
      client.on("error", () => socket.destroy());
      let clientKey: Uint8Array | undefined;
      let isTaken = false;
      admit(client, ssh2, options, (key) => clientKey = key);
      client.on("session", (acceptSession) => {
        const session = acceptSession();
        const serve = (accept: () => Ssh2Channel, reject: () => void, name: string) => {
          if (name !== SSH_SERVICE || isTaken || clientKey === undefined) return reject?.();
          isTaken = true;
          client.noMoreSessions = true;
          const channel = accept();
          const stream = new ChannelStream(channel, socket, () => {
            client.end();
            socket.destroy();
          });
          resolve({ stream, clientKey });
        };
        session.on("subsystem", (accept, reject, { name }) => serve(accept, reject, name));
        session.on("exec", (accept, reject, { command }) => serve(accept, reject, command));
      });
    });
    server.injectSocket(socket);
  });
}

/** Lets a client in that proves to have a key which is let in. */
function admit(
  client: Ssh2Incoming,
  ssh2: Ssh2,
  options: SshServerOptions,
  admitted: (clientKey: Uint8Array) => void,
): void {
  let refused = 0;
  client.on("authentication", (attempt) => {
    const { key, blob, signature, hashAlgo } = attempt;
    if (attempt.method === "publickey" && key !== undefined && options.isClientKey(key.data)) {
      if (signature === undefined) return attempt.accept(); // only asks whether to try
      const parsed = ssh2.utils.parseKey(key.data);
      if (!(parsed instanceof Error) && parsed.verify(blob, signature, hashAlgo) === true) {
        admitted(Uint8Array.from(key.data));
        return attempt.accept();
      }
    }
    // The first of them is "none", by which a client asks what there is.
    if (++refused > MAX_REFUSED_KEYS) client.end();
    else attempt.reject(["publickey"]);
  });
}

/** One channel of `ssh2`, and the socket below it. */
class ChannelStream implements SshStream {
  readonly #channel: Ssh2Channel;
  readonly #socket: Duplex;
  readonly #endConnection: () => void;
  #isClosed = false;

  constructor(channel: Ssh2Channel, socket: Duplex, endConnection: () => void) {
    this.#channel = channel;
    this.#socket = socket;
    this.#endConnection = endConnection;
    channel.on("error", () => this.close());
  }

  get queuedBytes(): number {
    return this.#channel.writableLength + this.#socket.writableLength;
  }

  start(events: SshStreamEvents): void {
    const ended = () => {
      if (this.#isClosed) return;
      this.close();
      events.closed();
    };
    if (this.#isClosed || this.#socket.destroyed) return queueMicrotask(() => events.closed());
    this.#socket.once("close", ended);
    this.#channel.on("close", ended);
    this.#channel.on("end", ended);
    this.#channel.on("data", (bytes) => {
      // No Buffer must get out: its slice() is a view where everybody means a copy.
      const { buffer, byteOffset, length } = bytes as Uint8Array;
      if (!this.#isClosed) events.data(new Uint8Array(buffer, byteOffset, length));
    });
  }

  write(bytes: Uint8Array, written: () => void): void {
    if (this.#isClosed || !this.#channel.writable) return;
    this.#channel.write(bytes, (error) => {
      if (!error) written();
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#channel.destroy();
    this.#endConnection();
  }
}

/** What the client is willing to see signed by, so that a server with several keys takes a known. */
function signaturesFor(hostKeys: readonly Uint8Array[]): string[] {
  const found = new Set<string>();
  for (const key of hostKeys) {
    for (const name of SIGNATURES_OF[new SshReader(key).text()] ?? []) found.add(name);
  }
  return [...found];
}

function connectionError(cause: unknown, isWrongHostKey: boolean): SshConnectionError {
  const { level, message } = cause as { level?: string; message: string };
  const isRefused = level === "client-authentication";
  const fault = isWrongHostKey ? "wrong-host-key" : isRefused ? "refused" : "unreachable";
  const why = isWrongHostKey
    ? "it shows a host key that is not the peer's"
    : isRefused
    ? "it refuses the client key"
    : message;
  return new SshConnectionError(fault, `Cannot connect to SSH server: ${why}`, { cause });
}
