/**
 * Known answers through the public door: every message, the handshake hash, the transport keys and
 * the transport messages, from both sides.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { fromHex, toHex } from "../../lib/base/bytes.ts";
import { keyPairFrom } from "../../lib/crypto/x25519.ts";
import { HandshakeState } from "../../lib/noise/handshake_state.ts";
import { parseProtocolName } from "../../lib/noise/protocol_name.ts";
import { Handshake } from "../../mod.ts";
import golden from "../vectors/project-golden.noise.json" with { type: "json" };

/** One vector, in the field names that Noise libraries share. */
type NoiseVector = typeof golden.vectors[number];

const NO_AD = new Uint8Array(0);

function optionsOf(vector: NoiseVector, role: "initiator" | "responder") {
  const own = role === "initiator" ? "init" : "resp";
  const staticKey = vector[`${own}_static`];
  const remoteStaticKey = role === "initiator" ? vector.init_remote_static : undefined;
  return {
    role,
    prologue: fromHex(vector[`${own}_prologue`]),
    ephemeralKey: keyPairFrom(fromHex(vector[`${own}_ephemeral`])),
    presharedKeys: (vector[`${own}_psks`] ?? []).map(fromHex),
    ...(staticKey !== undefined && { staticKey: keyPairFrom(fromHex(staticKey)) }),
    ...(remoteStaticKey !== undefined && { remoteStaticKey: fromHex(remoteStaticKey) }),
  };
}

Deno.test("Handshake agrees with the golden vectors", () => {
  for (const vector of golden.vectors) {
    const name = vector.protocol_name;
    const sides = (["initiator", "responder"] as const).map((role) =>
      new Handshake({ protocolName: name, ...optionsOf(vector, role) })
    );
    let transports: ReturnType<Handshake["split"]>[] | undefined;
    for (const [i, message] of vector.messages.entries()) {
      const [writer, reader] = [i % 2, 1 - i % 2];
      const payload = fromHex(message.payload);
      if (!sides[0]!.isComplete) {
        const written = sides[writer]!.writeMessage(payload);
        strictEqual(toHex(written), message.ciphertext, `${name} message ${i}`);
        deepStrictEqual(sides[reader]!.readMessage(written), payload);
        continue;
      }
      transports ??= sides.map((side) => side.split());
      const sealed = transports[writer]!.send.encryptWithAd(NO_AD, payload);
      strictEqual(toHex(sealed), message.ciphertext, `${name} message ${i}`);
      deepStrictEqual(transports[reader]!.receive.decryptWithAd(NO_AD, sealed), payload);
    }
    ok(transports !== undefined);
    for (const side of sides) {
      ok(side.isComplete);
      strictEqual(toHex(side.handshakeHash), vector.handshake_hash, name);
    }
  }
  strictEqual(golden.vectors.length, 8);
});

Deno.test("HandshakeState.split() hands out the golden transport keys", () => {
  for (const vector of golden.vectors) {
    const protocol = parseProtocolName(vector.protocol_name);
    const [initiator, responder] = (["initiator", "responder"] as const).map((role) =>
      new HandshakeState({ protocol, ...optionsOf(vector, role) })
    );
    for (let turn = 0; !initiator!.isComplete; turn++) {
      if (turn % 2 === 0) responder!.readMessage(initiator!.writeMessage());
      else initiator!.readMessage(responder!.writeMessage());
    }
    const [ours, theirs] = [initiator!.split(), responder!.split()];
    strictEqual(toHex(ours.send.exportKey()), vector.split_c1_key, vector.protocol_name);
    strictEqual(toHex(ours.receive.exportKey()), vector.split_c2_key, vector.protocol_name);
    deepStrictEqual(theirs.send.exportKey(), ours.receive.exportKey());
    deepStrictEqual(theirs.receive.exportKey(), ours.send.exportKey());
  }
});
