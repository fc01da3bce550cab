/**
 * A pairing on a UDP socket and a clock: turns what `Pairing` asks for into I/O, and what comes into
 * messages to wait for.
 *
 * What must hold: `pair-interop`, which has no cookies, is spoken on loopback and local networks
 * only, whoever asks from elsewhere.
 *
 * @module
 */

import { Poller } from "../../ffi/poller.ts";
import { openUdpSocket, type UdpLinux } from "../../ffi/udp_linux.ts";
import { LinuxUdpPath } from "../../ffi/udp_path.ts";
import type { Clock } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import { randomBytes } from "../crypto/random.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import { formatEndpoint, type IpAddress } from "../net/endpoint.ts";
import { equalIpAddresses, isLinkLocal, isLoopback, isUnspecified } from "../net/ip_address.ts";
import { parseIpPrefix, prefixContains } from "../net/ip_prefix.ts";
import type { PairedPeer, PairFault } from "../session/pair_initiator.ts";
import type { PairProfile } from "../session/pair_messages.ts";
import { type PairAction, Pairing } from "../session/pairing.ts";
import type { Path } from "../session/path.ts";
import { decodePairMessage, encodePairMessage, type PairMessage } from "../wire/pair_message.ts";
import { AgentError, reasonOf } from "./errors.ts";
import { toAgentError } from "./syscall_fault.ts";
import type { PairRole } from "./pair_role.ts";

/** Where `pair-interop` may be spoken, beside loopback and link-local addresses. */
const LOCAL_NETWORKS = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
  .map((text) => parseIpPrefix(text));

const log = logOf("pair");

/** What a line is opened with. */
export interface PairLineOptions {
  readonly role: PairRole;
  readonly profile: PairProfile;
  /** Names the native partition; `undefined`: the usual one. */
  readonly partition: string | undefined;
  readonly staticKey: KeyPair;
  /** How long to dial without an answer, in ms. @default the protocol's 90 s */
  readonly giveUpAfterMs?: number | undefined;
  readonly clock: Clock;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

/** The line of one pairing. */
export class PairLine {
  readonly #options: PairLineOptions;
  readonly #poller: Poller;
  readonly #socket: UdpLinux;
  readonly #pairing: Pairing;
  readonly #met = Promise.withResolvers<PairedPeer>();
  readonly #failed = Promise.withResolvers<never>();
  readonly #messages: PairMessage[] = [];
  #hasMet = false;
  #onChange = Promise.withResolvers<void>();
  #cancel: (() => void) | undefined;
  #isClosed = false;
  readonly #stop = () => this.#fail(new AgentError("failed", "Cannot pair: stopped"));

