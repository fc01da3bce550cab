/**
 * Links, addresses and routes, compared with what `ip` (an independent program) sets and shows.
 * Needs root.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Netlink, type Route, ROUTE_PROTOCOL } from "../../ffi/netlink.ts";
import { formatIpAddress, parseIpAddress } from "../../lib/net/ip_address.ts";
import { formatIpPrefix, type IpPrefix, parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import { Namespace, NEEDS_NET_ADMIN } from "./namespace.ts";

const address = parseIpAddress;
/** An own address, whose bits past the length are not zero. */
const own = (text: string): IpPrefix => {
  const [bytes, length] = text.split("/");
  return { address: address(bytes!), length: Number(length) };
};

Deno.test("Netlink lists links as ip does", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  const links = bench.netlink.links();
  const shown: { ifname: string; ifindex: number; mtu: number; flags: string[] }[] = JSON.parse(
    await bench.namespace.run("ip", "-json", "link"),
  );
  deepStrictEqual(
    links.map(({ name, index, mtu, isUp }) => ({ name, index, mtu, isUp })),
    shown.map((link) => ({
      name: link.ifname,
      index: link.ifindex,
      mtu: link.mtu,
      isUp: link.flags.includes("UP"),
    })),
  );
  deepStrictEqual(links.map((link) => [link.name, link.kind]), [
    ["lo", undefined],
    ["veth-b", "veth"],
    ["veth-a", "veth"],
  ]);
  strictEqual(bench.netlink.link("veth-a")?.index, bench.index);
  strictEqual(bench.netlink.link("veth"), undefined, "no prefix match");
});

Deno.test("Netlink.setLink() changes only what is asked for", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  const link = () => {
    const { isUp, mtu } = bench.netlink.link("veth-a")!;
    return [isUp, mtu];
  };
  deepStrictEqual(link(), [true, 1500]);
  bench.netlink.setLink(bench.index, { mtu: 1408 });
  deepStrictEqual(link(), [true, 1408]);
  bench.netlink.setLink(bench.index, { isUp: false });
  deepStrictEqual(link(), [false, 1408]);
  bench.netlink.setLink(bench.index, { isUp: true, mtu: 1300 });
  deepStrictEqual(link(), [true, 1300]);
});

/** An own address, and how far it reaches. */
const ADDRESSES: [text: string, isIpv4: boolean][] = [
  ["100.64.0.1/32", true],
  ["192.0.2.7/24", true],
  ["fd00:1:2::1/128", false],
  ["2001:db8::7/64", false],
];

Deno.test(
  "Netlink adds, lists and deletes addresses of both families",
  NEEDS_NET_ADMIN,
  async () => {
    await using bench = await Bench.create();
    const listed = () =>
      bench.netlink.addresses()
        .filter((item) => item.interfaceIndex === bench.index && item.scope === "global");
    for (const [text] of ADDRESSES) {
      bench.netlink.addAddress(bench.index, own(text));
      const found = listed().at(-1)!;
      deepStrictEqual([found.address, found.length], [own(text).address, own(text).length], text);
      strictEqual(found.isTentative, false, "usable at once, without duplicate address detection");
      strictEqual(found.isPermanent, true);
      const shown = await bench.namespace.run("ip", "-oneline", "address", "show", "dev", "veth-a");
      ok(shown.includes(` ${text} `), shown);
      throws(() => bench.netlink.addAddress(bench.index, own(text)), {
        message: `Cannot add address ${text} on interface "veth-a": EEXIST (17)`,
      });
      bench.netlink.deleteAddress(bench.index, own(text));
      deepStrictEqual(listed(), [], text);
      throws(() => bench.netlink.deleteAddress(bench.index, own(text)), {
        message: `Cannot delete address ${text} on interface "veth-a": EADDRNOTAVAIL (99)`,
      });
    }
  },
);

Deno.test("Netlink.addresses() tells what an address is good for", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  const ip = (...args: string[]) => bench.namespace.run("ip", "address", ...args);
  await ip("add", "2001:db8::1/64", "dev", "veth-a", "preferred_lft", "0");
  await ip("add", "2001:db8::2/64", "dev", "veth-a", "valid_lft", "1000", "preferred_lft", "900");
  await ip("add", "192.0.2.1", "peer", "192.0.2.99/32", "dev", "veth-a");
  await ip("add", "fe80::7/64", "dev", "veth-a", "scope", "link", "nodad");
  const facts = new Map(
    bench.netlink.addresses().map((item) => [formatIpAddress(item.address), item]),
  );
  strictEqual(facts.get("2001:db8::1")?.isDeprecated, true);
  strictEqual(facts.get("2001:db8::2")?.isDeprecated, false);
  strictEqual(facts.get("2001:db8::2")?.isTentative, true, "detection has just begun");
  strictEqual(facts.get("2001:db8::2")?.isPermanent, false);
  ok(facts.has("192.0.2.1"), "the own end of a point-to-point address");
  ok(!facts.has("192.0.2.99"), "not the other one");
  strictEqual(facts.get("fe80::7")?.scope, "link");
  strictEqual(facts.get("127.0.0.1")?.scope, "host");
  strictEqual(facts.get("::1")?.scope, "host");
});

