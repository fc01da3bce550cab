/**
 * A responder and its strangers: nothing but the session layer, on a clock that stands still, with
 * every primitive counted. Datagrams and answers are passed by hand.
 *
 * @module
 */

import { strictEqual } from "node:assert/strict";
import { toHex } from "../../lib/base/bytes.ts";
import { writeU32Le } from "../../lib/base/integers.ts";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { sha256 } from "../../lib/crypto/hash.ts";
import { type KeyPair, keyPairFrom } from "../../lib/crypto/x25519.ts";
import type { Action, DropReason } from "../../lib/session/actions.ts";
import { cookieKey, openCookie, withMac2 } from "../../lib/session/cookie.ts";
import type { SessionProfile } from "../../lib/session/handshake_messages.ts";
import { DEFAULT_LIMITS } from "../../lib/session/limits.ts";
import { mac1Key, writeMac1 } from "../../lib/session/mac.ts";
import type { Path, PathEndpoint } from "../../lib/session/path.ts";
import { Sessions, type SessionsOptions } from "../../lib/session/sessions.ts";
import { TimestampSource } from "../../lib/session/timestamp.ts";
import {
  type Cookie,
  DATAGRAM_LENGTH,
  DATAGRAM_TYPE,
  decodeHandshake,
  PROFILE_ID,
} from "../../lib/wire/datagram.ts";
import { FakeClock } from "../fakes/clock.ts";
import { countingBackend } from "../fakes/crypto_counter.ts";
import { seededBytes } from "../fakes/random.ts";
import { MESH_ID, PSKS } from "./world.ts";

/** Where the responder is, as its clients see it. */
export const RESPONDER: Path = udp([192, 0, 2, 1], 51_820);

/** A path of UDP. */
export function udp(address: readonly number[], port = 1000): Path {
  return udpPath({ address: Uint8Array.from(address), port });
}

/** A path of UDP. */
export function udpPath(endpoint: PathEndpoint): Path {
  const remote = `${toHex(endpoint.address)}:${endpoint.port}`;
  return { kind: "udp", key: `udp ${remote}`, remote, endpoint };
}

/** The `number`-th IPv4 address. */
export function ipv4(number: number): Path {
  return udp([10, number >>> 16 & 255, number >>> 8 & 255, number & 255]);
}

/** The `number`-th address of one IPv6 /64. */
export function sameNetwork(number: number): Path {
  const address = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0);
  writeU32Le(address, 12, number);
  return udpPath({ address, port: 1000 });
}

/** One node. */
export class SceneNode {
  readonly key: KeyPair;
  readonly nodeId: string;
  readonly crypto = countingBackend();
  readonly sessions: Sessions;
  readonly drops = new Map<DropReason, number>();
  /** What the last call asked for, drops excepted. */
  actions: readonly Action[] = [];
  /** Datagrams sent, and their bytes in all. */
  sent = 0;
  sentBytes = 0;
  readonly #clock: FakeClock;

  constructor(
    clock: FakeClock,
    name: string,
    profile: SessionProfile,
    options: Partial<SessionsOptions> = {},
  ) {
    this.#clock = clock;
    this.key = keyPairFrom(sha256(new TextEncoder().encode(name)));
    this.nodeId = toHex(sha256(this.key.publicKey));
    this.sessions = new Sessions({
      profile,
      meshId: MESH_ID,
      staticKey: this.key,
      ...(profile === "mesh" && { psks: PSKS }),
      limits: DEFAULT_LIMITS,
      timestamps: new TimestampSource({ unixNow: () => clock.unixNow() }),
      unixNow: () => clock.unixNow(),
      crypto: this.crypto.backend,
      random: seededBytes(this.key.publicKey[0]!),
      ...options,
    });
  }

