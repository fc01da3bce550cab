/**
 * T6 and T8 of docs/protocol.md §7: cookies that are stolen, reused, too old or forged, at the
 * responder and at the initiator.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { cookieKey, openCookie, withMac2 } from "../../lib/session/cookie.ts";
import { COOKIE_BUCKET_MS, COOKIE_SECRET_MS } from "../../lib/session/limits.ts";
import type { Path } from "../../lib/session/path.ts";
import {
  type Cookie,
  DATAGRAM_LENGTH,
  decodeHandshake,
  encodeCookie,
} from "../../lib/wire/datagram.ts";
import { ipv4, RESPONDER, sameNetwork, Scene, udp } from "./admission_scene.ts";

const HOME = udp([203, 0, 113, 7], 4000);
const PROFILES = ["mesh", "allowed-peers"] as const;

for (const profile of PROFILES) {
  Deno.test(`${profile}: who follows the cookie gets in under load, by the same message 1`, () => {
    const scene = new Scene(profile);
    const { plain, proving } = scene.proven(HOME);
    deepStrictEqual(proving.subarray(0, -16), plain.subarray(0, -16), "mac2 and nothing else");
    ok(plain.subarray(-16).every((byte) => byte === 0));
    ok(proving.subarray(-16).some((byte) => byte !== 0));
    strictEqual(scene.responder.sessions.peer(scene.client.nodeId)!.keypairs.length, 0);
    const [response] = scene.responder.receive(proving, HOME);
    strictEqual(response?.[0], 2);
    scene.client.receive(response!, RESPONDER);
    ok(scene.client.sessions.peer(scene.responder.nodeId)!.current !== undefined);
  });

  Deno.test(`${profile}: a cookie is 64 bytes, shorter than what it answers`, () => {
    const scene = new Scene(profile);
    scene.load();
    const initiation = scene.client.initiate(scene.responder);
    const [cookie] = scene.responder.receive(initiation, HOME);
    strictEqual(cookie!.length, 64);
    ok(cookie!.length < initiation.length);
  });
}

Deno.test("a cookie is never longer than an initiation of its profile", () => {
  for (const { initiation, cookie } of Object.values(DATAGRAM_LENGTH)) ok(cookie <= initiation);
});

/** How long after the cookie was made, what else is changed, and whether it still holds. */
const USES: {
  why: string;
  from?: Path;
  afterMs?: number;
  isOtherEphemeral?: true;
  holds: boolean;
}[] = [
  { why: "at once, from there", holds: true },
  { why: "in the same bucket", afterMs: COOKIE_BUCKET_MS / 2 - 1, holds: true },
  { why: "in the next bucket", afterMs: COOKIE_BUCKET_MS, holds: true },
  { why: "at the end of the next", afterMs: 1.5 * COOKIE_BUCKET_MS - 1, holds: true },
  { why: "in the one after that", afterMs: 1.5 * COOKIE_BUCKET_MS, holds: false },
  { why: "much later", afterMs: 10 * COOKIE_BUCKET_MS, holds: false },
  { why: "from another port", from: udp([203, 0, 113, 7], 4001), holds: false },
  { why: "from another port, high byte", from: udp([203, 0, 113, 7], 4256), holds: false },
  { why: "from another address", from: udp([203, 0, 113, 8], 4000), holds: false },
  { why: "from that address in IPv6", from: sameNetwork(1), holds: false },
  { why: "by a stream", from: { kind: "relay", key: "relay x", remote: "x" }, holds: false },
  { why: "with another ephemeral key", isOtherEphemeral: true, holds: false },
];

