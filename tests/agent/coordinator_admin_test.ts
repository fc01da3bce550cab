/**
 * What a person may ask a coordinator, and what that answers when it makes no sense.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { type AdministeredCoordinator, adminMethods } from "../../lib/agent/coordinator_admin.ts";
import type { ControlMethod } from "../../lib/agent/control_socket.ts";
import { AgentError } from "../../lib/agent/errors.ts";
import type {
  CoordinatorPeer,
  CoordinatorToken,
} from "../../lib/coordinator/coordinator_options.ts";
import { RefusalError } from "../../lib/wire/refusal.ts";

function peer(name: string, host: number, change: Partial<CoordinatorPeer> = {}): CoordinatorPeer {
  return {
    nodeId: host.toString(16).padStart(4, "0").repeat(16),
    name,
    addresses: { ipv4: `100.64.0.${host}`, ipv6: `fd00::${host}` },
    state: "active",
    online: true,
    remote: "192.0.2.1:5000",
    endpoints: [],
    software: "test",
    joinedAt: "2026-01-01T00:00:00.000Z",
    seenAt: "2026-01-01T00:00:00.000Z",
    ...change,
  };
}

const HUB = peer("hub", 1);
const LAPTOP = peer("laptop", 2);
const PHONE = peer("phone", 3, { state: "disabled", online: false });
const TOKENS: CoordinatorToken[] = [
  { id: 1, kind: "mesh", state: "rotated", createdAt: "" },
  { id: 2, kind: "mesh", state: "active", createdAt: "" },
  { id: 3, kind: "invite", state: "active", createdAt: "" },
  { id: 4, kind: "invite", state: "expired", createdAt: "" },
  { id: 5, kind: "invite", state: "spent", createdAt: "", usedBy: { nodeId: "x", name: "den" } },
];

/** The methods on a coordinator that notes what it is told to do. */
function setUp(ownNodeId: string | undefined = HUB.nodeId) {
  const done: unknown[] = [];
  const coordinator: AdministeredCoordinator = {
    status: () => {
      throw new TypeError("not asked for");
    },
    peers: () => [HUB, LAPTOP, PHONE],
    isRemoved: (name) => name === "gone",
    setState: (nodeId, state) => void done.push([nodeId, state]),
    token: () => "tm1_mesh",
    rotateToken: () => {
      done.push("rotated");
      return "";
    },
    createInvite: (forMs, name) => {
      if (name === "localhost") throw new RefusalError("reserved-name");
      done.push([forMs, name]);
      return { ...TOKENS[2]!, token: "tm1_invite" };
    },
    listTokens: () => TOKENS,
    revokeInvite: (id) => {
      done.push(id);
      return { ...TOKENS[2]!, state: "revoked" };
    },
    pskStatus: () => ({ current: 1 }),
    rotatePsk: () => false,
  };
  const methods = adminMethods({ coordinator, ownNodeId, joinCommandOf: (token) => `by ${token}` });
  return { methods, done };
}

/** What one that a person is told about looks like. */
function saying(message: RegExp, fault = "failed") {
  return (error: unknown) => {
    ok(error instanceof AgentError && error.fault === fault, String(error));
    ok(message.test(error.message), error.message);
    return true;
  };
}

const FOUND: [what: string, text: string][] = [
  ["name", "laptop"],
  ["name in capitals", "Laptop"],
  ["IPv4 address", "100.64.0.2"],
  ["IPv6 address", "fd00::2"],
  ["node id", LAPTOP.nodeId],
  ["beginning of a node id", LAPTOP.nodeId.slice(0, 8)],
];
for (const [what, text] of FOUND) {
  Deno.test(`adminMethods() finds a member by its ${what}`, () => {
    const { methods, done } = setUp();
    const changed = call(methods, "peer-disable", { peer: text });
    deepStrictEqual(done, [[LAPTOP.nodeId, "disabled"]]);
    const { remote: _, ...rest } = LAPTOP;
    deepStrictEqual(changed, { ...rest, online: false, state: "disabled", changed: true });
  });
}

