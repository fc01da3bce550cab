/**
 * Real TUN devices in network namespaces. Needs root and /dev/net/tun.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Netlink } from "../../ffi/netlink.ts";
import { Poller } from "../../ffi/poller.ts";
import { openTun, type TunLinux } from "../../ffi/tun_linux.ts";
import type { TunDevice } from "../../lib/dataplane/tun_device.ts";
import { Namespace } from "./namespace.ts";

const IPV4 = { own: Uint8Array.of(100, 64, 0, 1), peer: "100.64.0.2" };
const IPV6 = { own: v6(1), peer: "fd00::2" };

Deno.test("openTun() makes a device that carries ping in both families", async () => {
  await using namespace = await Namespace.create();
  const poller = new Poller();
  const tun: TunDevice & TunLinux = namespace.within(() => openTun({ mtu: 1408, poller }));
  try {
    strictEqual(tun.name, "tm0");
    namespace.within(() => setUp(tun));
    const failures: Error[] = [];
    tun.start((packet) => {
      ok(tun.write(echoReply(packet)));
    }, (error) => failures.push(error));
    for (const peer of [IPV4.peer, IPV6.peer]) {
      const text = await namespace.run("ping", "-c", "3", "-i", "0.01", "-W", "2", peer);
      ok(text.includes("3 received"), text);
    }
    deepStrictEqual(failures, []);
  } finally {
    await tun.close();
    await tun.close();
    await poller.close();
  }
  const links = namespace.within(() => {
    using netlink = new Netlink();
    return netlink.links().map((link) => link.name);
  });
  ok(!links.includes("tm0"), `the interface is gone, there is ${links}`);
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
