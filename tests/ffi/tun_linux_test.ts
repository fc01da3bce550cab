/**
 * Real TUN devices in network namespaces. Needs root and /dev/net/tun.
 *
 * @module
 */

import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { EFD } from "../../ffi/layout.ts";
import { libc } from "../../ffi/libc.ts";
import { Mem } from "../../ffi/memory.ts";
import { Netlink } from "../../ffi/netlink.ts";
import { Poller } from "../../ffi/poller.ts";
import { openTun, type TunLinux } from "../../ffi/tun_linux.ts";
import type { TunDevice } from "../../lib/dataplane/tun_device.ts";
import { Namespace, NEEDS_NET_ADMIN } from "./namespace.ts";

const IPV4 = { own: Uint8Array.of(100, 64, 0, 1), peer: "100.64.0.2" };
const IPV6 = { own: v6(1), peer: "fd00::2" };

Deno.test(
  "openTun() makes a device that carries ping in both families",
  NEEDS_NET_ADMIN,
  async () => {
    await using bench = await Bench.create();
    const { namespace, poller } = bench;
    const tun: TunDevice & TunLinux = namespace.within(() => openTun({ mtu: 1408, poller }));
    strictEqual(tun.name, "tm0");
    strictEqual(tun.mtu, 1408);
    namespace.within(() => setUp(tun));
    const failures: Error[] = [];
    tun.start((packet) => ok(tun.write(echoReply(packet))), (error) => failures.push(error));
    for (const peer of [IPV4.peer, IPV6.peer]) {
      const text = await namespace.run("ping", "-c", "3", "-i", "0.01", "-W", "20", peer);
      ok(text.includes("3 received"), text);
    }
    deepStrictEqual(failures, []);
    deepStrictEqual(bench.links(), ["lo", "tm0"]);
    await tun.close();
    await tun.close();
    deepStrictEqual(bench.links(), ["lo"], "closing removes the interface");
    strictEqual(tun.write(new Uint8Array(20)), false);
  },
);

Deno.test("openTun() keeps the kernel's own link-local address out", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  const { namespace, poller } = bench;
  const tun = namespace.within(() => openTun({ name: "mesh%d", mtu: 1408, poller }));
  strictEqual(tun.name, "mesh0");
  const addresses = namespace.within(() => {
    using netlink = new Netlink();
    netlink.setLink(tun.index, { isUp: true });
    return netlink.addresses().filter((item) => item.interfaceIndex === tun.index);
  });
  deepStrictEqual(addresses, [], "so no router solicitation goes into the mesh either");
  await tun.close();
});

Deno.test("openTun() carries packets up to its MTU, whole", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  const { namespace, poller } = bench;
  const tun = namespace.within(() => openTun({ mtu: 9000, poller }));
  namespace.within(() => setUp(tun));
  const lengths: number[] = [];
  tun.start((packet) => {
    lengths.push(packet.length);
    tun.write(echoReply(packet));
  }, fail);
  await namespace.run("ping", "-c", "1", "-W", "20", "-M", "do", "-s", "8972", IPV4.peer);
  await rejects(namespace.run("ping", "-c", "1", "-M", "do", "-s", "8973", IPV4.peer));
  deepStrictEqual(lengths, [9000]);
  await tun.close();
});

Deno.test("TunLinux.start() reports a device that somebody deleted", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  const { namespace, poller } = bench;
  const tun = namespace.within(() => openTun({ mtu: 1408, poller }));
  const failed = Promise.withResolvers<Error>();
  tun.start(fail, failed.resolve);
  await namespace.run("ip", "link", "delete", "tm0");
  match((await failed.promise).message, /^Cannot read from TUN device "tm0": EBADFD/);
  strictEqual(tun.write(new Uint8Array(20)), false);
  await tun.close();
});

Deno.test("TunLinux may be closed by the packet it delivers", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  const { namespace, poller } = bench;
  const tun = namespace.within(() => openTun({ mtu: 1408, poller }));
  namespace.within(() => setUp(tun));
  await rejects(namespace.run("ping", "-c", "2", "-l", "2", "-W", "0.1", IPV4.peer));
  const closed = Promise.withResolvers<number[]>();
  let packets = 0;
  tun.start(() => {
    packets++;
    tun.close();
    // One of them gets the number that became free, and would be read if the device forgot that.
    const open = () => libc.eventfd(1, EFD.NONBLOCK | EFD.CLOEXEC);
    closed.resolve(Array.from({ length: 50 }, open));
  }, fail);
  const successors = await closed.promise;
  await new Promise((resolve) => setTimeout(resolve, 5));
  strictEqual(packets, 1, "though a second one waited");
  const memory = new Mem(8);
  for (const fd of successors) {
    strictEqual(libc.read(fd, memory.pointer(0), 8), 8, "nobody else has read it");
    libc.close(fd);
  }
});

