/**
 * A node moves from behind one NAT to behind another while it talks: what is lost, and for how long.
 *
 * @module
 */

import { deepStrictEqual, ok } from "node:assert/strict";
import { NatLab } from "../lab/nat.ts";
import { eventually } from "../lab/processes.ts";
import { installPackages } from "../packages.ts";
import { figure, IS_SOAK, Node } from "./mesh.ts";

const NEEDS_LAB = {
  ignore: await installPackages(["ip", "nsenter", "nft", "conntrack", "ping"]) !== undefined,
};
/** How long the session may take to heal, from when there is a network again. */
const HEALED_WITHIN_MS = IS_SOAK ? 2_000 : 5_000; // beside other tests on two cores
const PACKETS_PER_SECOND = 100;
const SECONDS = 10;
const PAUSE_MS = 300;

Deno.test(
  "a node that moves to another network is heard again within two seconds",
  NEEDS_LAB,
  async () => {
    await using lab = await NatLab.create();
    const hub = lab.host("pub1");
    const coordinator = await new Node(hub, `${lab.folder}/hub`, [
      ...["coordinator", "--no-member", "--listen", `${hub.ipv4}:8443`],
    ]).start();
    const { token } = await coordinator.askJson<{ token: string }>("token", "show");
    const file = `${lab.folder}/token`;
    await Deno.writeTextFile(file, `${token}\n`, { mode: 0o600 });
    const join = (name: string) =>
      new Node(lab.host(name), `${lab.folder}/${name}`, [
        ...["join", "--coordinator", `https://${hub.ipv4}:8443`, "--token-file", file],
        ...["--name", name],
      ]).start();
    await lab.addHost("roamer", "a");
    const [roamer, peer] = await Promise.all([join("roamer"), join("hostb")]);
    await eventually("both see each other", async () => (await roamer.peer("hostb")).online);
    const { ipv4 } = (await roamer.peer("hostb")).addresses;
    await eventually("a direct path", async () => {
      await roamer.host.run(["ping", "-n", "-q", "-c", "1", "-W", "1", ipv4]);
      return (await roamer.peer("hostb")).path.kind === "udp";
    });

    // The roamer joins the LAN of its peer, and goes back behind the other NAT.
    for (const [to, pauseMs] of [["b", PAUSE_MS], ["a", 0]] as const) {
      const pinging = roamer.host.start([
        ...["ping", "-n", "-D", "-i", String(1 / PACKETS_PER_SECOND)],
        ...["-c", String(PACKETS_PER_SECOND * SECONDS), "-W", "1", ipv4],
      ]);
      await pinging.shows(/icmp_seq=100 /);
      const startedAt = Date.now();
      await lab.move("roamer", to, pauseMs);
      const hasNetworkAt = Date.now();
      await pinging.ended;
      const answers = [...pinging.stdout.matchAll(/^\[([\d.]+)\] .*icmp_seq=\d+ /gm)]
        .map(([, at]) => Number(at) * 1000);
      const firstAfter = answers.find((at) => at > hasNetworkAt);
      const lastBefore = answers.filter((at) => at <= hasNetworkAt).at(-1) ?? startedAt;
      const what = `move to network ${to}`;
      const story = `${roamer.process!.stderr}\n--- peer\n${peer.process!.stderr}`;
      ok(firstAfter !== undefined, `${what}: nothing came any more\n${story}`);
      figure(`${what}, network gone`, hasNetworkAt - startedAt, "ms");
      figure(`${what}, gap`, firstAfter - lastBefore, "ms");
      figure(`${what}, healed after`, firstAfter - hasNetworkAt, "ms");
      figure(`${what}, lost`, PACKETS_PER_SECOND * SECONDS - answers.length, "packets");
      ok(firstAfter - hasNetworkAt <= HEALED_WITHIN_MS, `${what}: too slow\n${story}`);
      await eventually("a direct path again", async () => {
        await roamer.host.run(["ping", "-n", "-q", "-c", "1", "-W", "1", ipv4]);
        return (await roamer.peer("hostb")).path.kind === "udp";
      }, 10_000);
    }
    const { endpoints } = await roamer.status();
    deepStrictEqual(endpoints.filter((text) => text.startsWith("10.2.")), [], "old addresses");
  },
);
