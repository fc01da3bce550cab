/**
 * The engine against an independent implementation: noise-c, compiled to WebAssembly. It speaks the
 * patterns without PSK modifiers. It reads its module from its package, so it needs permissions.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import createNoise from "noise-c.wasm";
import { keyPairFrom } from "../../lib/crypto/x25519.ts";
import { PATTERNS } from "../../lib/noise/patterns.ts";
import { Handshake } from "../../mod.ts";

/** What is used of noise-c; the package has no types. */
interface NoiseC {
  constants: { NOISE_ROLE_INITIATOR: number; NOISE_ROLE_RESPONDER: number };
  HandshakeState: new (protocolName: string, role: number) => NoiseCHandshake;
}
interface NoiseCHandshake {
  Initialize(
    prologue: Uint8Array | null,
    s: Uint8Array | null,
    rs: Uint8Array | null,
    psk: Uint8Array | null,
  ): void;
  WriteMessage(payload: Uint8Array | null): Uint8Array;
  ReadMessage(message: Uint8Array, isPayloadNeeded: boolean): Uint8Array;
  GetHandshakeHash(): Uint8Array;
  Split(): [send: NoiseCCipher, receive: NoiseCCipher];
}
interface NoiseCCipher {
  EncryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  DecryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array;
}

const PROLOGUE = new TextEncoder().encode("a prologue");
const KEYS = {
  initiator: keyPairFrom(new Uint8Array(32).fill(0x11)),
  responder: keyPairFrom(new Uint8Array(32).fill(0x22)),
};

const names = Object.keys(PATTERNS).flatMap((pattern) =>
  ["SHA256", "BLAKE2s"].map((hash) => `Noise_${pattern}_25519_ChaChaPoly_${hash}`)
);

Deno.test("Handshake completes with noise-c in every pattern and either role", async () => {
  const noise = await new Promise<NoiseC>((resolve) => createNoise(resolve));
  for (const protocolName of names) {
    for (const role of ["initiator", "responder"] as const) exchange(noise, protocolName, role);
  }
  strictEqual(names.length, 14);
});

/** One handshake and some transport messages, ours in the role given. */
function exchange(noise: NoiseC, protocolName: string, role: "initiator" | "responder"): void {
  const what = `${protocolName}, ours the ${role}`;
  const other = role === "initiator" ? "responder" : "initiator";
  const pattern = PATTERNS[protocolName.slice(6, 8) as keyof typeof PATTERNS];
  const has = (side: "initiator" | "responder") =>
    pattern.knownBefore[side] ||
    pattern.messages.some((tokens: readonly string[], i) =>
      tokens.includes("s") && (i % 2 === 0) === (side === "initiator")
    );
  const ours = new Handshake({
    protocolName,
    role,
    prologue: PROLOGUE,
    staticKey: has(role) ? KEYS[role] : undefined,
    remoteStaticKey: pattern.knownBefore[other] ? KEYS[other].publicKey : undefined,
  });
  const { NOISE_ROLE_INITIATOR, NOISE_ROLE_RESPONDER } = noise.constants;
  const theirs = new noise.HandshakeState(
    protocolName,
    other === "initiator" ? NOISE_ROLE_INITIATOR : NOISE_ROLE_RESPONDER,
  );
  theirs.Initialize(
    PROLOGUE,
    has(other) ? KEYS[other].privateKey : null,
    pattern.knownBefore[role] ? KEYS[role].publicKey : null,
    null,
  );
  let isOurTurn = role === "initiator";
  for (const i of pattern.messages.keys()) {
    const payload = Uint8Array.from({ length: 1 + 10 * i }, (_, at) => at);
    const received = isOurTurn
      ? theirs.ReadMessage(ours.writeMessage(payload), true)
      : ours.readMessage(theirs.WriteMessage(payload));
    deepStrictEqual(Uint8Array.from(received), payload, `${what}, message ${i}`);
    isOurTurn = !isOurTurn;
  }
  deepStrictEqual(Uint8Array.from(theirs.GetHandshakeHash()), ours.handshakeHash, what);
  if (has(other)) deepStrictEqual(ours.remoteStaticKey, KEYS[other].publicKey, what);

  const { send, receive } = ours.split();
  const [theirSend, theirReceive] = theirs.Split();
  const ad = Uint8Array.of(1, 2, 3);
  for (const length of [0, 1, 1000]) {
    const text = new Uint8Array(length).fill(length & 0xff);
    const there = theirReceive.DecryptWithAd(ad, send.encryptWithAd(ad, text));
    deepStrictEqual(Uint8Array.from(there), text, what);
    deepStrictEqual(receive.decryptWithAd(ad, theirSend.EncryptWithAd(ad, text)), text, what);
  }
}
