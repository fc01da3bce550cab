/**
 * Two or more nodes with nothing but the session layer and its transport keys, on a fake clock and a
 * wire that the test owns: every datagram can be held, dropped, doubled, moved or replayed.
 *
 * ```text
 *  node "a" ── Sessions ── TransportKeys ──┐
 *                                          wire ── (adversary) ── log of all that was sent
 *  node "b" ── Sessions ── TransportKeys ──┘
 * ```
 *
 * A node's endpoint is a text such as `a`; a datagram from `a` to `b` arrives at `b` by the path
 * `udp:b:a`. Inner packets are the bytes 0x45, then whatever the test says.
 *
 * @module
 */

import { toHex } from "../../lib/base/bytes.ts";
import { type KeyPair, keyPairFrom } from "../../lib/crypto/x25519.ts";
import { sha256 } from "../../lib/crypto/hash.ts";
import { NOBLE_AEAD, type TransportAead, WASM_AEAD } from "../../lib/crypto/transport_aead.ts";
import type { Action, DropReason } from "../../lib/session/actions.ts";
import type { Keypair } from "../../lib/session/keypair.ts";
import { DEFAULT_LIMITS, type SessionLimits } from "../../lib/session/limits.ts";
import type { Path } from "../../lib/session/path.ts";
import { PskRing } from "../../lib/session/psk_ring.ts";
import { Sessions, type SessionsOptions } from "../../lib/session/sessions.ts";
import { TimestampSource } from "../../lib/session/timestamp.ts";
import { DATA_OVERHEAD, TransportKeys } from "../../lib/session/transport_keys.ts";
import { dataReceiverIndex, isData } from "../../lib/wire/datagram.ts";
import { FakeClock } from "../fakes/clock.ts";
import { type CountingBackend, countingBackend } from "../fakes/crypto_counter.ts";
import { seededBytes } from "../fakes/random.ts";

/** The mesh of all tests that do not say otherwise. */
export const MESH_ID = new Uint8Array(16).fill(0x11);
/** Its preshared key. */
export const PSKS = new PskRing({ current: { epoch: 5, psk: new Uint8Array(32).fill(0x55) } });

/** A datagram on its way. */
export interface Flight {
  /** Endpoint it seems to come from. */
  from: string;
  /** Endpoint it goes to. */
  to: string;
  datagram: Uint8Array;
  /** Milliseconds until it arrives. */
  delayMs: number;
}

/** What the wire does with a datagram: the flights that come of it, none if it is lost. */
export type Wire = (flight: Flight) => readonly Flight[];

/** Counts AEAD calls on transport data, and sees to it that no nonce is used twice (T25). */
class RecordingAead implements TransportAead {
  readonly name = "recording";
  seals = 0;
  opens = 0;
  readonly #inner: TransportAead;
  readonly #used: Set<string>;

  constructor(inner: TransportAead, used: Set<string>) {
    this.#inner = inner;
    this.#used = used;
  }

  seal(...args: Parameters<TransportAead["seal"]>): void {
    this.seals++;
    const [key, counter] = args;
    const nonce = `${toHex(key)}/${counter}`;
    if (this.#used.has(nonce)) throw new Error(`Nonce used twice: ${counter}`);
    if (key.every((byte) => byte === 0)) throw new Error("Sealed with a wiped key");
    this.#used.add(nonce);
    this.#inner.seal(...args);
  }

  open(...args: Parameters<TransportAead["open"]>): number {
    this.opens++;
    return this.#inner.open(...args);
  }

  wipe(): void {
    this.#inner.wipe();
  }
}

/** How a node differs from the usual one. */
export interface NodeOptions extends Partial<SessionsOptions> {
  /** Its private key; by default one made from its name. */
  readonly privateKey?: Uint8Array;
}

/** One node: sessions, and the least of a data plane that can drive them. */
export class Node {
  readonly name: string;
  readonly key: KeyPair;
  readonly nodeId: string;
  readonly sessions: Sessions;
  readonly crypto: CountingBackend;
  readonly aead: RecordingAead;
  /** Inner packets delivered, as numbers that {@linkcode Node.send} got, in order. */
  readonly delivered: number[] = [];
  /** What was dropped, by reason. */
  readonly drops = new Map<DropReason, number>();
  readonly echoed: number[] = [];
  readonly gaveUp: string[] = [];
  readonly left: string[] = [];
  /** Where this node believes each peer to be. */
  readonly candidates = new Map<string, string[]>();
  /** Receives what the sessions layer asks, for tests of the actions themselves. */
  readonly actions: Action[] = [];
  readonly keys = new Map<number, TransportKeys>();
  readonly current = new Map<string, TransportKeys>();
  readonly rules: { limits: SessionLimits; binding: "strict" | "roam" };
  /** Endpoint that this node sends from. */
  endpoint: string;
  readonly #world: World;
  readonly #queues = new Map<string, number[]>();
  readonly #wanted = new Set<string>();

