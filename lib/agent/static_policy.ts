/**
 * The policy of allow-list mode while it changes: the file is read again, and what it says takes the
 * place of what it said before, whole or not at all.
 *
 * What must hold: a file that is broken changes nothing, and says so until it is right again; what
 * a person takes out of the file is out when the reading ends.
 *
 * @module
 */

import { equalBytes, toHex } from "../base/bytes.ts";
import { logOf } from "../base/log.ts";
import type { AllowedPeer, AllowedPeersConfig } from "../config/allowed_peers.ts";
import { sha256 } from "../crypto/hash.ts";
import type { DevicePeer } from "../mesh/device_options.ts";
import { formatIpPrefix } from "../net/ip_prefix.ts";
import { AgentError, reasonOf } from "./errors.ts";

const log = logOf("agent");

/** What a {@linkcode StaticPolicy} works with. */
export interface StaticPolicyOptions {
  /** The policy at the start. */
  readonly first: AllowedPeersConfig;
  /** 32 bytes: nobody may be allowed under this node's own key. */
  readonly ownPublicKey: Uint8Array;
  /** Reads the file again. */
  readonly load: () => Promise<AllowedPeersConfig>;
  /** Puts a policy in force. If it throws, what was in force before must still be. */
  readonly apply: (policy: AllowedPeersConfig) => void;
  /** Milliseconds since 1970. */
  readonly unixNow: () => number;
}

/** The policy in force, and why it may not be what the file says. */
export class StaticPolicy {
  readonly #options: StaticPolicyOptions;
  #config: AllowedPeersConfig;
  #loadedAt: number;
  #fault: string | undefined;
  #pending: readonly string[] = [];
  #running: Promise<void> | undefined;
  #isWantedAgain = false;

  /** @throws {AgentError} `config` if the first policy allows this node itself. */
  constructor(options: StaticPolicyOptions) {
    this.#options = options;
    refuseOwnKey(options.first, options.ownPublicKey);
    this.#config = options.first;
    this.#loadedAt = options.unixNow();
  }

  /** The policy in force. */
  get config(): AllowedPeersConfig {
    return this.#config;
  }

  /** When it was read, in ms since 1970. */
  get loadedAt(): number {
    return this.#loadedAt;
  }

  /** What is wrong with the file as it is now; `undefined` if it is in force. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** What a person should know, a line each. */
  get notes(): readonly string[] {
    if (this.#fault === undefined) return this.#pending;
    return [`the last good policy is in force: ${this.#fault}`, ...this.#pending];
  }

  /** Finds the peer that a person means. @throws {AgentError} `failed` if there is none. */
  find(text: string): AllowedPeer {
    const wanted = text.toLowerCase();
    const found = this.#config.peers.find((peer) =>
      peer.name.toLowerCase() === wanted || nodeIdOf(peer) === wanted ||
      addressesOf(peer).includes(wanted)
    );
    if (found !== undefined) return found;
    throw new AgentError(
      "failed",
      `Cannot find peer "${text}": no such peer; see tunnelmesh peers`,
    );
  }

  /**
   * Reads the file and puts it in force. Calls that come meanwhile are served by one more reading.
   *
   * @returns When what the file said at the time of the call is in force, or was found broken.
   */
  reload(): Promise<void> {
    this.#isWantedAgain = true;
    return this.#running ??= this.#run().finally(() => this.#running = undefined);
  }

  async #run(): Promise<void> {
    while (this.#isWantedAgain) {
      this.#isWantedAgain = false;
      await this.#reloadOnce();
    }
  }

  async #reloadOnce(): Promise<void> {
    const before = this.#config;
    try {
      const config = await this.#options.load();
      refuseOwnKey(config, this.#options.ownPublicKey);
      this.#options.apply(config);
      this.#config = config;
    } catch (error) {
      const fault = reasonOf(error);
      if (fault === this.#fault) return;
      this.#fault = fault;
      return log.error("Policy not taken, the last good one stays in force", {
        file: before.file,
        reason: fault,
      });
    }
    const wasBroken = this.#fault !== undefined;
    this.#fault = undefined;
    this.#loadedAt = this.#options.unixNow();
    this.#pending = changesThatWait(this.#options.first, this.#config);
    const changes = changesOf(before.peers, this.#config.peers);
    for (const [what, peer] of changes) log.info(what, { peer });
    for (const note of this.#pending) log.warning(note, { file: before.file });
    if (changes.length > 0 || wasBroken) {
      log.info("Policy is in force", {
        file: before.file,
        count: this.#config.peers.filter(({ enabled }) => enabled).length,
      });
    }
  }
}

/** Node id of a peer: SHA-256 of its public key, 64 hex digits. */
export function nodeIdOf({ publicKey }: Pick<AllowedPeer, "publicKey">): string {
  return toHex(sha256(publicKey));
}

/** What a device is told of a policy: those who are enabled, and nobody else. */
export function devicePeersOf(config: AllowedPeersConfig): DevicePeer[] {
  return config.peers.filter(({ enabled }) => enabled).map((peer) => ({
    nodeId: nodeIdOf(peer),
    staticKey: peer.publicKey,
    allowedIps: peer.allowedIps,
    candidates: peer.endpoint === undefined ? [] : [peer.endpoint],
    persistentKeepalive: peer.keepaliveMs !== undefined && peer.endpoint !== undefined,
  }));
}

function addressesOf({ allowedIps }: AllowedPeer): string[] {
  return allowedIps.map((prefix) => formatIpPrefix(prefix).replace(/\/(32|128)$/, ""));
}

function refuseOwnKey({ peers, file }: AllowedPeersConfig, ownPublicKey: Uint8Array): void {
  const self = peers.find(({ publicKey }) => equalBytes(publicKey, ownPublicKey));
  if (self === undefined) return;
  throw new AgentError(
    "config",
    `Cannot use the configuration ${file}:${self.line}:1: peer "${self.name}" has this node's ` +
      "own public key",
  );
}

/** Settings that a running node keeps as they were at its start. */
const FIXED = [
  "meshId",
  "privateKey",
  "listen",
  "interfaceName",
  "mtu",
  "addresses",
  "defaultRoute",
  "dataPlane",
] as const satisfies (keyof AllowedPeersConfig)[];

function changesThatWait(before: AllowedPeersConfig, after: AllowedPeersConfig): string[] {
  return FIXED.filter((name) => textOf(before[name]) !== textOf(after[name]))
    .map((name) => `${name} has changed in the file: start again to use it`);
}

function textOf(value: unknown): string {
  return JSON.stringify(value) ?? "";
}

/** Who came, went or changed. */
function changesOf(
  before: readonly AllowedPeer[],
  after: readonly AllowedPeer[],
): [what: string, peer: string][] {
  const known = new Map(before.map((peer) => [nodeIdOf(peer), peer]));
  const changes: [string, string][] = [];
  for (const peer of after) {
    const old = known.get(nodeIdOf(peer));
    known.delete(nodeIdOf(peer));
    const isIn = peer.enabled;
    const wasIn = old?.enabled ?? false;
    if (isIn !== wasIn) changes.push([isIn ? "Peer is allowed" : "Peer is disabled", peer.name]);
    else if (old !== undefined && textOf({ ...old, line: 0 }) !== textOf({ ...peer, line: 0 })) {
      changes.push(["Peer has changed", peer.name]);
    }
  }
  for (const gone of known.values()) changes.push(["Peer is removed", gone.name]);
  return changes;
}
