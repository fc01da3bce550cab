/**
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { AgentError } from "../../lib/agent/errors.ts";
import { credentialOf, planJoin } from "../../lib/agent/joining.ts";
import type { Membership } from "../../lib/agent/membership.ts";
import { randomBytes } from "../../lib/crypto/random.ts";
import { formatToken, joinPskOf, tokenIdOf } from "../../lib/token/token.ts";

const OURS = { meshId: randomBytes(16), coordinatorKey: randomBytes(32) };
const OTHER = { meshId: randomBytes(16), coordinatorKey: randomBytes(32) };
const joinSecret = randomBytes(32);
const MEMBERSHIP = {
  coordinatorUrl: "https://old:8443",
  coordinatorKey: OURS.coordinatorKey,
  welcome: { memberPsk: randomBytes(32), mesh: { id: OURS.meshId } },
} as unknown as Membership;

Deno.test("planJoin() goes to the mesh of the folder, unless a token of another one is given", () => {
  const ours = formatToken({ ...OURS, joinSecret });
  const other = formatToken({ ...OTHER, joinSecret });
  const url = "https://new:8443";
  const member = planJoin({}, MEMBERSHIP);
  strictEqual(member.coordinatorUrl, "https://old:8443");
  ok(member.membership !== undefined && member.token === undefined);
  strictEqual(planJoin({ coordinatorUrl: url }, MEMBERSHIP).coordinatorUrl, url, "it moved");
  ok(planJoin({ token: ours }, MEMBERSHIP).membership !== undefined);
  const anew = planJoin({ token: other, coordinatorUrl: url }, MEMBERSHIP);
  strictEqual(anew.membership, undefined);
  deepStrictEqual(anew.coordinatorKey, OTHER.coordinatorKey);
  const sameMeshOtherKey = formatToken({ ...OTHER, meshId: OURS.meshId, joinSecret });
  const restored = planJoin({ token: sameMeshOtherKey, coordinatorUrl: url }, MEMBERSHIP);
  strictEqual(restored.membership, undefined);
});

Deno.test("planJoin() says what is missing, and never shows a token (T36)", () => {
  const token = formatToken({ ...OURS, joinSecret });
  const url = "https://h:8443";
  const rows: [options: Parameters<typeof planJoin>[0], hint: RegExp][] = [
    [{}, /--token-file/],
    [{ coordinatorUrl: url }, /--token-file/],
    [{ token }, /--coordinator/],
    [{ token: token.slice(0, -1), coordinatorUrl: url }, /copy the whole token/],
    [{ token: `${token}x`, coordinatorUrl: url }, /copy the whole token/],
    [{ token: token.replace("tm1_", ""), coordinatorUrl: url }, /copy the whole token/],
  ];
  for (const [options, hint] of rows) {
    throws(() => planJoin(options, undefined), (error) => {
      ok(error instanceof AgentError && error.fault === "usage");
      ok(hint.test(error.message), error.message);
      ok(!Deno.inspect(error).includes(token.slice(30, 60)));
      return true;
    });
  }
});

Deno.test("credentialOf() prefers being a member", () => {
  const psk = randomBytes(32);
  const token = { ...OURS, joinSecret };
  deepStrictEqual(credentialOf(psk, token), { kind: "member", psk });
  deepStrictEqual(credentialOf(undefined, token), {
    kind: "token",
    tokenId: tokenIdOf(joinSecret),
    joinPsk: joinPskOf(joinSecret),
  });
});
