/**
 * Two network namespaces on one cable, with a UDP socket in each.
 *
 * ```
 *  one ── veth a ═══════ veth b ── two         192.0.2.1, .3 │ 192.0.2.2     /24
 *                                           2001:db8::1, ::3 │ 2001:db8::2   /64
 * ```
 *
 * @module
 */

import { notStrictEqual, ok } from "node:assert/strict";
import { Netlink } from "../../ffi/netlink.ts";
import { Poller } from "../../ffi/poller.ts";
import type { UdpLinux } from "../../ffi/udp_linux.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { Namespace } from "./namespace.ts";
import { Arrivals, openUdp } from "./udp_bench.ts";

/** Gives an interface addresses and sets it up. */
export function setUpLink(namespace: Namespace, name: string, addresses: string[]): void {
  namespace.within(() => {
    using netlink = new Netlink();
    const { index } = netlink.link(name)!;
    for (const text of addresses) {
      const bytes = parseIpAddress(text);
      netlink.addAddress(index, { address: bytes, length: bytes.length === 4 ? 24 : 64 });
    }
    netlink.setLink(index, { isUp: true });
  });
}

/** The picture at the top. */
export class TwoNamespaces implements AsyncDisposable {
  readonly poller = new Poller();
  readonly failures: Error[] = [];
  readonly one: UdpLinux;
  readonly two: UdpLinux;
  readonly atOne: Arrivals;
  readonly atTwo: Arrivals;

  private constructor(
    readonly first: Namespace,
    readonly second: Namespace,
    readonly linkLocalOfTwo: string,
  ) {
    this.one = first.within(() => openUdp({ port: 0, poller: this.poller }));
    this.two = second.within(() => openUdp({ port: 0, poller: this.poller }));
    this.atOne = new Arrivals(this.one, this.failures);
    this.atTwo = new Arrivals(this.two, this.failures);
  }

  static async create(): Promise<TwoNamespaces> {
    await using stack = new AsyncDisposableStack();
    const first = stack.use(await Namespace.create());
    const second = stack.use(await Namespace.create());
    const veth = "ip link add veth-a type veth peer name veth-b netns";
    await first.run(...veth.split(" "), second.name);
    setUpLink(first, "veth-a", ["192.0.2.1", "192.0.2.3", "2001:db8::1", "2001:db8::3", "fe80::a"]);
    setUpLink(second, "veth-b", ["192.0.2.2", "2001:db8::2", "fe80::b"]);
    const bench = new TwoNamespaces(first, second, "fe80::b");
    stack.move(); // the bench disposes of them
    return bench;
  }

  /** Shows that both sockets still work, in both families. */
  async exchange(): Promise<void> {
    for (const far of ["192.0.2.2", "2001:db8::2"]) {
      const path = this.one.path({ address: parseIpAddress(far), port: this.two.port });
      ok(this.one.send(Uint8Array.of(1), path));
      ok(this.two.send(Uint8Array.of(2), (await this.atTwo.next()).path));
      notStrictEqual(await this.atOne.next(), undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.one.close();
    await this.two.close();
    await this.poller.close();
    await this.first[Symbol.asyncDispose]();
    await this.second[Symbol.asyncDispose]();
  }
}
