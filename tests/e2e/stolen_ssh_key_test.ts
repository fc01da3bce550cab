/**
 * What the thief of one node's SSH keys gets out of them, among whole agents: not another node's
 * place, neither at a server nor as one.
 *
 * ```
 *   hub (coordinator)   a, c (SSH servers, UDP blocked)   b   thief (c's SSH keys)      one bridge
 *
 *   thief ── as c, with what b sent ──▶ a       b ── to a's address ──▶ thief's sshd with c's key
 * ```
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { DATAGRAM_TYPE } from "../../lib/wire/datagram.ts";
import { encodeLengthPrefixed, LengthPrefixDecoder } from "../../lib/wire/length_prefix.ts";
import { type Host, pings } from "../lab/namespaces.ts";
import { type Background, eventually } from "../lab/processes.ts";
import { Mesh, type Node } from "./mesh.ts";
import { HAS_OPENSSH } from "./openssh.ts";

const PORT = "2222";
/** Of a ping that is to arrive by no way but its own, and what tcpdump calls it inside. */
const MARKED_PING = ["-s", "777"];
const MARKED = /ICMP echo request,.* length 785$/gm;
const BLOCKED = `table inet blocked {
  chain in { type filter hook input priority 0; iifname "eth0" meta l4proto udp drop; }
  chain out { type filter hook output priority 0; oifname "eth0" meta l4proto udp drop; }
}`;
/** One UDP datagram in what `tcpdump -x` prints. */
const DATAGRAM = /: UDP, length \d+\n((?:\t0x[0-9a-f]{4}: {2}[^\n]+\n)+)/g;
const IP_AND_UDP_HEADERS = 28;

