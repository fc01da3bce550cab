/**
 * A coordinator put together: state folder, registry, control connections, listener, discovery.
 * What is outside (UDP sockets, the in-process member, the control socket of the command line) is
 * wired to it by whoever starts it.
 *
 * @module
 */

import { toHex } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { verifyStatement } from "../crypto/sshsig.ts";
import type { Endpoint } from "../net/endpoint.ts";
import { formatIpPrefix, type IpPrefix } from "../net/ip_prefix.ts";
import { formatToken } from "../token/token.ts";
import type { EndpointHint, NodeAddresses } from "../wire/control_message.ts";
import { RefusalError } from "../wire/refusal.ts";
import { writeBackup } from "./backup.ts";
import { ControlHub, type HubCounts } from "./control_hub.ts";
import type { ControlListener, ListenAddress } from "./control_listener.ts";
import { DiscoveryResponder } from "./discovery_responder.ts";
import { Ledger } from "./ledger.ts";
import type { HttpListenerOptions } from "./listener.ts";
import { WorkerListener } from "./listener_link.ts";
import { type MeshIdentity, openMesh } from "./mesh_identity.ts";
import { PskEpochs } from "./psk_epochs.ts";
import type { RelayCounts } from "./relay_hub.ts";
import type { RelayLimits } from "./relay_limits.ts";
import { Registry, type StatementVerifier } from "./registry.ts";
import { CoordinatorSecret } from "./secrets.ts";
import { STATE_FILES, StateFolder } from "./state_folder.ts";
import type { NodeState, Store, TokenRow } from "./store.ts";
import { SqliteStore } from "./store_sqlite.ts";
import type { StrangerLimits } from "./stranger_limits.ts";
import { makeCertificate, type TlsPair } from "./tls.ts";
import { TokenBook } from "./token_book.ts";

/** Port for HTTPS, and for UDP, unless chosen otherwise. */
export const DEFAULT_COORDINATOR_PORT = 8443;

/** How the listener is wrapped. */
export type CoordinatorTls =
  /** A certificate made on the first start and kept; `names` go into it. */
  | { readonly kind: "self-signed"; readonly names: readonly string[] }
  /** PEM texts. */
  | ({ readonly kind: "given" } & TlsPair)
  /** Plain HTTP, behind a proxy. */
  | { readonly kind: "none" };

/** What a coordinator starts with. */
export interface CoordinatorOptions {
  /** Path; made where it is missing. */
  readonly stateFolder: string;
  /** Where to listen; empty: at `port` of all addresses. */
  readonly listen: readonly ListenAddress[];
  /** @default {8443} */
  readonly port?: number;
  readonly tls: CoordinatorTls;
  /** Range of the mesh's IPv4 addresses; fixed by the first start. @default {100.64.0.0/10} */
  readonly ipv4Range?: IpPrefix;
  /** UDP ports at which `answerDiscovery` is wired, told to agents. */
  readonly udpPorts: readonly number[];
  /** @default {"strict"} */
  readonly binding?: "strict" | "roam";
  /** Session limits that are lower than the defaults. @default {{}} */
  readonly limits?: Readonly<Record<string, number>>;
  /** Name and version of the program. */
  readonly software: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Called once when it cannot go on; the process then ends with this error. */
  readonly onFailed: (error: Error) => void;
  /** @default {DEFAULT_STRANGER_LIMITS} */
  readonly strangers?: Partial<StrangerLimits>;
  /** @default {DEFAULT_RELAY_LIMITS} */
  readonly relayLimits?: Partial<RelayLimits>;
  /** Makes the listener. @default {one in a worker of its own} */
  readonly makeListener?: (options: HttpListenerOptions) => ControlListener;
  /** @default {verifyStatement of lib/crypto} */
  readonly verifyStatement?: StatementVerifier;
}

/** A coordinator as seen from outside. */
export interface CoordinatorStatus {
  /** Mesh id, hex. */
  readonly mesh: string;
  readonly listening: readonly ListenAddress[];
  readonly isTls: boolean;
  readonly udpPorts: readonly number[];
  readonly ipv4Range: string;
  readonly ipv6Range: string;
  /** No packet filter is in force. */
  readonly policy: "allow-all";
  readonly binding: "strict" | "roam";
  readonly members: number;
  readonly online: number;
  readonly rosterVersion: number;
  readonly pskEpoch: number;
  readonly counts: Readonly<HubCounts>;
  /** What the relay carries and loses; absent without one. */
  readonly relay?: Readonly<RelayCounts>;
}

/** A node as the coordinator knows it. */
export interface CoordinatorPeer {
  readonly nodeId: string;
  readonly name: string;
  readonly addresses: NodeAddresses;
  readonly state: NodeState;
  readonly online: boolean;
  /** Where its control connection comes from. */
  readonly remote?: string;
  readonly endpoints: readonly EndpointHint[];
  readonly os?: string;
  readonly software: string;
  /** ISO 8601. */
  readonly joinedAt: string;
  /** ISO 8601. */
  readonly seenAt: string;
}

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
        mesh: { binding: options.binding ?? "strict", limits: options.limits ?? {} },
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
   * @throws {RefusalError} `storage-failure`.
   */
  createInvite(forMs: number): string {
    const now = this.#unixMs();
    return this.#textOf(this.#parts.tokens.invite(now, now + forMs));
  }

  /** Announces the next mesh PSK; it comes into force once all connected members have it. */
  rotatePsk(): void {
    if (this.#parts.epochs.rotate(this.#unixMs())) this.#parts.hub.tellPsks();
  }

  /**
   * Disables, enables or removes a member; its connection and sessions end at once.
   *
   * @throws {RefusalError} `not-a-member`, `storage-failure`.
   */
  setState(nodeId: string, state: NodeState): void {
    this.#parts.registry.setState(nodeId, state);
    if (state === "active") this.#parts.hub.rosterChanged();
    else this.#parts.hub.expel(nodeId, new RefusalError(state));
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
        joinedAt: new Date(node.joinedAt).toISOString(),
        seenAt: new Date(node.seenAt).toISOString(),
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

  #textOf(token: TokenRow): string {
    const { mesh, coordinatorKey, tokens } = this.#parts;
    const joinSecret = tokens.joinSecret(token);
    return formatToken({ meshId: mesh.meshId, coordinatorKey, joinSecret });
  }

  #unixMs(): number {
    return Math.floor(this.#parts.options.clock.unixNow());
  }
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