/** Where a route leads, its metric, and what `ip` then shows. */
const ROUTES: [destination: string, metric: number | undefined, source: string, shown: string][] = [
  ["100.64.0.0/10", undefined, "192.0.2.7", "100.64.0.0/10 dev veth-a proto 117 scope link"],
  ["100.64.0.9/32", 77, "192.0.2.7", "100.64.0.9 dev veth-a proto 117 scope link"],
  ["0.0.0.0/0", 9000, "192.0.2.7", "default dev veth-a proto 117 scope link"],
  ["fd00:1:2::/48", undefined, "2001:db8::7", "fd00:1:2::/48 dev veth-a proto 117"],
  ["fd00:1:2::9/128", 77, "2001:db8::7", "fd00:1:2::9 dev veth-a proto 117"],
  ["::/0", 9000, "2001:db8::7", "default dev veth-a proto 117"],
];

Deno.test("Netlink adds, lists and deletes routes of both families", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  bench.netlink.addAddress(bench.index, own("192.0.2.7/24"));
  bench.netlink.addAddress(bench.index, own("2001:db8::7/64"));
  const ours = () => bench.netlink.routes().filter((item) => item.protocol === ROUTE_PROTOCOL);
  for (const [text, metric, source, shown] of ROUTES) {
    const destination = parseIpPrefix(text);
    const route = {
      destination,
      interfaceIndex: bench.index,
      preferredSource: address(source),
      ...(metric === undefined ? {} : { metric }),
    };
    bench.netlink.addRoute(route);
    const [found, ...others] = ours();
    deepStrictEqual(others, []);
    strictEqual(formatIpPrefix(found!.destination), text);
    strictEqual(found!.interfaceIndex, bench.index);
    deepStrictEqual(found!.preferredSource, address(source));
    strictEqual(found!.gateway, undefined);
    strictEqual(found!.metric, metric ?? (source.includes(":") ? 1024 : 0));
    deepStrictEqual([found!.table, found!.type], [254, 1]);
    const family = source.includes(":") ? "-6" : "-4";
    const table = await bench.namespace.run("ip", family, "route", "show", "proto", "117");
    // ip leaves the protocol out where it was asked for it
    ok(table.startsWith(shown.replace(" proto 117", "")), table);
    throws(() => bench.netlink.addRoute(route), {
      message: `Cannot add route ${text} on interface "veth-a": EEXIST (17)`,
    });
    bench.netlink.deleteRoute(route);
    deepStrictEqual(ours(), [], text);
    throws(() => bench.netlink.deleteRoute(route), {
      message: `Cannot delete route ${text} on interface "veth-a": ESRCH (3)`,
    });
  }
});

/** An own address whose packets are routed by a table of their own, and where they then may go. */
const SOURCE_RULES: [source: string, destination: string][] = [
  ["192.0.2.7", "100.64.0.0/10"],
  ["2001:db8::7", "fd00:1:2::/48"],
];

Deno.test("Netlink routes by source through a table of its own", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  bench.netlink.addAddress(bench.index, own("192.0.2.7/24"));
  bench.netlink.addAddress(bench.index, own("2001:db8::7/64"));
  await bench.namespace.run("ip", "rule", "add", "from", "203.0.113.1", "table", "99");
  for (const [source, text] of SOURCE_RULES) {
    const route = { destination: parseIpPrefix(text), interfaceIndex: bench.index, table: 7117 };
    bench.netlink.addRoute(route);
    const installed = bench.netlink.routes().filter((item) => item.protocol === ROUTE_PROTOCOL);
    deepStrictEqual(installed.map((item) => item.table), [7117], "not in the main table");
    strictEqual(bench.routeTo(text.replace(/0?\/.*/, "9")), undefined, "not for everybody");

    const rule = { source: address(source), table: 7117, priority: 7000 };
    bench.netlink.addSourceRule(rule);
    deepStrictEqual(bench.netlink.sourceRules(), [rule], "ours, and not those of others");
    const family = source.includes(":") ? "-6" : "-4";
    const shown = await bench.namespace.run("ip", family, "rule", "show");
    ok(shown.includes(`7000:\tfrom ${source} lookup 7117 proto 117`), shown);
    throws(() => bench.netlink.addSourceRule(rule), {
      message: `Cannot add rule from ${source} table 7117: EEXIST (17)`,
    });
    bench.netlink.deleteSourceRule(rule);
    deepStrictEqual(bench.netlink.sourceRules(), []);
    throws(() => bench.netlink.deleteSourceRule(rule), {
      message: `Cannot delete rule from ${source} table 7117: ENOENT (2)`,
    });
    bench.netlink.deleteRoute(route);
  }
});

