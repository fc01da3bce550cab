/**
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { JoinPlan } from "../../lib/agent/joining.ts";
import type { Membership } from "../../lib/agent/membership.ts";
import { Standing } from "../../lib/agent/standing.ts";
import { StateFolder } from "../../lib/agent/state_folder.ts";
import { randomBytes } from "../../lib/crypto/random.ts";
import type { Statement } from "../../lib/wire/control_message.ts";
import type { Refusal, RefusalReason } from "../../lib/wire/refusal.ts";
import { inTempFolder } from "./temp_folder.ts";
import { WELCOME } from "./welcome.ts";

const STATEMENT: Statement = {
  sshPublicKey: Uint8Array.of(1),
  signature: Uint8Array.of(2),
  signedAt: 3,
};
const TOKEN = {
  meshId: WELCOME.mesh.id,
  coordinatorKey: randomBytes(32),
  joinSecret: randomBytes(32),
};

function standing(folder: StateFolder, { isMember = true, hasToken = true } = {}): Standing {
  const membership: Membership = {
    coordinatorUrl: "https://hub:8443",
    coordinatorKey: TOKEN.coordinatorKey,
    statement: STATEMENT,
    welcome: WELCOME,
  };
  const plan: JoinPlan = {
    coordinatorUrl: membership.coordinatorUrl,
    coordinatorKey: TOKEN.coordinatorKey,
    meshId: TOKEN.meshId,
    membership: isMember ? membership : undefined,
    token: hasToken ? TOKEN : undefined,
  };
  return new Standing(folder, plan, STATEMENT);
}

function refusal(reason: RefusalReason): Refusal {
  return { reason, advice: "stop", text: "no" };
}

/** Refusals of a member; whether it was welcomed by this process; whether it goes on by its token. */
const REFUSED: [reason: RefusalReason, wasWelcomed: boolean, joinsAgain: boolean, why: string][] = [
  ["not-a-member", false, true, "a coordinator that lost its registry"],
  ["not-a-member", true, true, "the same, while this runs"],
  ["removed", false, true, "a person starts it with a token"],
  ["removed", true, false, "a person put it out"],
  ["disabled", false, false, "only being enabled helps"],
  ["disabled", true, false, "only being enabled helps"],
];
for (const [reason, wasWelcomed, joinsAgain, why] of REFUSED) {
  const when = wasWelcomed ? "while it runs" : "when it starts";
  Deno.test(`Standing: "${reason}" ${when}: ${why}`, () =>
    inTempFolder((base) => {
      const folder = StateFolder.open(base);
      const member = standing(folder);
      if (wasWelcomed) member.takeWelcome(WELCOME);
      strictEqual(member.takeRefusal(refusal(reason)), joinsAgain);
      strictEqual(member.isStranger, joinsAgain);
      strictEqual(member.credential.kind, joinsAgain ? "token" : "member");
      ok(!member.takeRefusal(refusal(reason)), "and the token's refusal is the end of it");
      if (wasWelcomed) ok(folder.read("membership.json"), "a refusal deletes nothing");
      folder.close();
    }));
}

Deno.test("Standing: without a token there is no joining again", () =>
  inTempFolder((base) => {
    const folder = StateFolder.open(base);
    const member = standing(folder, { hasToken: false });
    for (const reason of ["removed", "not-a-member", "disabled"] as const) {
      ok(!member.takeRefusal(refusal(reason)));
      strictEqual(member.credential.kind, "member");
    }
    folder.close();
  }));

Deno.test("Standing: who joins introduces itself, who is welcomed is a member from then on", () =>
  inTempFolder((base) => {
    const folder = StateFolder.open(base);
    const node = standing(folder, { isMember: false });
    ok(node.isStranger && !node.hasJoinedNow);
    deepStrictEqual(node.introduction, { statement: STATEMENT });
    strictEqual(node.credential.kind, "token");
    node.takeWelcome(WELCOME);
    ok(!node.isStranger && node.hasJoinedNow);
    deepStrictEqual(node.introduction, {});
    deepStrictEqual(node.credential, { kind: "member", psk: WELCOME.memberPsk });
    ok(folder.read("membership.json"));
    node.end();
    strictEqual(folder.read("membership.json"), undefined);
    folder.close();
  }));