for (const { why, from = HOME, afterMs = 0, isOtherEphemeral = false, holds } of USES) {
  Deno.test(`T6: a cookie used ${why} is ${holds ? "accepted" : "refused"}`, () => {
    const scene = new Scene();
    const { responder, client } = scene;
    scene.clock.advance(COOKIE_BUCKET_MS / 2 - scene.clock.unixNow() % COOKIE_BUCKET_MS);
    scene.load();
    const plain = client.initiate(responder);
    const cookie = decodeHandshake(responder.receive(plain, HOME)[0]!) as Cookie;
    const key = cookieKey(NATIVE_BACKEND, responder.key.publicKey);
    const opened = openCookie(NATIVE_BACKEND, key, plain.subarray(-32, -16), cookie)!;
    const initiation = isOtherEphemeral ? client.initiate(responder) : plain;
    scene.clock.advance(afterMs);
    scene.load();
    const [answer] = responder.receive(withMac2(NATIVE_BACKEND, opened, initiation), from);
    if (holds) return strictEqual(answer?.[0], 2);
    strictEqual(answer, undefined, "not even a cookie");
    strictEqual(responder.dropped("bad-mac2"), 1);
    strictEqual(responder.crypto.counts.dh, 0);
  });
}

Deno.test("T6: a cookie is refused when the secret has changed, though its time is not over", () => {
  for (const holds of [true, false]) {
    const scene = new Scene();
    scene.proven(HOME); // the first cookie, so the secret is new now
    scene.clock.advance(COOKIE_SECRET_MS - 10);
    const { proving } = scene.proven(HOME);
    scene.clock.advance(holds ? 9 : 10);
    strictEqual(scene.responder.receive(proving, HOME)[0]?.[0], holds ? 2 : undefined);
    strictEqual(scene.responder.dropped("bad-mac2"), holds ? 0 : 1);
  }
});

Deno.test("T6: a cookie made before a restart is refused after it", () => {
  const scene = new Scene();
  const { proving } = scene.proven(HOME);
  const random = (length: number) => new Uint8Array(length).fill(9);
  const restarted = new Scene("mesh", { random });
  restarted.load();
  deepStrictEqual(restarted.responder.receive(proving, HOME), []);
  strictEqual(restarted.responder.dropped("bad-mac2"), 1);
});

Deno.test("T6: a cookie does not admit whom the roster does not know", () => {
  const scene = new Scene();
  const stranger = scene.node("stranger", false);
  const { proving } = scene.proven(HOME, stranger);
  scene.responder.crypto.reset();
  deepStrictEqual(scene.responder.receive(proving, HOME), []);
  strictEqual(scene.responder.dropped("unknown-static-key"), 1);
  strictEqual(scene.responder.crypto.counts.dh, 1);
});

/** A cookie datagram as the responder would seal it, whatever is in it. */
function sealedCookie(scene: Scene, initiation: Uint8Array, change: {
  readonly staticKey?: Uint8Array;
  readonly mac1?: Uint8Array;
  readonly receiverIndex?: number;
} = {}): Uint8Array {
  const { senderIndex, mac1 } = decodeHandshake(initiation) as Exclude<
    ReturnType<typeof decodeHandshake>,
    Cookie | undefined
  >;
  const nonce = new Uint8Array(24).fill(3);
  const key = cookieKey(NATIVE_BACKEND, change.staticKey ?? scene.responder.key.publicKey);
  const cookie = new Uint8Array(16).fill(4);
  return encodeCookie({
    profile: scene.profile,
    receiverIndex: change.receiverIndex ?? senderIndex,
    nonce,
    sealed: NATIVE_BACKEND.sealX(key, nonce, change.mac1 ?? mac1, cookie),
  });
}

