/**
 * Who is put out, at the coordinator: members that are disabled, enabled and removed, and invites
 * that are named, listed and revoked. The rows T16 and T37 of docs/protocol.md §7 that are its own:
 * a revocation between any two messages of a control channel.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import type { NodeState } from "../../lib/coordinator/store.ts";
import { RefusalError } from "../../lib/wire/refusal.ts";
import { MemoryMesh, refusedFor } from "./memory_mesh.ts";
import { MemoryStore } from "./memory_store.ts";
import { helloOf, SimulatedAgent } from "./simulated_agent.ts";

function nodeIdOf(agent: SimulatedAgent): string {
  return agent.said("welcome")!.nodeId;
}

/** Tries steps from the first on until one is past the end; returns how many there were. */
function forEachStep(isReached: (step: number) => boolean): number {
  for (let step = 0;; step++) if (!isReached(step)) return step;
}

/** Delivers so many messages of those under way. @returns Whether there were as many. */
function deliver(mesh: MemoryMesh, messages: number): boolean {
  for (let i = 0; i < messages; i++) if (!mesh.step()) return false;
  return true;
}

for (const state of ["disabled", "removed"] as const) {
  Deno.test(`who is ${state} is out at once, and each of the others told so in one body`, () => {
    const mesh = new MemoryMesh();
    const [a, b, c] = ["a", "b", "c"].map((name) => mesh.join(name)) as [
      SimulatedAgent,
      SimulatedAgent,
      SimulatedAgent,
    ];
    mesh.run();
    const before = new Map([b, c].map((one) => [one, one.heard.length]));
    mesh.hub.setState(nodeIdOf(a), state);
    ok(!mesh.hub.isOnline(nodeIdOf(a)), "before anybody is told");
    mesh.run();
    strictEqual(refusedFor(a), state);
    for (const one of [b, c]) {
      const [roster, presence, ...more] = one.heard.slice(before.get(one)!);
      ok(roster?.kind === "roster" && presence?.kind === "presence");
      deepStrictEqual([roster.full, roster.upserts, roster.removes], [false, [], [nodeIdOf(a)]]);
      deepStrictEqual(presence.offline, [nodeIdOf(a)]);
      deepStrictEqual(more, []);
      strictEqual(one.closed, undefined);
      deepStrictEqual([...one.roster.values()].map(({ name }) => name), ["b", "c"]);
    }
    strictEqual(refusedFor(mesh.reconnect(a)), state, "nor back");
    strictEqual(refusedFor(mesh.restarted().reconnect(a)), state, "for good");
  });

  Deno.test(`T16: ${state} between any two messages of its return, a member is not let in`, () => {
    const steps = forEachStep((step) => {
      const mesh = new MemoryMesh();
      const [a, b] = [mesh.join("a"), mesh.join("b")];
      a.hangUp();
      mesh.run();
      const again = mesh.returning(a);
      mesh.dial(again);
      if (!deliver(mesh, step)) return false;
      mesh.hub.setState(nodeIdOf(a), state);
      mesh.run();
      strictEqual(refusedFor(again), state, `after ${step} messages`);
      requireOut(mesh, nodeIdOf(a), b);
      return true;
    });
    ok(steps >= 5, `${steps} steps`);
  });
}

/** Nothing is left of a member, here or with another one. */
function requireOut(mesh: MemoryMesh, nodeId: string, witness: SimulatedAgent): void {
  ok(!mesh.hub.isOnline(nodeId));
  ok(![...mesh.registry.members()].some((node) => node.nodeId === nodeId));
  ok(!witness.roster.has(nodeId));
  ok(!witness.online.has(nodeId));
  strictEqual(witness.closed, undefined);
}

Deno.test("T16: disabled between any two messages of a join by token, a node is not let in", () => {
  const steps = forEachStep((step) => {
    const mesh = new MemoryMesh();
    const [a, b] = [mesh.join("a"), mesh.join("b")];
    a.hangUp();
    mesh.run();
    const again = new SimulatedAgent({
      token: mesh.token,
      hello: helloOf("a"),
      staticKey: a.staticKey,
    });
    mesh.dial(again);
    if (!deliver(mesh, step)) return false;
    mesh.hub.setState(nodeIdOf(a), "disabled");
    mesh.run();
    strictEqual(refusedFor(again), "disabled", `after ${step} messages`);
    requireOut(mesh, nodeIdOf(a), b);
    return true;
  });
  ok(steps >= 5, `${steps} steps`);
});

Deno.test("T16: T37: revoked between any two messages of a join, an invite admits or says so", () => {
  const fates = new Set<string | undefined>();
  forEachStep((step) => {
    const mesh = new MemoryMesh();
    const token = mesh.invite();
    const { serial } = mesh.tokens.all().at(-1)!;
    const guest = new SimulatedAgent({ token, hello: helloOf("guest") });
    mesh.dial(guest);
    if (!deliver(mesh, step)) return false;
    const isSpent = mesh.tokens.get(serial)!.state === "spent";
    if (isSpent) throws(() => mesh.tokens.revoke(serial), /no unused invite/);
    else mesh.tokens.revoke(serial);
    mesh.run();
    strictEqual(refusedFor(guest), isSpent ? undefined : "token-revoked", `after ${step} messages`);
    strictEqual([...mesh.registry.all()].length, isSpent ? 1 : 0, "whole or not at all");
    fates.add(refusedFor(guest));
    return true;
  });
  deepStrictEqual([...fates], ["token-revoked", undefined], "first the one, then the other");
});

