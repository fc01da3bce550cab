/**
 * `HandshakeState`: what it completes, which keys it takes, and what it asks its caller.
 *
 * @module
 */

import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { NOBLE_BACKEND } from "../../lib/crypto/noble.ts";
import type { HandshakeFault } from "../../lib/noise/errors.ts";
import {
  HandshakeState,
  type HandshakeStateOptions,
  type Role,
} from "../../lib/noise/handshake_state.ts";
import { parseProtocolName } from "../../lib/noise/protocol_name.ts";
import { countingBackend } from "../fakes/crypto_counter.ts";
import {
  checkCompletes,
  eachPattern,
  everyProtocolName,
  finish,
  KEYS,
  messagesOf,
  payloadOf,
  pskOf,
  sideOptions,
  startPair,
  turn,
} from "./pairs.ts";

const IKPSK2 = "Noise_IKpsk2_25519_ChaChaPoly_SHA256";
const XX = "Noise_XX_25519_ChaChaPoly_SHA256";
const everyName = everyProtocolName();

Deno.test("HandshakeState completes every protocol, payloads included", () => {
  for (const name of everyName) {
    const pair = startPair(name, { both: { prologue: Uint8Array.of(7) } });
    for (const i of messagesOf(name).keys()) {
      const [writer, reader] = turn(pair, i);
      ok(writer.isOurTurn && !reader.isOurTurn, name);
      deepStrictEqual(reader.readMessage(writer.writeMessage(payloadOf(i))), payloadOf(i), name);
    }
    const { initiator, responder } = pair;
    ok(initiator.isComplete && responder.isComplete && !initiator.isOurTurn);
    const { initiatorStatic, responderStatic } = KEYS;
    const knows = messagesOf(name).flat();
    const { knownBefore } = parseProtocolName(name).pattern;
    const hasInitiatorKey = knows.includes("se") || knownBefore.initiator;
    const hasResponderKey = knows.includes("es") || knownBefore.responder;
    const expected = [
      hasResponderKey ? responderStatic.publicKey : undefined,
      hasInitiatorKey ? initiatorStatic.publicKey : undefined,
    ];
    deepStrictEqual([initiator.remoteStaticKey, responder.remoteStaticKey], expected, name);
    checkCompletes(pair);
  }
});

Deno.test("HandshakeState writes the same bytes on both backends", () => {
  for (const name of everyName) {
    const native = startPair(name, { isFixed: true, crypto: NATIVE_BACKEND });
    const noble = startPair(name, { isFixed: true, crypto: NOBLE_BACKEND });
    for (const i of messagesOf(name).keys()) {
      const message = turn(native, i)[0].writeMessage(payloadOf(i));
      deepStrictEqual(turn(noble, i)[0].writeMessage(payloadOf(i)), message, `${name} ${i}`);
      // Each reads the other's.
      turn(native, i)[1].readMessage(message);
      turn(noble, i)[1].readMessage(message);
    }
    deepStrictEqual(native.initiator.handshakeHash, noble.responder.handshakeHash, name);
  }
});

Deno.test("HandshakeState keeps messages within 65535 bytes", () => {
  const room: [name: string, most: number][] = [
    ["Noise_NN_25519_ChaChaPoly_SHA256", 65535 - 32],
    [IKPSK2, 65535 - 32 - 48 - 16],
  ];
  for (const [name, most] of room) {
    const pair = startPair(name);
    const before = pair.initiator.handshakeHash;
    const tooLong = new Uint8Array(most + 1);
    throws(() => pair.initiator.writeMessage(tooLong), { fault: "message-too-long" }, name);
    deepStrictEqual(pair.initiator.handshakeHash, before);
    const message = pair.initiator.writeMessage(new Uint8Array(most));
    strictEqual(message.length, 65535);
    const beyond = new Uint8Array(65536);
    throws(() => pair.responder.readMessage(beyond), { fault: "message-too-long" }, name);
    strictEqual(pair.responder.readMessage(message).length, most);
    finish(pair, 1);
  }
});

