/**
 * Tells when links, own addresses or default routes of this machine change, by the kernel's own
 * notices (multicast groups of NETLINK_ROUTE, rtnetlink(7)); and when the machine woke up.
 *
 * What must hold: the groups are joined before the state is read, so nothing falls between; and when
 * the kernel had to drop notices (ENOBUFS), everything counts as changed and is read again.
 *
 * The kernel repeats itself (with every router advertisement, an address anew), so each notice is
 * compared with what is known. Only routes that lead everywhere are looked at, and never listed: the
 * tables of a router can have a million entries.
 *
 * @module
 */

import type { Clock } from "../lib/base/clock.ts";
import { ERRNO, SyscallError } from "./errno.ts";
import { AF, MSG, SOCK } from "./layout.ts";
import { check, errno, libc } from "./libc.ts";
import { Mem } from "./memory.ts";
import {
  ATTRIBUTE,
  Attributes,
  type NetlinkMessage,
  NetlinkRequest,
  NLM_F,
  NLMSG,
  readMessages,
  RTM,
} from "./netlink_message.ts";
import { readAddress, readRoute } from "./netlink_tables.ts";
import { ROUTE_PROTOCOL } from "./netlink.ts";
import type { Poller } from "./poller.ts";
import { watchSleep } from "./sleep_watch.ts";

const NETLINK_ROUTE = 0;
/** RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE (linux/rtnetlink.h). */
const GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/** `struct sockaddr_nl`: 0 family 2 │ 2 (gap) 2 │ 4 port 4 │ 8 groups 4. */
const SOCKADDR_NL = { family: 0, groups: 8, size: 12 } as const;
const IFF_UP = 0x1;
/** There is a carrier, and the link is ready. */
const IFF_RUNNING = 0x40;
const RECEIVE_BYTES = 64 * 1024;
/** Ours: how much one turn of the event loop may read. */
const READS_A_DRAIN = 64;
/** Ours: the changes of one event, such as a new network, come within so long. */
const GATHER_MS = 100;

/** What changed, gathered over a tenth of a second. */
export interface NetworkChange {
  /** An interface came, went, went up or down, or lost or got its carrier. */
  readonly links: boolean;
  /** An own address came, went, became usable or is not to be used any more. */
  readonly addresses: boolean;
  /** A default route came, went, or leads elsewhere. */
  readonly defaultRoute: boolean;
  /** How long the machine slept; 0 if it did not. */
  readonly sleptMs: number;
}

/** What a {@linkcode NetlinkMonitor} needs. */
export interface NetlinkMonitorOptions {
  /** Stays the caller's. */
  readonly poller: Poller;
  /** Gathers changes and watches for sleep. */
  readonly clock: Clock;
  /** Called a tenth of a second after the first change of several. */
  readonly changed: (change: NetworkChange) => void;
  /** Called once if no more can be learned; the monitor is closed by then. */
  readonly failed: (error: Error) => void;
  /** Interfaces of no interest, the mesh's own above all, by name. @default none */
  readonly isIgnored?: (name: string) => boolean;
  /** Time that goes on in sleep; for tests. @default CLOCK_BOOTTIME */
  readonly bootNow?: () => number;
}

/** A subscription to changes of the network namespace that it was made in. */
export class NetlinkMonitor implements Disposable {
  readonly #options: NetlinkMonitorOptions;
  readonly #fd: number;
  readonly #buffer = new Mem(RECEIVE_BYTES);
  readonly #bufferPointer = this.#buffer.pointer(0);
  readonly #stopPolling: () => void;
  readonly #stopSleepWatch: () => void;
  /** By index: name and state as text. */
  readonly #links = new Map<number, { name: string; state: string }>();
  /** By interface and address: state as text. */
  readonly #addresses = new Map<string, string>();
  /** By family, table and metric, of which there is one route each: where it leads. */
  readonly #defaultRoutes = new Map<string, { interfaceIndex: number | undefined; way: string }>();
  /** Tables that are still to be read; a socket can have one dump under way. */
  #dumps: number[] = [];
  #sequence = 0;
  #change = NO_CHANGE;
  #cancelReport: (() => void) | undefined;
  #isClosed = false;

