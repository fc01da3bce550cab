/**
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import type { InterfaceAddress, Link } from "../../ffi/netlink.ts";
import { localEndpoints } from "../../lib/agent/local_endpoints.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";

const MESH = [parseIpPrefix("100.64.0.0/10"), parseIpPrefix("fd11:2222:3333::/48")];

function own(text: string, change: Partial<InterfaceAddress> = {}): InterfaceAddress {
  return {
    address: parseIpAddress(text),
    length: 24,
    interfaceIndex: 1,
    scope: "global",
    isTentative: false,
    isDeprecated: false,
    isTemporary: false,
    isPermanent: true,
    ...change,
  };
}

function endpointsOf(
  addresses: InterfaceAddress[],
  link: Partial<Link> = {},
  families = { ipv4: true, ipv6: true },
): string[] {
  const links = [{ index: 1, name: "eth0", mtu: 1500, isUp: true, kind: undefined, ...link }];
  return localEndpoints({ addresses, links, port: 7, families, meshRanges: MESH });
}

/** One own address: what it is, whether peers are told, why. */
const ADDRESSES: [address: InterfaceAddress, isTold: boolean, why: string][] = [
  [own("192.168.1.5"), true, "an ordinary address"],
  [own("2001:db8::5"), true, "of either family"],
  [own("fd99::5"), true, "a ULA that is not the mesh's"],
  [own("fec0::5", { scope: "site" }), true, "site scope"],
  [own("127.0.0.1", { scope: "host" }), false, "loopback"],
  [own("127.0.0.2"), false, "loopback, whatever its scope says"],
  [own("fe80::1", { scope: "link" }), false, "link-local"],
  [own("169.254.3.4", { scope: "link" }), false, "link-local"],
  [own("100.64.0.9"), false, "the mesh itself"],
  [own("fd11:2222:3333::9"), false, "the mesh itself"],
  [own("192.168.1.5", { isTentative: true }), false, "not usable yet"],
  [own("192.168.1.5", { isDeprecated: true }), false, "not to be chosen any more"],
  [own("192.168.1.5", { interfaceIndex: 9 }), false, "of an interface that is gone"],
];

Deno.test("localEndpoints() tells what others can reach", () => {
  for (const [address, isTold, why] of ADDRESSES) {
    strictEqual(endpointsOf([address]).length, isTold ? 1 : 0, why);
  }
});

Deno.test("localEndpoints() leaves out what is down and the bridges of container engines", () => {
  const rows: [link: Partial<Link>, isTold: boolean][] = [
    [{ name: "br0", kind: "bridge" }, true],
    [{ name: "br-lan", kind: "bridge" }, true],
    [{ name: "docker-lan" }, true],
    [{ name: "eth0", isUp: false }, false],
    [{ name: "docker0", kind: "bridge" }, false],
    [{ name: "br-0123456789ab", kind: "bridge" }, false],
    [{ name: "virbr0", kind: "bridge" }, false],
    [{ name: "podman1", kind: "bridge" }, false],
    [{ name: "cni0", kind: "bridge" }, false],
  ];
  for (const [link, isTold] of rows) {
    strictEqual(endpointsOf([own("172.17.0.1")], link).length, isTold ? 1 : 0, link.name);
  }
});

Deno.test("localEndpoints() keeps to the socket's families, once each, lasting ones first", () => {
  const v4 = own("192.0.2.1");
  const privacy = own("2001:db8::aaaa", { isTemporary: true });
  const lasting = own("2001:db8::1");
  deepStrictEqual(endpointsOf([privacy, v4, v4, lasting]), [
    "192.0.2.1:7",
    "[2001:db8::1]:7",
    "[2001:db8::aaaa]:7",
  ]);
  deepStrictEqual(endpointsOf([v4, lasting], {}, { ipv4: true, ipv6: false }), ["192.0.2.1:7"]);
  deepStrictEqual(endpointsOf([v4, lasting], {}, { ipv4: false, ipv6: true }), ["[2001:db8::1]:7"]);
  const many = Array.from({ length: 40 }, (_, i) => own(`192.0.2.${i + 1}`));
  strictEqual(endpointsOf(many).length, 16);
});
