/**
 * Invites that members ask for: who gets one, how many, and what is left of them when the member is
 * none any more.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { MAX_MEMBER_INVITES, MEMBER_INVITE_MS } from "../../lib/coordinator/invite_desk.ts";
import { formatToken } from "../../lib/token/token.ts";
import { MemoryMesh, refusedFor } from "./memory_mesh.ts";
import { MemoryStore } from "./memory_store.ts";
import { helloOf, SimulatedAgent } from "./simulated_agent.ts";

let requests = 0;

/** Asks for an invite. @returns Text of the token, or why there is none. */
function ask(mesh: MemoryMesh, member: SimulatedAgent, name = "guest"): string {
  const request = ++requests;
  member.say({ kind: "invite", request, name });
  mesh.run();
  const answers = member.heard.filter((message) =>
    "request" in message && message.request === request
  );
  strictEqual(answers.length, 1, "one answer");
  const [answer] = answers;
  if (answer?.kind === "invite-refused") return answer.reason;
  ok(answer?.kind === "invite");
  const { meshId } = mesh.mesh;
  const coordinatorKey = mesh.staticKey.publicKey;
  return formatToken({ meshId, coordinatorKey, joinSecret: answer.joinSecret });
}

/** A mesh with a member that may invite. */
function setUp(options: { store?: MemoryStore; isAllowed?: boolean } = {}) {
  const { isAllowed = true, ...rest } = options;
  const mesh = new MemoryMesh({ ...rest, memberInvites: isAllowed });
  const member = mesh.join("member");
  return { mesh, member, nodeId: member.said("welcome")!.nodeId };
}

/** Invites there are, in the order they were made. */
function invitesOf(mesh: MemoryMesh) {
  return mesh.tokens.all().filter(({ kind }) => kind === "invite");
}

Deno.test("a member's invite admits one node, under the name it is for; who asked is noted", () => {
  const { mesh, member, nodeId } = setUp();
  const other = mesh.join("other");
  strictEqual(member.said("welcome")!.mesh.memberInvites, true);
  const token = ask(mesh, member);
  strictEqual(other.said("invite"), undefined, "nobody else hears of it");
  const [row] = invitesOf(mesh);
  deepStrictEqual([row!.askedBy, row!.name, row!.state], [nodeId, "guest", "active"]);
  strictEqual(row!.expiresAt, row!.createdAt + MEMBER_INVITE_MS);
  strictEqual(mesh.join("host", { token }).said("welcome")!.name, "guest");
  strictEqual(refusedFor(mesh.join("host", { token })), "token-spent");
  strictEqual(invitesOf(mesh.restarted())[0]!.askedBy, nodeId, "kept");
  const said = JSON.stringify(mesh.logged);
  ok(said.includes("a member asked for an invite") && !said.includes(token.slice(70)));
});

Deno.test("a member's invite is good for ten minutes", () => {
  const { mesh, member } = setUp();
  const [inTime, tooLate] = [ask(mesh, member), ask(mesh, member)];
  mesh.run(MEMBER_INVITE_MS - 1_000);
  strictEqual(refusedFor(mesh.join("a", { token: inTime })), undefined);
  mesh.run(1_000);
  strictEqual(refusedFor(mesh.join("b", { token: tooLate })), "token-expired");
});

Deno.test("T37: nobody gets an invite where the coordinator was not told to give any", () => {
  const { mesh, member } = setUp({ isAllowed: false });
  strictEqual(member.said("welcome")!.mesh.memberInvites, false);
  strictEqual(ask(mesh, member), "not-allowed");
  deepStrictEqual(invitesOf(mesh), []);
  strictEqual(member.closed, undefined, "and stays connected");
});

Deno.test("what cannot be an invite is refused, and the member stays connected", () => {
  const store = new MemoryStore();
  const { mesh, member } = setUp({ store });
  for (const [name, reason] of [["a b", "bad-name"], ["localhost", "reserved-name"]] as const) {
    strictEqual(ask(mesh, member, name), reason);
  }
  store.isFull = true;
  strictEqual(ask(mesh, member), "storage-failure");
  deepStrictEqual(invitesOf(mesh), []);
  strictEqual(member.closed, undefined);
  store.isFull = false;
  ok(ask(mesh, member).startsWith("tm1_"));
});