  /**
   * Joins the groups and starts to read the state.
   *
   * @throws {SyscallError} If the kernel has no rtnetlink or descriptors are used up.
   */
  constructor(options: NetlinkMonitorOptions) {
    this.#options = options;
    // Safety: integers only.
    const fd = libc.socket(AF.NETLINK, SOCK.RAW | SOCK.CLOEXEC | SOCK.NONBLOCK, NETLINK_ROUTE);
    this.#fd = check(fd, "open a netlink socket");
    try {
      const address = new Uint8Array(SOCKADDR_NL.size);
      const view = new DataView(address.buffer);
      view.setUint16(SOCKADDR_NL.family, AF.NETLINK, true);
      view.setUint32(SOCKADDR_NL.groups, GROUPS, true);
      // Safety: 12 bytes, read before the call returns.
      check(libc.bind(this.#fd, address, address.length), "be told of network changes");
      this.#readState();
      this.#stopPolling = options.poller.add(this.#fd, {
        drain: () => this.#drain(),
        failed: (error) => this.#fail(error),
      });
    } catch (error) {
      libc.close(this.#fd);
      throw error;
    }
    this.#stopSleepWatch = watchSleep(
      options.clock,
      (sleptMs) => this.#note({ sleptMs }),
      options.bootNow,
    );
  }

  /** Stops. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopSleepWatch();
    this.#stopPolling();
    this.#cancelReport?.();
    // Safety: our own descriptor, closed once.
    libc.close(this.#fd);
  }

  /** Stops. */
  [Symbol.dispose](): void {
    this.close();
  }

  #fail(error: Error): void {
    if (this.#isClosed) return;
    this.close();
    this.#options.failed(error);
  }

  #drain(): void {
    for (let reads = 0; reads < READS_A_DRAIN && !this.#isClosed; reads++) {
      // Safety: the kernel writes at most RECEIVE_BYTES into a field of this object.
      const length = libc.recv(this.#fd, this.#bufferPointer, RECEIVE_BYTES, MSG.DONTWAIT);
      if (length >= 0) {
        for (const message of readMessages(this.#buffer.u8.subarray(0, length))) {
          this.#take(message);
        }
        continue;
      }
      const code = errno();
      if (code === ERRNO.EAGAIN) return;
      if (code === ERRNO.EINTR) continue;
      if (code !== ERRNO.ENOBUFS) throw new SyscallError("read network changes", code);
      this.#note({ links: true, addresses: true, defaultRoute: true });
      this.#readState();
    }
  }

  #readState(): void {
    this.#links.clear();
    this.#addresses.clear();
    this.#defaultRoutes.clear();
    const isUnderWay = this.#dumps.length > 0;
    this.#dumps = [...this.#dumps.slice(0, 1), RTM.GETLINK, RTM.GETADDR];
    if (!isUnderWay) this.#nextDump();
  }

  /** Asks for the table at the head of the list. */
  #nextDump(): void {
    const type = this.#dumps[0];
    if (type === undefined) return;
    const body = new Uint8Array(type === RTM.GETLINK ? 16 : 8); // of any family
    const bytes = new NetlinkRequest(type, NLM_F.DUMP, body).finish(++this.#sequence);
    // Safety: the request is read before the call returns.
    check(libc.sendBuffer(this.#fd, bytes, bytes.length, 0), "ask for the state of the network");
  }

  #take(message: NetlinkMessage): void {
    if (message.type === NLMSG.DONE || message.type === NLMSG.ERROR) {
      this.#dumps.shift();
      this.#nextDump();
      return;
    }
    const isChange = this.#learn(message);
    // Parts of a dump say how things are, notices what became of them.
    if (isChange !== undefined && (message.flags & NLM_F.MULTI) === 0) this.#note(isChange);
  }

  /** Remembers what a message says. @returns What is new by it, if anything. */
  #learn(message: NetlinkMessage): Partial<NetworkChange> | undefined {
    switch (message.type) {
      case RTM.NEWLINK:
      case RTM.DELLINK:
        return this.#learnLink(message);
      case RTM.NEWADDR:
      case RTM.DELADDR:
        return this.#learnAddress(message) ? { addresses: true } : undefined;
      case RTM.NEWROUTE:
      case RTM.DELROUTE:
        return this.#learnRoute(message) ? { defaultRoute: true } : undefined;
    }
    return undefined;
  }

