/**
 * Bodies of the control channel: every kind both ways, strict about what is known, lenient about
 * what is not.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  type ClientMessage,
  decodeClientMessage,
  encodeClientMessage,
  type Hello,
} from "../../lib/wire/client_message.ts";
import { MessageError } from "../../lib/wire/json_codec.ts";
import { closeOf, RefusalError, refusalOf, REFUSALS } from "../../lib/wire/refusal.ts";
import {
  decodeServerMessage,
  encodeServerMessage,
  INVITE_REFUSALS,
  type NodeRecord,
  type ServerMessage,
} from "../../lib/wire/server_message.ts";

const NODE_ID = "ab".repeat(32);
const KEY = new Uint8Array(32).fill(3);
const ENDPOINTS = [{ endpoint: "192.0.2.1:5000", source: "local" }];
const STATEMENT = {
  sshPublicKey: Uint8Array.of(1, 2, 3),
  signature: Uint8Array.of(4, 5),
  signedAt: 1_800_000_000,
};
const NODE: NodeRecord = {
  nodeId: NODE_ID,
  name: "laptop",
  staticKey: KEY,
  addresses: { ipv4: "100.64.0.1", ipv6: "fd00::1" },
  statement: STATEMENT,
  endpoints: ENDPOINTS,
  os: "linux",
};
const HELLO: Hello = {
  kind: "hello",
  software: "tunnelmesh 0.1.0",
  os: "linux",
  name: "laptop",
  nameIsExplicit: true,
  statement: STATEMENT,
  rosterVersion: 7,
  rosterLineage: "0011",
  endpoints: ENDPOINTS,
};

const CLIENT_MESSAGES: ClientMessage[] = [
  HELLO,
  { kind: "hello", software: "x", nameIsExplicit: false, rosterVersion: 0, endpoints: [] },
  { kind: "endpoints", endpoints: ENDPOINTS },
  { kind: "heartbeat" },
  { kind: "psk-ack", epoch: 4_294_967_295 },
  { kind: "invite", request: 4_294_967_295, name: "laptop" },
  { kind: "connect", peer: NODE_ID },
  { kind: "leave" },
];

const SERVER_MESSAGES: ServerMessage[] = [
  {
    kind: "welcome",
    nodeId: NODE_ID,
    name: "laptop",
    addresses: NODE.addresses,
    memberPsk: KEY,
    mesh: {
      id: new Uint8Array(16),
      ipv4Range: "100.64.0.0/10",
      ipv6Range: "fd12:3456:789a::/48",
      policy: "allow-all",
      binding: "strict",
      limits: { rekeyAfterMs: 6000 },
    },
    udpPorts: [8443, 8444],
    discovery: { id: new Uint8Array(8), key: KEY },
    unixMs: 1_800_000_000_000,
    heartbeatMs: 25_000,
    software: "tunnelmesh 0.1.0",
  },
  { kind: "psks", current: { epoch: 1, psk: KEY } },
  {
    kind: "psks",
    previous: { epoch: 1, psk: KEY },
    current: { epoch: 2, psk: KEY },
    next: { epoch: 3, psk: KEY },
  },
  {
    kind: "roster",
    version: 9,
    lineage: "0011",
    full: false,
    upserts: [NODE],
    removes: [NODE_ID],
  },
  {
    kind: "presence",
    full: true,
    online: [{ nodeId: NODE_ID, endpoints: ENDPOINTS }],
    offline: [NODE_ID],
  },
  { kind: "discovery-key", discovery: { id: new Uint8Array(8), key: KEY } },
  { kind: "invite", request: 0, joinSecret: KEY },
  ...INVITE_REFUSALS.map((reason) => ({ kind: "invite-refused", request: 1, reason }) as const),
  { kind: "peer-wants", nodeId: NODE_ID, endpoints: ENDPOINTS },
  { kind: "heartbeat" },
];

function bodyOf(json: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(json));
}

function jsonOf(body: Uint8Array): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(body));
}

Deno.test("every message comes back as it was", () => {
  for (const message of CLIENT_MESSAGES) {
    deepStrictEqual(decodeClientMessage(encodeClientMessage(message)), message);
  }
  for (const message of SERVER_MESSAGES) {
    deepStrictEqual(decodeServerMessage(encodeServerMessage(message)), message);
  }
});

Deno.test("unknown fields are ignored, unknown kinds are said to be unknown", () => {
  const newer = { ...jsonOf(encodeClientMessage(HELLO)), colour: "blue", nested: { a: [1] } };
  deepStrictEqual(decodeClientMessage(bodyOf(newer)), HELLO);
  deepStrictEqual(decodeClientMessage(bodyOf({ kind: "sing" })), {
    kind: "unknown",
    named: "sing",
  });
  deepStrictEqual(decodeClientMessage(bodyOf({ kind: "welcome" })), {
    kind: "unknown",
    named: "welcome",
  }, "a kind of the other side");
  for (const kind of ["constructor", "__proto__", "toString"]) {
    deepStrictEqual(decodeServerMessage(bodyOf({ kind })), { kind: "unknown", named: kind });
  }
});

/** Field of a hello, a value it must not have, why. */
const BAD_FIELDS: [field: keyof Hello, value: unknown, why: string][] = [
  ["software", 5, "text"],
  ["software", "x".repeat(65), "length"],
  ["software", "a\u001b[31mb", "control characters reach a terminal"],
  ["software", "a\nb", "a log line must stay one"],
  ["name", null, "missing is not null"],
  ["nameIsExplicit", "yes", "boolean"],
  ["nameIsExplicit", undefined, "required"],
  ["rosterVersion", -1, "range"],
  ["rosterVersion", 1.5, "whole"],
  ["rosterVersion", 2 ** 53, "exact"],
  ["endpoints", {}, "list"],
  ["endpoints", Array(33).fill({ endpoint: "192.0.2.1:1", source: "local" }), "at most 32"],
  ["endpoints", [{ endpoint: "192.0.2.1:1" }], "source is required"],
  ["endpoints", [null], "object"],
  ["statement", { ...STATEMENT, sshPublicKey: "", signature: "AA" }, "empty key"],
  ["statement", { sshPublicKey: "AQ", signature: "A", signedAt: 1 }, "no base64url"],
  ["statement", { sshPublicKey: "AQ", signature: "A".repeat(11_000), signedAt: 1 }, "length"],
];

