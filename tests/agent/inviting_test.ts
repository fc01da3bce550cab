/**
 * A member that asks its coordinator for invites: each wish gets its own answer, or one line that
 * says what to do.
 *
 * @module
 */

import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { AgentError } from "../../lib/agent/errors.ts";
import { Inviting, refuseInvites } from "../../lib/agent/inviting.ts";
import { parseToken } from "../../lib/token/token.ts";
import type { ClientMessage } from "../../lib/wire/client_message.ts";
import { INVITE_REFUSALS, type InviteRefused } from "../../lib/wire/server_message.ts";
import { FakeClock } from "../fakes/clock.ts";

const COORDINATOR_KEY = new Uint8Array(32).fill(5);
const MESH_ID = new Uint8Array(16).fill(6);
const URL = "https://mesh.example.org:8443";

/** A member with a line to its coordinator, and what it says by that. */
function setUp(options: { isAtCoordinator?: boolean; mayInvite?: boolean } = {}) {
  const clock = new FakeClock();
  const said: ClientMessage[] = [];
  const line = { isUp: true };
  const memberInvites = options.mayInvite ?? true;
  const inviting = new Inviting({
    clock,
    plan: { coordinatorUrl: URL, coordinatorKey: COORDINATOR_KEY, meshId: MESH_ID },
    isAtCoordinator: options.isAtCoordinator ?? false,
    mesh: () => ({
      id: MESH_ID,
      ipv4Range: "",
      ipv6Range: "",
      policy: "allow-all",
      binding: "strict",
      limits: {},
      memberInvites,
    }),
    isConnected: () => line.isUp,
    send: (message) => {
      if (line.isUp) said.push(message);
      return line.isUp;
    },
  });
  return { clock, inviting, line, said };
}

/** What a person is told in one line. */
function telling(message: RegExp, fault = "refused") {
  return (error: unknown) => {
    ok(error instanceof AgentError && error.fault === fault, String(error));
    match(error.message, /^Cannot invite: [^\n]+; [^\n]+$/);
    match(error.message, message);
    return true;
  };
}

function secretOf(byte: number): Uint8Array {
  return new Uint8Array(32).fill(byte);
}

Deno.test("Inviting.invite() gives each wish the answer to it, for this mesh alone", async () => {
  const { inviting, said } = setUp();
  const [first, second] = [inviting.invite("a"), inviting.invite("b")];
  deepStrictEqual(said, [
    { kind: "invite", request: 1, name: "a" },
    { kind: "invite", request: 2, name: "b" },
  ]);
  inviting.take({ kind: "invite", request: 99, joinSecret: secretOf(9) });
  inviting.take({ kind: "invite", request: 2, joinSecret: secretOf(2) });
  inviting.take({ kind: "invite", request: 1, joinSecret: secretOf(1) });
  inviting.take({ kind: "invite-refused", request: 1, reason: "too-many" });
  for (const [wish, byte] of [[first, 1], [second, 2]] as const) {
    const { coordinator, token } = await wish;
    strictEqual(coordinator, URL);
    deepStrictEqual(parseToken(token), {
      meshId: MESH_ID,
      coordinatorKey: COORDINATOR_KEY,
      joinSecret: secretOf(byte),
    });
  }
});

/** Refusal => what a person reads, apart from why. */
const SAYS: Readonly<Record<InviteRefused["reason"], RegExp>> = {
  "not-allowed": /start it with --member-invites, or set memberInvites: true/,
  "too-many": /too many in the last ten minutes; try again later/,
  "bad-name": /give it another by --name/,
  "reserved-name": /is reserved; give it another by --name/,
  "storage-failure": /cannot store it/,
};
for (const reason of INVITE_REFUSALS) {
  Deno.test(`Inviting.invite() says what to do when the answer is ${reason}`, async () => {
    const { inviting } = setUp();
    const wish = inviting.invite("a");
    inviting.take({ kind: "invite-refused", request: 1, reason });
    await rejects(wish, telling(SAYS[reason]));
  });
}

Deno.test("Inviting asks nobody where there can be no invite", async () => {
  const rows: [ReturnType<typeof setUp>, RegExp, string, string][] = [
    [setUp({ mayInvite: false }), SAYS["not-allowed"], "refused", "the coordinator has said so"],
    [setUp({ isAtCoordinator: true }), /--state/, "usage", "its URL leads nobody else there"],
    [setUp(), /cannot be reached/, "unreachable", "the line is down"],
  ];
  rows[2]![0].line.isUp = false;
  for (const [{ inviting, said }, says, fault, why] of rows) {
    throws(() => inviting.requireAble(), telling(says, fault), why);
    await rejects(inviting.invite("a"), telling(says, fault), why);
    deepStrictEqual(said, [], why);
  }
  setUp().inviting.requireAble();
  throws(refuseInvites, telling(/in no mesh/, "usage"));
});

Deno.test("Inviting.invite() ends when no answer comes, or none can come any more", async () => {
  const { clock, inviting } = setUp();
  const late = inviting.invite("a");
  clock.advance(10_000);
  await rejects(late, telling(/does not answer/, "unreachable"));
  inviting.take({ kind: "invite", request: 1, joinSecret: secretOf(1) });
  const cut = inviting.invite("b");
  inviting.disconnected();
  await rejects(cut, telling(/cannot be reached/, "unreachable"));
  const next = inviting.invite("c");
  inviting.take({ kind: "invite", request: 2, joinSecret: secretOf(2) });
  inviting.take({ kind: "invite", request: 3, joinSecret: secretOf(3) });
  deepStrictEqual(parseToken((await next).token).joinSecret, secretOf(3), "no late one of before");
});
