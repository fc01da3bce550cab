/**
 * Paths die, improve and move while TCP and 100 packets a second pass: what is lost, and for how
 * long. A table shows it.
 *
 * @module
 */

import { deepStrictEqual, ok } from "node:assert/strict";
import { installPackages } from "../packages.ts";
import { IS_SOAK } from "./mesh.ts";
import { type Cost, formatCosts, SwitchingScene } from "./switching.ts";

const NEEDS_LAB = {
  ignore: await installPackages(["ip", "nsenter", "nft", "conntrack", "ping"]) !== undefined,
};
/** How soon a dead path is left; beside other tests on two cores nobody can promise two seconds. */
const LEFT_WITHIN_MS = IS_SOAK ? 2_000 : 10_000;
/** How soon a session heals that the peer can be asked to move. */
const HEALED_WITHIN_MS = IS_SOAK ? 500 : 10_000;
/** A gap up to here is the machine's: nothing is lost in it. */
const NO_GAP_MS = IS_SOAK ? 500 : 5_000;
/**
 * Packets that a machine may lose which has no processor for one of the nodes for a while, beside
 * those that its kernels count.
 */
const NOISE = IS_SOAK ? 0 : 50;
/** What kernels lost is no fault of the nodes, unless the machine is their own. */
const excused = (byKernels: number) => IS_SOAK ? 0 : byKernels;
const PLANES = IS_SOAK ? ["linux", "portable"] : ["linux"];

for (const plane of PLANES) {
  Deno.test(
    `paths are left in time and changed without loss under load, ${plane}`,
    NEEDS_LAB,
    async () => {
      await using scene = await SwitchingScene.create(["--data-plane", plane]);
      const { lab, coordinator, roamer } = scene;
      const costs = new Map<string, Cost>();
      const change = async (...args: Parameters<SwitchingScene["cost"]>) => {
        const [what] = args;
        costs.set(what, await scene.cost(...args));
      };
      const restart = async () => {
        await coordinator.process!.stop();
        await coordinator.start();
      };
      await change("coordinator restarted, direct path", "udp", restart);
      await lab.nat("b", "fullcone", "udp");
      await change("NAT rebound, peer behind an open one", "udp", () => lab.rebind("a"));
      await lab.nat("b", "cone", "udp");
      if (IS_SOAK) {
        await change("NAT rebound, peer behind a strict one", "udp", () => lab.rebind("a"));
      }
      await change("UDP blocked", "relay", () => lab.udp("a", false));
      if (IS_SOAK) await change("coordinator restarted, relay", "relay", restart);
      await change("UDP passes again", "udp", () => lab.udp("a", true));
      await change("moved to the peer's network", "udp", () => lab.move("roamer", "b", 300));
      await lab.nat("a", "cone"); // it has nothing of the roamer's any more when that comes back
      await change("moved back behind its NAT", "udp", () => lab.move("roamer", "a"));

      const table = formatCosts([...costs.values()]);
      Deno.stdout.writeSync(new TextEncoder().encode(`\n${plane}\n${table}`));
      const story = `${table}${scene.story}`;
      ok(await scene.carriesLoad(), `TCP from the beginning goes on\n${story}`);
      for (const what of ["coordinator restarted, direct path", "UDP passes again"]) {
        const { lost, byKernels, gapMs } = costs.get(what)!;
        ok(lost <= NOISE + excused(byKernels), `${what}\n${story}`);
        ok(gapMs <= NO_GAP_MS, `${what}\n${story}`);
      }
      for (const { what, healedMs, lostBeside, byKernels } of costs.values()) {
        // Who has only the relay waits for it, and a random while, so that not all come at once.
        if (what === "coordinator restarted, relay") continue;
        const isQuick = /open one|moved/.test(what);
        ok(healedMs <= (isQuick ? HEALED_WITHIN_MS : LEFT_WITHIN_MS), `${what}\n${story}`);
        ok(
          lostBeside <= NOISE + excused(byKernels),
          `${what}: lost by the switch itself\n${story}`,
        );
      }
      const { endpoints } = await roamer.status();
      deepStrictEqual(endpoints.filter((text) => text.startsWith("10.2.")), [], "old addresses");
    },
  );
}
