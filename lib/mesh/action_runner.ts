/**
 * Carries out what the session layer asks, and wakes it when its next deadline comes.
 *
 * What must hold: the actions of one call into the session layer are carried out before the next
 * call. What comes up meanwhile waits its turn.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { DataPlane } from "../dataplane/data_plane.ts";
import type { DropCounts } from "../dataplane/drop_counts.ts";
import type { Action } from "../session/actions.ts";
import type { Keypair } from "../session/keypair.ts";
import type { Path } from "../session/path.ts";
import type { Sessions } from "../session/sessions.ts";
import { DATAGRAM_TYPE } from "../wire/datagram.ts";
import type { PeerPaths } from "./peer_paths.ts";
import type { Pings } from "./pings.ts";

/** What an {@linkcode ActionRunner} works with. */
export interface RunnerParts {
  readonly clock: Clock;
  readonly sessions: Sessions;
  readonly plane: DataPlane;
  /** By node id. */
  readonly peers: ReadonlyMap<string, PeerPaths>;
  readonly pings: Pings;
  /** Counts what is dropped. */
  readonly drops: DropCounts;
  /** Called when sessions of a peer began or ended. */
  readonly onPeerChange: (nodeId: string) => void;
}

/** Between the session layer and what does its work. */
export class ActionRunner {
  readonly #parts: RunnerParts;
  /** What came up while actions are carried out. */
  readonly #later: (() => Action[])[] = [];
  #isActing = false;
  #timer: { readonly at: number; readonly cancel: () => void } | undefined;
  #isClosed = false;

  /** Nothing is due yet. */
  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  /** Whether it was closed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Calls into the session layer, after the actions that are being carried out. */
  do(call: () => Action[]): void {
    if (this.#isActing) this.#later.push(call);
    else if (!this.#isClosed) this.act(call());
  }

  /** Carries out actions in order, then what came up meanwhile. */
  act(actions: readonly Action[]): void {
    if (this.#isClosed) return;
    this.#isActing = true;
    for (const action of actions) this.#carryOut(action);
    this.#isActing = false;
    const next = this.#later.shift();
    if (next !== undefined) this.act(next());
    this.arm();
  }

  /** Called when the next deadline may have moved: one timer, for that. */
  arm(): void {
    if (this.#isClosed) return;
    const { clock, sessions, plane } = this.#parts;
    const at = sessions.nextDeadlineAt(clock.now());
    if (at === this.#timer?.at) return;
    this.#timer?.cancel();
    this.#timer = at === Infinity ? undefined : {
      at,
      cancel: clock.schedule(at, () => {
        this.#timer = undefined;
        plane.refresh?.();
        this.act(sessions.tick(clock.now()));
      }),
    };
  }

  /** Carries out these last actions, and nothing after them. */
  close(last: readonly Action[]): void {
    this.act(last);
    this.#isClosed = true;
  }

  #carryOut(action: Action): void {
    const { plane, peers, pings, drops, onPeerChange } = this.#parts;
    switch (action.kind) {
      case "send":
        return this.#send(action);
      case "reply":
        return this.#reply(action.datagram, action.path);
      case "install":
        return this.#install(action.keypair);
      case "widen":
        return plane.widen(action.keypair);
      case "use":
        return this.#use(action.keypair);
      case "retire":
        return plane.retire(action.keypair);
      case "seal": {
        const { keypair, plaintext, onlyIfUnused, isWhole } = action;
        if (isWhole === true) plane.probe(keypair, plaintext);
        else plane.seal(keypair, plaintext, onlyIfUnused);
        return;
      }
      case "fits":
        return peers.get(action.peer)?.mtu.fits(action.path, action.size);
      case "unanswered":
        return peers.get(action.peer)?.mtu.unanswered();
      case "echoed":
        return pings.answer(action.peer, action.rttMs);
      case "proven":
        return peers.get(action.peer)?.seeker.proven(action.path);
      case "reported":
        return peers.get(action.peer)?.seeker.reported(action.body);
      case "left":
        peers.get(action.peer)?.lost();
        return onPeerChange(action.peer);
      case "gave-up":
        peers.get(action.peer)?.lost();
        plane.dropQueue(action.peer);
        return onPeerChange(action.peer);
      case "drop":
        drops[action.reason]++;
    }
  }

  /** Sends a handshake datagram by one path, or wherever the peer may be. */
  #send({ peer, datagram, path, over }: Extract<Action, { kind: "send" }>): void {
    const seeker = this.#parts.peers.get(peer)?.seeker;
    if (path === undefined) seeker?.initiate(datagram, over);
    else if (datagram[0] === DATAGRAM_TYPE.initiation) seeker?.initiateBy(path, datagram);
    else this.#reply(datagram, path);
  }

  #reply(datagram: Uint8Array, path: Path): void {
    const { plane, drops } = this.#parts;
    if (!plane.send(datagram, path)) drops["send-failed"]++;
  }

  #install(keypair: Keypair): void {
    const { plane, peers } = this.#parts;
    plane.install(keypair);
    const [path] = keypair.unconfirmedPaths;
    if (path !== undefined) peers.get(keypair.peer)?.seeker.answered(path);
  }

  #use(keypair: Keypair): void {
    const { peers, onPeerChange } = this.#parts;
    const peer = peers.get(keypair.peer);
    if (peer === undefined) return;
    peer.use(keypair);
    onPeerChange(keypair.peer);
  }
}
