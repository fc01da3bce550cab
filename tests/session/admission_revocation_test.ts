/**
 * T16 of docs/protocol.md §7: a peer that is removed while one of its messages is being read, at
 * every step of that. The steps are the calls of the crypto backend, where the removal happens.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type CryptoBackend, NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import type { Keypair } from "../../lib/session/keypair.ts";
import { ipv4, RESPONDER, Scene, udp } from "./admission_scene.ts";

const HOME = udp([203, 0, 113, 7], 4000);

/** A backend in the midst of whose work something happens. */
class Interrupting {
  #calls = 0;
  #step = -1;
  #interrupt = () => {};

  readonly backend: CryptoBackend = new Proxy(NATIVE_BACKEND, {
    get: (target, property, receiver) => {
      const value: unknown = Reflect.get(target, property, receiver);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (this.#calls++ === this.#step) this.#interrupt();
        return Reflect.apply(value, target, args);
      };
    },
  });

  /** Has something happen before the `step`-th call from here on; returns what came of it. */
  arm<T>(step: number, interrupt: () => T): T[] {
    const results: T[] = [];
    this.#calls = 0;
    this.#step = step;
    this.#interrupt = () => void results.push(interrupt());
    return results;
  }
}

/** Every keypair that was installed and not retired, in the order the actions came. */
function surviving(actions: readonly { kind: string; keypair?: Keypair }[]): Keypair[] {
  const installed = new Set<Keypair>();
  for (const { kind, keypair } of actions) {
    if (kind === "install") installed.add(keypair!);
    if (kind === "retire") installed.delete(keypair!);
  }
  return [...installed];
}

for (const profile of ["mesh", "allowed-peers"] as const) {
  Deno.test(`T16: ${profile}: removed at any step of its initiation, a peer gets nothing`, () => {
    const steps = forEachStep((step) => {
      const crypto = new Interrupting();
      const scene = new Scene(profile, { crypto: crypto.backend });
      const { responder, client } = scene;
      const initiation = client.initiate(responder);
      const removal = crypto.arm(step, () => responder.sessions.removePeer(client.nodeId));
      const sent = responder.receive(initiation, HOME);
      if (removal.length === 0) return false;
      deepStrictEqual(sent, [], `step ${step}: nothing is answered`);
      deepStrictEqual(surviving([...removal.flat(), ...responder.actions]), [], `step ${step}`);
      strictEqual(responder.sessions.nextDeadlineAt(0), Infinity, `step ${step}: nothing waits`);
      strictEqual(responder.sessions.peer(client.nodeId), undefined);
      deepStrictEqual(responder.receive(initiation, HOME), [], "nor later");
      return true;
    });
    ok(steps > 15, `${steps} steps`);
  });

  Deno.test(`T16: ${profile}: removed at any step of its response, a peer gets nothing`, () => {
    const steps = forEachStep((step) => {
      const crypto = new Interrupting();
      const scene = new Scene(profile, { crypto: crypto.backend });
      const { responder: initiator, client: answerer } = scene;
      const initiation = initiator.initiate(answerer);
      const [response] = answerer.receive(initiation, HOME);
      const removal = crypto.arm(step, () => initiator.sessions.removePeer(answerer.nodeId));
      initiator.receive(response!, RESPONDER);
      if (removal.length === 0) return false;
      deepStrictEqual(surviving([...removal.flat(), ...initiator.actions]), [], `step ${step}`);
      ok(initiator.actions.every(({ kind }) => kind === "drop"), `step ${step}`);
      strictEqual(initiator.sessions.peer(answerer.nodeId), undefined);
      strictEqual(initiator.sessions.nextDeadlineAt(0), Infinity, `step ${step}: nothing waits`);
      return true;
    });
    ok(steps > 8, `${steps} steps`);
  });
}

/** Tries steps from the first on until one is past the end; returns how many there were. */
function forEachStep(isReached: (step: number) => boolean): number {
  for (let step = 0;; step++) if (!isReached(step)) return step;
}

Deno.test("T16: removed between answer and first data, a peer is not confirmed", () => {
  const scene = new Scene();
  const { responder, client } = scene;
  const initiation = client.initiate(responder);
  responder.receive(initiation, HOME);
  const [keypair] = surviving(responder.actions);
  responder.act(responder.sessions.removePeer(client.nodeId));
  ok(keypair!.isRetired);
  responder.act(responder.sessions.confirmed(keypair!, HOME, 0));
  ok(!keypair!.isConfirmed);
  deepStrictEqual(responder.receive(initiation, HOME), [], "the answer is not given again");
});

Deno.test("T16: removed between cookie and proof, a peer gets nothing", () => {
  const scene = new Scene();
  const { proving } = scene.proven(ipv4(1));
  scene.responder.act(scene.responder.sessions.removePeer(scene.client.nodeId));
  deepStrictEqual(scene.responder.receive(proving, ipv4(1)), []);
  strictEqual(scene.responder.dropped("unknown-static-key"), 1);
});
