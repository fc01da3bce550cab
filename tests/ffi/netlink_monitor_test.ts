/**
 * Network changes made by `ip` (an independent program) in a namespace, and what is told of them.
 * Needs root. The gathering is on a fake clock; notices themselves come from the kernel.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { NetlinkMonitor, type NetworkChange } from "../../ffi/netlink_monitor.ts";
import { Poller } from "../../ffi/poller.ts";
import { bootTimeMs, watchSleep } from "../../ffi/sleep_watch.ts";
import { FakeClock } from "../fakes/clock.ts";
import { Namespace, NEEDS_NET_ADMIN } from "./namespace.ts";

/** How long a busy machine may take; what is not over by then never will be. */
const GIVE_UP_MS = 30_000;

/** What `ip` is told, and what is to be told of it. */
const STEPS: [command: string, news: (keyof NetworkChange)[]][] = [
  ["address add 192.0.2.1/24 dev veth-a", ["addresses"]],
  ["route add default via 192.0.2.254", ["defaultRoute"]],
  ["route replace default via 192.0.2.253", ["defaultRoute"]],
  ["route replace default via 192.0.2.254", ["defaultRoute"]],
  ["route replace default via 192.0.2.254", []],
  ["route add 198.51.100.0/24 via 192.0.2.254", []],
  ["route add default via 192.0.2.254 metric 9 proto 117", []],
  ["address add 2001:db8::1/64 dev veth-a nodad", ["addresses"]],
  ["address change 2001:db8::1/64 dev veth-a valid_lft 999 preferred_lft 999", []],
  ["address change 2001:db8::1/64 dev veth-a valid_lft 999 preferred_lft 0", ["addresses"]],
  ["-6 route add default via 2001:db8::2", ["defaultRoute"]],
  ["-6 route del default", ["defaultRoute"]],
  ["link set veth-a mtu 1400", []],
  ["link set veth-b down", ["links"]],
  ["link set veth-b up", ["links"]],
  ["address del 2001:db8::1/64 dev veth-a", ["addresses"]],
  ["link set veth-a down", ["links", "defaultRoute"]],
  ["address del 192.0.2.1/24 dev veth-a", ["addresses"]],
  ["link del veth-a", ["links"]],
];

Deno.test("NetlinkMonitor tells what changed, and nothing else", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  for (const [command, news] of STEPS) {
    await bench.ip(command);
    deepStrictEqual((await bench.news()).sort(), [...news].sort(), command);
  }
});

Deno.test("NetlinkMonitor ignores interfaces by name", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create((name) => name === "veth-a");
  // What happens to the link of one end of a cable shows at the other, too.
  const aboutA = STEPS.map(([command]) => command).filter((command) => !command.includes("link"));
  for (const command of aboutA) await bench.ip(command);
  deepStrictEqual(await bench.news(), []);
  await bench.ip("link set veth-b down");
  deepStrictEqual(await bench.news(), ["links"]);
});

Deno.test("NetlinkMonitor gathers for 100 ms from the first change", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  await bench.ip("address add 192.0.2.1/24 dev veth-a");
  await bench.noticed();
  bench.clock.advance(99);
  deepStrictEqual(bench.reports, []);
  await bench.ip("route add default via 192.0.2.254");
  await bench.read();
  bench.clock.advance(1);
  const expected = { links: false, addresses: true, defaultRoute: true, sleptMs: 0 };
  deepStrictEqual(bench.reports, [expected]);
  bench.clock.advance(1_000);
  strictEqual(bench.reports.length, 1);
});

Deno.test("NetlinkMonitor counts lost notices as changes of all", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  // This thread stands still meanwhile, so the socket's buffer overflows.
  const lines = Array.from({ length: 30_000 }, (_, at) => {
    return `address ${at % 2 ? "del" : "add"} 192.0.2.1/24 dev veth-a`;
  });
  lines.push("address add 192.0.2.9/24 dev veth-a");
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, lines.join("\n"));
  const args = ["-n", bench.namespace.name, "-batch", file];
  ok(new Deno.Command("ip", { args }).outputSync().success);
  await Deno.remove(file);
  deepStrictEqual((await bench.news()).sort(), ["addresses", "defaultRoute", "links"]);
  // What was lost has been read again, so a repetition is nothing new, and a change is.
  await bench.ip("address change 192.0.2.9/24 dev veth-a valid_lft 999 preferred_lft 999");
  deepStrictEqual(await bench.news(), []);
  await bench.ip("address del 192.0.2.9/24 dev veth-a");
  deepStrictEqual(await bench.news(), ["addresses"]);
});

Deno.test("NetlinkMonitor tells of sleep", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  bench.sleptMs = 3_600_000;
  bench.clock.advance(2_100);
  const expected = { links: false, addresses: false, defaultRoute: false, sleptMs: 3_600_000 };
  deepStrictEqual(bench.reports, [expected]);
});