/** OpenSSH's client, for whoever does not care whose server that is. */
const SSH = [
  ...["ssh", "-F", "none", "-p", PORT, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"],
  ...["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"],
  ...["-o", "LogLevel=ERROR"],
];

interface Scene extends AsyncDisposable {
  readonly mesh: Mesh;
  readonly a: Node;
  readonly b: Node;
  readonly c: Node;
  readonly thief: Host;
}

/** Three agents that reach each other by UDP as yet, and a thief who can read c's SSH keys. */
async function scene(): Promise<Scene> {
  const mesh = await Mesh.create();
  const describe = async (name: string, ...args: string[]) =>
    mesh.describe(name, await mesh.lab.addHost(name, { ipv6: false }), args);
  const a = await describe("a", "--ssh-port", PORT);
  const b = await describe("b");
  const c = await describe("c", "--ssh-port", PORT);
  await Promise.all([a.start(), b.start(), c.start()]);
  await mesh.settled();
  const thief = await mesh.lab.addHost("thief", { ipv6: false });
  return { mesh, a, b, c, thief, [Symbol.asyncDispose]: () => mesh[Symbol.asyncDispose]() };
}

/** Waits until two nodes use this kind of path; b pings all the while. */
async function meetBy(kind: string, a: Node, b: Node): Promise<void> {
  const { ipv4 } = (await b.peer("a")).addresses;
  await eventually(`b and a reach each other by ${kind}`, async () => {
    await b.host.run(["ping", "-n", "-c", "1", "-W", "1", ipv4]);
    const paths = [(await a.peer("b")).path, (await b.peer("a")).path];
    return paths.every((path) => path.kind === kind);
  }, 90_000);
}

Deno.test({
  ignore: !HAS_OPENSSH,
  name: "who has stolen a node's SSH keys brings a server nothing in another's name",
}, async () => {
  await using made = await scene();
  const { a, b, c, thief } = made;
  const address = (await b.peer("a")).addresses.ipv4;
  await meetBy("udp", a, b);

  // What b says from here on is genuine, and a has not heard it.
  const wire = b.host.start([
    ...["tcpdump", "-n", "-l", "-x", "-i", "eth0", "udp", "and", "dst", "host", a.host.ipv4],
  ]);
  const inside = a.host.start([
    ...["tcpdump", "-n", "-l", "-i", (await a.status()).interface, "icmp"],
  ]);
  await Promise.all([wire.shows(/listening on/), inside.shows(/listening on/)]);
  // At once after a has gone deaf: within a second b would notice that, and send by other ways.
  for (const { host } of [c, a]) await host.must(["nft", "-f", "-"], { input: BLOCKED });
  await b.host.run(["ping", "-n", "-c", "3", "-i", "0.05", "-W", "1", ...MARKED_PING, address]);
  await meetBy("ssh", a, b);
  // Of the three SSH keys of a node one opens connections, whatever name comes with it.
  for (const key of ["ssh_key", "ssh_host_key"]) {
    for (const user of ["b", "c", "tunnelmesh"]) {
      const { code, stderr } = await thief.run([
        ...[...SSH, "-i", `${c.state}/${key}`, "-s", `${user}@${a.host.ipv4}`, "tunnelmesh"],
      ]);
      strictEqual(code, 255);
      match(stderr, /Permission denied \(publickey\)/, `${key} as ${user}`);
    }
  }
  // While SSH is in use a direct path is sought now and then: by handshakes of which a knows nothing.
  const known = sentBy(wire).length;
  const traffic = b.host.start(["ping", "-n", "-i", "0.2", address]);
  const unheard = await eventually("b seeks a direct path", () => {
    const sent = sentBy(wire);
    const isSought = sent.slice(known).some(([type]) => type === DATAGRAM_TYPE.initiation);
    return Promise.resolve(isSought && sent);
  }, 90_000);
  ok(unheard.filter(([type]) => type === DATAGRAM_TYPE.data).length >= 3);
  deepStrictEqual(inside.stdout.match(MARKED), null, "none of it has arrived");

  const before = { drops: (await a.glance()).drops, path: (await a.peer("b")).path.remote };
  const channel = new Channel(thief, c, a.host);
  try {
    for (const datagram of unheard) await channel.send(datagram);
    await eventually("a has judged it", async () => {
      const { drops } = await a.glance();
      const sum = (counts: Readonly<Record<string, number>>) =>
        Object.values(counts).reduce((total, count) => total + count, 0);
      const ofOthers = (drops["wrong-path"] ?? 0) - (before.drops["wrong-path"] ?? 0);
      return ofOthers >= 4 && sum(drops) - sum(before.drops) >= unheard.length;
    });
    // The owner of the keys and whom the thief would be are there as before.
    for (const { host } of [b, c]) await pings(host, address);
    strictEqual((await a.peer("b")).path.remote, before.path);
    strictEqual((await b.peer("a")).path.kind, "ssh");
    deepStrictEqual(channel.received.filter(([type]) => type !== DATAGRAM_TYPE.initiation), []);
    deepStrictEqual(inside.stdout.match(MARKED), null, "and nothing of it was delivered");
  } finally {
    await channel.close();
    await traffic.stop();
  }
  await b.host.must(["ping", "-n", "-c", "1", ...MARKED_PING, address]);
  await eventually("such a ping is seen when it comes", () => {
    return Promise.resolve(MARKED.test(inside.stdout));
  });
});

Deno.test({
  ignore: !HAS_OPENSSH,
  name:
    "a server with one node's host key is refused in another's place, until that is there again",
}, async () => {
  await using made = await scene();
  const { mesh, a, b, c, thief } = made;
  const address = (await b.peer("a")).addresses.ipv4;
  for (const { host } of [a, c]) await host.must(["nft", "-f", "-"], { input: BLOCKED });
  await meetBy("ssh", a, b);

  await b.process!.kill();
  const sshd = await serveAs(c, thief, mesh.lab.folder);
  const detour = `table ip detour {
    chain out { type nat hook output priority -100;
      ip daddr ${a.host.ipv4} tcp dport ${PORT} dnat to ${thief.ipv4}:${PORT}
    }
  }`;
  await b.host.must(["nft", "-f", "-"], { input: detour });
  await b.start();
  await mesh.settled();
  await pings(b.host, address);
  const traffic = b.host.start(["ping", "-n", "-i", "0.2", address]);
  await b.process!.shows(/SSH server in a peer's place refused .*host key that is not the peer's/);
  await b.process!.shows(/refused .*name=a/);
  await sshd.shows(new RegExp(`Connection from ${b.host.ipv4} `));
  deepStrictEqual(sshd.stderr.match(/user|publickey/g), null, "b named no user, and showed no key");
  for (const [node, peer] of [[a, "b"], [b, "a"]] as const) {
    strictEqual((await node.peer(peer)).path.kind, "relay");
  }

  await sshd.stop();
  await b.host.must(["nft", "delete", "table", "ip", "detour"]);
  await meetBy("ssh", a, b);
  await traffic.stop();
});

/** OpenSSH's server with the host key of a node, for any user of this machine who has b's key. */
async function serveAs(owner: Node, thief: Host, folder: string): Promise<Background> {
  const file = `${folder}/thief_host_key`;
  await Deno.copyFile(`${owner.state}/ssh_host_key`, file);
  await Deno.chmod(file, 0o600);
  await Deno.mkdir("/run/sshd", { recursive: true });
  const sshd = thief.start([
    ...["/usr/sbin/sshd", "-D", "-e", "-p", PORT, "-f", "/dev/null", "-o", `HostKey=${file}`],
    ...["-o", "PidFile=none", "-o", "StrictModes=no", "-o", "UsePAM=no", "-o", "LogLevel=VERBOSE"],
  ]);
  await sshd.shows(/listening on/);
  return sshd;
}

/** What tcpdump has seen so far, in order. */
function sentBy({ stdout }: Background): Uint8Array[] {
  return [...stdout.matchAll(DATAGRAM)].map(([, dump]) =>
    Uint8Array.fromHex(dump!.replaceAll(/\t0x[0-9a-f]{4}:|\s/g, "")).subarray(IP_AND_UDP_HEADERS)
  );
}

/** A channel to a server that OpenSSH's client opened with a node's client key, in b's name. */
class Channel {
  /** Datagrams that the server sent. */
  readonly received: Uint8Array[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;

  /** Connects. @param owner Whose key it is. */
  constructor(thief: Host, owner: Node, server: Host) {
    this.#child = new Deno.Command("nsenter", {
      args: [
        ...[`--net=/run/netns/${thief.namespace}`, ...SSH, "-i", `${owner.state}/ssh_client_key`],
        ...["-s", `b@${server.ipv4}`, "tunnelmesh"],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  /** Sends a datagram. */
  send(datagram: Uint8Array): Promise<void> {
    return this.#writer.write(encodeLengthPrefixed(datagram));
  }

  /** Ends the client. */
  async close(): Promise<void> {
    await this.#writer.close().catch(() => {});
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It ended by itself.
    }
    await this.#child.status;
    await this.#reading;
  }

  async #read(): Promise<void> {
    const decoder = new LengthPrefixDecoder();
    for await (const piece of this.#child.stdout) {
      this.received.push(...decoder.push(piece)!.map((datagram) => datagram.slice()));
    }
  }
}
