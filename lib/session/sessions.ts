/**
 * All sessions of one node in one profile: bytes and times in, actions out. Holds no socket and no
 * timer; transport data itself is the data plane's.
 *
 * ```text
 *  wanted ─ initiate ─┐                         ┌─ send ──► sockets
 *  types 1–4 ─ receive ┤                         ├─ install, use, retire, seal ──► data plane
 *  data plane events ──┤ Sessions ── Action[] ──┤
 *  (confirmed, strayed,│                         ├─ echoed, left, gave-up ──► whoever waits
 *   control)           │                         └─ drop ──► counters
 *  clock ─ tick ───────┘ nextDeadlineAt
 * ```
 *
 * The actions of one call are carried out in order, before the next call.
 *
 * @module
 */

import { readU32Le } from "../base/integers.ts";
import { NATIVE_BACKEND } from "../crypto/backend.ts";
import { randomBytes } from "../crypto/random.ts";
import {
  type Cookie,
  datagramFault,
  decodeHandshake,
  type Initiation,
  OFFSET,
  type Response,
} from "../wire/datagram.ts";
import { decodeControl, encodeEchoReply } from "../wire/inner_control.ts";
import type { Action, DropReason } from "./actions.ts";
import { Admission, type Refused } from "./admission.ts";
import { Answers } from "./answers.ts";
import { readInitiation } from "./handshake_messages.ts";
import { HealLimit } from "./heal_limit.ts";
import { IndexTable } from "./index_table.ts";
import type { Over } from "./initiator.ts";
import { type Keypair, retireKeypair } from "./keypair.ts";
import type { SessionLimits } from "./limits.ts";
import { mac1Key, verifyMac1 } from "./mac.ts";
import { isOfAnother, type Path } from "./path.ts";
import type { PskRing } from "./psk_ring.ts";
import type { PeerSession, SessionPeer, SessionsOptions } from "./session_options.ts";
import { type Binding, mayComeBy } from "./transport_keys.ts";
import type { Tunnel } from "./tunnel.ts";
import type { TunnelContext } from "./tunnel_context.ts";
import { TunnelTable } from "./tunnel_table.ts";

export type { PeerSession, SessionPeer, SessionsOptions } from "./session_options.ts";

const MESH_ID_LENGTH = 16;

/** What the tunnels share, as its owner sees it. */
type Context = TunnelContext<Tunnel>;
type MutableContext = { -readonly [key in keyof Context]: Context[key] };

/** All sessions of one node. */
export class Sessions {
  readonly #context: MutableContext;
  readonly #binding: Binding;
  readonly #mayHealTo: (path: Path) => boolean;
  readonly #ownMac1Key: Uint8Array;
  readonly #admission: Admission;
  readonly #healLimit = new HealLimit();
  readonly #tunnels: TunnelTable;