Deno.test("decodeClientMessage() refuses fields that are not as declared, and names them", () => {
  for (const [field, value, why] of BAD_FIELDS) {
    const json = { ...jsonOf(encodeClientMessage(HELLO)), [field]: value };
    throws(() => decodeClientMessage(bodyOf(json)), (error: unknown) => {
      ok(error instanceof MessageError, `${field}: ${why}`);
      ok(error.message.includes(field), error.message);
      return true;
    }, `${field}: ${why}`);
  }
});

Deno.test("neither side takes a wish for an invite, or its answer, that is not as declared", () => {
  const wish = { kind: "invite", request: 1, name: "laptop" };
  const invite = { kind: "invite", request: 1, joinSecret: "A".repeat(43) };
  const refused = { kind: "invite-refused", request: 1, reason: "too-many" };
  /** Decoder, what is right, what is wrong in it. */
  const rows: [typeof decodeClientMessage | typeof decodeServerMessage, object, object][] = [
    [decodeClientMessage, wish, { request: -1 }],
    [decodeClientMessage, wish, { request: 2 ** 32 }],
    [decodeClientMessage, wish, { request: "1" }],
    [decodeClientMessage, wish, { request: undefined }],
    [decodeClientMessage, wish, { name: undefined }],
    [decodeClientMessage, wish, { name: "x".repeat(64) }],
    [decodeClientMessage, wish, { name: "a\nb" }],
    [decodeServerMessage, invite, { joinSecret: "A".repeat(42) }],
    [decodeServerMessage, invite, { joinSecret: undefined }],
    [decodeServerMessage, invite, { request: 0.5 }],
    [decodeServerMessage, refused, { reason: "never" }],
    [decodeServerMessage, refused, { reason: undefined }],
  ];
  for (const [decode, right, wrong] of rows) {
    strictEqual(decode(bodyOf(right)).kind, (right as { kind: string }).kind);
    throws(() => decode(bodyOf({ ...right, ...wrong })), MessageError, JSON.stringify(wrong));
  }
});

Deno.test("decodeServerMessage() refuses keys of another length", () => {
  const psks = jsonOf(encodeServerMessage({ kind: "psks", current: { epoch: 1, psk: KEY } }));
  psks.current = { epoch: 1, psk: "AAAA" };
  throws(() => decodeServerMessage(bodyOf(psks)), MessageError);
});

Deno.test("decoding arbitrary bytes throws nothing but MessageError", () => {
  // Any member, and any holder of a token, can send these.
  const kinds = fc.constantFrom(
    "hello",
    "endpoints",
    "heartbeat",
    "psk-ack",
    "invite",
    "leave",
    "roster",
  );
  const json = fc.dictionary(fc.string({ maxLength: 12 }), fc.jsonValue());
  const bodies = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.jsonValue().map(bodyOf),
    fc.tuple(kinds, json).map(([kind, rest]) => bodyOf({ ...rest, kind })),
  );
  fc.assert(fc.property(bodies, (body) => {
    for (const decode of [decodeClientMessage, decodeServerMessage]) {
      try {
        decode(body);
      } catch (error) {
        ok(error instanceof MessageError, String(error));
      }
    }
  }));
});

Deno.test("every refusal has its own code and survives the close of a WebSocket", () => {
  const codes = Object.values(REFUSALS).map(([code]) => code);
  strictEqual(new Set(codes).size, codes.length);
  for (const [reason, [, advice, text]] of Object.entries(REFUSALS)) {
    const close = closeOf(new RefusalError(reason as keyof typeof REFUSALS));
    ok(close.code >= 4000 && close.code < 5000, "private use (RFC 6455 §7.4.2)");
    deepStrictEqual(refusalOf(close.code, close.reason), { reason, advice, text });
  }
  strictEqual(refusalOf(1006, ""), undefined);
  strictEqual(refusalOf(4410, "a\u001b[2Jb\n")?.text, "a[2Jb", "shown on a terminal");
  strictEqual(refusalOf(4410, "")?.text, REFUSALS["unknown-token"][2], "a proxy may eat the text");
});

Deno.test("closeOf() cuts a reason to 123 bytes between characters", () => {
  const { reason } = closeOf(new RefusalError("bad-message", "é".repeat(100)));
  strictEqual(reason, "é".repeat(61));
});