Deno.test("T37: a member gets ten invites in ten minutes, whatever becomes of them", () => {
  const { mesh, member } = setUp();
  const other = mesh.join("other");
  const tokens = Array.from({ length: MAX_MEMBER_INVITES }, () => ask(mesh, member));
  ok(tokens.every((token) => token.startsWith("tm1_")));
  strictEqual(ask(mesh, member), "too-many");
  mesh.join("a", { token: tokens[0]!, hello: { name: "a", nameIsExplicit: true } });
  mesh.tokens.revoke(invitesOf(mesh)[1]!.serial);
  strictEqual(ask(mesh, member), "too-many", "one is used, another revoked");
  const restarted = mesh.restarted();
  strictEqual(ask(restarted, restarted.reconnect(member)), "too-many", "after a restart");
  ok(ask(mesh, other).startsWith("tm1_"), "others have their own");
  mesh.run(MEMBER_INVITE_MS);
  ok(ask(mesh, mesh.reconnect(member)).startsWith("tm1_"), "ten minutes later");
});

/** How a member ceases to be one, and what it is called. */
const ENDS: [string, (mesh: MemoryMesh, member: SimulatedAgent, nodeId: string) => void][] = [
  ["disabled", (mesh, _, nodeId) => mesh.hub.setState(nodeId, "disabled")],
  ["disabled and enabled again", (mesh, _, nodeId) => {
    mesh.hub.setState(nodeId, "disabled");
    mesh.hub.setState(nodeId, "active");
  }],
  ["removed", (mesh, _, nodeId) => mesh.hub.setState(nodeId, "removed")],
  ["gone by itself", (_, member) => member.say({ kind: "leave" })],
  ["installed anew", (mesh, member) => {
    member.hangUp();
    mesh.run();
    mesh.join("member");
  }],
];
for (const [what, end] of ENDS) {
  Deno.test(`T37: what a member asked for admits nobody once it is ${what}`, () => {
    const { mesh, member, nodeId } = setUp();
    const other = mesh.join("other");
    const [used, unused] = [ask(mesh, member), ask(mesh, member, "thief")];
    const others = ask(mesh, other, "friend");
    const guest = mesh.join("guest", { token: used });
    end(mesh, member, nodeId);
    mesh.run();
    strictEqual(refusedFor(mesh.join("thief", { token: unused })), "token-revoked");
    strictEqual(refusedFor(mesh.restarted().join("thief", { token: unused })), "token-revoked");
    strictEqual(guest.closed, undefined, "who is in stays");
    strictEqual(refusedFor(mesh.join("friend", { token: others })), undefined);
  });
}

for (const state of ["disabled", "removed"] as const) {
  Deno.test(`T16: ${state} between any two messages, a member has no invite that admits`, () => {
    let [steps, given] = [0, 0];
    for (;; steps++) {
      const { mesh, member, nodeId } = setUp();
      member.say({ kind: "invite", request: 1, name: "guest" });
      let isReached = true;
      for (let i = 0; i < steps && isReached; i++) isReached = mesh.step();
      if (!isReached) break;
      mesh.hub.setState(nodeId, state);
      member.say({ kind: "invite", request: 2, name: "guest" });
      mesh.run();
      ok(invitesOf(mesh).every((invite) => invite.state === "revoked"), `after ${steps} messages`);
      strictEqual(refusedFor(member), state);
      given += invitesOf(mesh).length;
    }
    ok(steps >= 2 && given > 0, `${steps} steps, ${given} invites`);
  });
}

Deno.test("who is not a member yet cannot ask", () => {
  const { mesh } = setUp();
  const stranger = new SimulatedAgent({ token: mesh.token, hello: helloOf("x") });
  stranger.say = () => stranger.sayBody(new TextEncoder().encode(WISH)); // in place of its hello
  mesh.connect(stranger);
  strictEqual(refusedFor(stranger), "bad-message");
  deepStrictEqual(invitesOf(mesh), []);
});

const WISH = JSON.stringify({ kind: "invite", request: 1, name: "guest" });
