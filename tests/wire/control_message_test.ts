/**
 * Bodies of the control channel: every kind both ways, strict about what is known, lenient about
 * what is not.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  decodeClientMessage,
  encodeClientMessage,
  type Hello,
} from "../../lib/wire/client_message.ts";
import { MessageError } from "../../lib/wire/json_codec.ts";
import { closeOf, RefusalError, refusalOf, REFUSALS } from "../../lib/wire/refusal.ts";
import { decodeServerMessage, encodeServerMessage } from "../../lib/wire/server_message.ts";
import { CLIENT_MESSAGES, HELLO, SERVER_MESSAGES } from "./control_samples.ts";

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
  ["statement", { ...HELLO.statement, sshPublicKey: "", signature: "AA" }, "empty key"],
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
  const psks = jsonOf(
    encodeServerMessage({ kind: "psks", current: { epoch: 1, psk: new Uint8Array(32) } }),
  );
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
