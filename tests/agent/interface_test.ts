/**
 * The interface on a real kernel, in network namespaces of the test's own.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Poller } from "../../ffi/poller.ts";
import { AgentError } from "../../lib/agent/errors.ts";
import { MeshInterface, type MeshPlace } from "../../lib/agent/interface.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import { Namespace, NEEDS_NET_ADMIN } from "../ffi/namespace.ts";

const RANGES = { ipv4: parseIpPrefix("100.64.0.0/10"), ipv6: parseIpPrefix("fd11:22:33::/48") };

function place(host: number): MeshPlace {
  const ipv4 = parseIpAddress(`100.64.0.${host}`);
  return { addresses: { ipv4, ipv6: parseIpAddress(`fd11:22:33::${host}`) }, ranges: RANGES };
}

async function setUp(
  body: (o: {
    namespace: Namespace;
    open: (host: number) => MeshInterface;
  }) => Promise<void>,
): Promise<void> {
  await using namespace = await Namespace.create();
  const poller = new Poller();
  const opened: MeshInterface[] = [];
  const open = (host: number) =>
    namespace.within(() => {
      const made = new MeshInterface({ mtu: 1408, poller, dataPlane: "portable" });
      opened.push(made);
      made.configure(place(host));
      return made;
    });
  try {
    await body({ namespace, open });
  } finally {
    for (const one of opened) await one.close();
    await poller.close();
  }
}

Deno.test(
  "MeshInterface has addresses, MTU and routes, and leaves nothing behind",
  NEEDS_NET_ADMIN,
  () =>
    setUp(async ({ namespace, open }) => {
      const before = await stateOf(namespace);
      const made = open(1);
      ok(made.hasIpv6 && made.routesWholeRange);
      const links = await namespace.run("ip", "addr", "show", made.name);
      for (const text of ["mtu 1408", "UP", "100.64.0.1/32", "fd11:22:33::1/128"]) {
        ok(links.includes(text), `${text} in ${links}`);
      }
      ok(!links.includes("fe80"), "no link-local address: nobody is on the other side");
      const routes = await namespace.run("ip", "route");
      ok(/100\.64\.0\.0\/10 dev tm0 proto 117 .*src 100\.64\.0\.1/.test(routes), routes);
      ok((await namespace.run("ip", "-6", "route")).includes("fd11:22:33::/48 dev tm0 proto 117"));
      await made.close();
      await made.close();
      strictEqual(await stateOf(namespace), before);
    }),
);

Deno.test(
  "MeshInterface routes peers one by one beside another agent, and by source",
  NEEDS_NET_ADMIN,
  () =>
    setUp(async ({ namespace, open }) => {
      const first = open(1);
      const second = open(2);
      ok(first.routesWholeRange && !second.routesWholeRange);
      for (const agent of [first, second]) {
        for (const text of ["100.64.0.3", "fd11:22:33::3"]) {
          agent.addPeerAddress(parseIpAddress(text));
          agent.addPeerAddress(parseIpAddress(text));
        }
      }
      const wayTo = async (...rest: string[]) => {
        const family = rest[0]!.includes(":") ? "-6" : "-4";
        return /dev (\S+)/.exec(await namespace.run("ip", family, "route", "get", ...rest))?.[1];
      };
      strictEqual(await wayTo("100.64.0.3"), second.name);
      // What A answers must leave by A, whatever route B has to the same peer.
      strictEqual(await wayTo("100.64.0.3", "from", "100.64.0.1"), first.name);
      strictEqual(await wayTo("100.64.0.3", "from", "100.64.0.2"), second.name);
      strictEqual(await wayTo("fd11:22:33::3", "from", "fd11:22:33::1"), first.name);
      strictEqual(await wayTo("fd11:22:33::3", "from", "fd11:22:33::2"), second.name);
      second.removePeerAddress(parseIpAddress("100.64.0.3"));
      second.removePeerAddress(parseIpAddress("100.64.0.3"));
      strictEqual(await wayTo("100.64.0.3"), first.name);
      await first.close();
      strictEqual(await wayTo("fd11:22:33::3"), second.name);
    }),
);

Deno.test(
  "MeshInterface removes the rules of a process that died",
  NEEDS_NET_ADMIN,
  () =>
    setUp(async ({ namespace, open }) => {
      for (const [source, table] of [["100.64.0.1", "1953300999"], ["100.64.0.9", "1953300998"]]) {
        const rule = ["from", source!, "table", table!, "priority", "5117", "protocol", "117"];
        await namespace.run("ip", "rule", "add", ...rule);
      }
      await namespace.run("ip", "rule", "add", "from", "100.64.0.8", "table", "7", "priority", "9");
      const made = open(1);
      const rules = await namespace.run("ip", "rule");
      deepStrictEqual(rules.match(/from 100\.\S+/g), ["from 100.64.0.8", "from 100.64.0.1"]);
      await made.close();
      deepStrictEqual((await namespace.run("ip", "rule")).match(/from 100\.\S+/g), [
        "from 100.64.0.8",
      ]);
    }),
);

Deno.test(
  "MeshInterface refuses a range that something else uses, and names it",
  NEEDS_NET_ADMIN,
  () =>
    setUp(async ({ namespace, open }) => {
      await namespace.run("ip", "link", "add", "d0", "type", "bridge");
      await namespace.run("ip", "link", "set", "d0", "up");
      /** Route, and whether it is in the way. */
      const rows: [route: string, isInTheWay: boolean][] = [
        ["100.100.0.0/16", true],
        ["100.64.0.0/10", true],
        ["100.0.0.0/8", true],
        ["fd11:22:33:4::/64", true],
        ["100.128.0.0/16", false],
        ["10.0.0.0/8", false],
        ["default", false],
      ];
      for (const [route, isInTheWay] of rows) {
        const family = route.includes(":") ? "-6" : "-4";
        await namespace.run("ip", family, "route", "add", route, "dev", "d0");
        if (isInTheWay) {
          throws(() => open(1), (error) => {
            ok(error instanceof AgentError && error.fault === "config", `${error}`);
            ok(error.message.includes(route) && error.message.includes('"d0"'), error.message);
            ok(error.message.includes("--range"));
            return true;
          });
        } else await open(1).close();
        await namespace.run("ip", family, "route", "del", route, "dev", "d0");
      }
    }),
);

Deno.test(
  "MeshInterface works by IPv4 alone where IPv6 is off",
  NEEDS_NET_ADMIN,
  () =>
    setUp(async ({ namespace, open }) => {
      await namespace.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1");
      const made = open(1);
      ok(!made.hasIpv6);
      made.addPeerAddress(parseIpAddress("fd11:22:33::3"));
      ok(!(await namespace.run("ip", "-6", "route")).includes("fd11"));
      ok((await namespace.run("ip", "route")).includes("100.64.0.0/10"));
    }),
);

async function stateOf(namespace: Namespace): Promise<string> {
  const parts = [["link"], ["addr"], ["route", "show", "table", "all"], ["rule"], ["-6", "rule"]];
  const texts = [];
  for (const part of parts) texts.push(await namespace.run("ip", ...part));
  return texts.join("\n");
}
