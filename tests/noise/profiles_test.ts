import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { toHex, utf8 } from "../../lib/base/bytes.ts";
import { controlPrologue, PROFILES } from "../../lib/noise/profiles.ts";
import { HandshakeState } from "../../lib/noise/handshake_state.ts";
import { sideOptions } from "./pairs.ts";

const MESH_ID = new Uint8Array(16).fill(0xab);
const HEADER = Uint8Array.of(1, 1, 1, 0, 9, 8, 7, 6);
const TAIL = "ab".repeat(16) + "0101010009080706";

/** Profile, id, protocol name, prologue in hex, as docs/protocol.md §2 has them. */
const ROWS: [name: keyof typeof PROFILES, id: number, protocol: string, prologue: string][] = [
  [
    "mesh",
    1,
    "Noise_IKpsk2_25519_ChaChaPoly_SHA256",
    toHex(utf8("tunnelmesh")) + "0101" + TAIL,
  ],
  [
    "allowed-peers",
    2,
    "Noise_IK_25519_ChaChaPoly_SHA256",
    toHex(utf8("tunnelmesh")) + "0102" + TAIL,
  ],
  [
    "pair",
    3,
    "Noise_XX_25519_ChaChaPoly_SHA256",
    toHex(utf8("tunnelmesh-pair/1")) + "0101010009080706",
  ],
  ["pair-interop", 4, "Noise_XX_25519_ChaChaPoly_SHA256", ""],
];

Deno.test("PROFILES builds the prologues of the protocol", () => {
  deepStrictEqual(Object.keys(PROFILES), ROWS.map(([name]) => name));
  for (const [name, id, protocol, prologue] of ROWS) {
    const profile = PROFILES[name];
    strictEqual(profile.id, id, name);
    strictEqual(profile.protocol.name, protocol, name);
    strictEqual(toHex(profile.prologue(MESH_ID, HEADER)), prologue, name);
  }
});

Deno.test("PROFILES refuses prologues from parts of another length", () => {
  const { mesh, pair } = PROFILES;
  throws(() => mesh.prologue(MESH_ID.subarray(1), HEADER), RangeError);
  throws(() => mesh.prologue(MESH_ID, HEADER.subarray(1)), RangeError);
  throws(() => pair.prologue(MESH_ID, new Uint8Array(9)), RangeError);
  throws(() => controlPrologue(new Uint8Array(15)), RangeError);
});

Deno.test("controlPrologue() is the label and the mesh id", () => {
  strictEqual(
    toHex(controlPrologue(MESH_ID)),
    toHex(utf8("tunnelmesh-control/1")) + "ab".repeat(16),
  );
});

/** Profile, lengths of its messages in the datagrams of docs/protocol.md §3 without their headers. */
const LENGTHS: [name: keyof typeof PROFILES, messages: number[]][] = [
  ["mesh", [152 - 8 - 32, 96 - 12 - 32]],
  ["allowed-peers", [148 - 8 - 32, 96 - 12 - 32]],
  ["pair", [72 - 8 - 32, 144 - 12 - 32, 108 - 12 - 32]],
  ["pair-interop", [40 - 8, 108 - 12, 76 - 12]],
];

Deno.test("PROFILES write messages that fill the datagrams of the protocol", () => {
  for (const [name, lengths] of LENGTHS) {
    const { protocol, firstPayloadLength, secondPayloadLength } = PROFILES[name];
    const payloads = [firstPayloadLength, secondPayloadLength, 0];
    const initiator = new HandshakeState(sideOptions(protocol, "initiator", false));
    const responder = new HandshakeState(sideOptions(protocol, "responder", false));
    for (const [i, expected] of lengths.entries()) {
      const [writer, reader] = i % 2 === 0 ? [initiator, responder] : [responder, initiator];
      const message = writer.writeMessage(new Uint8Array(payloads[i]!));
      strictEqual(message.length, expected, `${name}, message ${i + 1}`);
      reader.readMessage(message);
    }
  }
});
