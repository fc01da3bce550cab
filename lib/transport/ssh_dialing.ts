/**
 * Connecting to the SSH server of a peer, straight or past a jump host.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock } from "../base/clock.ts";
import {
  SshClientConnection,
  SshConnectionError,
  type SshStream,
} from "../crypto/ssh_transport.ts";
import type { SshAddress } from "./ssh_address.ts";

/** How long a server may take from the first packet to the service. */
const DIAL_TIMEOUT_MS = 12_000;

/** A machine that connections to all peers go through. */
export interface SshJump {
  readonly address: SshAddress;
  /** Private key that the jump host knows, OpenSSH text without passphrase. */
  readonly privateKey: string;
  /**
   * Binary host keys it may prove itself with. Without them any machine in between can be the jump
   * host; it gets to see what a jump host sees, which is SSH to the peer and sealed datagrams in it.
   */
  readonly hostKeys?: readonly Uint8Array[];
}

/** Whom to connect to, and as whom. */
export interface SshDialOptions {
  readonly address: SshAddress;
  /** Private key of this node's own, OpenSSH text without passphrase. */
  readonly privateKey: string;
  /** Binary host keys of the peer: one of them must be proven. At least one. */
  readonly hostKeys: readonly Uint8Array[];
  readonly jump?: SshJump | undefined;
  readonly clock: Clock;
  /** Gives up. */
  readonly signal: AbortSignal;
}

/** A stream to the service of a peer. */
export interface SshDialed {
  readonly stream: SshStream;
  /** Binary host key that the peer proved. */
  readonly hostKey: Uint8Array;
}

/**
 * Connects to the service of a peer.
 *
 * @throws {SshConnectionError} If that is not possible; nothing is left open then.
 */
export async function dialSsh(options: SshDialOptions): Promise<SshDialed> {
  const { address, privateKey, hostKeys, jump, clock } = options;
  if (hostKeys.length === 0) {
    throw new SshConnectionError("wrong-host-key", "Cannot connect to SSH server: no key is known");
  }
  const scope = new AbortController();
  const { signal } = scope;
  const giveUp = () => scope.abort();
  if (options.signal.aborted) giveUp();
  options.signal.addEventListener("abort", giveUp);
  const cancel = clock.schedule(clock.now() + DIAL_TIMEOUT_MS, giveUp);
  try {
    const socket = await openSocket(address, jump, signal);
    closeOn(signal, socket);
    const { user } = address;
    const isNested = jump !== undefined;
    const connection = await SshClientConnection.open({
      socket,
      user,
      privateKey,
      hostKeys,
      isNested,
    });
    return { stream: await connection.openService(), hostKey: connection.hostKey };
  } catch (error) {
    giveUp(); // the jump host's connection too
    throw error;
  } finally {
    // From here on the stream lives on its own.
    options.signal.removeEventListener("abort", giveUp);
    cancel();
  }
}

/** A stream to the server, by TCP or in the jump host's connection. */
async function openSocket(
  to: SshAddress,
  jump: SshJump | undefined,
  signal: AbortSignal,
): Promise<Duplex> {
  if (jump === undefined) return await openTcp(to, signal);
  const socket = await openTcp(jump.address, signal);
  closeOn(signal, socket);
  const { privateKey, hostKeys, address: { user } } = jump;
  const connection = await SshClientConnection.open({ socket, user, privateKey, hostKeys });
  return await connection.forward(to.host, to.port);
}

function openTcp({ host, port }: SshAddress, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    const failed = (cause?: Error) => {
      signal.removeEventListener("abort", aborted);
      socket.destroy();
      const why = cause?.message ?? "it took too long, or was not wanted any more";
      const text = `Cannot connect to SSH server: ${why}`;
      reject(new SshConnectionError("unreachable", text, { cause }));
    };
    const aborted = () => failed();
    if (signal.aborted) return failed();
    signal.addEventListener("abort", aborted);
    socket.once("error", failed);
    socket.once("connect", () => {
      signal.removeEventListener("abort", aborted);
      socket.off("error", failed);
      socket.on("error", () => {}); // followed by "close"
      resolve(socket);
    });
  });
}

/** Destroys a stream when a signal comes while it is being set up; afterwards nobody aborts. */
function closeOn(signal: AbortSignal, stream: Duplex): void {
  const destroy = (): void => void stream.destroy();
  if (signal.aborted) return destroy();
  signal.addEventListener("abort", destroy);
  stream.once("close", () => signal.removeEventListener("abort", destroy));
}
