/**
 * A coordinator put together: state folder, registry, control connections, listener, discovery.
 * What is outside (UDP sockets, the in-process member, the control socket of the command line) is
 * wired to it by whoever starts it.
 *
 * @module
 */

import { toHex } from "../base/bytes.ts";
import { verifyStatement } from "../crypto/sshsig.ts";
import type { Endpoint } from "../net/endpoint.ts";
import { formatIpPrefix } from "../net/ip_prefix.ts";
import { formatToken } from "../token/token.ts";
import { writeBackup } from "./backup.ts";
import { ControlHub } from "./control_hub.ts";
import type { ControlListener, ListenAddress } from "./control_listener.ts";
import {
  type CoordinatorOptions,
  type CoordinatorPeer,
  type CoordinatorStatus,
  type CoordinatorToken,
  DEFAULT_COORDINATOR_PORT,
  type Invitation,
  type PskStatus,
} from "./coordinator_options.ts";
import { DiscoveryResponder } from "./discovery_responder.ts";
import { Ledger } from "./ledger.ts";
import { WorkerListener } from "./listener_link.ts";
import { type MeshIdentity, openMesh } from "./mesh_identity.ts";
import { PskEpochs } from "./psk_epochs.ts";
import { Registry } from "./registry.ts";
import { CoordinatorSecret } from "./secrets.ts";
import { STATE_FILES, StateFolder } from "./state_folder.ts";
import type { NodeState, Store, TokenRow } from "./store.ts";
import { SqliteStore } from "./store_sqlite.ts";
import { makeCertificate, type TlsPair } from "./tls.ts";
import { TokenBook } from "./token_book.ts";

export type {
  CoordinatorOptions,
  CoordinatorPeer,
  CoordinatorStatus,
  CoordinatorTls,
} from "./coordinator_options.ts";
export { DEFAULT_COORDINATOR_PORT };

interface Parts {
  readonly options: CoordinatorOptions;
  readonly folder: StateFolder;
  readonly store: Store;
  readonly coordinatorKey: Uint8Array;
  readonly mesh: MeshIdentity;
  readonly registry: Registry;
  readonly tokens: TokenBook;
  readonly epochs: PskEpochs;
  readonly hub: ControlHub;
  readonly listener: ControlListener;
  readonly discovery: DiscoveryResponder;
  readonly listening: readonly ListenAddress[];
}

/** A running coordinator. */
export class Coordinator {
  readonly #parts: Parts;
  #stopping: Promise<void> | undefined;

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Starts a coordinator; on the first start of a state folder it founds the mesh.
   *
   * @throws {StateFolderError | StoreError | MeshMismatchError | ListenError | RangeError} with a
   * message for people; nothing is left running then.
   */
  static async start(options: CoordinatorOptions): Promise<Coordinator> {
    await using undo = new AsyncDisposableStack();
    const folder = StateFolder.open(options.stateFolder);
    undo.defer(() => folder.close());
    const secret = new CoordinatorSecret(folder.secret());
    const staticKey = folder.staticKey();
    const store = new SqliteStore(folder.file(STATE_FILES.registry));
    undo.defer(() => store.close());
    const ledger = new Ledger(store);
    const mesh = openMesh(ledger, staticKey.publicKey, options.ipv4Range);
    const tokens = new TokenBook(ledger, secret);
    if (tokens.current === undefined) tokens.rotate(options.clock.unixNow());
    const epochs = new PskEpochs(ledger, secret);
    const registry = new Registry({
      ledger,
      mesh,
      tokens,
      verifyStatement: options.verifyStatement ?? verifyStatement,
    });
    const make = options.makeListener ?? ((given) => new WorkerListener(given));
    const listener = make({
      listen: options.listen,
      port: options.port ?? DEFAULT_COORDINATOR_PORT,
      tls: await tlsPair(options, folder),
      ...(options.strangers === undefined ? {} : { limits: options.strangers }),
      ...(options.relayLimits === undefined ? {} : { relayLimits: options.relayLimits }),
    });
    undo.defer(() => listener.stop());
    const { clock, log, software, udpPorts } = options;
    const hub = new ControlHub({
      clock,
      log,
      listener,
      staticKey,
      mesh,
      secret,
      registry,
      tokens,
      epochs,
      welcome: {
        software,
        udpPorts,
        mesh: {
          binding: options.binding ?? "strict",
          limits: options.limits ?? {},
          memberInvites: options.memberInvites ?? false,
        },
      },
    }, options.onFailed);
    undo.defer(() => hub.stop());
    const listening = await listener.start(hub);
    undo.move();
    return new Coordinator({
      options,
      folder,
      store,
      coordinatorKey: staticKey.publicKey,
      mesh,
      registry,
      tokens,
      epochs,
      hub,
      listener,
      discovery: new DiscoveryResponder(secret, clock),
      listening,
    });
  }