  constructor(world: World, name: string, options: NodeOptions) {
    this.#world = world;
    this.name = name;
    this.endpoint = name;
    this.key = keyPairFrom(options.privateKey ?? sha256(new TextEncoder().encode(name)));
    this.nodeId = toHex(sha256(this.key.publicKey));
    this.crypto = countingBackend();
    this.aead = new RecordingAead(world.aead, world.usedNonces);
    this.rules = {
      limits: options.limits ?? DEFAULT_LIMITS,
      binding: options.binding ?? "strict",
    };
    const profile = options.profile ?? "mesh";
    this.sessions = new Sessions({
      profile,
      meshId: MESH_ID,
      staticKey: this.key,
      ...(profile === "mesh" && { psks: PSKS }),
      limits: this.rules.limits,
      timestamps: new TimestampSource({ unixNow: () => world.clock.unixNow() }),
      unixNow: () => world.clock.unixNow(),
      crypto: this.crypto.backend,
      random: seededBytes(world.nextSeed()),
      ...options,
    });
  }

  /** Lets this node know another, and where it is. */
  knows(peer: Node, at: string = peer.endpoint): void {
    this.sessions.addPeer({ nodeId: peer.nodeId, staticKey: peer.key.publicKey });
    this.candidates.set(peer.nodeId, [at]);
  }

  /** Sends an inner packet that can be told from others by its number. */
  send(peer: Node, number: number): void {
    const now = this.#world.clock.now();
    const keys = this.current.get(peer.nodeId);
    if (keys !== undefined && keys.whyNotSend(now) === undefined) {
      return this.#seal(keys, packet(number));
    }
    const queue = this.#queues.get(peer.nodeId) ?? [];
    queue.push(number);
    this.#queues.set(peer.nodeId, queue);
    if (this.#wanted.has(peer.nodeId)) return;
    this.#wanted.add(peer.nodeId);
    this.act(this.sessions.initiate(peer.nodeId, now));
  }

  /** Carries out what the session layer asks. */
  act(actions: readonly Action[]): void {
    for (const action of actions) {
      this.actions.push(action);
      this.#carryOut(action);
    }
    this.#world.arm(this);
  }

  /** A datagram arrives. */
  receive(datagram: Uint8Array, from: string): void {
    const path = this.pathTo(from);
    const now = this.#world.clock.now();
    if (!isData(datagram)) return this.act(this.sessions.receive(datagram, path, now));
    const keys = this.keys.get(dataReceiverIndex(datagram));
    if (keys === undefined) return this.#drop("unknown-index");
    const reason = keys.whyNotOpen(datagram, path, now);
    if (reason !== undefined) {
      this.#drop(reason);
      const isCurrent = this.current.get(keys.keypair.peer) === keys;
      if (reason === "wrong-path" && isCurrent && keys.isAhead(datagram)) {
        this.act(this.sessions.strayed(keys.keypair, path, now));
      }
      return;
    }
    const out = new Uint8Array(datagram.length);
    const length = keys.open(datagram, out, path, now);
    if (length < 0) return this.#drop("bad-tag");
    const { keypair } = keys;
    if (!keypair.isConfirmed) this.act(this.sessions.confirmed(keypair, path, now));
    if (!keypair.isConfirmed || keypair.isRetired) return this.#drop("expired-keypair");
    const plaintext = out.subarray(0, length);
    if (plaintext[0] === 0x45) this.delivered.push(numberOf(plaintext));
    else if (length > 0) this.act(this.sessions.control(keypair, plaintext, path, now));
    this.#world.arm(this);
  }

  /** The path from here to an endpoint. */
  pathTo(endpoint: string): Path {
    return {
      kind: "udp",
      key: `udp:${this.endpoint}:${endpoint}`,
      remote: endpoint,
      endpoint: { address: sha256(new TextEncoder().encode(endpoint)).slice(0, 4), port: 1 },
    };
  }

  /** The session with a peer. */
  peer(peer: Node) {
    return this.sessions.peer(peer.nodeId)!;
  }

  /** How often something was dropped for a reason. */
  dropped(reason: DropReason): number {
    return this.drops.get(reason) ?? 0;
  }

  /** Forgets all transport keys and sessions by starting anew, as a restart does. */
  restarted(options: NodeOptions = {}): Node {
    return this.#world.replace(this, options);
  }

  #carryOut(action: Action): void {
    switch (action.kind) {
      case "send": {
        const to = action.path ? [action.path.remote] : this.candidates.get(action.peer) ?? [];
        for (const endpoint of to) {
          const datagram = this.sessions.goingBy(this.pathTo(endpoint), action.datagram);
          this.#world.send(this.endpoint, endpoint, datagram);
        }
        return;
      }
      case "reply":
        return this.#world.send(this.endpoint, action.path.remote, action.datagram);
      case "install": {
        const keys = new TransportKeys(action.keypair, this.aead, this.rules);
        return void this.keys.set(action.keypair.localIndex, keys);
      }
      case "use":
        return this.#use(action.keypair);
      case "retire":
        return this.#retire(action.keypair);
      case "seal": {
        const { keypair, plaintext, onlyIfUnused } = action;
        if (onlyIfUnused && keypair.activity.sendCounter > 0) return;
        const keys = this.keys.get(keypair.localIndex);
        if (keys === undefined || keys.whyNotSend(this.#world.clock.now())) return;
        return this.#seal(keys, plaintext);
      }
      case "echoed":
        return void this.echoed.push(action.rttMs);
      case "left":
        return void this.left.push(action.peer);
      case "gave-up":
        this.#queues.delete(action.peer);
        this.#wanted.delete(action.peer);
        return void this.gaveUp.push(action.peer);
      case "drop":
        return this.#drop(action.reason);
    }
  }

  #use(keypair: Keypair): void {
    const keys = this.keys.get(keypair.localIndex)!;
    this.current.set(keypair.peer, keys);
    this.#wanted.delete(keypair.peer);
    const queue = this.#queues.get(keypair.peer) ?? [];
    this.#queues.delete(keypair.peer);
    for (const number of queue) this.#seal(keys, packet(number));
  }

  #retire(keypair: Keypair): void {
    const keys = this.keys.get(keypair.localIndex);
    this.keys.delete(keypair.localIndex);
    keys?.retire();
    if (this.current.get(keypair.peer) === keys) this.current.delete(keypair.peer);
  }