  /**
   * Opens the socket; a dialling side then dials.
   *
   * @throws {AgentError} `in-use` if the port is taken, `usage` if the partition is none, or the
   * other side is not where `pair-interop` may be spoken.
   */
  constructor(options: PairLineOptions) {
    const { role, profile, partition, staticKey, clock, signal } = options;
    this.#options = options;
    for (const { promise } of [this.#met, this.#failed]) promise.catch(() => {});
    if (role.kind === "dial" && profile === "pair-interop" && !isNear(role.endpoint.address)) {
      throw new AgentError(
        "usage",
        `Cannot dial ${role.text}: --interop is for loopback and local networks; leave it out`,
      );
    }
    this.#poller = new Poller();
    try {
      this.#socket = openSocket(role, this.#poller);
    } catch (error) {
      this.#poller.close();
      throw error;
    }
    try {
      this.#pairing = new Pairing({
        profile,
        partition,
        staticKey,
        dial: role.kind === "dial" ? this.#socket.path(role.endpoint) : undefined,
        giveUpAfterMs: options.giveUpAfterMs,
        random: randomBytes,
        unixNow: () => clock.unixNow(),
      }, clock.now());
    } catch (error) {
      void this.close();
      throw new AgentError("usage", reasonOf(error), { cause: error });
    }
    signal.addEventListener("abort", this.#stop, { once: true });
    if (signal.aborted) this.#stop();
    this.#socket.start((datagram, path) => {
      if (!this.#mayCome(path.endpoint.address, path.local)) return;
      this.#do(this.#pairing.receive(datagram, path, clock.now()));
    }, (error) => this.#fail(error));
    this.#plan();
  }

  /** UDP port of this side. */
  get port(): number {
    return this.#socket.port;
  }

  /** Resolves when both keys are proven. @throws {AgentError} If that never happens. */
  get met(): Promise<PairedPeer> {
    return Promise.race([this.#met.promise, this.#failed.promise]);
  }

  /** The other side as it is now: its handshake may be another one until it was heard. */
  get peer(): PairedPeer {
    return this.#pairing.peer!;
  }

  /** Rejects when the pairing cannot go on; never resolves. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** Says something to the other side, which was met. */
  say(message: PairMessage): void {
    if (this.#isClosed) return;
    this.#do(this.#pairing.say(encodePairMessage(message), this.#options.clock.now()));
  }

  /** Waits for the next message. @throws {AgentError} If none can come any more. */
  async next(): Promise<PairMessage> {
    while (true) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      await Promise.race([this.#onChange.promise, this.#failed.promise]);
    }
  }

  /**
   * Waits until all that was said has arrived.
   *
   * @param atMostMs How long to wait.
   */
  async flush(atMostMs: number): Promise<void> {
    const { clock } = this.#options;
    const late = Promise.withResolvers<"late">();
    const cancel = clock.schedule(clock.now() + atMostMs, () => late.resolve("late"));
    try {
      while (!this.#isClosed && this.#hasMet && !this.#pairing.isHeard) {
        if (await Promise.race([this.#onChange.promise, late.promise]) === "late") return;
      }
    } finally {
      cancel();
    }
  }

  /** Closes the socket and wipes every key. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.signal.removeEventListener("abort", this.#stop);
    this.#cancel?.();
    this.#pairing?.close();
    await this.#socket.close();
    await this.#poller.close();
  }

  #do(actions: readonly PairAction[]): void {
    for (const action of actions) {
      switch (action.kind) {
        case "send":
          this.#send(action.datagram, action.path);
          break;
        case "drop":
          log.debug("Dropped a datagram", { reason: action.reason });
          break;
        case "met":
          this.#hasMet = true;
          this.#met.resolve(action.peer);
          break;
        case "heard":
          this.#hear(action.body);
          break;
        case "failed":
          this.#fail(this.#errorOf(action.fault));
          break;
      }
    }
    this.#plan();
    this.#onChange.resolve();
    this.#onChange = Promise.withResolvers<void>();
  }

  #send(datagram: Uint8Array, path: Path): void {
    if (!(path instanceof LinuxUdpPath)) throw new TypeError("not a path of this socket");
    if (this.#socket.send(datagram, path)) return;
    log.debug("Cannot send", { endpoint: path.remote, reason: this.#socket.sendError });
  }

  #hear(body: Uint8Array): void {
    try {
      const message = decodePairMessage(body);
      if (message !== undefined) this.#messages.push(message);
    } catch (cause) {
      const why = "the other machine says what makes no sense; use the same version at both ends";
      this.#fail(new AgentError("failed", `Cannot pair: ${why}`, { cause }));
    }
  }

  #fail(error: unknown): void {
    this.#failed.reject(error);
  }

  #plan(): void {
    this.#cancel?.();
    if (this.#isClosed) return;
    const { clock } = this.#options;
    const at = this.#pairing.deadlineAt;
    if (at === Infinity) return;
    this.#cancel = clock.schedule(at, () => {
      if (!this.#isClosed) this.#do(this.#pairing.tick(clock.now()));
    });
  }

  #mayCome(from: IpAddress, to: IpAddress | undefined): boolean {
    const { role, profile } = this.#options;
    if (profile === "pair-interop" && !isNear(from)) return false;
    if (role.kind === "dial" || role.address === undefined || isUnspecified(role.address)) {
      return true;
    }
    return to !== undefined && equalIpAddresses(role.address, to);
  }

  #errorOf(fault: PairFault): AgentError {
    const { role } = this.#options;
    const who = role.kind === "dial" ? role.text : "the other machine";
    switch (fault) {
      case "mismatch":
        return new AgentError(
          "refused",
          `Cannot pair with ${who}: its answer is of another partition, or was altered on the way; ` +
            "give the same --prologue, or none, at both ends",
        );
      case "unanswered":
        return new AgentError(
          "unreachable",
          `Cannot pair with ${who}: no answer; start tunnelmesh pair --listen there, with ` +
            "--interop at both ends or at neither, and let its UDP port through",
        );
      case "own-key":
        return new AgentError(
          "usage",
          `Cannot pair with ${who}: it is this machine itself, or has its keys`,
        );
      case "silent":
        return new AgentError(
          "unreachable",
          "Cannot pair: nothing comes from the other machine any more",
        );
      case "too-long":
        return new AgentError(
          "failed",
          "Cannot pair: it was not confirmed within three minutes; start again",
        );
    }
  }
}

/** Whether `pair-interop` may be spoken with an address. */
export function isNear(address: IpAddress): boolean {
  return isLoopback(address) || isLinkLocal(address) ||
    LOCAL_NETWORKS.some((prefix) =>
      prefix.address.length === address.length && prefixContains(prefix, address)
    );
}

function openSocket(role: PairRole, poller: Poller): UdpLinux {
  const port = role.kind === "listen" ? role.port : 0;
  const address = role.kind === "listen" ? role.address : role.endpoint.address;
  const isOfBoth = address === undefined || (address.length === 16 && isUnspecified(address));
  try {
    return openUdpSocket({
      ...{ port, poller, formatEndpoint },
      ipv4: isOfBoth || address.length === 4,
      ipv6: isOfBoth || address.length === 16,
    });
  } catch (error) {
    const found = toAgentError(error);
    if (!(found instanceof AgentError) || found.fault !== "in-use") throw found;
    throw new AgentError(
      "in-use",
      `Cannot listen on UDP port ${port}: another process has it; choose another by --listen`,
      { cause: error },
    );
  }
}
