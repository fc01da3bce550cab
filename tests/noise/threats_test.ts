/**
 * Threats of docs/protocol.md §7 as far as they are decided by the handshake alone.
 *
 * @module
 */

import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { compareBytes, equalBytes, fromHex } from "../../lib/base/bytes.ts";
import { type CryptoBackend, NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { diffieHellman, keyPairFrom } from "../../lib/crypto/x25519.ts";
import { HandshakeError } from "../../lib/noise/errors.ts";
import { HandshakeState, type Role } from "../../lib/noise/handshake_state.ts";
import { controlPrologue, PROFILES } from "../../lib/noise/profiles.ts";
import { parseProtocolName } from "../../lib/noise/protocol_name.ts";
import { countingBackend } from "../fakes/crypto_counter.ts";
import lowOrder from "../vectors/x25519_low_order_points.json" with { type: "json" };
import { everyProtocolName, finish, KEYS, pskOf, sideOptions, startPair, turn } from "./pairs.ts";

const IKPSK2 = "Noise_IKpsk2_25519_ChaChaPoly_SHA256";
const IK = "Noise_IK_25519_ChaChaPoly_SHA256";
const XX = "Noise_XX_25519_ChaChaPoly_SHA256";
const LOW_ORDER = lowOrder.points.map((point) => fromHex(point.public));
const NO_AD = new Uint8Array(0);

// T12, T13

/** What two sides may believe to be doing; prologue and protocol of each. */
const BELIEFS: [what: string, protocolName: string, prologue: Uint8Array][] = (() => {
  const [meshA, meshB] = [new Uint8Array(16).fill(0xaa), new Uint8Array(16).fill(0xbb)];
  const header = (version: number, profile: number, index: number) =>
    Uint8Array.of(1, version, profile, 0, index, 0, 0, 0);
  const { mesh, pair } = PROFILES;
  const [allowed, interop] = [PROFILES["allowed-peers"], PROFILES["pair-interop"]];
  const h1 = header(1, 1, 7);
  return [
    ["mesh", mesh.protocol.name, mesh.prologue(meshA, h1)],
    ["mesh, other mesh id", mesh.protocol.name, mesh.prologue(meshB, h1)],
    [
      "mesh, other version in the header",
      mesh.protocol.name,
      mesh.prologue(meshA, header(2, 1, 7)),
    ],
    [
      "mesh, other profile in the header",
      mesh.protocol.name,
      mesh.prologue(meshA, header(1, 2, 7)),
    ],
    ["mesh, other sender index", mesh.protocol.name, mesh.prologue(meshA, header(1, 1, 8))],
    ["mesh, no prologue", mesh.protocol.name, NO_AD],
    ["allowed-peers", allowed.protocol.name, allowed.prologue(meshA, header(1, 2, 7))],
    ["allowed-peers, prologue of mesh", allowed.protocol.name, mesh.prologue(meshA, h1)],
    ["mesh, prologue of allowed-peers", mesh.protocol.name, allowed.prologue(meshA, h1)],
    ["mesh with BLAKE2s", "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", mesh.prologue(meshA, h1)],
    ["mesh with psk1", "Noise_IKpsk1_25519_ChaChaPoly_SHA256", mesh.prologue(meshA, h1)],
    ["control", mesh.protocol.name, controlPrologue(meshA)],
    ["control, other mesh id", mesh.protocol.name, controlPrologue(meshB)],
    ["pair", pair.protocol.name, pair.prologue(meshA, header(1, 3, 7))],
    ["pair, other sender index", pair.protocol.name, pair.prologue(meshA, header(1, 3, 8))],
    ["pair-interop", interop.protocol.name, interop.prologue(meshA, header(1, 4, 7))],
    ["pair with psk3", "Noise_XXpsk3_25519_ChaChaPoly_SHA256", interop.prologue(meshA, h1)],
  ];
})();

Deno.test("T12, T13: only two sides that believe the same complete a handshake", () => {
  for (const [i, [ours, ourName, ourPrologue]] of BELIEFS.entries()) {
    for (const [j, [theirs, theirName, theirPrologue]] of BELIEFS.entries()) {
      const initiator = startPair(ourName, { both: { prologue: ourPrologue } }).initiator;
      const responder = startPair(theirName, { both: { prologue: theirPrologue } }).responder;
      let isAgreed = true;
      try {
        finish({ initiator, responder });
      } catch (error) {
        if (!(error instanceof HandshakeError)) throw error;
        isAgreed = false;
      }
      strictEqual(isAgreed, i === j, `${ours} / ${theirs}`);
    }
  }
});

// T11

Deno.test("T11: two sides with different PSKs share no key and no session", () => {
  for (const name of everyProtocolName().filter((name) => name.includes("psk"))) {
    const pair = startPair(name, {
      responder: { presharedKeys: (index) => pskOf(index + 1) },
    });
    throws(() => finish(pair), { fault: "bad-tag" }, name);
    ok(!(pair.initiator.isComplete && pair.responder.isComplete), name);
  }
});

// T28

Deno.test("T28: a low-order ephemeral key is refused in every message of every pattern", () => {
  for (const name of everyProtocolName().filter((name) => name.endsWith("SHA256"))) {
    const pair = startPair(name);
    for (const i of [0, 1]) { // e is the beginning of both in each pattern
      const [writer, reader] = turn(pair, i);
      const message = writer.writeMessage();
      for (const point of LOW_ORDER) {
        const forged = Uint8Array.from(message);
        forged.set(point);
        throws(() => reader.readMessage(forged), { fault: "low-order-point" }, `${name} ${i}`);
      }
      reader.readMessage(message);
    }
    finish(pair, 2);
  }
});

Deno.test("T28: a low-order static key is refused where it is sent, before anybody is asked", () => {
  const senders: [name: string, role: Role][] = [
    [IK, "initiator"],
    [IKPSK2, "initiator"],
    [XX, "initiator"],
    [XX, "responder"],
    ["Noise_XK_25519_ChaChaPoly_SHA256", "initiator"],
    ["Noise_IX_25519_ChaChaPoly_SHA256", "initiator"],
    ["Noise_IX_25519_ChaChaPoly_SHA256", "responder"],
  ];
  for (const [name, role] of senders) {
    const victim = role === "initiator" ? "responder" : "initiator";
    for (const publicKey of LOW_ORDER) {
      const { privateKey } = KEYS.stranger;
      const pair = startPair(name, {
        [role]: { staticKey: { privateKey, publicKey } },
        [victim]: { onRemoteStaticKey: () => ok(false, `${name}: asked about a bad key`) },
      });
      throws(() => finish(pair), { fault: "low-order-point" }, `${name} ${role}`);
    }
  }
});

Deno.test("T28: a low-order static key is refused where it is known beforehand", () => {
  for (
    const [name, role] of [[IKPSK2, "initiator"], [
      "Noise_KK_25519_ChaChaPoly_SHA256",
      "responder",
    ]] as const
  ) {
    for (const remoteStaticKey of LOW_ORDER) {
      const options = { ...sideOptions(parseProtocolName(name), role, false), remoteStaticKey };
      throws(() => new HandshakeState(options), { fault: "low-order-point" }, name);
    }
  }
});

// T14

Deno.test("T14: an unknown initiator costs an IK responder one Diffie-Hellman", () => {
  for (const name of [IK, IKPSK2]) {
    const { backend, counts, reset } = countingBackend();
    const pair = startPair(name, {
      initiator: { staticKey: KEYS.stranger },
      responder: {
        crypto: backend,
        onRemoteStaticKey() {
          throw new Error("unknown");
        },
      },
    });
    const message = pair.initiator.writeMessage();
    reset();
    throws(() => pair.responder.readMessage(message), { fault: "refused" });
    strictEqual(counts.dh, 1, name);
    strictEqual(counts.keys, 0, name);
  }
});

// T29

/** A thief's backend: knows the victim's private key, and uses it wherever that helps. */
function thiefOf(victim: { privateKey: Uint8Array; publicKey: Uint8Array }, claimed: Uint8Array) {
  const guess = new Uint8Array(32).fill(0x77);
  const backend: CryptoBackend = {
    ...NATIVE_BACKEND,
    diffieHellman(privateKey, publicKey) {
      // DH(claimed peer, victim) = DH(victim, claimed peer), which the thief can compute.
      if (equalBytes(privateKey, guess) && equalBytes(publicKey, victim.publicKey)) {
        return diffieHellman(victim.privateKey, claimed);
      }
      return diffieHellman(privateKey, publicKey);
    },
  };
  return { backend, staticKey: { privateKey: guess, publicKey: claimed } };
}

Deno.test("T29: who stole the responder's key cannot be peer X to it", () => {
  for (const name of [IK, IKPSK2, XX]) {
    const claimed = KEYS.initiatorStatic.publicKey;
    const thief = thiefOf(KEYS.responderStatic, claimed);
    const pair = startPair(name, {
      initiator: { staticKey: thief.staticKey, crypto: thief.backend },
    });
    pair.responder.readMessage(pair.initiator.writeMessage());
    if (name !== XX) {
      // Known of IK: message 1 alone is believed (its ss needs only the stolen key) …
      deepStrictEqual(pair.responder.remoteStaticKey, claimed);
      // … but se is in message 2, and it takes X's private key or the responder's ephemeral one.
      const answer = pair.responder.writeMessage();
      throws(() => pair.initiator.readMessage(answer), { fault: "bad-tag" }, name);
      continue;
    }
    pair.initiator.readMessage(pair.responder.writeMessage());
    const claim = pair.initiator.writeMessage();
    throws(() => pair.responder.readMessage(claim), { fault: "bad-tag" }, name);
  }
});

Deno.test("T29: who stole the initiator's key cannot be peer X to it", () => {
  for (const name of [IK, IKPSK2, XX]) {
    const claimed = KEYS.responderStatic.publicKey;
    const thief = thiefOf(KEYS.initiatorStatic, claimed);
    const pair = startPair(name, {
      responder: { staticKey: thief.staticKey, crypto: thief.backend },
    });
    const first = pair.initiator.writeMessage();
    if (name !== XX) {
      throws(() => pair.responder.readMessage(first), { fault: "bad-tag" }, name);
      continue;
    }
    pair.responder.readMessage(first);
    const answer = pair.responder.writeMessage();
    throws(() => pair.initiator.readMessage(answer), { fault: "bad-tag" }, name);
  }
});

// T30

/** A backend whose Nth Diffie-Hellman result of a handshake is another one. */
function backendChanging(n: number): CryptoBackend {
  let count = 0;
  return {
    ...NATIVE_BACKEND,
    diffieHellman(privateKey, publicKey) {
      const secret = diffieHellman(privateKey, publicKey);
      if (count++ === n) secret[0]! ^= 1;
      return secret;
    },
  };
}

/** Both transport keys of a handshake with fixed keys, the Nth result changed on both sides. */
function keysWith(name: string, n: number): Uint8Array[] {
  const pair = startPair(name, {
    isFixed: true,
    initiator: { crypto: backendChanging(n) },
    responder: { crypto: backendChanging(n) },
  });
  finish(pair);
  const { send, receive } = pair.initiator.split();
  return [send.exportKey(), receive.exportKey()];
}

Deno.test("T30: both transport keys depend on every Diffie-Hellman result, ee among them", () => {
  for (const name of everyProtocolName()) {
    const tokens = parseProtocolName(name).pattern.messages.flat()
      .filter((token) => token.length === 2);
    ok(tokens.includes("ee"), `${name}: two ephemeral keys meet`);
    const usual = keysWith(name, -1);
    for (const [n, token] of tokens.entries()) {
      const changed = keysWith(name, n);
      ok(changed.every((key, i) => compareBytes(key, usual[i]!) !== 0), `${name} ${token}`);
    }
  }
});

Deno.test("T30: all static keys and PSKs without an ephemeral key do not give the keys again", () => {
  for (const name of [IKPSK2, IK, XX]) {
    const run = () => {
      const pair = startPair(name); // the same static keys and PSKs each time
      finish(pair);
      return pair.initiator.split().send.exportKey();
    };
    notDeepStrictEqual(run(), run());
  }
});

// T31, at the level of keys

Deno.test("T31: each direction has its own key", () => {
  const pair = startPair(IKPSK2);
  finish(pair);
  const [ours, theirs] = [pair.initiator.split(), pair.responder.split()];
  const sealed = ours.send.encryptWithAd(NO_AD, keyPairFrom(pskOf(0)).publicKey);
  throws(() => ours.receive.decryptWithAd(NO_AD, sealed), { fault: "bad-tag" }, "sent back");
  theirs.receive.decryptWithAd(NO_AD, sealed);
  throws(() => theirs.receive.decryptWithAd(NO_AD, sealed), { fault: "bad-tag" }, "sent again");
});
