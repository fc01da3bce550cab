/**
 * What the relay learns of those whom it serves, and what a member of ill will gets out of it.
 *
 * ```
 *   a ──┐                               ┌── b       UDP is dropped at a and b
 *       └── hub: coordinator, tcpdump ──┘           plain HTTP, so that tcpdump reads the bodies
 * ```
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { findMarkers } from "../lab/markers.ts";
import { type Host, Lab, pings } from "../lab/namespaces.ts";
import { eventually } from "../lab/processes.ts";
import { Node, testProgram } from "./mesh.ts";

const TRANSFER_BYTES = 2_000_000;
const DROP_UDP = `table inet no_udp {
  chain out { type filter hook output priority 0; oifname != { "lo", "tm*" } ip protocol udp drop; }
  chain in { type filter hook input priority 0; iifname != { "lo", "tm*" } ip protocol udp drop; }
}`;

interface Scene extends AsyncDisposable {
  readonly lab: Lab;
  readonly hub: Host;
  readonly tokenFile: string;
  readonly a: Node;
  readonly b: Node;
}

/** Two agents that have nothing but the relay of a coordinator with plain HTTP. */
async function relayed(): Promise<Scene> {
  const lab = await Lab.create();
  try {
    const hub = await lab.addHost("hub");
    const coordinator = await new Node(hub, `${lab.folder}/hub`, [
      ...["coordinator", "--no-member", "--http", "--listen", `${hub.ipv4}:8080`],
    ]).start();
    const { token } = await coordinator.askJson<{ token: string }>("token", "show");
    const tokenFile = `${lab.folder}/token`;
    await Deno.writeTextFile(tokenFile, `${token}\n`, { mode: 0o600 });
    const [a, b] = await Promise.all(["a", "b"].map(async (name) => {
      const host = await lab.addHost(name, { ipv6: false });
      await host.must(["nft", "-f", "-"], { input: DROP_UDP });
      return await new Node(host, `${lab.folder}/${name}`, [
        ...["join", "--coordinator", `http://${hub.ipv4}:8080`, "--token-file", tokenFile],
        ...["--name", name],
      ]).start();
    })) as [Node, Node];
    const close = () => lab[Symbol.asyncDispose]();
    return { lab, hub, tokenFile, a, b, [Symbol.asyncDispose]: close };
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}

/** Waits until a packet of A's has come back from B. */
async function talks({ a, b }: Scene): Promise<string> {
  await eventually("a sees b", async () => (await a.peer("b")).online);
  const { ipv4 } = (await b.status()).addresses;
  await pings(a.host, ipv4);
  return ipv4;
}

Deno.test("the machine of the relay sees who talks with whom, and nothing of what they say", async () => {
  await using scene = await relayed();
  const { lab, hub, a, b } = scene;
  const address = await talks(scene);
  const file = `${lab.folder}/hub.pcap`;
  const tcpdump = hub.start([
    ...["tcpdump", "-Z", "root", "-i", "any", "-w", file, "-U", "-s", "0", "-B", "65536"],
  ]);
  await tcpdump.shows(/listening on/);
  const marker = new Uint8Array(randomBytes(16));
  const hex = Buffer.from(marker).toString("hex");
  const listener = b.host.start(testProgram("repeat_marker", "listen", "5000"));
  await listener.shows(/^ready$/m);
  const size = String(TRANSFER_BYTES);
  await a.host.must(testProgram("repeat_marker", "connect", address, "5000", hex, size));
  strictEqual(await listener.ended, 0, listener.stderr);
  await a.host.must(["ping", "-c", "2", "-i", "0.2", "-p", hex, address]);
  strictEqual((await a.peer("b")).path.kind, "relay");
  tcpdump.signal("SIGINT");
  await tcpdump.ended;

  const seen = await Deno.readFile(file);
  ok(seen.length > TRANSFER_BYTES, `${seen.length} bytes at the hub`);
  // Frames of a client are masked, those of the relay are not: their bodies begin with the source.
  const source = Buffer.from((await a.status()).nodeId!, "hex");
  ok(Buffer.from(seen.buffer).includes(source), "the capture shows the relay's bodies");
  deepStrictEqual(findMarkers(seen, new Map([["payload", marker]])), []);
});

Deno.test("T38: a member of ill will sends nothing to strangers, in no name but its own, and by no old ticket", async () => {
  await using scene = await relayed();
  const { lab, a, b, tokenFile } = scene;
  await talks(scene);
  await Promise.all([a.process!.stop(), b.process!.stop()]);
  const said = await a.host.must(
    testProgram("relay_intruder", `${lab.folder}/a`, `${lab.folder}/b`, tokenFile),
  );
  const { codes, received, good } = JSON.parse(said);
  for (const [why, code] of Object.entries(codes)) {
    const wanted = why.endsWith("ticket") ? 4403 : 4401;
    // What is still on its way to a connection that is being closed may cost it the closing frame.
    ok(code === wanted || code === 1006, `${why}: closed with ${code}`);
  }
  strictEqual(Object.keys(codes).length, 8);
  deepStrictEqual(
    received,
    good,
    "what was good, under the source of its ticket, and nothing else",
  );
  // The relay serves the others as before.
  await Promise.all([a.start(), b.start()]);
  await talks(scene);
});
