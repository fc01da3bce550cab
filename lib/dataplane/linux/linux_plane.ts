/**
 * The data plane of Linux, as the control thread sees it: two workers that loop over system calls
 * (egress.ts, ingress.ts), told what to do by messages, and stopped by a word in shared memory where
 * a message would come too late.
 *
 * ```text
 *             commands + eventfd              commands + eventfd
 *   egress  ◄────────────────────  control  ────────────────────►  ingress
 *   TUN → seal → UDP  ──reports──►  thread  ◄──reports──  UDP → open → TUN
 * ```
 *
 * Each worker owns what it changes: egress the send counters, ingress the replay windows.
 *
 * @module
 */

import type { TunLinux } from "../../../ffi/tun_linux.ts";
import type { UdpLinux } from "../../../ffi/udp_linux.ts";
import { LinuxUdpPath } from "../../../ffi/udp_path.ts";
import { transportAead } from "../../crypto/transport_aead.ts";
import type { IpAddress } from "../../net/endpoint.ts";
import type { IpPrefix } from "../../net/ip_prefix.ts";
import { AllowedIps } from "../../route/allowed_ips.ts";
import { DROP_REASONS, type DropReason } from "../../session/actions.ts";
import { type Keypair, retireKeypair } from "../../session/keypair.ts";
import type { SessionLimits } from "../../session/limits.ts";
import type { Path } from "../../session/path.ts";
import { type Binding, whyNotSend } from "../../session/transport_keys.ts";
import { SYSTEM_CLOCK } from "../../base/clock.ts";
import type { DataPlane, DataPlaneEvents, PeerTraffic } from "../data_plane.ts";
import type { PathLimit } from "../path_limit.ts";
import { libcryptoCipher } from "./cipher.ts";
import { HandedReader, newHandedRing } from "./handed_datagrams.ts";
import {
  type EgressCommand,
  type IngressCommand,
  isStream,
  type KeypairFacts,
  type ReceivedPath,
  type SendPath,
  type StreamPath,
  type WorkerReport,
} from "./messages.ts";
import { DROP_INDEX, PEER, PEER_BLOCK_SIZE, SharedKeypair } from "./shared_state.ts";
import { type StreamCarrier, StreamSide } from "./stream_side.ts";
import { WorkerLink } from "./worker_link.ts";

/** What a {@linkcode LinuxPlane} works with. */
export interface LinuxPlaneOptions {
  /** Opened with offloads; owned from now on. */
  readonly tun: Pick<TunLinux, "fd" | "hasUdpSegmentation" | "close">;
  /** Owned from now on. */
  readonly socket: UdpLinux;
  /** Ways beside UDP, owned from now on; its UDP half is `socket`, which nobody starts. */
  readonly carrier?: StreamCarrier | undefined;
  readonly events: DataPlaneEvents;
  readonly limits: SessionLimits;
  /** @default {"strict"} */
  readonly binding?: Binding;
}

/** A report of something that came by a path. */
type ReportFromAfar = Extract<WorkerReport, { readonly from: unknown }>;

interface Peer {
  readonly id: string;
  readonly buffer: SharedArrayBuffer;
  readonly block: Float64Array;
  readonly keypairs: Map<number, Installed>;
  current: Keypair | undefined;
}

interface Installed {
  readonly keypair: Keypair;
  readonly shared: SharedKeypair;
  readonly peer: Peer;
  /** Whether egress knows its path. */
  isBound: boolean;
}

/** A {@linkcode DataPlane} of two workers. */
export class LinuxPlane implements DataPlane {
  readonly kind = "linux";
  readonly aead: string;
  readonly #tun: LinuxPlaneOptions["tun"];
  readonly #socket: UdpLinux;
  readonly #events: DataPlaneEvents;
  readonly #handed: HandedReader;
  readonly #streams: StreamSide;
  readonly #peers = new Map<string, Peer>();
  readonly #installed = new Map<number, Installed>();
  /** The control thread's copy of the routes: refuses what overlaps before anything is told. */
  readonly #routes = new AllowedIps<Peer>((peer) => peer.id);
  readonly #egress: WorkerLink<EgressCommand>;
  readonly #ingress: WorkerLink<IngressCommand>;
  #limits: SessionLimits;
  #closed: Promise<void> | undefined;
  /** Resolves when both workers run; what is told them before waits for them. */
  readonly ready: Promise<void>;

