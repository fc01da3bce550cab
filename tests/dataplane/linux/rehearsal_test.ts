/**
 * Rehearsals, played to their end and broken off. They keep to themselves: every descriptor that they
 * are given is -1, and whatever they share with the control thread must stay as it was.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { PacketCipher } from "../../../ffi/libcrypto.ts";
import { packetCipher } from "../../../lib/dataplane/linux/cipher.ts";
import { DatagramRing } from "../../../lib/dataplane/linux/datagram_ring.ts";
import { newHandedRing } from "../../../lib/dataplane/linux/handed_datagrams.ts";
import type { WorkerSetup } from "../../../lib/dataplane/linux/messages.ts";
import { Rehearsal } from "../../../lib/dataplane/linux/rehearsal.ts";
import { DROP_BLOCK_SIZE } from "../../../lib/dataplane/linux/shared_state.ts";
import { DEFAULT_LIMITS } from "../../../lib/session/limits.ts";

/** Steps that no rehearsal takes. */
const STEPS_MAX = 10_000;
/** Two thirds of the packets: the others are of kinds that are not sealed or opened. */
const PACKETS_LEAST = 20_000;
const ROLES = ["egress", "ingress"] as const;

for (const role of ROLES) {
  Deno.test(`Rehearsal of ${role} plays enough packets, ends and gives back all`, async () => {
    const scene = await Scene.create(role);
    let steps = 0;
    while (scene.rehearsal.step(scene.now)) {
      scene.now += 2;
      ok(++steps < STEPS_MAX, "it ends");
      if (steps === 1) ok(countDescriptors() > scene.descriptorsBefore, "it has some meanwhile");
    }
    const { sealed, opened, refused } = scene.calls;
    const played = role === "egress" ? sealed : opened;
    ok(played >= PACKETS_LEAST, `${played} packets`);
    strictEqual(refused, 0, "each that is opened is opened with success");
    const calls = { ...scene.calls };
    scene.assertNothingIsLeft();
    strictEqual(scene.rehearsal.step(scene.now), false, "it stays ended");
    scene.rehearsal.close();
    strictEqual(scene.rehearsal.step(scene.now), false);
    deepStrictEqual(scene.calls, calls);
    scene.assertNothingIsLeft();
  });

  Deno.test(`Rehearsal.close() of ${role} gives back all, whenever it comes`, async () => {
    // One step has played one of the two stages, two have played both.
    for (const steps of [0, 1, 2, 5]) {
      const scene = await Scene.create(role);
      for (let i = 0; i < steps; i++) strictEqual(scene.rehearsal.step(scene.now), true);
      for (let times = 0; times < 2; times++) {
        scene.rehearsal.close();
        scene.assertNothingIsLeft();
      }
      const { made } = scene.calls;
      strictEqual(made > 0, steps > 0);
      strictEqual(scene.rehearsal.step(scene.now), false, `ended after ${steps} steps`);
      strictEqual(scene.calls.made, made, "and nothing is made any more");
      scene.assertNothingIsLeft();
    }
  });
}

/** A rehearsal, and all that it could leave behind. */
class Scene {
  now = 1_000;
  readonly calls = { made: 0, freed: 0, sealed: 0, opened: 0, refused: 0 };
  readonly rehearsal: Rehearsal;
  readonly descriptorsBefore: number;
  readonly #shared: readonly SharedArrayBuffer[];

  private constructor(role: WorkerSetup["role"], cipher: PacketCipher) {
    const handed = newHandedRing().buffer;
    const ring = new DatagramRing().buffer;
    const drops = new SharedArrayBuffer(DROP_BLOCK_SIZE);
    this.#shared = [handed, ring, drops];
    const { port1, port2 } = new MessageChannel();
    for (const port of [port1, port2]) port.close();
    const setup: WorkerSetup = {
      role,
      port: port1,
      eventFd: -1,
      tunFd: -1,
      ipv4Fd: -1,
      ipv6Fd: -1,
      hasUdpSegmentation: true,
      timeOrigin: performance.timeOrigin,
      limits: DEFAULT_LIMITS,
      binding: "strict",
      handed,
      drops,
      ring,
    };
    this.descriptorsBefore = countDescriptors();
    this.rehearsal = new Rehearsal(setup, this.#watched(cipher));
  }

  static async create(role: WorkerSetup["role"]): Promise<Scene> {
    return new Scene(role, await packetCipher());
  }

  /** No descriptor, no key, and no word in what it shares with the control thread. */
  assertNothingIsLeft(): void {
    strictEqual(countDescriptors(), this.descriptorsBefore, "descriptors");
    strictEqual(this.calls.freed, this.calls.made, "sealers and openers");
    for (const buffer of this.#shared) {
      ok(new Uint8Array(buffer).every((byte) => byte === 0), "it writes to nothing of the worker");
    }
  }

  /** Counts, and sees that each is freed once and not used after that. */
  #watched(cipher: PacketCipher): PacketCipher {
    const { calls } = this;
    const freeing = (free: () => void) => {
      calls.made++;
      let isFree = false;
      const use = () => {
        if (isFree) throw new Error("used after it was freed");
      };
      return {
        use,
        free() {
          use();
          isFree = true;
          calls.freed++;
          free();
        },
      };
    };
    return {
      name: cipher.name,
      sealer(key) {
        const sealer = cipher.sealer(key);
        const { use, free } = freeing(() => sealer.free());
        return {
          seal(...args) {
            use();
            calls.sealed++;
            sealer.seal(...args);
          },
          free,
        };
      },
      opener(key) {
        const opener = cipher.opener(key);
        const { use, free } = freeing(() => opener.free());
        return {
          open(...args) {
            use();
            const isOpen = opener.open(...args);
            if (isOpen) calls.opened++;
            else calls.refused++;
            return isOpen;
          },
          free,
        };
      },
    };
  }
}

function countDescriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}
