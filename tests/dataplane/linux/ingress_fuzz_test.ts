import { ok } from "node:assert/strict";
import { libcryptoCiphers } from "../../../ffi/libcrypto.ts";
import { WASM_AEAD } from "../../../lib/crypto/transport_aead.ts";
import { portableCipher } from "../../../lib/dataplane/linux/portable_cipher.ts";
import { IngressFuzz } from "./ingress_fuzz.ts";
import { IngressScene } from "./ingress_scene.ts";

/** Datagrams; ten million in the soak. */
const DATAGRAMS = Deno.env.get("TUNNELMESH_SOAK") === "1" ? 10_000_000 : 200_000;
/** Shown when it fails, so that it can be repeated. */
const SEED = Number(Deno.env.get("TUNNELMESH_SEED") ?? 1 + Math.floor(Math.random() * 2 ** 31));
/** Bytes that may be added in the second half of the run. Ours: V8 enlarges its nursery at times. */
const GROWTH_MAX = 96 << 20;

Deno.test("Ingress delivers of a flood exactly what was sealed for us, and counts the rest", () => {
  const scene = new IngressScene(libcryptoCiphers()[0] ?? portableCipher(WASM_AEAD));
  const fuzz = new IngressFuzz(scene, SEED);
  const { tally } = fuzz;
  const startedAt = performance.now();
  let before = Infinity;
  try {
    for (let batches = 0; tally.datagrams < DATAGRAMS; batches++) {
      fuzz.batch();
      if (batches % 300 === 0) fuzz.confirmation();
      if (before === Infinity && tally.datagrams > DATAGRAMS / 2) before = Deno.memoryUsage().rss;
    }
  } catch (error) {
    throw new Error(`TUNNELMESH_SEED=${SEED}, datagram ${tally.datagrams}`, { cause: error });
  }
  const { opens, opened } = scene.aead;
  const growth = Deno.memoryUsage().rss - before;
  const seconds = (performance.now() - startedAt) / 1000;
  const figures = JSON.stringify({ ...tally, opens, opened, growth, seconds, seed: SEED });
  Deno.stdout.writeSync(new TextEncoder().encode(`figure: ingress fuzz: ${figures}\n`));
  ok(tally.liveIndex >= DATAGRAMS / 10 && opens >= DATAGRAMS / 10, "a tenth reaches the AEAD");
  ok(tally.sealed >= DATAGRAMS / 10 && opened >= DATAGRAMS / 10, "a tenth is sealed validly");
  ok(tally.delivered >= DATAGRAMS / 50, "many are delivered");
  ok(growth < GROWTH_MAX, `${growth} bytes more at the end`);
});
