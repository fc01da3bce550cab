import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { libcryptoCiphers } from "../../../ffi/libcrypto.ts";
import { WASM_AEAD } from "../../../lib/crypto/transport_aead.ts";
import { portableCipher } from "../../../lib/dataplane/linux/portable_cipher.ts";
import { parseIpAddress } from "../../../lib/net/ip_address.ts";
import { udpPayload } from "../../fakes/packets.ts";
import { packetIn, partial } from "../contract_scene.ts";
import { IngressScene, udpPath } from "./ingress_scene.ts";

const CIPHER = libcryptoCiphers()[0] ?? portableCipher(WASM_AEAD);
const PATH = udpPath(4000);

function scene(): IngressScene {
  const scene = new IngressScene(CIPHER);
  scene.tell({ kind: "own-addresses", addresses: [parseIpAddress("100.64.0.1")] });
  scene.addPeer("aa", "100.64.0.2/32");
  scene.comesFrom(PATH);
  return scene;
}

Deno.test("Ingress.batch() keeps its memory and path while commands come in the middle of it", () => {
  const it = scene();
  const [udp, stream] = [
    it.install("aa", { path: PATH }),
    it.install("aa", { path: { stream: 7 } }),
  ];
  const waits = it.install("aa", { path: PATH, isConfirmed: false });
  const [a, b, c, d] = [1, 2, 3, 4].map((i) => packetIn(4, new Uint8Array(40).fill(i))) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  it.batch(it.sealed(partial(d), waits));
  const [first, second] = [it.sealed(partial(a), udp), it.sealed(partial(b), udp)];
  const unknown = first.slice();
  unknown[4]! ^= 0x55;
  const arrived = it.sealed(partial(c), stream);
  it.onLookForCommands = () => {
    it.arrivals.push(7, arrived, 0, arrived.length);
    it.tell({ kind: "confirm", localIndex: waits.localIndex, path: { stream: 7 } });
  };
  it.batch(first, unknown, second);
  strictEqual(it.ingress.turn(1_000, -1), false);
  // Payloads only: joined packets get an identification each.
  const expected = [a, b, d, c].map(udpPayload);
  deepStrictEqual(it.packets().map(udpPayload), expected, "the batch, then what came meanwhile");
  strictEqual(it.drops("unknown-index"), 1);
  strictEqual(it.dropped, 1);
});

Deno.test("Ingress.turn() takes what came by streams in order, each by its own way", () => {
  const it = scene();
  const ways = [7, 8].map((stream) => ({ stream, keys: it.install("aa", { path: { stream } }) }));
  const sent: Uint8Array[] = [];
  for (let i = 0; i < 400; i++) {
    const { stream, keys } = ways[Math.floor(i / 3) % 2]!;
    const packet = packetIn(4, new Uint8Array(1 + i * 3).fill(i));
    const datagram = it.sealed(packet, keys);
    ok(it.arrivals.push(stream, datagram, 0, datagram.length));
    sent.push(packet);
  }
  while (it.ingress.turn(1_000, -1)) { /* A turn is some batches. */ }
  deepStrictEqual(it.packets(), sent);
  strictEqual(it.dropped, 0);
  const [{ stream }, { keys }] = ways as [typeof ways[0], typeof ways[0]];
  const foreign = it.sealed(packetIn(4), keys);
  it.arrivals.push(stream, foreign, 0, foreign.length);
  it.ingress.turn(1_000, -1);
  strictEqual(it.drops("wrong-path"), 1);
});

Deno.test("Ingress delivers nothing that a revocation overtook, at any moment", () => {
  const it = scene();
  for (const isDuring of [false, true]) {
    const keys = it.install("aa", { path: PATH });
    it.batch(it.sealed(packetIn(4), keys));
    strictEqual(it.packets().length, 1, "before");
    const datagrams = [1, 2, 3].map(() => it.sealed(packetIn(4), keys));
    const { opens } = it.aead;
    if (isDuring) it.onOpen = () => keys.shared.revoke();
    else keys.shared.revoke();
    it.batch(...datagrams);
    deepStrictEqual(it.packets(), []);
    strictEqual(it.aead.opens - opens, isDuring ? 1 : 0, "no key is used after it");
    it.onOpen = () => {};
  }
  ok(it.drops("expired-keypair") === 6);
});