Deno.test("Netlink.deleteRoute() leaves the routes of others alone", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  for (const text of ["203.0.113.0/24", "2001:db8:9::/48"]) {
    await bench.namespace.run("ip", "route", "add", text, "dev", "veth-a");
    const route = { destination: parseIpPrefix(text), interfaceIndex: bench.index };
    throws(() => bench.netlink.deleteRoute(route), { errno: 3 }, text);
    ok(bench.routeTo(text.split("/")[0]!) !== undefined, "it is still there");
  }
});

Deno.test("Netlink.routeTo() tells interface, next hop and source", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  bench.netlink.addAddress(bench.index, own("192.0.2.7/24"));
  bench.netlink.addAddress(bench.index, own("2001:db8::7/64"));
  const ip = (...args: string[]) => bench.namespace.run("ip", "route", "add", ...args);
  await ip("203.0.113.0/24", "via", "192.0.2.1");
  await ip("2001:db8:9::/48", "via", "2001:db8::1");
  await ip("unreachable", "198.51.100.0/24");
  await ip("blackhole", "198.51.101.0/24");
  await ip("prohibit", "2001:db8:a::/48");
  const seen = (text: string) => {
    const route = bench.routeTo(text);
    const name = (bytes: Uint8Array | undefined) => bytes && formatIpAddress(bytes);
    return route && [route.interfaceIndex, name(route.gateway), name(route.preferredSource)];
  };
  deepStrictEqual(seen("192.0.2.9"), [bench.index, undefined, "192.0.2.7"]);
  deepStrictEqual(seen("203.0.113.9"), [bench.index, "192.0.2.1", "192.0.2.7"]);
  deepStrictEqual(seen("2001:db8::9"), [bench.index, undefined, "2001:db8::7"]);
  deepStrictEqual(seen("2001:db8:9::9"), [bench.index, "2001:db8::1", "2001:db8::7"]);
  for (const text of ["8.8.8.8", "2001:db9::1", "198.51.100.1", "198.51.101.1", "2001:db8:a::1"]) {
    strictEqual(seen(text), undefined, text);
  }
});

Deno.test("Netlink.routes() holds more than one answer carries", NEEDS_NET_ADMIN, async () => {
  await using bench = await Bench.create();
  const count = 1500;
  for (let i = 0; i < count; i++) {
    bench.netlink.addRoute({
      destination: { address: Uint8Array.of(100, 64 + (i >> 8), i & 255, 0), length: 24 },
      interfaceIndex: bench.index,
    });
  }
  const ours = bench.netlink.routes().filter((item) => item.protocol === ROUTE_PROTOCOL);
  strictEqual(new Set(ours.map((item) => formatIpPrefix(item.destination))).size, count);
});

Deno.test(
  "Netlink says who may, which interface, and what an address is",
  NEEDS_NET_ADMIN,
  async () => {
    await using bench = await Bench.create();
    throws(() => bench.netlink.setLink(9999, { isUp: true }), {
      fault: "no-device",
      message: "Cannot set isUp=true on interface number 9999: ENODEV (19)",
    });
    const odd = { address: new Uint8Array(5), length: 8 };
    throws(() => bench.netlink.addAddress(bench.index, odd), RangeError);
    bench.netlink.close();
    bench.netlink.close();
    throws(() => bench.netlink.links(), TypeError);
    const file = new URL("../../ffi/netlink.ts", import.meta.url).href;
    const program = `
    import { Netlink } from "${file}";
    const netlink = new Netlink();
    try { netlink.setLink(1, { isUp: true }); } catch (error) { console.log(error.message); }`;
    const drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    const text = await bench.namespace.run(...drop, Deno.execPath(), "eval", program);
    strictEqual(
      text.trim(),
      `Cannot set isUp=true on interface "lo": EPERM (1); run as root or with CAP_NET_ADMIN`,
    );
  },
);

/** A namespace with a pair of interfaces that are up. */
class Bench implements AsyncDisposable {
  readonly netlink: Netlink;
  readonly index: number;

  private constructor(readonly namespace: Namespace) {
    this.netlink = namespace.within(() => new Netlink());
    this.index = this.netlink.link("veth-a")!.index;
  }

  static async create(): Promise<Bench> {
    await using stack = new AsyncDisposableStack();
    const namespace = stack.use(await Namespace.create());
    await namespace.run(..."ip link add veth-a type veth peer name veth-b".split(" "));
    for (const name of ["veth-a", "veth-b"]) await namespace.run("ip", "link", "set", name, "up");
    const bench = new Bench(namespace);
    stack.move(); // the bench disposes of it
    return bench;
  }

  routeTo(text: string): Route | undefined {
    return this.netlink.routeTo(address(text));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.netlink.close();
    await this.namespace[Symbol.asyncDispose]();
  }
}
