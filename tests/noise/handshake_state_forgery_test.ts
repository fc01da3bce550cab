/**
 * `HandshakeState` and messages that nobody wrote: it is as if they had not come.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { HandshakeError } from "../../lib/noise/errors.ts";
import { HandshakeState } from "../../lib/noise/handshake_state.ts";
import {
  checkCompletes,
  eachPattern,
  everyProtocolName,
  finish,
  messagesOf,
  payloadOf,
  startPair,
  turn,
} from "./pairs.ts";

const everyName = everyProtocolName();

/**
 * Whether any change of message `index` shows in that message: a DH result is mixed no later than
 * there, or the pattern has a PSK, where the ephemeral key alone gives a cipher key (§9.2).
 */
function isSealed(name: string, index: number): boolean {
  return messagesOf(name).slice(0, index + 1).flat().some((token) => token.length > 1) ||
    messagesOf(name).flat().includes("psk");
}

/** Tries a message that must not be taken, and checks that nothing of the reader shows it. */
function checkRefused(reader: HandshakeState, message: Uint8Array, why: string): void {
  const hash = reader.handshakeHash;
  const remote = reader.remoteStaticKey;
  throws(() => reader.readMessage(message), HandshakeError, why);
  deepStrictEqual(reader.handshakeHash, hash, why);
  deepStrictEqual(reader.remoteStaticKey, remote, why);
  ok(reader.isOurTurn === false && !reader.isComplete, why);
}

// Anybody on the path can send these bytes.
Deno.test("HandshakeState.readMessage() is unmoved by a change of any byte", () => {
  strictEqual(eachPattern().length, 14);
  for (const name of eachPattern()) {
    const expected = startPair(name, { isFixed: true });
    finish(expected);
    const pair = startPair(name, { isFixed: true });
    for (const i of messagesOf(name).keys()) {
      const [writer, reader] = turn(pair, i);
      const message = writer.writeMessage(payloadOf(1));
      if (isSealed(name, i)) {
        for (let at = 0; at < message.length; at++) {
          const forged = Uint8Array.from(message);
          forged[at]! ^= 1 << (at % 8);
          checkRefused(reader, forged, `${name}, message ${i}, byte ${at}`);
        }
      }
      deepStrictEqual(reader.readMessage(message), payloadOf(1));
    }
    deepStrictEqual(pair.initiator.handshakeHash, pair.responder.handshakeHash);
    checkCompletes(pair);
  }
});

Deno.test("HandshakeState.readMessage() is unmoved by anything forged, in every protocol", () => {
  const damage = fc.oneof(
    fc.record({ kind: fc.constant("flip" as const), at: fc.nat(), by: fc.nat(7) }),
    fc.record({ kind: fc.constant("cut" as const), at: fc.nat() }),
    fc.record({ kind: fc.constant("extend" as const), by: fc.uint8Array({ minLength: 1 }) }),
    fc.record({ kind: fc.constant("replace" as const), by: fc.uint8Array({ maxLength: 200 }) }),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...everyName),
      fc.array(damage, { minLength: 1, maxLength: 4 }),
      (name, damages) => {
        const pair = startPair(name);
        for (const i of messagesOf(name).keys()) {
          const [writer, reader] = turn(pair, i);
          const message = writer.writeMessage(payloadOf(i));
          for (const { kind, ...rest } of isSealed(name, i) ? damages : []) {
            let forged = Uint8Array.from(message);
            const { at = 0, by = 0 } = rest as { at?: number; by?: number | Uint8Array };
            if (kind === "flip") forged[at % forged.length]! ^= 1 << (by as number);
            else if (kind === "cut") forged = forged.subarray(0, at % forged.length);
            else if (kind === "extend") forged = Uint8Array.from([...forged, ...by as Uint8Array]);
            else forged = Uint8Array.from(by as Uint8Array);
            checkRefused(reader, forged, `${name}, message ${i}, ${kind}`);
          }
          deepStrictEqual(reader.readMessage(message), payloadOf(i));
        }
        checkCompletes(pair);
      },
    ),
    { numRuns: 250 },
  );
});

Deno.test("HandshakeState finds a changed unsealed first message with the second", () => {
  for (const name of everyName.filter((name) => !isSealed(name, 0))) {
    const pair = startPair(name);
    const message = pair.initiator.writeMessage(payloadOf(2));
    message[message.length - 1]! ^= 1;
    pair.responder.readMessage(message);
    const answer = pair.responder.writeMessage();
    throws(() => pair.initiator.readMessage(answer), { fault: "bad-tag" }, name);
  }
});

Deno.test("HandshakeState.readMessage() takes no message shorter than its fields", () => {
  for (const name of eachPattern()) {
    const pair = startPair(name);
    for (const i of messagesOf(name).keys()) {
      const [writer, reader] = turn(pair, i);
      const message = writer.writeMessage();
      for (let length = 0; length < message.length; length++) {
        throws(
          () => reader.readMessage(message.subarray(0, length)),
          (error: HandshakeError) => ["message-too-short", "bad-tag"].includes(error.fault),
          `${name}, message ${i}, ${length} bytes`,
        );
      }
      reader.readMessage(message);
    }
  }
});