Deno.test("NetlinkMonitor.close() ends it, twice too", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  await bench.ip("address add 192.0.2.1/24 dev veth-a");
  await bench.noticed();
  bench.monitor.close();
  bench.monitor.close();
  bench.sleptMs = 3_600_000;
  bench.clock.advance(10_000);
  deepStrictEqual([bench.reports, bench.clock.pending], [[], 0]);
});

Deno.test("watchSleep() calls only a late tick a sleep", () => {
  const clock = new FakeClock();
  let slept = 0;
  const calls: number[] = [];
  const stop = watchSleep(clock, (ms) => calls.push(ms), () => clock.now() + slept);
  clock.advance(60_000);
  slept += 4_999; // a busy machine
  clock.advance(10_000);
  deepStrictEqual(calls, []);
  slept += 5_000;
  clock.advance(2_000);
  deepStrictEqual(calls, [5_000]);
  slept += 8 * 3_600_000;
  clock.advance(60_000);
  deepStrictEqual(calls, [5_000, 28_800_000]);
  stop();
  stop();
  strictEqual(clock.pending, 0);
});

Deno.test(
  "bootTimeMs() is the kernel's uptime",
  { ignore: Deno.build.os !== "linux" },
  async () => {
    const before = bootTimeMs();
    const [uptime] = (await Deno.readTextFile("/proc/uptime")).split(" ");
    const after = bootTimeMs();
    const uptimeMs = Number(uptime) * 1000;
    ok(before <= uptimeMs + 10 && uptimeMs <= after + 10, `${before} ${uptimeMs} ${after}`);
  },
);

/** A namespace with a pair of interfaces that are up, and a monitor in it. */
class Bench implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly reports: NetworkChange[] = [];
  readonly #poller = new Poller();
  readonly monitor: NetlinkMonitor;
  sleptMs = 0;

  private constructor(
    readonly namespace: Namespace,
    isIgnored: (name: string) => boolean,
  ) {
    this.monitor = namespace.within(() =>
      new NetlinkMonitor({
        poller: this.#poller,
        clock: this.clock,
        changed: (change) => this.reports.push(change),
        failed: (error) => {
          throw error;
        },
        isIgnored,
        bootNow: () => this.clock.now() + this.sleptMs,
      })
    );
  }

  static async create(isIgnored: (name: string) => boolean = () => false): Promise<Bench> {
    const namespace = await Namespace.create();
    await namespace.run(..."ip link add veth-a type veth peer name veth-b".split(" "));
    for (const name of ["veth-a", "veth-b"]) {
      await namespace.run(..."ip link set addrgenmode none dev".split(" "), name);
      await namespace.run("ip", "link", "set", name, "up");
    }
    // A carrier may come up to a second late; from then on there is silence.
    const isUp = async (name: string) =>
      (await namespace.run("ip", "-br", "link", "show", name)).includes("LOWER_UP");
    while (!await isUp("veth-a") || !await isUp("veth-b")) { /* asks again */ }
    const bench = new Bench(namespace, isIgnored);
    deepStrictEqual(await bench.news(), [], "how things are is no news");
    return bench;
  }

  ip(command: string): Promise<string> {
    return this.namespace.run("ip", ...command.split(" "));
  }

  /** Waits until a report is on its way. */
  async noticed(): Promise<void> {
    while (this.clock.pending < 2) await turn();
  }

  /** Waits until the notices of commands that have ended, which lie in the socket, are read. */
  async read(): Promise<void> {
    const until = performance.now() + GIVE_UP_MS;
    do await turn(); while (this.#unreadBytes() > 0 && performance.now() < until);
    strictEqual(this.#unreadBytes(), 0);
    for (let turns = 0; turns < 3; turns++) await turn();
  }

  /** What lies in the sockets of the namespace that listen to groups: there is one. */
  #unreadBytes(): number {
    const text = this.namespace.within(() =>
      Deno.readTextFileSync("/proc/thread-self/net/netlink")
    );
    // sk Eth Pid Groups Rmem …
    const rows = text.trim().split("\n").slice(1).map((line) => line.split(/\s+/));
    const [listening, ...others] = rows.filter(([, , , groups]) => !/^0+$/.test(groups!));
    deepStrictEqual(others, []);
    return Number(listening![4]);
  }

  /** All that was told since the last call. */
  async news(): Promise<(keyof NetworkChange)[]> {
    await this.read();
    this.clock.advance(100);
    const kinds = new Set(
      this.reports.splice(0).flatMap((report) =>
        (["links", "addresses", "defaultRoute"] as const).filter((kind) => report[kind])
      ),
    );
    return [...kinds];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.monitor.close();
    await this.#poller.close();
    await this.namespace[Symbol.asyncDispose]();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