/** Name, role, what is different from a full set of keys, fault, why. */
const BAD_OPTIONS: [
  name: string,
  role: Role,
  change: Partial<Record<keyof HandshakeStateOptions, unknown>>,
  fault: HandshakeFault,
  why: string,
][] = [
  [IKPSK2, "initiator", { staticKey: undefined }, "missing-key", "IK sends it"],
  [IKPSK2, "responder", { staticKey: undefined }, "missing-key", "the initiator knows it"],
  [IKPSK2, "initiator", { remoteStaticKey: undefined }, "missing-key", "known beforehand"],
  [IKPSK2, "initiator", { remoteStaticKey: new Uint8Array(31) }, "bad-key", "31 bytes"],
  [IKPSK2, "initiator", { remoteStaticKey: new Uint8Array(32) }, "low-order-point", "zeros"],
  [IKPSK2, "initiator", { presharedKeys: [] }, "missing-key", "no PSK"],
  [IKPSK2, "initiator", { presharedKeys: undefined }, "missing-key", "no PSKs at all"],
  [IKPSK2, "initiator", { presharedKeys: [pskOf(0), pskOf(1)] }, "unexpected-key", "one too many"],
  [IKPSK2, "initiator", { presharedKeys: [new Uint8Array(31)] }, "bad-key", "31 bytes"],
  [
    IKPSK2,
    "initiator",
    {
      staticKey: { ...KEYS.stranger, privateKey: new Uint8Array(33) },
    },
    "bad-key",
    "33 bytes",
  ],
  [
    IKPSK2,
    "initiator",
    {
      ephemeralKey: { ...KEYS.stranger, publicKey: new Uint8Array(0) },
    },
    "bad-key",
    "empty",
  ],
  [XX, "initiator", { presharedKeys: [pskOf(0)] }, "unexpected-key", "XX has no PSK"],
  [
    "Noise_NN_25519_ChaChaPoly_SHA256",
    "initiator",
    {
      remoteStaticKey: KEYS.stranger.publicKey,
    },
    "unexpected-key",
    "nobody could prove it",
  ],
  [
    "Noise_NK_25519_ChaChaPoly_SHA256",
    "responder",
    {
      remoteStaticKey: KEYS.stranger.publicKey,
    },
    "unexpected-key",
    "the initiator has none",
  ],
  [
    "Noise_KK_25519_ChaChaPoly_SHA256",
    "responder",
    {
      remoteStaticKey: undefined,
    },
    "missing-key",
    "KK knows both",
  ],
];

Deno.test("HandshakeState refuses keys that its protocol lacks or has no place for", () => {
  for (const [name, role, change, fault, why] of BAD_OPTIONS) {
    const options = { ...sideOptions(parseProtocolName(name), role, false), ...change };
    throws(
      () => new HandshakeState(options as unknown as HandshakeStateOptions),
      { name: "HandshakeError", fault },
      `${name} ${role}: ${why}`,
    );
  }
  const protocol = parseProtocolName("Noise_NN_25519_ChaChaPoly_SHA256");
  const role = "observer" as Role;
  throws(() => new HandshakeState({ protocol, role }), TypeError);
});

Deno.test("HandshakeState refuses calls out of turn and goes on", () => {
  for (const name of eachPattern()) {
    const pair = startPair(name);
    for (const i of messagesOf(name).keys()) {
      const [writer, reader] = turn(pair, i);
      throws(() => reader.writeMessage(), { fault: "not-our-turn" });
      throws(() => writer.readMessage(new Uint8Array(200)), { fault: "not-our-turn" });
      throws(() => writer.split(), { fault: "not-finished" });
      reader.readMessage(writer.writeMessage());
    }
    for (const side of [pair.initiator, pair.responder]) {
      throws(() => side.writeMessage(), { fault: "already-finished" });
      throws(() => side.readMessage(new Uint8Array(200)), { fault: "already-finished" });
    }
    checkCompletes(pair);
    throws(() => pair.initiator.split(), { fault: "already-split" });
  }
});

Deno.test("HandshakeState.onRemoteStaticKey is asked right after the key was opened", () => {
  const { backend, counts, reset } = countingBackend();
  const asked: Uint8Array[] = [];
  const cause = new Error("unknown key");
  let isKnown = false;
  const pair = startPair(IKPSK2, {
    responder: {
      crypto: backend,
      onRemoteStaticKey(key) {
        asked.push(key);
        if (!isKnown) throw cause;
      },
    },
  });
  const message = pair.initiator.writeMessage(payloadOf(3));
  const before = pair.responder.handshakeHash;
  reset();
  throws(() => pair.responder.readMessage(message), { fault: "refused", cause });
  deepStrictEqual(asked, [KEYS.initiatorStatic.publicKey]);
  strictEqual(counts.dh, 1, "es and nothing else");
  deepStrictEqual(pair.responder.handshakeHash, before);
  strictEqual(pair.responder.remoteStaticKey, undefined);
  isKnown = true;
  asked.length = 0;
  deepStrictEqual(pair.responder.readMessage(message), payloadOf(3));
  asked[0]!.fill(0); // a copy
  deepStrictEqual(pair.responder.remoteStaticKey, KEYS.initiatorStatic.publicKey);
  checkCompletes(pair, 1);
});

Deno.test("HandshakeState takes only the static key that it was told to expect", () => {
  const pinned = (key: Uint8Array) => startPair(XX, { initiator: { remoteStaticKey: key } });
  checkCompletes(pinned(KEYS.responderStatic.publicKey));
  const pair = pinned(KEYS.stranger.publicKey);
  pair.responder.readMessage(pair.initiator.writeMessage());
  const answer = pair.responder.writeMessage();
  throws(() => pair.initiator.readMessage(answer), { fault: "refused" });
  strictEqual(pair.initiator.remoteStaticKey, undefined);
});