  /**
   * Starts without peers.
   *
   * @throws {RangeError} when the PSKs do not go with the profile, or the mesh id is not 16 bytes.
   */
  constructor(options: SessionsOptions) {
    const { profile, meshId, staticKey, psks } = options;
    if (meshId.length !== MESH_ID_LENGTH) {
      throw new RangeError(`Cannot start sessions: mesh id must be ${MESH_ID_LENGTH} bytes`);
    }
    if ((psks === undefined) === (profile === "mesh")) {
      throw new RangeError(
        `Cannot start sessions: profile ${profile} ${psks ? "has no" : "needs a"} preshared key`,
      );
    }
    const crypto = options.crypto ?? NATIVE_BACKEND;
    const random = options.random ?? randomBytes;
    this.#context = {
      profile,
      meshId,
      staticKey,
      psks,
      crypto,
      random,
      limits: options.limits,
      timestamps: options.timestamps,
      indices: new IndexTable(random),
      answers: new Answers(),
    };
    this.#tunnels = new TunnelTable(this.#context);
    this.#binding = options.binding ?? "strict";
    this.#mayHealTo = options.mayHealTo ?? (() => true);
    this.#ownMac1Key = mac1Key(crypto, staticKey.publicKey);
    this.#admission = new Admission({
      staticPublicKey: staticKey.publicKey,
      crypto,
      random,
      unixNow: options.unixNow ?? Date.now,
    });
  }

  /**
   * Adds a peer, or sets the options of one that is there.
   *
   * @throws {RangeError} when the key is not 32 bytes, our own, of low order, or another peer's.
   */
  addPeer(peer: SessionPeer): void {
    const { persistentKeepalive = false } = peer;
    const tunnel = this.#tunnels.add(peer);
    tunnel.keepalive.isPersistent = persistentKeepalive;
    if (persistentKeepalive) this.#tunnels.wake(tunnel);
  }

  /**
   * Ends what there is with a peer and takes nothing from it any more. Its keys are wiped when this
   * returns; the actions tell the data plane.
   */
  removePeer(nodeId: string): Action[] {
    const tunnel = this.#tunnels.get(nodeId);
    if (tunnel === undefined) return [];
    // "swap the table, then kill"
    this.#tunnels.remove(tunnel);
    this.#healLimit.forget(nodeId);
    const out: Action[] = [];
    tunnel.end(out);
    return out;
  }

  /**
   * Called when a packet waits for a peer: starts a handshake unless there is a session that can be
   * used, or one is under way.
   */
  initiate(nodeId: string, now: number): Action[] {
    return this.#with(nodeId, (tunnel, out) => tunnel.want(now, out));
  }

  /**
   * Starts a handshake whatever there is, in place of one under way: a better path appeared, or the
   * own address changed.
   *
   * @param over Over this path alone, or over all that are better than the bound one: unanswered,
   * it is given up quietly then if the session still serves. Left out: over every candidate.
   */
  renew(nodeId: string, now: number, over?: Over): Action[] {
    return this.#with(nodeId, (tunnel, out) => tunnel.handshake(now, out, over));
  }

  /** Sends a peer a path report, if there is a session; `body` is copied. */
  report(nodeId: string, body: Uint8Array, now: number): Action[] {
    return this.#with(nodeId, (tunnel, out) => tunnel.report(body, now, out));
  }

  /**
   * Called whenever an initiation goes out, repetitions included, with the path it goes by.
   *
   * @param datagram The very array of a `send` action or of `PeerSession.outstanding`.
   * @returns What to send there: with mac2 once a cookie came from that endpoint. Cookies are taken
   * from endpoints that were named here only.
   */
  goingBy(path: Path, datagram: Uint8Array): Uint8Array {
    const tunnel = this.#context.indices.get(readU32Le(datagram, OFFSET.initiation.sender));
    return tunnel?.goingBy(path, datagram) ?? datagram;
  }

  /**
   * Called with every datagram that the data plane does not take itself and that is not discovery.
   * Never throws for what came from outside.
   *
   * The order is that of docs/protocol.md §4: nothing is kept and no Diffie-Hellman done for a
   * stranger before step 5.
   *
   * @param datagram Borrowed.
   */
  receive(datagram: Uint8Array, path: Path, now: number): Action[] {
    // 1. Type, exact length, version, profile enabled.
    const message = decodeHandshake(datagram);
    if (message === undefined) return dropped(datagramFault(datagram));
    if (message.profile !== this.#context.profile) return dropped("unknown-profile");
    if (message.kind === "cookie") return this.#receiveCookie(message, path);
    // No profile of ours has three messages.
    if (message.kind === "third") return dropped("unknown-type");
    // 2. mac1.
    if (!verifyMac1(this.#context.crypto, this.#ownMac1Key, message)) return dropped("bad-mac1");
    return message.kind === "initiation"
      ? this.#receiveInitiation(message, path, now)
      : this.#receiveResponse(message, path, now);
  }

  /**
   * Called when the first data of an unconfirmed keypair authenticated. Afterwards the keypair is
   * confirmed, or else retired: only in the first case is anything delivered.
   */
  confirmed(keypair: Keypair, path: Path, now: number): Action[] {
    const tunnel = this.#tunnels.get(keypair.peer);
    const slot = tunnel?.slots.slotOf(keypair);
    // The peer may have been removed since the initiation was answered.
    if (tunnel === undefined || slot === undefined) {
      retireKeypair(keypair);
      return [{ kind: "retire", keypair }, { kind: "drop", reason: "unknown-index" }];
    }
    if (keypair.isConfirmed) return [];
    if (!mayComeBy(keypair, path, this.#binding)) return dropped("wrong-path");
    const out: Action[] = [];
    tunnel.confirm(slot, path, now, out);
    this.#tunnels.wake(tunnel);
    return out;
  }

  /**
   * Called when data for a current keypair, ahead of its counter, came by a path it is not bound
   * to: perhaps a NAT gave the peer another address. A handshake finds out.
   */
  strayed(keypair: Keypair, path: Path, now: number): Action[] {
    const tunnel = this.#tunnels.get(keypair.peer);
    if (tunnel === undefined || tunnel.slots.current?.keypair !== keypair) return [];
    if (this.#binding !== "strict" || keypair.path?.key === path.key) return [];
    if (!this.#mayHealTo(path) || isOfAnother(path, keypair.peer)) return [];
    if (!this.#healLimit.take(tunnel.nodeId, now)) return dropped("rate-limited");
    const out: Action[] = [];
    tunnel.heal(path, keypair.path, now, out);
    this.#tunnels.wake(tunnel);
    return out;
  }

  /**
   * Called with every authentic control plaintext.
   *
   * @param plaintext Borrowed.
   */
  control(keypair: Keypair, plaintext: Uint8Array, path: Path, now: number): Action[] {
    const tunnel = this.#tunnels.get(keypair.peer);
    const slot = tunnel?.slots.slotOf(keypair);
    if (tunnel === undefined || slot === undefined) return dropped("unknown-index");
    const control = decodeControl(plaintext);
    switch (control?.kind) {
      case undefined:
        return dropped("bad-plaintext");
      case "unknown":
        return dropped("unknown-control-kind");
      case "path-report":
        return [{ kind: "reported", peer: tunnel.nodeId, body: control.body }];
      case "echo": {
        // "Every echo is answered at once, on the keypair it came by."
        const reply = encodeEchoReply(control.id, Math.min(control.length, 0xffff));
        return [{ kind: "seal", keypair, plaintext: reply }];
      }
      case "echo-reply":
        return tunnel.echoes.answered(control.id, control.length, path, now);
      case "bye": {
        const out: Action[] = [];
        tunnel.leave(slot, now, out);
        return out;
      }
    }
  }

  /** Asks a peer for a sign of life, by a new session if there is none; `echoed` brings it. */
  echo(nodeId: string, now: number): Action[] {
    return this.#with(nodeId, (tunnel, out) => tunnel.ping(now, out));
  }

  /**
   * Sends a peer an echo of this length, if there is a session; `fits` says that it arrived.
   *
   * @param size 10 to 65535 bytes of plaintext.
   * @param how In one piece or not at all, or in fragments where it does not fit.
   */
  probe(nodeId: string, size: number, how: "whole" | "in-fragments", now: number): Action[] {
    return this.#with(nodeId, (tunnel, out) => tunnel.probe(size, how, now, out));
  }

  /** Whether a peer is behind a NAT, as seen from here: then a session in use keeps its way open. */
  keepWhileUsed(nodeId: string, isWhileUsed: boolean): void {
    const tunnel = this.#tunnels.get(nodeId);
    if (tunnel !== undefined) tunnel.keepalive.isWhileUsed = isWhileUsed;
  }

  /**
   * Tells all peers that their sessions are over, ends them and forgets the peers. Here the keys are
   * wiped by the data plane, when it carries out `retire`: it needs them for the last datagram.
   */
  stop(now: number): Action[] {
    const out: Action[] = [];
    for (const tunnel of this.#tunnels.all()) {
      tunnel.bye(now, out);
      tunnel.end(out, "by-data-plane");
    }
    this.#tunnels.clear();
    return out;
  }

  /** Does what is due by the clock. Harmless to call at any time. */
  tick(now: number): Action[] {
    return this.#tunnels.tick(now);
  }

  /**
   * When {@linkcode tick} has to be called next. Ask again after every call: what happens moves it.
   *
   * @returns A moment, perhaps past; `Infinity` if every peer is idle.
   */
  nextDeadlineAt(now: number): number {
    return this.#tunnels.nextDeadlineAt(now);
  }

  /** Those in force. */
  get limits(): SessionLimits {
    return this.#context.limits;
  }

  /** Sets other limits; they hold for the keypairs that there are, too. */
  setLimits(limits: SessionLimits): void {
    this.#context.limits = limits;
  }

  /**
   * Sets other preshared keys. Handshakes from here on use them; sessions stay.
   *
   * @throws {RangeError} when the profile has none.
   */
  setPsks(psks: PskRing): void {
    if (this.#context.psks === undefined) {
      throw new RangeError(`Cannot set PSKs: profile ${this.#context.profile} has none`);
    }
    this.#context.psks = psks;
  }

  /** What there is with a peer; `undefined` for an unknown one. */
  peer(nodeId: string): PeerSession | undefined {
    const tunnel = this.#tunnels.get(nodeId);
    if (tunnel === undefined) return undefined;
    return {
      current: tunnel.slots.current?.keypair,
      keypairs: tunnel.slots.all.map((slot) => slot.keypair),
      lastHandshakeAt: tunnel.lastHandshakeAt,
      handshakes: tunnel.handshakes,
      rttMs: tunnel.echoes.liveness.rttMs,
      isSilent: tunnel.echoes.liveness.isSilent,
      outstanding: tunnel.outstanding,
    };
  }

  #receiveInitiation(initiation: Initiation, path: Path, now: number): Action[] {
    const { answers } = this.#context;
    // 2a. An initiation answered just now gets the same response again.
    // `allowed-peers` has a fresh ephemeral key in every response, and one path: the first.
    if (this.#context.profile === "mesh") {
      const answer = answers.repeat(initiation, path, now);
      if (typeof answer === "string") return dropped(answer);
      if (answer !== undefined) {
        const reason = this.#admission.refuseAgain(initiation, path, now);
        if (reason !== undefined) return dropped(reason);
        const { keypair, paths, response: datagram, peer } = answer;
        // "after confirmation they no longer change the binding"
        const send: Action = { kind: "send", peer, datagram, path };
        if (keypair.isConfirmed || paths.length === keypair.unconfirmedPaths.length) return [send];
        keypair.unconfirmedPaths = [...paths];
        return [{ kind: "widen", keypair }, send];
      }
    }
    // 3. Budget of handshakes. 4. Limit per source; Tunnel.answer() keeps one unconfirmed keypair.
    const refused = this.#admission.refuse(initiation, path, now);
    if (refused !== undefined) return this.#challenge(refused, path);
    // 5. `es`, static key. 6. Authorisation. 7. `ss`, payload. 8. Timestamp.
    const read = readInitiation(
      this.#context,
      initiation,
      (staticKey) => this.#tunnels.ofKey(staticKey),
      (tunnel, timestamp) => tunnel.isFresh(timestamp),
    );
    if (typeof read === "string") return dropped(read);
    if (isOfAnother(path, read.peer.nodeId)) return dropped("wrong-path");
    // "re-check the generation wherever a handshake was in flight"
    if (this.#tunnels.get(read.peer.nodeId) !== read.peer) return dropped("unknown-static-key");
    // 9. Message 2. 10. An unconfirmed keypair.
    const out: Action[] = [];
    read.peer.answer(read, initiation, path, now, out);
    this.#tunnels.wake(read.peer);
    return out;
  }

  #challenge({ reason, challenge }: Refused, path: Path): Action[] {
    const out = dropped(reason);
    if (challenge !== undefined && this.#mayHealTo(path)) {
      out.push({ kind: "reply", datagram: challenge, path });
    }
    return out;
  }

  #receiveCookie(cookie: Cookie, path: Path): Action[] {
    const tunnel = this.#context.indices.get(cookie.receiverIndex);
    if (tunnel === undefined) return dropped("no-handshake-outstanding");
    const out: Action[] = [];
    tunnel.takeCookie(cookie, path, out);
    return out;
  }

  #receiveResponse(response: Response, path: Path, now: number): Action[] {
    const tunnel = this.#context.indices.get(response.receiverIndex);
    if (tunnel === undefined) return dropped("no-handshake-outstanding");
    if (isOfAnother(path, tunnel.nodeId)) return dropped("wrong-path");
    const out: Action[] = [];
    tunnel.complete(response, path, now, out);
    this.#tunnels.wake(tunnel);
    return out;
  }

  #with(nodeId: string, act: (tunnel: Tunnel, out: Action[]) => void): Action[] {
    const tunnel = this.#tunnels.get(nodeId);
    const out: Action[] = [];
    if (tunnel === undefined) return out;
    act(tunnel, out);
    this.#tunnels.wake(tunnel);
    return out;
  }
}

function dropped(reason: DropReason): Action[] {
  return [{ kind: "drop", reason }];
}
