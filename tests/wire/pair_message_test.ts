import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { utf8 } from "../../lib/base/bytes.ts";
import { MessageError } from "../../lib/wire/json_codec.ts";
import {
  decodePairMessage,
  encodePairMessage,
  type PairMessage,
} from "../../lib/wire/pair_message.ts";

const MESSAGES: PairMessage[] = [
  { kind: "hello", name: "left", purpose: "static" },
  { kind: "hello", name: "left", purpose: "static", range: "10.1.2.0/24" },
  { kind: "hello", name: "x".repeat(63), purpose: "invite" },
  { kind: "verdict", isConfirmed: true },
  { kind: "verdict", isConfirmed: false },
  { kind: "invite", coordinator: "https://192.0.2.1:8443", token: "tm1_x" },
  { kind: "done" },
];

Deno.test("decodePairMessage() reads what encodePairMessage() writes, in one datagram each", () => {
  for (const message of MESSAGES) {
    const body = encodePairMessage(message);
    ok(body.length <= 1_024);
    deepStrictEqual(decodePairMessage(body), message);
  }
});

Deno.test("decodePairMessage() refuses what its kind does not have, and passes over later kinds", () => {
  /** What is refused, why. */
  const rows: [json: string, why: string][] = [
    ["", "no JSON"],
    ["null", "no object"],
    ["[]", "a list"],
    ["{}", "no kind"],
    ['{"kind":1}', "a kind that is no text"],
    ['{"kind":"hello","purpose":"static"}', "no name"],
    [`{"kind":"hello","name":"${"x".repeat(64)}","purpose":"static"}`, "too long a name"],
    ['{"kind":"hello","name":"a\\u001b[2J","purpose":"static"}', "a control character"],
    ['{"kind":"hello","name":"a","purpose":"both"}', "no such purpose"],
    ['{"kind":"verdict","isConfirmed":"true"}', "text for a truth value"],
    ['{"kind":"verdict"}', "no verdict"],
  ];
  for (const [json, why] of rows) throws(() => decodePairMessage(utf8(json)), MessageError, why);
  throws(() => decodePairMessage(Uint8Array.of(0x22, 0xff, 0x22)), MessageError, "no UTF-8");
  strictEqual(decodePairMessage(utf8('{"kind":"later"}')), undefined);
  strictEqual(decodePairMessage(utf8('{"kind":"constructor"}')), undefined);
});

Deno.test("decodePairMessage() throws nothing but its error", () => {
  // Anybody who completes a handshake can send these, before a person has looked.
  const read = (body: Uint8Array) => {
    try {
      decodePairMessage(body);
    } catch (error) {
      ok(error instanceof MessageError, String(error));
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), read));
  fc.assert(fc.property(fc.json(), (json) => read(utf8(json))));
  const kind = fc.constantFrom("hello", "verdict", "invite", "done");
  fc.assert(fc.property(kind, fc.dictionary(fc.string(), fc.jsonValue()), (kind, rest) => {
    read(utf8(JSON.stringify({ ...rest, kind })));
  }));
});