Deno.test("adminMethods() tells whether a member was otherwise before", () => {
  const { methods, done } = setUp();
  const rows: [method: string, peer: CoordinatorPeer, changed: boolean][] = [
    ["peer-enable", LAPTOP, false],
    ["peer-enable", PHONE, true],
    ["peer-disable", PHONE, false],
    ["peer-remove", PHONE, true],
    ["peer-enable", HUB, false],
  ];
  for (const [method, { name }, changed] of rows) {
    strictEqual((call(methods, method, { peer: name }) as { changed: boolean }).changed, changed);
  }
  strictEqual(done.length, rows.length);
});

const UNKNOWN: [method: string, text: string, message: RegExp][] = [
  ["peer-disable", "lpatop", /^Cannot disable "lpatop": .*did you mean "laptop"\?/],
  ["peer-remove", "gone", /^Cannot remove "gone": it was removed; .*token$/],
  ["peer-enable", "00", /^Cannot enable "00": no member/],
  ["peer-disable", "hub", /^Cannot disable "hub": it is the coordinator itself; .*--no-member$/],
  ["peer-remove", "100.64.0.1", /^Cannot remove "hub": it is the coordinator itself/],
];
for (const [method, text, message] of UNKNOWN) {
  Deno.test(`adminMethods() says why not: ${method} ${text}`, () => {
    const { methods, done } = setUp();
    throws(() => call(methods, method, { peer: text }), saying(message));
    deepStrictEqual(done, []);
  });
}

Deno.test("adminMethods() of a coordinator without a member takes whoever is called hub", () => {
  const { methods, done } = setUp("none");
  call(methods, "peer-disable", { peer: "hub" });
  deepStrictEqual(done, [[HUB.nodeId, "disabled"]]);
});

Deno.test("adminMethods() makes invites of a second to a year", () => {
  const { methods, done } = setUp();
  deepStrictEqual(call(methods, "token-invite", { forMs: 1_000, name: "desk" }), {
    ...TOKENS[2],
    token: "tm1_invite",
    joinCommand: "by tm1_invite",
  });
  call(methods, "token-invite", { forMs: 366 * 86_400_000 });
  deepStrictEqual(done, [[1_000, "desk"], [366 * 86_400_000, undefined]]);
  for (const forMs of [999, 0, -1, 366 * 86_400_000 + 1, NaN, "1h", undefined]) {
    throws(() => call(methods, "token-invite", { forMs }), saying(/second to a year/, "usage"));
  }
  throws(() => call(methods, "token-invite", { forMs: 1_000, name: 7 }), AgentError);
  const reserved = { forMs: 1_000, name: "localhost" };
  throws(() => call(methods, "token-invite", reserved), saying(/^Cannot invite: .*reserved/));
});

const NOT_REVOCABLE: [id: unknown, message: RegExp][] = [
  [1, /^Cannot revoke token 1: it was replaced/],
  [2, /^Cannot revoke token 2: it is the mesh token; replace it by tunnelmesh token rotate$/],
  [5, /^Cannot revoke token 5: "den" has used it; .*peer disable$/],
  [6, /^Cannot revoke token 6: there is no such token; see tunnelmesh token list$/],
  ["3", /there is no such token/],
];
Deno.test("adminMethods() revokes invites that nobody has used, and says why no others", () => {
  const { methods, done } = setUp();
  for (const id of [3, 4]) call(methods, "token-revoke", { id });
  deepStrictEqual(done, [3, 4]);
  for (const [id, message] of NOT_REVOCABLE) {
    throws(() => call(methods, "token-revoke", { id }), saying(message));
  }
  deepStrictEqual(done, [3, 4]);
});

Deno.test("adminMethods() lists tokens without what would admit anybody", () => {
  const { methods } = setUp();
  ok(!JSON.stringify(call(methods, "token-list")).includes("tm1_"));
  deepStrictEqual(call(methods, "token-rotate"), { token: "tm1_mesh", joinCommand: "by tm1_mesh" });
});

function call(
  methods: Record<string, ControlMethod>,
  name: string,
  params: Record<string, unknown> = {},
): unknown {
  return methods[name]!(params);
}
