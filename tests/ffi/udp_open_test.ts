/**
 * Opening UDP sockets: ports, families, descriptors. Needs root.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Netlink } from "../../ffi/netlink.ts";
import { Poller } from "../../ffi/poller.ts";
import { openTun } from "../../ffi/tun_linux.ts";
import { hasIpv6, type UdpOptions } from "../../ffi/udp_linux.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { Namespace, NEEDS_NET_ADMIN } from "./namespace.ts";
import { addLoopbackAddresses, Arrivals, countDescriptors, fail, openUdp } from "./udp_bench.ts";

const address = parseIpAddress;

Deno.test("openUdpSocket() takes one port for both families", NEEDS_NET_ADMIN, async () => {
  await using namespace = await Namespace.create();
  const poller = new Poller();
  // Only two ports are left, and the first is taken in IPv6: 0 must lead to the other.
  await namespace.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40001");
  const other = namespace.within(() => openUdp({ port: 40000, ipv4: false, poller }));
  deepStrictEqual(other.families, { ipv4: false, ipv6: true });
  const socket = namespace.within(() => openUdp({ port: 0, poller }));
  strictEqual(socket.port, 40001);
  deepStrictEqual(socket.families, { ipv4: true, ipv6: true });
  await other.close();
  await socket.close();
  await poller.close();
});

Deno.test("openUdpSocket() names the port that is in use", NEEDS_NET_ADMIN, async () => {
  await using namespace = await Namespace.create();
  const poller = new Poller();
  const open = (options: Partial<UdpOptions>) =>
    namespace.within(() => openUdp({ port: 8443, poller, ...options }));
  for (const [taken, family] of [[{ ipv6: false }, 4], [{ ipv4: false }, 6]] as const) {
    const first = open(taken);
    const descriptors = countDescriptors();
    throws(() => open({}), {
      name: "SyscallError",
      fault: "in-use",
      message: `Cannot open UDP port 8443 for IPv${family}: EADDRINUSE (98); ` +
        "another program has this port, choose another or stop it",
    });
    strictEqual(countDescriptors(), descriptors, "nothing stays open");
    await first.close();
  }
  await open({}).close();
  await poller.close();
});

Deno.test("openUdpSocket() makes do without IPv6", NEEDS_NET_ADMIN, async () => {
  await using namespace = await Namespace.create();
  await addLoopbackAddresses(namespace);
  const poller = new Poller();
  strictEqual(namespace.within(hasIpv6), true);
  for (const name of ["all", "default"]) {
    await namespace.run("sysctl", "-qw", `net.ipv6.conf.${name}.disable_ipv6=1`);
  }
  strictEqual(namespace.within(hasIpv6), false);
  const socket = namespace.within(() => openUdp({ port: 0, poller }));
  deepStrictEqual(socket.families, { ipv4: true, ipv6: false });
  const arrivals = new Arrivals(socket);
  ok(
    socket.send(
      Uint8Array.of(1),
      socket.path({ address: address("192.0.2.1"), port: socket.port }),
    ),
  );
  strictEqual((await arrivals.next()).length, 1);
  const far = socket.path({ address: address("2001:db8::1"), port: socket.port });
  strictEqual(socket.send(Uint8Array.of(1), far), false);
  strictEqual(socket.sendError, "unreachable");
  await socket.close();
  // A TUN device comes up there too; only an IPv6 address is refused.
  const tun = namespace.within(() => openTun({ mtu: 1408, poller }));
  namespace.within(() => {
    using netlink = new Netlink();
    netlink.addAddress(tun.index, { address: address("100.64.0.1"), length: 32 });
    throws(() => netlink.addAddress(tun.index, { address: address("fd00::1"), length: 128 }), {
      message: `Cannot add address fd00::1/128 on interface "tm0": EACCES (13)`,
    });
  });
  await tun.close();
  await poller.close();
});

Deno.test("UdpLinux lets no descriptor leak over 200 lives", NEEDS_NET_ADMIN, async () => {
  await using namespace = await Namespace.create();
  const before = countDescriptors();
  for (let i = 0; i < 200; i++) {
    const poller = new Poller();
    const socket = namespace.within(() => openUdp({ port: 8443, poller }));
    socket.start(() => {}, fail);
    const tun = namespace.within(() => openTun({ mtu: 1408, poller }));
    tun.start(() => {}, fail);
    await socket.close();
    await tun.close();
    await poller.close();
  }
  strictEqual(countDescriptors(), before);
});
