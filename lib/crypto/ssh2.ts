/**
 * What is used of the package `ssh2`, which comes without types, and how it is loaded: when it is
 * first needed, because it is large.
 *
 * @module
 */

import type { Duplex } from "node:stream";

/** Loads the package. */
export async function loadSsh2(): Promise<Ssh2> {
  const { default: ssh2 } = await import("ssh2");
  return ssh2 as Ssh2; // the package comes without types; below is what is used of it
}

/** The package. */
export interface Ssh2 {
  readonly Client: new () => Ssh2Client;
  readonly Server: new (options: object) => Ssh2Server;
  readonly utils: {
    parseKey(data: Uint8Array): Error | {
      verify(blob: Uint8Array, signature: Uint8Array, hash?: string): boolean | Error;
    };
  };
}

/** One channel of a connection. */
export type Ssh2Channel = Duplex;
/** How a request ends. */
export type Answer<T> = (error: Error | undefined, value: T) => void;

/** A client, one connection of it. */
export interface Ssh2Client {
  on(event: "ready" | "close", listener: () => void): this;
  on(event: "error", listener: (error: Error) => void): this;
  connect(options: {
    readonly hostVerifier: (key: Uint8Array) => boolean;
    readonly [option: string]: unknown;
  }): this;
  exec(command: string, answer: Answer<Ssh2Channel>): this;
  forwardOut(
    fromHost: string,
    fromPort: number,
    host: string,
    port: number,
    answer: Answer<Ssh2Channel>,
  ): this;
  end(): this;
}

/** A server, of which only what comes by `injectSocket` is served here. */
export interface Ssh2Server {
  on(event: "connection", listener: (client: Ssh2Incoming) => void): this;
  injectSocket(socket: Duplex): void;
}

/** A client as the server sees it. */
export interface Ssh2Incoming {
  noMoreSessions: boolean;
  on(event: "error", listener: (error: Error) => void): this;
  on(event: "authentication", listener: (attempt: Ssh2Attempt) => void): this;
  on(event: "session", listener: (accept: () => Ssh2Session) => void): this;
  end(): this;
}

/** An attempt to log in. */
export interface Ssh2Attempt {
  readonly method: string;
  readonly key?: { readonly algo: string; readonly data: Uint8Array };
  readonly blob: Uint8Array;
  readonly signature?: Uint8Array;
  readonly hashAlgo?: string;
  accept(): void;
  reject(methods: string[]): void;
}

/** What a client asks for on a session channel. */
export interface Ssh2Session {
  on(
    event: "subsystem",
    listener: (
      accept: () => Ssh2Channel,
      reject: () => void,
      info: { readonly name: string },
    ) => void,
  ): this;
  on(
    event: "exec",
    listener: (
      accept: () => Ssh2Channel,
      reject: () => void,
      info: { readonly command: string },
    ) => void,
  ): this;
}
