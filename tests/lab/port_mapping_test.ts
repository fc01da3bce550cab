/**
 * Port mapping at a real gateway (miniupnpd) that speaks PCP, NAT-PMP and UPnP: mapped, reached from
 * outside, removed. Needs root.
 *
 * @module
 */

import { doesNotMatch, match, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { installPackages } from "../packages.ts";
import { NatLab } from "./nat.ts";
import type { Host } from "./namespaces.ts";
import type { Background } from "./processes.ts";

const NEEDS_GATEWAY = {
  ignore: await installPackages(["ip", "nsenter", "nft", "conntrack", "miniupnpd"]) !== undefined,
};
const PROGRAM = decodeURIComponent(new URL("programs/port_mapping.ts", import.meta.url).pathname);
const PORT = 41_000;
/** miniupnpd takes no outside address of the documentation ranges. */
const PUBLIC_NETWORK = "44.128.1";

for (const protocol of ["pcp", "nat-pmp", "upnp"]) {
  Deno.test(`PortMapping maps and removes by ${protocol}`, NEEDS_GATEWAY, async () => {
    await using lab = await NatLab.create({ publicNetwork: PUBLIC_NETWORK });
    const daemon = await startGateway(lab);
    const first = await startMapping(lab.host("hosta"), protocol);
    const [, at] = await first.shows(new RegExp(`^mapped (\\S+) by ${protocol}$`, "m"));
    strictEqual(at, "44.128.1.1:41000");
    await send(lab, at!, "one");
    await first.shows(/^got one$/m);
    // The port outside is taken now, so a neighbour gets another one.
    const second = await startMapping(await lab.addHost("hosta2", "a"), protocol);
    const [, other] = await second.shows(/^mapped (\S+) by/m);
    notStrictEqual(other, at);
    await send(lab, other!, "two");
    await second.shows(/^got two$/m);
    match(await rules(lab), /dport 41000/);
    strictEqual(await first.stop(), 0, first.stderr);
    match(first.stdout, /^removed$/m);
    doesNotMatch(await rules(lab), /dport 41000/, daemon.stdout + daemon.stderr);
    await second.stop();
    doesNotMatch(await rules(lab), /dport/);
  });
}

Deno.test("PortMapping finds what the gateway speaks", NEEDS_GATEWAY, async () => {
  await using lab = await NatLab.create({ publicNetwork: PUBLIC_NETWORK });
  await startGateway(lab, { enable_natpmp: "no", force_igd_desc_v1: "yes" });
  const mapping = await startMapping(lab.host("hosta"), "any");
  const [text] = await mapping.shows(/^mapped .*$/m);
  strictEqual(text, "mapped 44.128.1.1:41000 by upnp");
  await mapping.stop();
});

Deno.test("PortMapping lives with a gateway that speaks nothing", NEEDS_GATEWAY, async () => {
  await using lab = await NatLab.create();
  const mapping = await startMapping(lab.host("hosta"), "any");
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  strictEqual(await mapping.stop(), 0, mapping.stderr);
  ok(!mapping.stdout.includes("mapped"), mapping.stdout);
});

async function startGateway(
  lab: NatLab,
  settings: Record<string, string> = {},
): Promise<Background> {
  const daemon = await lab.portMapping("a", settings);
  await daemon.shows(/HTTP listening on port|listening on port \d+/i);
  return daemon;
}

async function startMapping(host: Host, protocol: string): Promise<Background> {
  const words = [Deno.execPath(), "run", "-A", "--no-check", PROGRAM];
  const args = [protocol, "10.1.0.1", host.ipv4, String(PORT)];
  const process = host.start([...words, ...args]);
  await process.shows(/^started$/m);
  return process;
}

/** Sends a datagram from the public network. */
async function send(lab: NatLab, to: string, text: string): Promise<void> {
  const [host, port] = to.split(":");
  await lab.host("pub1").must(["bash", "-c", `echo ${text} > /dev/udp/${host}/${port}`]);
}

function rules(lab: NatLab): Promise<string> {
  return lab.host("gwa").must(["nft", "list", "chain", "inet", "upnp", "pre"]);
}