  #seal(keys: TransportKeys, plaintext: Uint8Array): void {
    const out = new Uint8Array(plaintext.length + DATA_OVERHEAD);
    keys.seal(plaintext, out, 0, this.#world.clock.now());
    this.#world.send(this.endpoint, keys.keypair.path!.remote, out);
  }

  #drop(reason: DropReason): void {
    this.drops.set(reason, this.dropped(reason) + 1);
  }
}

/** The clock, the wire and the nodes. */
export class World {
  readonly clock = new FakeClock();
  readonly nodes = new Map<string, Node>();
  readonly usedNonces = new Set<string>();
  /** Everything that was ever sent, by nodes and by the adversary. */
  readonly log: Flight[] = [];
  readonly aead: TransportAead;
  /** What happens to each datagram; by default it arrives after 10 ms. */
  wire: Wire = (flight) => [flight];
  #seed: number;
  readonly #timers = new Map<Node, { at: number; cancel: () => void }>();

  constructor(seed = 1, aead: TransportAead = WASM_AEAD) {
    this.#seed = seed * 1000;
    this.aead = aead ?? NOBLE_AEAD;
  }

  /** Adds a node at the endpoint of its name. */
  node(name: string, options: NodeOptions = {}): Node {
    const node = new Node(this, name, options);
    this.nodes.set(name, node);
    return node;
  }

  /** Two nodes that know each other; `a` has the smaller static key. */
  pair(a: NodeOptions = {}, b: NodeOptions = {}): [a: Node, b: Node] {
    const nodes = [this.node("a", a), this.node("b", b)] as [Node, Node];
    nodes[0].knows(nodes[1]);
    nodes[1].knows(nodes[0]);
    return nodes;
  }

  replace(node: Node, options: NodeOptions): Node {
    this.#timers.get(node)?.cancel();
    const fresh = this.node(node.name, { privateKey: node.key.privateKey, ...options });
    fresh.endpoint = node.endpoint;
    return fresh;
  }

  nextSeed(): number {
    return this.#seed++;
  }

  /** Puts a datagram on the wire. */
  send(from: string, to: string, datagram: Uint8Array): void {
    const flight = { from, to, datagram: Uint8Array.from(datagram), delayMs: 10 };
    this.log.push({ ...flight });
    for (const each of this.wire(flight)) this.deliver(each);
  }

  /** Lets a datagram arrive, past the wire. */
  deliver({ from, to, datagram, delayMs }: Flight): void {
    this.clock.schedule(this.clock.now() + delayMs, () => {
      for (const node of this.nodes.values()) {
        if (node.endpoint === to) node.receive(Uint8Array.from(datagram), from);
      }
    });
  }

  /** Has a node woken at its next deadline. */
  arm(node: Node): void {
    const at = node.sessions.nextDeadlineAt(this.clock.now());
    const timer = this.#timers.get(node);
    if (timer?.at === at) return;
    timer?.cancel();
    const cancel = this.clock.schedule(at, () => {
      this.#timers.delete(node);
      if (this.nodes.get(node.name) === node) node.act(node.sessions.tick(this.clock.now()));
    });
    this.#timers.set(node, { at, cancel });
  }

  /** Lets time pass. */
  run(ms: number): void {
    this.clock.advance(ms);
  }

  /** Datagrams on the log of one type. */
  logged(type: number): Flight[] {
    return this.log.filter((flight) => flight.datagram[0] === type);
  }
}

/** An inner packet with a number in it. */
export function packet(number: number): Uint8Array {
  const bytes = new Uint8Array(24);
  bytes[0] = 0x45;
  new DataView(bytes.buffer).setUint32(4, number);
  return bytes;
}

function numberOf(packet: Uint8Array): number {
  return new DataView(packet.buffer, packet.byteOffset).getUint32(4);
}