Deno.test("HandshakeState asks for each PSK when its token is reached", () => {
  const asked: [side: string, index: number, remote: boolean][] = [];
  const chooser = (side: string) => ({
    presharedKeys(index: number, remote?: Uint8Array) {
      asked.push([side, index, remote !== undefined]);
      return pskOf(index);
    },
  });
  const pair = startPair("Noise_XXpsk0+psk3_25519_ChaChaPoly_SHA256", {
    initiator: chooser("initiator"),
    responder: chooser("responder"),
  });
  checkCompletes(pair);
  deepStrictEqual(asked, [
    ["initiator", 0, false],
    ["responder", 0, false],
    ["initiator", 1, true],
    ["responder", 1, true],
  ]);
});

Deno.test("HandshakeState survives a PSK that is wrong, missing or of another length", () => {
  let psk: (() => Uint8Array) | undefined;
  const pair = startPair(IKPSK2, { initiator: { presharedKeys: () => psk!() } });
  pair.responder.readMessage(pair.initiator.writeMessage());
  const answer = pair.responder.writeMessage();
  const cause = new Error("no such epoch");
  const attempts: [choose: () => Uint8Array, fault: HandshakeFault][] = [
    [() => pskOf(1), "bad-tag"],
    [() => new Uint8Array(32), "bad-tag"],
    [() => new Uint8Array(16), "bad-key"],
    [() => undefined as unknown as Uint8Array, "bad-key"],
    [() => {
      throw cause;
    }, "refused"],
  ];
  for (const [choose, fault] of attempts) {
    psk = choose;
    throws(() => pair.initiator.readMessage(answer), { fault });
  }
  psk = () => pskOf(0);
  pair.initiator.readMessage(answer);
  checkCompletes(pair, 2);
});

Deno.test("HandshakeState.readMessage() lets the caller refuse a payload, state unchanged", () => {
  const pair = startPair(IKPSK2);
  pair.responder.readMessage(pair.initiator.writeMessage());
  const answer = pair.responder.writeMessage(payloadOf(1));
  const before = pair.initiator.handshakeHash;
  const cause = new Error("another index");
  throws(() =>
    pair.initiator.readMessage(answer, (payload) => {
      deepStrictEqual(payload, payloadOf(1));
      throw cause;
    }), { fault: "refused", cause });
  deepStrictEqual(pair.initiator.handshakeHash, before);
  deepStrictEqual(pair.initiator.readMessage(answer, () => {}), payloadOf(1));
  checkCompletes(pair, 2);
});

Deno.test("HandshakeState writes a fresh ephemeral key each time, and again after a failure", () => {
  let isRefused = true;
  const pair = startPair("Noise_NNpsk0_25519_ChaChaPoly_SHA256", {
    initiator: {
      presharedKeys() {
        if (isRefused) throw new Error("not yet");
        return pskOf(0);
      },
    },
  });
  throws(() => pair.initiator.writeMessage(), { fault: "refused" });
  isRefused = false;
  checkCompletes(pair);
  const ephemeral = () => startPair(XX).initiator.writeMessage().slice(0, 32);
  notDeepStrictEqual(ephemeral(), ephemeral());
});

Deno.test("HandshakeState.split() leaves the given keys alone and keeps no secret", () => {
  const pair = startPair(IKPSK2, { isFixed: true });
  finish(pair);
  const hash = pair.initiator.handshakeHash;
  pair.initiator.split();
  deepStrictEqual(KEYS.initiatorStatic.privateKey, new Uint8Array(32).fill(0x11));
  deepStrictEqual(KEYS.initiatorEphemeral.privateKey, new Uint8Array(32).fill(0x33));
  deepStrictEqual(pskOf(0), new Uint8Array(32).fill(0x80));
  deepStrictEqual(pair.initiator.handshakeHash, hash);
  strictEqual(JSON.stringify(pair.initiator), `"HandshakeState ${IKPSK2}"`);
});

/** Protocol, DH results that each side computes in a whole handshake. */
const PRICES: [name: string, dh: number][] = [
  ["Noise_NN_25519_ChaChaPoly_SHA256", 1],
  ["Noise_IK_25519_ChaChaPoly_SHA256", 4],
  [IKPSK2, 4],
  [XX, 3],
  ["Noise_KK_25519_ChaChaPoly_SHA256", 4],
];

Deno.test("HandshakeState computes each Diffie-Hellman once", () => {
  for (const [name, dh] of PRICES) {
    const { backend, counts } = countingBackend();
    finish(startPair(name, { crypto: backend }));
    strictEqual(counts.dh, 2 * dh, name);
    strictEqual(counts.keys, 2, "one ephemeral key each");
  }
});