Deno.test("who is enabled comes back with name and addresses, and everybody learns of it", () => {
  const mesh = new MemoryMesh();
  const [a, b] = [mesh.join("a"), mesh.join("b")];
  mesh.hub.setState(nodeIdOf(a), "disabled");
  mesh.run();
  const c = mesh.join("c");
  strictEqual(c.roster.has(nodeIdOf(a)), false, "who comes later does not hear of it");
  strictEqual(mesh.join("a").said("welcome")!.name, "a-2", "its name stays its own");
  mesh.hub.setState(nodeIdOf(a), "active");
  mesh.run();
  for (const one of [b, c]) deepStrictEqual(one.peer("a")!.addresses.ipv4, "100.64.0.1");
  const again = mesh.reconnect(a);
  deepStrictEqual(again.said("welcome")!.addresses, a.said("welcome")!.addresses);
  strictEqual(again.said("welcome")!.name, "a");
  ok(b.online.has(nodeIdOf(a)));
});

Deno.test("who was removed needs a token, and stays out of what is gone", () => {
  const mesh = new MemoryMesh();
  const invite = mesh.invite();
  const a = mesh.join("a", { token: invite });
  const { addresses } = a.said("welcome")!;
  mesh.hub.setState(nodeIdOf(a), "removed");
  for (const state of ["active", "disabled", "removed"] satisfies NodeState[]) {
    throws(() => mesh.hub.setState(nodeIdOf(a), state), (error) => {
      ok(error instanceof RefusalError);
      return error.reason === "not-a-member";
    });
  }
  const { staticKey } = a;
  strictEqual(refusedFor(mesh.join("a", { token: invite, staticKey })), "token-spent");
  strictEqual(mesh.join("a").said("welcome")!.name, "a", "its name is free");
  const back = mesh.join("a", { token: mesh.invite(), staticKey });
  strictEqual(back.said("welcome")!.name, "a-2");
  deepStrictEqual(back.said("welcome")!.addresses, addresses, "which nobody else has got");
});

Deno.test("a change that cannot be saved puts nobody out", () => {
  const store = new MemoryStore();
  const mesh = new MemoryMesh({ store });
  const a = mesh.join("a");
  const { serial } = mesh.tokens.invite(0, mesh.clock.unixNow() + 1_000);
  store.isFull = true;
  throws(() => mesh.hub.setState(nodeIdOf(a), "disabled"), RefusalError);
  throws(() => mesh.tokens.revoke(serial), RefusalError);
  throws(() => mesh.invite(), RefusalError);
  mesh.run();
  strictEqual(a.closed, undefined);
  strictEqual(mesh.tokens.get(serial)!.state, "active");
});

Deno.test("T37: a revoked invite says so, also after a restart; others are as before", () => {
  const mesh = new MemoryMesh();
  const [revoked, other] = [mesh.invite(), mesh.invite()];
  const [, { serial }] = mesh.tokens.all() as [unknown, { serial: number }];
  mesh.tokens.revoke(serial);
  strictEqual(mesh.tokens.revoke(serial).state, "revoked", "twice is once");
  strictEqual(refusedFor(mesh.join("a", { token: revoked })), "token-revoked");
  const restarted = mesh.restarted();
  strictEqual(refusedFor(restarted.join("a", { token: revoked })), "token-revoked");
  strictEqual(refusedFor(restarted.join("a", { token: other })), undefined);
  strictEqual([...restarted.registry.all()].length, 1);
});

Deno.test("TokenBook.revoke() takes nothing but an unused invite", () => {
  const mesh = new MemoryMesh();
  const token = mesh.invite();
  mesh.join("a", { token });
  const before = mesh.store.load();
  for (const serial of [0, 1, 2, 99]) {
    throws(() => mesh.tokens.revoke(serial), TypeError, `token ${serial}`);
  }
  deepStrictEqual(mesh.store.load(), before);
  deepStrictEqual(mesh.tokens.all().map(({ kind, state }) => [kind, state]), [
    ["mesh", "active"],
    ["invite", "spent"],
  ]);
});

Deno.test("an invite gives the name that it is for, unless a person asks for another", () => {
  const mesh = new MemoryMesh();
  strictEqual(mesh.join("host", { token: mesh.invite("Desk") }).said("welcome")!.name, "desk");
  const explicit = { nameIsExplicit: true };
  const own = mesh.join("own", { token: mesh.invite("other"), hello: explicit });
  strictEqual(own.said("welcome")!.name, "own");
  const taken = mesh.invite("desk");
  strictEqual(refusedFor(mesh.join("host", { token: taken })), "name-taken");
  const free = mesh.join("den", { token: taken, hello: explicit });
  strictEqual(free.said("welcome")!.name, "den", "the refused one did not spend it");
  for (const name of ["", "no good", "localhost", "x".repeat(64)]) {
    throws(() => mesh.invite(name), RefusalError, name);
  }
});
