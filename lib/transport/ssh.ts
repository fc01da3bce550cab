/**
 * SSH as a way for datagrams: a server for peers that connect, connections to peers that are
 * wanted, and per peer the way there.
 *
 * What must hold: a connection belongs to the node whose key was proven on it, and to no other: the
 * client key of the roster for one that came, a host key of the roster for one that was made.
 * Strangers cost a bounded number of sockets for a bounded time.
 *
 * @module
 */

import { createServer, type Server, type Socket } from "node:net";
import { equalBytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { serveSsh, type SshStream } from "../crypto/ssh_transport.ts";
import { formatHostAndPort, formatSshAddress, type SshAddress } from "./ssh_address.ts";
import { SshDialer } from "./ssh_dialer.ts";
import { dialSsh, type SshJump } from "./ssh_dialing.ts";
import { SshLink, type SshPath } from "./ssh_link.ts";

/** Connections that have not proven a key; beyond that the oldest makes room. */
const MAX_STRANGERS = 64;
const LOGIN_GRACE_MS = 10_000;
/** Connections that one peer may have made; beyond that the oldest makes room. */
const MAX_LINKS_OF_PEER = 4;
/** Nothing carried for so long: the one who made the connection ends it. */
const IDLE_MS = 300_000;
/** As {@linkcode IDLE_MS}, for a connection that the other side made and did not end. */
const FOREIGN_IDLE_MS = 2 * IDLE_MS;
/** Something carried since so long before it broke: it is made again. */
const IN_USE_MS = 60_000;
const REVIEW_MS = 15_000;

/** What happens to ways. */
export interface SshEvents {
  /** There is a way to a peer that was not there. */
  opened?(nodeId: string, path: SshPath): void;
  /** A way is no more. */
  closed?(nodeId: string, path: SshPath): void;
  /** A connection that is wanted could not be made; it will be tried again while it is wanted. */
  failed?(nodeId: string, errors: readonly unknown[]): void;
}

/** What an {@linkcode SshTransport} works with. */
export interface SshTransportOptions {
  readonly clock: Clock;
  /** Private key that the server proves itself with, OpenSSH text without passphrase. */
  readonly hostKey: string;
  /** Private key to connect to peers with; neither of them the node's identity. */
  readonly clientKey: string;
  /** Whose client key this is, as the roster says; binary, borrowed until return. */
  readonly clientKeyOwner: (publicKey: Uint8Array) => string | undefined;
  /** Binary host keys that the roster names for a node. */
  readonly hostKeysOf: (nodeId: string) => readonly Uint8Array[];
  /** Where to serve; absent: nowhere. Port 0 for any, host absent for all addresses. */
  readonly listen?: { readonly port: number; readonly host?: string } | undefined;
  /** Goes before every connection that this node makes. */
  readonly jump?: SshJump | undefined;
  readonly events?: SshEvents;
  /** @default {Math.random} */
  readonly random?: () => number;
  /** @default {MAX_QUEUED_BYTES} */
  readonly maxQueuedBytes?: number;
}

/** Datagrams that were not carried, by why. */
export interface SshDropCounts {
  /** The connection was behind. */
  queueFull: number;
  /** The connection was over. */
  noConnection: number;
}

/** Carries datagrams over SSH. */
export class SshTransport {
  readonly #options: SshTransportOptions;
  readonly #server: Server | undefined;
  readonly #strangers = new Map<Socket, () => void>();
  readonly #dialers = new Map<string, SshDialer>();
  /** By the key of their path, the oldest first. */
  readonly #links = new Map<string, SshLink>();
  readonly #drops: SshDropCounts = { queueFull: 0, noConnection: 0 };
  #receive: ((datagram: Uint8Array, path: SshPath) => void) | undefined;
  #nextLink = 1;
  #cancelReview: (() => void) | undefined;
  #isClosed = false;

  private constructor(options: SshTransportOptions, server: Server | undefined) {
    this.#options = options;
    this.#server = server;
    server?.on("connection", (socket) => this.#serve(socket));
    this.#review();
  }

  /**
   * Starts the server, if there is to be one.
   *
   * @throws {Error} As `node:net` says it, if the port cannot be had: `code` is `EADDRINUSE` if
   * another process has it.
   */
  static async open(options: SshTransportOptions): Promise<SshTransport> {
    const { listen } = options;
    return new SshTransport(options, listen && await openServer(listen.port, listen.host));
  }

  /** TCP port of the server; `undefined` without one. */
  get port(): number | undefined {
    const address = this.#server?.address();
    return typeof address === "object" ? address?.port : undefined;
  }

  /** Datagrams that were not carried. */
  get drops(): Readonly<SshDropCounts> {
    return this.#drops;
  }

  /** Starts delivering; as `DatagramCarrier.start`. A server that stands does not fail. */
  start(receive: (datagram: Uint8Array, path: SshPath) => void): void {
    this.#receive = receive;
  }

  /** Sends one datagram; copied. @returns `false` if it is lost. */
  send(datagram: Uint8Array, path: { readonly key: string }): boolean {
    const link = this.#links.get(path.key);
    if (link === undefined) this.#drops.noConnection++;
    else if (link.send(datagram)) return true;
    else this.#drops.queueFull++;
    return false;
  }

  /**
   * The way to a peer, if there is one: the connection made last, for an older one may be dead
   * without having noticed.
   */
  pathTo(nodeId: string): SshPath | undefined {
    return this.#linksOf(nodeId).at(-1)?.path;
  }

  /** Bytes that wait for a connection; `undefined` once it is over. */
  queuedBytes(path: { readonly key: string }): number | undefined {
    return this.#links.get(path.key)?.queuedBytes;
  }

  /** Sets where the server of a peer may be; none if it has none. */
  setPeer(nodeId: string, addresses: readonly SshAddress[]): void {
    if (this.#isClosed) return;
    let dialer = this.#dialers.get(nodeId);
    if (dialer === undefined) this.#dialers.set(nodeId, dialer = this.#makeDialer(nodeId));
    dialer.setAddresses(addresses);
  }

  /** Forgets a peer, and ends its connections. */
  removePeer(nodeId: string): void {
    this.#dialers.get(nodeId)?.close();
    this.#dialers.delete(nodeId);
    for (const link of this.#linksOf(nodeId)) link.close();
  }

  /** A way to a peer is wanted; `opened` tells when there is one. */
  want(nodeId: string): void {
    if (this.pathTo(nodeId) === undefined) this.#dialers.get(nodeId)?.want();
  }

  /** The network changed: what waits for its next attempt tries at once. */
  retryNow(): void {
    for (const dialer of this.#dialers.values()) dialer.retryNow();
  }

  /** Ends one connection, as one that does not answer; it is made again if it was in use. */
  drop(path: SshPath): void {
    this.#links.get(path.key)?.close();
  }

  /** The roster changed: connections whose key is no longer that of their peer are ended. */
  recheckKeys(): void {
    const { clientKeyOwner, hostKeysOf } = this.#options;
    for (const link of [...this.#links.values()]) {
      const { nodeId } = link.path;
      const isStillTheirs = link.isOwn
        ? hostKeysOf(nodeId).some((key) => equalBytes(key, link.peerKey))
        : clientKeyOwner(link.peerKey) === nodeId;
      if (!isStillTheirs) link.close();
    }
  }

  /**
   * Takes over a stream to a peer from another SSH server of this machine, which checked its key.
   *
   * @param stream Closed if the key is nobody's.
   * @param clientKey Binary public key that the peer proved.
   * @param from Where the peer connected from, for people.
   */
  adopt(stream: SshStream, clientKey: Uint8Array, from: string): void {
    const nodeId = this.#options.clientKeyOwner(clientKey);
    if (nodeId === undefined || this.#isClosed) return stream.close();
    this.#add({ stream, nodeId, peerKey: clientKey, isOwn: false, remote: from });
    const foreign = this.#linksOf(nodeId).filter((link) => !link.isOwn);
    if (foreign.length > MAX_LINKS_OF_PEER) foreign[0]!.close();
  }

  /** Ends every connection and stops. Safe to call twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelReview?.();
    for (const dialer of this.#dialers.values()) dialer.close();
    for (const link of [...this.#links.values()]) link.close();
    for (const socket of this.#strangers.keys()) socket.destroy();
    const server = this.#server;
    if (server?.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  #makeDialer(nodeId: string): SshDialer {
    const { clock, random = Math.random, clientKey, jump, events } = this.#options;
    return new SshDialer({
      clock,
      random,
      dial: (address, signal) =>
        dialSsh({
          address,
          privateKey: clientKey,
          hostKeys: this.#options.hostKeysOf(nodeId),
          jump,
          clock,
          signal,
        }),
      connected: ({ stream, hostKey }, address) => {
        const remote = formatSshAddress(address);
        this.#add({ stream, nodeId, peerKey: hostKey, isOwn: true, remote });
      },
      failed: (errors) => events?.failed?.(nodeId, errors),
    });
  }

  async #serve(socket: Socket): Promise<void> {
    const { clock, hostKey, clientKeyOwner } = this.#options;
    socket.once("close", () => this.#forgetStranger(socket));
    if (this.#strangers.size >= MAX_STRANGERS) {
      const [oldest] = this.#strangers.keys();
      this.#forgetStranger(oldest!);
      oldest!.destroy();
    }
    const until = clock.now() + LOGIN_GRACE_MS;
    this.#strangers.set(socket, clock.schedule(until, () => socket.destroy()));
    const { remoteAddress = "", remotePort = 0 } = socket;
    const isClientKey = (key: Uint8Array) => clientKeyOwner(key) !== undefined;
    const served = await serveSsh(socket, { hostKey, isClientKey });
    this.#forgetStranger(socket);
    if (served === undefined) return;
    const host = remoteAddress.replace(/^::ffff:(?=\d+\.)/, "");
    this.adopt(served.stream, served.clientKey, formatHostAndPort(host, remotePort));
  }

  #forgetStranger(socket: Socket): void {
    this.#strangers.get(socket)?.();
    this.#strangers.delete(socket);
  }

  #add(made: {
    readonly stream: SshStream;
    readonly nodeId: string;
    readonly peerKey: Uint8Array;
    readonly isOwn: boolean;
    readonly remote: string;
  }): void {
    const { stream, nodeId, peerKey, isOwn, remote } = made;
    if (this.#isClosed || (isOwn && !this.#dialers.has(nodeId))) return stream.close();
    const { clock, maxQueuedBytes, events } = this.#options;
    const path: SshPath = Object.freeze({
      kind: "ssh",
      key: `ssh ${this.#nextLink++}`,
      remote: `ssh ${remote}`,
      nodeId,
    });
    const link = new SshLink({
      stream,
      path,
      peerKey,
      isOwn,
      clock,
      ...(maxQueuedBytes !== undefined && { maxQueuedBytes }),
    });
    this.#links.set(path.key, link);
    link.start({
      receive: (datagram) => this.#receive?.(datagram, path),
      closed: () => {
        this.#links.delete(path.key);
        const wasInUse = link.hasReceived && clock.now() - link.activeAt < IN_USE_MS;
        if (isOwn) this.#dialers.get(nodeId)?.closed(wasInUse);
        events?.closed?.(nodeId, path);
      },
    });
    if (!link.isClosed) events?.opened?.(nodeId, path);
  }

  #linksOf(nodeId: string): SshLink[] {
    return [...this.#links.values()].filter((link) => link.path.nodeId === nodeId);
  }

  /** Ends what carries nothing, now and then. */
  #review(): void {
    const { clock } = this.#options;
    this.#cancelReview = clock.schedule(clock.now() + REVIEW_MS, () => {
      for (const link of [...this.#links.values()]) {
        const idleMs = clock.now() - link.activeAt;
        if (idleMs >= (link.isOwn ? IDLE_MS : FOREIGN_IDLE_MS)) link.close();
      }
      this.#review();
    });
  }
}

/** Listens on all addresses, of both families where the machine has both. */
async function openServer(port: number, host?: string): Promise<Server> {
  const server = createServer({ noDelay: true });
  const listen = (address: string) =>
    new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port, host: address }, () => {
        server.off("error", reject);
        resolve();
      });
    });
  try {
    await listen(host ?? "::");
  } catch (error) {
    const { code } = error as { code?: string };
    if (host !== undefined || code === "EADDRINUSE" || code === "EACCES") throw error;
    await listen("0.0.0.0"); // no IPv6 here
  }
  server.on("error", () => {}); // of a connection that could not be accepted
  return server;
}