  /** Starts both workers. */
  constructor(options: LinuxPlaneOptions) {
    const { tun, socket, events, limits } = options;
    this.#limits = limits;
    this.#tun = tun;
    this.#socket = socket;
    this.#events = events;
    this.aead = (libcryptoCipher() ?? transportAead()).name;
    socket.enableGro();
    const handed = newHandedRing();
    this.#handed = new HandedReader(handed, SYSTEM_CLOCK, (datagram, from) => {
      const path = this.#pathOf(from);
      if (path !== undefined) this.#events.datagram(datagram, path);
    });
    const common = {
      tunFd: tun.fd,
      ipv4Fd: socket.descriptors.ipv4,
      ipv6Fd: socket.descriptors.ipv6,
      hasUdpSegmentation: tun.hasUdpSegmentation,
      timeOrigin: performance.timeOrigin,
      limits,
      binding: options.binding ?? "strict",
      handed: handed.buffer,
    };
    const received = (report: WorkerReport) => this.#received(report);
    const failed = (error: Error) => {
      if (this.#closed === undefined) this.#events.failed(error);
    };
    this.#egress = new WorkerLink({ ...common, role: "egress" }, received, failed);
    this.#ingress = new WorkerLink({ ...common, role: "ingress" }, received, failed);
    this.#streams = new StreamSide({
      carrier: options.carrier,
      departures: this.#egress.ring,
      arrivals: this.#ingress,
      pathOf: (localIndex) => this.#installed.get(localIndex)?.keypair.path,
      received: (datagram, path) => {
        if (this.#closed === undefined) this.#events.datagram(datagram, path);
      },
    });
    const links = [this.#egress, this.#ingress];
    this.ready = Promise.all(links.map(({ ready }) => ready)).then(() => {});
  }

  get drops(): Record<DropReason, number> {
    const [out, into] = [this.#egress.drops, this.#ingress.drops];
    const own: Partial<Record<DropReason, number>> = this.#streams.drops;
    return Object.fromEntries(
      DROP_REASONS.map((reason) => {
        const at = DROP_INDEX[reason];
        return [reason, out[at]! + into[at]! + (own[reason] ?? 0)];
      }),
    ) as Record<DropReason, number>;
  }

  refresh(): void {
    for (const { keypair, shared } of this.#installed.values()) {
      shared.readInto(keypair.activity);
    }
  }

  install(keypair: Keypair): void {
    const peer = this.#peers.get(keypair.peer);
    if (peer === undefined || this.#installed.has(keypair.localIndex)) return;
    const shared = new SharedKeypair();
    shared.write(keypair.activity);
    const installed = { keypair, shared, peer, isBound: keypair.path !== undefined };
    this.#installed.set(keypair.localIndex, installed);
    peer.keypairs.set(keypair.localIndex, installed);
    const facts: KeypairFacts = {
      peer: keypair.peer,
      localIndex: keypair.localIndex,
      remoteIndex: keypair.remoteIndex,
      createdAt: keypair.createdAt,
      block: shared.buffer,
    };
    const bound = keypair.path;
    const paths = bound === undefined ? keypair.unconfirmedPaths : [bound];
    this.#ingress.tell({
      kind: "install",
      keypair: facts,
      receiveKey: keypair.receiveKey,
      isConfirmed: keypair.isConfirmed,
      paths: paths.map((path) => this.#sendPathOf(path)),
    });
    this.#egress.tell({
      kind: "install",
      keypair: facts,
      sendKey: keypair.sendKey,
      path: bound && this.#sendPathOf(bound),
    });
  }

  widen(keypair: Keypair): void {
    if (this.#find(keypair) === undefined || keypair.isConfirmed) return;
    const paths = keypair.unconfirmedPaths.map((path) => this.#sendPathOf(path));
    this.#ingress.tell({ kind: "widen", localIndex: keypair.localIndex, paths });
  }

  use(keypair: Keypair): void {
    const installed = this.#find(keypair);
    if (installed === undefined) return;
    installed.peer.current = keypair;
    this.#bind(installed);
    this.#egress.tell({ kind: "use", localIndex: keypair.localIndex });
  }

  retire(keypair: Keypair): void {
    const installed = this.#find(keypair);
    if (installed !== undefined) this.#retire(installed);
  }

  setPeer(id: string, allowedIps: readonly IpPrefix[]): void {
    let peer = this.#peers.get(id);
    if (peer === undefined) {
      const buffer = new SharedArrayBuffer(PEER_BLOCK_SIZE);
      const block = new Float64Array(buffer);
      peer = { id, buffer, block, keypairs: new Map(), current: undefined };
    }
    this.#routes.replace(peer, allowedIps);
    this.#peers.set(id, peer);
    this.#tellBoth({ kind: "peer", id, allowedIps, block: peer.buffer });
  }

  removePeer(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    for (const installed of [...peer.keypairs.values()]) this.#retire(installed);
    this.#routes.removeValue(peer);
    this.#peers.delete(id);
    this.#tellBoth({ kind: "remove-peer", id });
  }

  queued(id: string): number {
    return this.#peers.get(id)?.block[PEER.queued] ?? 0;
  }

  dropQueue(id: string): void {
    this.#egress.tell({ kind: "drop-queue", peer: id });
  }

  setOwnAddresses(addresses: readonly IpAddress[]): void {
    this.#tellBoth({ kind: "own-addresses", addresses });
  }

  setLimits(limits: SessionLimits): void {
    this.#limits = limits;
    this.#tellBoth({ kind: "limits", limits });
  }

  seal(keypair: Keypair, plaintext: Uint8Array, onlyIfUnused = false): boolean {
    const installed = this.#find(keypair);
    if (installed === undefined) return false;
    installed.shared.readInto(keypair.activity);
    if (whyNotSend(keypair, this.#limits, performance.now()) !== undefined) return false;
    const { localIndex } = keypair;
    this.#bind(installed);
    this.#egress.tell({ kind: "seal", localIndex, plaintext, onlyIfUnused, isWhole: false });
    return true;
  }

  probe(keypair: Keypair, plaintext: Uint8Array): void {
    const { localIndex } = keypair;
    if (this.#find(keypair) === undefined) return;
    this.#egress.tell({ kind: "seal", localIndex, plaintext, onlyIfUnused: false, isWhole: true });
  }

  setPathLimit(keypair: Keypair, limit: PathLimit): void {
    if (this.#find(keypair) === undefined) return;
    this.#egress.tell({ kind: "limit", localIndex: keypair.localIndex, limit });
  }

  send(datagram: Uint8Array, path: Path): boolean {
    if (this.#closed !== undefined) return false;
    if (path instanceof LinuxUdpPath) return this.#socket.send(datagram, path);
    return this.#streams.send(datagram, path);
  }

  traffic(id: string): PeerTraffic {
    const block = this.#peers.get(id)?.block;
    return {
      rxBytes: block?.[PEER.rxBytes] ?? 0,
      txBytes: block?.[PEER.txBytes] ?? 0,
      rxPackets: block?.[PEER.rxPackets] ?? 0,
      txPackets: block?.[PEER.txPackets] ?? 0,
    };
  }

  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#handed.close();
    for (const id of [...this.#peers.keys()]) this.removePeer(id);
    await Promise.all([this.#egress.stop(), this.#ingress.stop()]);
    await Promise.all([this.#tun.close(), this.#socket.close(), this.#streams.close()]);
  }

  #retire({ keypair, shared, peer }: Installed): void {
    // From here on no worker seals or opens with it, whenever it reads its message.
    shared.revoke();
    shared.readInto(keypair.activity);
    retireKeypair(keypair);
    this.#installed.delete(keypair.localIndex);
    peer.keypairs.delete(keypair.localIndex);
    if (peer.current === keypair) peer.current = undefined;
    this.#tellBoth({ kind: "retire", localIndex: keypair.localIndex });
  }

  #received(report: WorkerReport): void {
    if (this.#closed !== undefined) return;
    switch (report.kind) {
      case "departures":
        return this.#streams.sendDepartures();
      case "wanted":
        return this.#events.wanted(report.peer);
      case "too-large": {
        const keypair = this.#installed.get(report.localIndex)?.keypair;
        if (keypair !== undefined) this.#events.tooLarge(keypair);
        return;
      }
      case "handed":
        return this.#handed.look();
      case "confirmed":
      case "strayed":
      case "control": {
        const path = this.#pathOf(report.from);
        if (path !== undefined) this.#receivedBy(path, report);
      }
    }
  }

  #receivedBy(path: Path, report: ReportFromAfar): void {
    const installed = this.#installed.get(report.localIndex);
    if (installed === undefined) return;
    const { keypair, shared, peer } = installed;
    shared.readInto(keypair.activity);
    switch (report.kind) {
      case "confirmed":
        return this.#confirm(installed, path);
      case "strayed":
        if (peer.current === keypair) this.#events.strayed(keypair, path);
        return;
      case "control":
        return this.#events.control(keypair, report.plaintext, path);
    }
  }

  /** The session layer checks authorisation again; then what waited is delivered, or dropped. */
  #confirm(installed: Installed, path: Path): void {
    const { keypair } = installed;
    const { localIndex } = keypair;
    if (!keypair.isConfirmed) this.#events.confirmed(keypair, path);
    const isGood = keypair.isConfirmed && !keypair.isRetired && keypair.path !== undefined;
    const bound = isGood ? this.#sendPathOf(keypair.path!) : undefined;
    this.#ingress.tell({ kind: "confirm", localIndex, path: bound });
    if (bound !== undefined) this.#bind(installed);
  }

  /** Tells egress the path that confirmed a keypair, before it is to send anything there. */
  #bind(installed: Installed): void {
    const { localIndex, path } = installed.keypair;
    if (installed.isBound || path === undefined) return;
    installed.isBound = true;
    this.#egress.tell({ kind: "bind", localIndex, path: this.#sendPathOf(path) });
  }

  #sendPathOf(path: Path): SendPath {
    if (!(path instanceof LinuxUdpPath)) return { stream: this.#streams.numberOf(path) };
    const { name, localName, interfaceIndex, control } = path;
    return { name, localName, interfaceIndex, control };
  }

  #pathOf(from: ReceivedPath | StreamPath): Path | undefined {
    if (isStream(from)) return this.#streams.pathOf(from.stream);
    const { address, port, local, interfaceIndex } = from;
    return this.#socket.receivedPath({ address, port }, local, interfaceIndex);
  }

  #find(keypair: Keypair): Installed | undefined {
    const installed = this.#installed.get(keypair.localIndex);
    return installed?.keypair === keypair ? installed : undefined;
  }

  #tellBoth(command: EgressCommand & IngressCommand): void {
    this.#egress.tell(command);
    this.#ingress.tell(command);
  }
}
