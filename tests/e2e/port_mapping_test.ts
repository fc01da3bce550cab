/**
 * A node behind a router that forwards ports on request: it has one forwarded, says so, and takes it
 * back when it ends.
 *
 * @module
 */

import { match, ok } from "node:assert/strict";
import { NatLab } from "../lab/nat.ts";
import { eventually } from "../lab/processes.ts";
import { installPackages } from "../packages.ts";
import { figure, IS_SOAK, Node } from "./mesh.ts";
import { startNatHub } from "./nat_hub.ts";

const NEEDS_GATEWAY = {
  ignore: await installPackages(["ip", "nsenter", "nft", "conntrack", "miniupnpd"]) !== undefined,
};
const PORT = 41_000;

Deno.test("a node has its port forwarded, tells it, and takes it back", NEEDS_GATEWAY, async () => {
  // miniupnpd takes no outside address of the documentation ranges.
  await using lab = await NatLab.create({ publicNetwork: "44.128.1" });
  const gateway = await lab.portMapping("a");
  await gateway.shows(/HTTP listening on port|listening on port \d+/i);
  const { join } = await startNatHub(lab);
  const node = await new Node(lab.host("hosta"), `${lab.folder}/hosta`, [
    ...join,
    ...["--name", "hosta", "--udp-port", String(PORT)],
  ]).start();
  await eventually("the port is forwarded", async () => {
    const { notes, endpoints } = await node.status();
    return endpoints.includes(`44.128.1.1:${PORT}`) &&
      notes.some((note) => note.includes(`forwards 44.128.1.1:${PORT}`));
  });
  const rules = () => lab.host("gwa").must(["nft", "list", "chain", "inet", "upnp", "pre"]);
  const forwarded = new RegExp(`dport ${PORT}`);
  match(await rules(), forwarded);
  const startedAt = performance.now();
  await node.process!.stop();
  const goneMs = performance.now() - startedAt;
  figure("SIGTERM to gone, with a port to take back", goneMs, "ms");
  ok(goneMs < (IS_SOAK ? 2_000 : 10_000));
  await eventually("the gateway has taken it back", async () => !forwarded.test(await rules()));
});
