/**
 * A recorded message 1, replayed to a real node over UDP from the place it came from and from many
 * others: the live session is not touched (T1).
 *
 * ```
 *   client ═══ bridge ═══ server        one session, a ping every 20 ms
 *   stranger ────┘                      has read the first initiation off the wire
 * ```
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import { DATAGRAM_TYPE } from "../../lib/wire/datagram.ts";
import { Lab, pings } from "../lab/namespaces.ts";
import { eventually } from "../lab/processes.ts";
import { kernelDrops, lossOf, LOST_SHARE, socketDrops } from "./losses.ts";
import { IS_SOAK } from "./mesh.ts";
import { PORT, StaticEnd } from "./static_net.ts";
import { SPOOFED, Stranger } from "./strangers.ts";

const REPLAYS = 1_000;
/** Of `allowed-peers`, in UDP, IP and what tcpdump prints of both. */
const INITIATION = /IP (\S+)\.(\d+) > \S+: UDP, length 148\n((?:\t0x[0-9a-f]{4}: {2}[^\n]+\n){11})/;
const IP_AND_UDP_HEADERS = 28;

for (const plane of ["linux", "portable"] as const) {
  Deno.test(`T1: message 1 replayed 1,000 times to a node leaves its live session alone (${plane})`, async () => {
    await using lab = await Lab.create();
    const { server, client, stranger } = await describe(lab);
    await server.start("--data-plane", plane);
    const wire = server.host.start([
      ...["tcpdump", "-n", "-l", "-x", "-i", "eth0", "udp", "and", "dst", "port", `${PORT}`],
    ]);
    await wire.shows(/listening on/);
    await client.start("--data-plane", plane);
    await pings(client.host, "10.9.0.1");
    const [, from, sourcePort, dump] = await wire.shows(INITIATION);
    const recorded = bytesOf(dump!).subarray(IP_AND_UDP_HEADERS);
    strictEqual(recorded[0], 1, "it is message 1");
    await wire.stop();

    const before = { ...await server.peer("client") };
    const answers = server.host.start([
      ...["tcpdump", "-n", "-l", "-i", "eth0", "udp", "and", "src", "port", `${PORT}`],
      ...["and", "udp[8]", "==", String(DATAGRAM_TYPE.response)], // behind the header of UDP
    ]);
    await answers.shows(/listening on/);
    const lostBefore = await kernelDrops([server, client]);
    const unreadBefore = await socketDrops(server.host);
    const flow = client.host.start(["ping", "-n", "-i", "0.02", "10.9.0.1"]);
    await flow.shows(/icmp_seq=10 /);
    const replay = { datagrams: [recorded], target: server.host.ipv4, port: PORT, perSecond: 150 };
    for (
      const [source, count] of [
        [{ from: { first: from!, sources: 1 }, sourcePort: Number(sourcePort) }, REPLAYS / 2],
        [{ from: { first: SPOOFED.first, sources: 100 } }, REPLAYS / 2],
      ] as const
    ) {
      const sent = await stranger.flood({ ...replay, ...source, count });
      strictEqual(await sent.ended, 0, sent.stderr);
    }
    await eventually(
      "all of them were judged, but for what the kernel had no room for",
      async () => {
        const unread = await socketDrops(server.host) - unreadBefore;
        const { drops } = await server.status();
        const refused = ["old-timestamp", "under-load", "rate-limited"] as const;
        return refused.reduce((sum, reason) => sum + (drops[reason] ?? 0), unread) >= REPLAYS;
      },
    );
    flow.signal("SIGINT");
    await flow.ended;
    const { lost, sent } = lossOf(flow);
    const excused = IS_SOAK ? 0 : await kernelDrops([server, client]) - lostBefore;
    const isCarried = sent > 0 && lost <= sent * LOST_SHARE + excused;
    ok(isCarried, `${lost} of ${sent} lost, ${excused} packets by kernels`);
    const { "old-timestamp": old = 0 } = (await server.status()).drops;
    ok(old >= REPLAYS / 10, `many were read to their timestamp: ${old}`);
    const after = await server.peer("client");
    // How long an answer takes may be known by now.
    for (const key of ["kind", "remote"] as const) strictEqual(after.path[key], before.path[key]);
    strictEqual(after.handshakes, before.handshakes, "it is the same session");
    ok(after.rxPackets > before.rxPackets);
    strictEqual(answers.stdout, "", "no response to any of them");
    await pings(client.host, "10.9.0.1");
    strictEqual((await server.peer("client")).handshakes, before.handshakes);
  });
}

/** What `tcpdump -x` prints of one packet, from its IP header on. */
function bytesOf(dump: string): Uint8Array {
  return Uint8Array.fromHex(dump.replaceAll(/\t0x[0-9a-f]{4}:|\s/g, ""));
}

async function describe(lab: Lab) {
  const [hub, guest, attacker] = [
    await lab.addHost("server"),
    await lab.addHost("client"),
    await lab.addHost("stranger"),
  ];
  await hub.must(["ip", "route", "add", SPOOFED.prefix, "via", attacker.ipv4]);
  const server = new StaticEnd(hub, lab.folder, {
    listen: `[::]:${PORT}`,
    addresses: ["10.9.0.1/24"],
  });
  const client = new StaticEnd(guest, lab.folder, {
    addresses: ["10.9.0.2/24"],
    allowedPeers: [{
      name: "server",
      publicKey: server.publicKey,
      allowedIps: ["10.9.0.1/32"],
      endpoint: `${hub.ipv4}:${PORT}`,
    }],
  });
  server.config = {
    ...server.config,
    allowedPeers: [{ name: "client", publicKey: client.publicKey, clientIp: "10.9.0.2" }],
  };
  return { server, client, stranger: await Stranger.on(attacker, lab.folder) };
}