Deno.test("T8: forged cookies are ignored, and the real one still serves", () => {
  const scene = new Scene();
  const { client, responder } = scene;
  scene.load();
  const initiation = client.initiate(responder);
  const [genuine] = responder.receive(initiation, HOME);
  const forged: [datagram: Uint8Array, from: Path, reason: string, why: string][] = [
    [sealedCookie(scene, initiation), ipv4(1), "wrong-path", "from elsewhere"],
    [sealedCookie(scene, initiation), udp([192, 0, 2, 1], 51_821), "wrong-path", "other port"],
    [genuine!, ipv4(1), "wrong-path", "the real one from elsewhere"],
    [
      sealedCookie(scene, initiation, { staticKey: client.key.publicKey }),
      RESPONDER,
      "bad-cookie",
      "of another responder",
    ],
    [
      sealedCookie(scene, initiation, { mac1: new Uint8Array(16) }),
      RESPONDER,
      "bad-cookie",
      "by one who did not see the initiation",
    ],
    [
      sealedCookie(scene, initiation, { receiverIndex: 7 }),
      RESPONDER,
      "no-handshake-outstanding",
      "to another index",
    ],
  ];
  for (let at = 8; at < 64; at++) {
    const altered = genuine!.slice();
    altered[at]! ^= 1;
    forged.push([altered, RESPONDER, "bad-cookie", `byte ${at} altered`]);
  }
  for (const [datagram, from, reason, why] of forged) {
    deepStrictEqual(client.receive(datagram, from), [], why);
    deepStrictEqual([...client.drops], [[reason, 1]], why);
    client.drops.clear();
  }
  const [proving] = client.receive(genuine!, RESPONDER);
  const [response] = responder.receive(proving!, HOME);
  client.receive(response!, RESPONDER);
  ok(client.sessions.peer(responder.nodeId)!.current !== undefined);
});

Deno.test("T8: one who sees the initiation and forges its cookie does not keep the response out", () => {
  const scene = new Scene();
  const { client, responder } = scene;
  const initiation = client.initiate(responder);
  const [misled] = client.receive(sealedCookie(scene, initiation), RESPONDER);
  deepStrictEqual(misled!.subarray(0, -16), initiation.subarray(0, -16));
  deepStrictEqual(responder.receive(misled!, HOME), [], "a wrong mac2 is not answered");
  const [response] = responder.receive(initiation, HOME);
  client.receive(response!, RESPONDER);
  ok(client.sessions.peer(responder.nodeId)!.current !== undefined);
});

Deno.test("T8: one cookie for each endpoint: more make nobody send more", () => {
  const scene = new Scene();
  const { client, responder } = scene;
  const initiation = client.initiate(responder);
  const other = ipv4(9);
  const outstanding = client.sessions.peer(responder.nodeId)!.outstanding!;
  strictEqual(client.sessions.goingBy(other, outstanding), outstanding);
  const cookie = sealedCookie(scene, initiation);
  strictEqual(client.receive(cookie, RESPONDER).length, 1);
  for (let i = 0; i < 100; i++) strictEqual(client.receive(cookie, RESPONDER).length, 0);
  strictEqual(client.dropped("replayed"), 100);
  strictEqual(client.sessions.goingBy(other, outstanding), outstanding, "mac2 is per path");
  strictEqual(client.receive(cookie, other).length, 1);
});

Deno.test("an initiation repeated on a path keeps the mac2 that was asked for there", () => {
  const scene = new Scene();
  const { proving } = scene.proven(HOME);
  const { client, responder } = scene;
  const outstanding = client.sessions.peer(responder.nodeId)!.outstanding!;
  deepStrictEqual(client.sessions.goingBy(RESPONDER, outstanding), proving);
  ok(outstanding.subarray(-16).every((byte) => byte === 0));
  const next = client.initiate(responder);
  ok(next.subarray(-16).every((byte) => byte === 0), "a cookie is for one initiation");
});

Deno.test("a cookie for an initiation that was answered meanwhile is ignored", () => {
  const scene = new Scene();
  const { client, responder } = scene;
  const initiation = client.initiate(responder);
  const cookie = sealedCookie(scene, initiation);
  client.receive(responder.receive(initiation, HOME)[0]!, RESPONDER);
  deepStrictEqual(client.receive(cookie, RESPONDER), []);
  strictEqual(client.dropped("no-handshake-outstanding"), 1);
});

Deno.test("no cookie goes where nothing may be sent", () => {
  const scene = new Scene("mesh", { mayHealTo: (path) => path.endpoint!.address[0] !== 127 });
  scene.load();
  const initiation = scene.client.initiate(scene.responder);
  deepStrictEqual(scene.responder.receive(initiation, udp([127, 0, 0, 1])), []);
  strictEqual(scene.responder.receive(initiation, HOME).length, 1);
});