  /** Static public key by which members know this coordinator, 32 bytes. */
  get coordinatorKey(): Uint8Array {
    return this.#parts.coordinatorKey;
  }

  /** 16 bytes. */
  get meshId(): Uint8Array {
    return this.#parts.mesh.meshId;
  }

  /** Where it listens, with the real ports. */
  get listening(): readonly ListenAddress[] {
    return this.#parts.listening;
  }

  /** The reusable token in force, as text. A secret: for a terminal or a 0600 file only. */
  token(): string {
    const current = this.#parts.tokens.current;
    if (current === undefined) throw new TypeError("Cannot show the token: there is none");
    return this.#textOf(current);
  }

  /**
   * Replaces the reusable token; members stay.
   *
   * @throws {RefusalError} `storage-failure`.
   */
  rotateToken(): string {
    const token = this.#parts.tokens.rotate(this.#unixMs());
    this.#parts.options.log.info("the token was rotated");
    return this.#textOf(token);
  }

  /**
   * Makes an invite for one node.
   *
   * @param forMs How long it is good.
   * @param name Of that node, unless it asks for another.
   * @throws {RefusalError} `bad-name`, `reserved-name`, `storage-failure`.
   */
  createInvite(forMs: number, name?: string): Invitation {
    const now = this.#unixMs();
    const invite = this.#parts.tokens.invite(now, now + forMs, name);
    this.#parts.options.log.info("an invite was made", { index: invite.serial });
    return { ...this.#listed(invite), token: this.#textOf(invite) };
  }

  /** Every token there is or was, oldest first, without what would admit anybody. */
  listTokens(): CoordinatorToken[] {
    return this.#parts.tokens.all().map((token) => this.#listed(token));
  }

  /**
   * Makes an unused invite admit nobody.
   *
   * @throws {RefusalError} `storage-failure`.
   * @throws {TypeError} for a token that is no unused invite.
   */
  revokeInvite(id: number): CoordinatorToken {
    const revoked = this.#parts.tokens.revoke(id);
    this.#parts.options.log.info("an invite was revoked", { index: id });
    return this.#listed(revoked);
  }

  /** Epochs of the mesh PSK in force. */
  pskStatus(): PskStatus {
    const { previous, current, next } = this.#parts.epochs.psks();
    return {
      ...(previous === undefined ? {} : { previous: previous.epoch }),
      current: current.epoch,
      ...(next === undefined ? {} : { next: next.epoch }),
    };
  }

  /**
   * Announces the next mesh PSK; it comes into force once all connected members have it.
   *
   * @returns Whether it did; not while one is announced already.
   * @throws {RefusalError} `storage-failure`.
   */
  rotatePsk(): boolean {
    if (!this.#parts.epochs.rotate(this.#unixMs())) return false;
    const version = this.#parts.epochs.pending;
    this.#parts.options.log.info("the next mesh PSK is announced", { version });
    this.#parts.hub.tellPsks();
    return true;
  }

  /**
   * Disables, enables or removes a member; its connection and sessions end at once.
   *
   * @throws {RefusalError} `not-a-member`, `storage-failure`.
   */
  setState(nodeId: string, state: NodeState): void {
    this.#parts.hub.setState(nodeId, state);
  }

  /**
   * Answers a type 6 datagram; send the answer back from the socket and address it came to.
   *
   * @param datagram Borrowed until the call returns.
   */
  answerDiscovery(datagram: Uint8Array, source: Endpoint): Uint8Array | undefined {
    return this.#parts.discovery.answer(datagram, source);
  }

  /** What `status` shows. */
  status(): CoordinatorStatus {
    const { options, mesh, registry, hub, epochs, listening, listener } = this.#parts;
    return {
      mesh: toHex(mesh.meshId),
      listening,
      isTls: options.tls.kind !== "none",
      udpPorts: options.udpPorts,
      ipv4Range: formatIpPrefix(mesh.addresses.ipv4Range),
      ipv6Range: formatIpPrefix(mesh.addresses.ipv6Range),
      policy: "allow-all",
      binding: options.binding ?? "strict",
      memberInvites: options.memberInvites ?? false,
      members: [...registry.members()].length,
      online: hub.onlineCount,
      rosterVersion: registry.version,
      pskEpoch: epochs.psks().current.epoch,
      counts: { ...hub.counts },
      ...(listener.relay === undefined ? {} : { relay: listener.relay.counts }),
    };
  }

  /** Every member, disabled ones too. */
  peers(): CoordinatorPeer[] {
    const { registry, hub, mesh } = this.#parts;
    return [...registry.all()].filter((node) => node.state !== "removed").map((node) => {
      const remote = hub.remoteOf(node.nodeId);
      return {
        nodeId: node.nodeId,
        name: node.name,
        addresses: mesh.addresses.addressesOf(node.host),
        state: node.state,
        online: hub.isOnline(node.nodeId),
        ...(remote === undefined ? {} : { remote }),
        endpoints: node.endpoints,
        ...(node.os === undefined ? {} : { os: node.os }),
        software: node.software,
        joinedAt: isoOf(node.joinedAt),
        seenAt: isoOf(node.seenAt),
      };
    });
  }

  /** Whether a node of this name was a member, and none is now. */
  isRemoved(name: string): boolean {
    const named = [...this.#parts.registry.all()].filter((node) => node.name === name);
    return named.length > 0 && named.every(({ state }) => state === "removed");
  }

  /**
   * Writes a backup, 0600, while everything goes on.
   *
   * @throws {StateFolderError | StoreError | RefusalError} when it cannot be written.
   */
  backup(target: string): void {
    const { folder, store, registry } = this.#parts;
    registry.flush();
    writeBackup({ folder, store, target, unixMs: this.#unixMs() });
  }

  /** Tells the members, saves, and lets the state folder go. Safe to call twice. */
  stop(): Promise<void> {
    return this.#stopping ??= this.#stop();
  }

  async #stop(): Promise<void> {
    const { hub, listener, store, folder } = this.#parts;
    hub.stop();
    await listener.stop();
    store.close();
    folder.close();
  }

  #listed({ serial, kind, state, name, ...token }: TokenRow): CoordinatorToken {
    const { expiresAt, askedBy, spentBy } = token;
    const node = (nodeId: string) => ({
      nodeId,
      name: this.#parts.registry.node(nodeId)?.name ?? "",
    });
    const isExpired = state === "active" && expiresAt !== undefined && this.#unixMs() >= expiresAt;
    return {
      id: serial,
      kind,
      state: isExpired ? "expired" : state,
      ...(name === undefined ? {} : { name }),
      ...(askedBy === undefined ? {} : { askedBy: node(askedBy) }),
      createdAt: isoOf(token.createdAt),
      ...(expiresAt === undefined ? {} : { expiresAt: isoOf(expiresAt) }),
      ...(spentBy === undefined ? {} : { usedBy: node(spentBy) }),
    };
  }

  #textOf(token: TokenRow): string {
    const { mesh, coordinatorKey, tokens } = this.#parts;
    const joinSecret = tokens.joinSecret(token);
    return formatToken({ meshId: mesh.meshId, coordinatorKey, joinSecret });
  }

  #unixMs(): number {
    return Math.floor(this.#parts.options.clock.unixNow());
  }
}

function isoOf(unixMs: number): string {
  return new Date(unixMs).toISOString();
}

async function tlsPair(
  { tls, clock }: CoordinatorOptions,
  folder: StateFolder,
): Promise<TlsPair | undefined> {
  if (tls.kind === "none") return undefined;
  if (tls.kind === "given") return { certificate: tls.certificate, key: tls.key };
  const certificate = folder.read(STATE_FILES.certificate);
  const key = folder.read(STATE_FILES.certificateKey);
  const decoder = new TextDecoder();
  if (certificate !== undefined && key !== undefined) {
    return { certificate: decoder.decode(certificate), key: decoder.decode(key) };
  }
  const made = await makeCertificate(tls.names, clock.unixNow());
  const encoder = new TextEncoder();
  folder.write(STATE_FILES.certificateKey, encoder.encode(made.key));
  folder.write(STATE_FILES.certificate, encoder.encode(made.certificate));
  return made;
}