  #learnLink({ type, body }: NetlinkMessage): Partial<NetworkChange> | undefined {
    // Other families are other things under the same name, such as a port of a bridge.
    if (body.byteLength < 16 || body.getUint8(0) !== 0) return undefined;
    const index = body.getInt32(4, true);
    const name = new Attributes(body, 16).text(ATTRIBUTE.IFLA_IFNAME) ?? "";
    const known = this.#links.get(index);
    const flags = type === RTM.DELLINK ? 0 : body.getUint32(8, true);
    const state = `${name} ${flags & (IFF_UP | IFF_RUNNING)}`;
    if (type === RTM.DELLINK) this.#links.delete(index);
    else this.#links.set(index, { name, state });
    const isNews = type === RTM.DELLINK ? known !== undefined : known?.state !== state;
    if (!isNews || this.#isIgnored(name)) return undefined;
    // The kernel drops the IPv4 routes of an interface that goes down without a notice.
    const isDown = (flags & IFF_UP) === 0;
    return { links: true, ...(isDown && this.#forgetRoutes(index) ? { defaultRoute: true } : {}) };
  }

  /** Forgets the default routes through an interface. @returns Whether there were any. */
  #forgetRoutes(interfaceIndex: number): boolean {
    const gone = [...this.#defaultRoutes].filter(([, route]) =>
      route.interfaceIndex === interfaceIndex
    );
    for (const [key] of gone) this.#defaultRoutes.delete(key);
    return gone.length > 0;
  }

  #learnAddress(message: NetlinkMessage): boolean {
    const own = readAddress({ ...message, type: RTM.NEWADDR });
    if (own === undefined) return false;
    const key = `${own.interfaceIndex} ${own.address}/${own.length}`;
    const known = this.#addresses.get(key);
    const state = message.type === RTM.DELADDR
      ? undefined
      : `${own.isTentative} ${own.isDeprecated}`;
    if (state === undefined) this.#addresses.delete(key);
    else this.#addresses.set(key, state);
    return known !== state && !this.#isIgnoredIndex(own.interfaceIndex);
  }

  #learnRoute(message: NetlinkMessage): boolean {
    const route = readRoute({ ...message, type: RTM.NEWROUTE });
    if (route === undefined || route.destination.length > 0) return false;
    if (route.protocol === ROUTE_PROTOCOL || this.#isIgnoredIndex(route.interfaceIndex)) {
      return false;
    }
    const key = `${route.destination.address.length} ${route.table} ${route.metric}`;
    const known = this.#defaultRoutes.get(key)?.way;
    const way = `${route.type} ${route.interfaceIndex} ${route.gateway} ${route.preferredSource}`;
    if (message.type === RTM.DELROUTE) {
      this.#defaultRoutes.delete(key);
      return true;
    }
    this.#defaultRoutes.set(key, { interfaceIndex: route.interfaceIndex, way });
    return known !== way;
  }

  #isIgnored(name: string): boolean {
    return this.#options.isIgnored?.(name) ?? false;
  }

  #isIgnoredIndex(index: number | undefined): boolean {
    const link = index === undefined ? undefined : this.#links.get(index);
    return link !== undefined && this.#isIgnored(link.name);
  }

  #note(news: Partial<NetworkChange>): void {
    this.#change = { ...this.#change, ...news };
    const { clock } = this.#options;
    this.#cancelReport ??= clock.schedule(clock.now() + GATHER_MS, () => {
      const change = this.#change;
      this.#cancelReport = undefined;
      this.#change = NO_CHANGE;
      this.#options.changed(change);
    });
  }
}

const NO_CHANGE: NetworkChange = {
  links: false,
  addresses: false,
  defaultRoute: false,
  sleptMs: 0,
};