  /** A datagram arrives. Returns what is sent in answer to it. */
  receive(datagram: Uint8Array, path: Path): Uint8Array[] {
    return this.act(this.sessions.receive(datagram, path, this.#clock.now()));
  }

  /** Counts drops and datagrams; returns the datagrams. */
  act(actions: readonly Action[]): Uint8Array[] {
    this.actions = actions;
    const sent: Uint8Array[] = [];
    for (const action of actions) {
      if (action.kind === "drop") this.drops.set(action.reason, this.dropped(action.reason) + 1);
      if (action.kind === "send" || action.kind === "reply") sent.push(action.datagram);
    }
    this.sent += sent.length;
    for (const { length } of sent) this.sentBytes += length;
    return sent;
  }

  /** A fresh initiation to a peer, as it goes to `path`. */
  initiate(peer: SceneNode, path: Path = RESPONDER): Uint8Array {
    const [datagram] = this.act(this.sessions.renew(peer.nodeId, this.#clock.now()));
    return this.sessions.goingBy(path, datagram!);
  }

  /** How often something was dropped for a reason. */
  dropped(reason: DropReason): number {
    return this.drops.get(reason) ?? 0;
  }

  /** All drops. */
  get droppedInAll(): number {
    let sum = 0;
    for (const count of this.drops.values()) sum += count;
    return sum;
  }
}

/** A responder, one client that it knows, and the means of strangers. */
export class Scene {
  readonly clock = new FakeClock();
  readonly profile: SessionProfile;
  readonly responder: SceneNode;
  readonly client: SceneNode;
  readonly #mac1Key: Uint8Array;
  readonly #cookieKey: Uint8Array;
  #garbage = 0;

  constructor(profile: SessionProfile = "mesh", options: Partial<SessionsOptions> = {}) {
    this.profile = profile;
    this.responder = new SceneNode(this.clock, "responder", profile, options);
    this.client = this.node("client");
    this.#mac1Key = mac1Key(NATIVE_BACKEND, this.responder.key.publicKey);
    this.#cookieKey = cookieKey(NATIVE_BACKEND, this.responder.key.publicKey);
    this.responder.crypto.reset();
  }

  /** Another node that knows the responder and is known to it. */
  node(name: string, isKnown = true): SceneNode {
    const node = new SceneNode(this.clock, name, this.profile);
    const { nodeId, key: { publicKey } } = this.responder;
    node.sessions.addPeer({ nodeId, staticKey: publicKey });
    if (isKnown) {
      this.responder.sessions.addPeer({ nodeId: node.nodeId, staticKey: node.key.publicKey });
    }
    return node;
  }

  /** An initiation with nothing in it, each another; its mac1 is right if that is asked for. */
  garbage(hasMac1: boolean): Uint8Array {
    const datagram = new Uint8Array(DATAGRAM_LENGTH[this.profile].initiation);
    datagram.set([DATAGRAM_TYPE.initiation, 1, PROFILE_ID[this.profile]]);
    datagram.fill(0x5a, 8, datagram.length - 32);
    writeU32Le(datagram, 4, this.#garbage);
    writeU32Le(datagram, 8, this.#garbage++);
    return hasMac1 ? this.withMac1(datagram) : datagram;
  }

  /** Writes mac1, as everybody can who knows the responder's public key. */
  withMac1(datagram: Uint8Array): Uint8Array {
    writeMac1(NATIVE_BACKEND, this.#mac1Key, datagram);
    return datagram;
  }

  /** Empties the strangers' budget at this moment, from addresses nobody else has. */
  load(): void {
    for (let i = 0; i < 60; i++) this.responder.receive(this.garbage(true), udp([198, 51, 100, i]));
    strictEqual(this.responder.dropped("under-load") > 0, true, "the budget is spent");
    this.responder.drops.clear();
    this.responder.crypto.reset();
    this.responder.sent = this.responder.sentBytes = 0;
  }

  /** What a stranger makes of a cookie: his initiation with a right mac2. */
  follow(initiation: Uint8Array, cookie: Uint8Array): Uint8Array {
    const mac1 = initiation.subarray(-32, -16);
    const decoded = decodeHandshake(cookie) as Cookie;
    return withMac2(
      NATIVE_BACKEND,
      openCookie(NATIVE_BACKEND, this.#cookieKey, mac1, decoded)!,
      initiation,
    );
  }

  /** A cookie for the client, sent from `path`, and its initiation with the mac2 it gives. */
  proven(path: Path, client = this.client): { plain: Uint8Array; proving: Uint8Array } {
    this.load();
    const plain = client.initiate(this.responder);
    const [cookie] = this.responder.receive(plain, path);
    strictEqual(cookie?.[0], DATAGRAM_TYPE.cookie);
    const [proving] = client.receive(cookie!, RESPONDER);
    return { plain, proving: proving! };
  }
}