Deno.test(
  "openTun() refuses a name in use, and leaves that interface alone",
  NEEDS_NET_ADMIN,
  async () => {
    await using bench = await Bench.create();
    const { namespace, poller } = bench;
    const first = namespace.within(() => openTun({ name: "mesh0", mtu: 1408, poller }));
    const open = (name: string) => namespace.within(() => openTun({ name, mtu: 1408, poller }));
    const descriptors = countDescriptors();
    for (const name of ["mesh0", "lo"]) {
      throws(() => open(name), {
        name: "SyscallError",
        fault: "in-use",
        message: `Cannot open TUN device "${name}": EBUSY (16); ` +
          "an interface of that name exists, choose another",
      });
    }
    strictEqual(countDescriptors(), descriptors, "nothing stays open");
    deepStrictEqual(bench.links(), ["lo", "mesh0"]);
    await first.close();
  },
);

/** Name and MTU, and why they are refused. */
const MISUSE: [name: string, mtu: number, why: string][] = [
  ["", 1408, "empty"],
  ["a/b", 1408, "a path"],
  ["a b", 1408, "a blank"],
  ["a:b", 1408, "an alias"],
  [".", 1408, "a folder"],
  ["..", 1408, "a folder"],
  ["tm%s", 1408, "no number"],
  ["tm%d%d", 1408, "two numbers"],
  ["a2345678901234567", 1408, "too long"],
  ["tm%d", 67, "smaller than IPv4 allows"],
  ["tm%d", 65_536, "larger than a packet"],
  ["tm%d", 1408.5, "a fraction"],
];

Deno.test("openTun() refuses names and MTUs that cannot be", async () => {
  const poller = new Poller();
  for (const [name, mtu, why] of MISUSE) {
    throws(() => openTun({ name, mtu, poller }), RangeError, why);
  }
  await poller.close();
});

/** How a process is started, what it says then, and whether it has the right. */
const LACKS: [command: string[], outcome: RegExp, hasNetAdmin: boolean, why: string][] = [
  [["env"], /^opened$/, true, "nothing is missing"],
  [
    ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"],
    /^Cannot open TUN device "tm%d": EPERM \(1\); run as root or with CAP_NET_ADMIN$/,
    false,
    "root without the capability, as in a container",
  ],
  [
    ["unshare", "--mount", "--", "sh", "-c", `mount -t tmpfs none /dev/net && exec "$@"`, "sh"],
    /^Cannot open TUN device "tm%d" through \/dev\/net\/tun: ENOENT \(2\); load the driver/,
    true,
    "no device file",
  ],
];

Deno.test("openTun() says what is missing and what to do", NEEDS_NET_ADMIN, async () => {
  await using namespace = await Namespace.create();
  const script = new URL("open_tun_child.ts", import.meta.url).pathname;
  for (const [command, outcome, hasNetAdmin, why] of LACKS) {
    const text = await namespace.run(...command, Deno.execPath(), "run", "-A", script);
    const said = JSON.parse(text);
    match(said.outcome, outcome, why);
    strictEqual(said.hasNetAdmin, hasNetAdmin, why);
  }
});

function setUp(tun: TunLinux): void {
  using netlink = new Netlink();
  netlink.addAddress(tun.index, { address: IPV4.own, length: 32 });
  netlink.addAddress(tun.index, { address: IPV6.own, length: 128 });
  netlink.setLink(tun.index, { isUp: true });
  netlink.addRoute({
    destination: { address: Uint8Array.of(100, 64, 0, 0), length: 10 },
    interfaceIndex: tun.index,
    preferredSource: IPV4.own,
  });
  netlink.addRoute({
    destination: { address: v6(0), length: 48 },
    interfaceIndex: tun.index,
    preferredSource: IPV6.own,
  });
}

function v6(last: number): Uint8Array {
  const address = new Uint8Array(16);
  address[0] = 0xfd;
  address[15] = last;
  return address;
}

/** Swaps the addresses of an ICMP echo request and makes it a reply, checksum mended. */
function echoReply(packet: Uint8Array): Uint8Array {
  const reply = packet.slice();
  const isIpv4 = packet[0]! >> 4 === 4;
  const [source, length, icmp] = isIpv4 ? [12, 4, 20] : [8, 16, 40];
  reply.copyWithin(source, source + length, source + 2 * length);
  reply.set(packet.subarray(source, source + length), source + length);
  const [request, answer] = isIpv4 ? [8, 0] : [128, 129];
  strictEqual(reply[icmp], request);
  reply[icmp] = answer;
  // RFC 1624: only the type byte changed (addresses swapped leave the sum as it is).
  let sum = (~(reply[icmp + 2]! << 8 | reply[icmp + 3]!) & 0xffff) + (~(request << 8) & 0xffff) +
    (answer << 8);
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
  reply[icmp + 2] = sum >> 8;
  reply[icmp + 3] = sum & 255;
  return reply;
}

function fail(reason: unknown): never {
  throw new Error("not expected", { cause: reason });
}

function countDescriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** A namespace and a poller. */
class Bench implements AsyncDisposable {
  readonly poller = new Poller();

  private constructor(readonly namespace: Namespace) {}

  static async create(): Promise<Bench> {
    return new Bench(await Namespace.create());
  }

  /** Names of the interfaces inside. */
  links(): string[] {
    return this.namespace.within(() => {
      using netlink = new Netlink();
      return netlink.links().map((link) => link.name);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.poller.close();
    await this.namespace[Symbol.asyncDispose]();
  }
}
