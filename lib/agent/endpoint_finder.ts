/**
 * Where this node can be reached: its local endpoints, and the one that the coordinator sees its
 * data socket come from (protocol.md §6).
 *
 * Asked again when the local addresses change, and often enough to keep a NAT's mapping alive where
 * there is one.
 *
 * @module
 */

import { Netlink } from "../../ffi/netlink.ts";
import type { Clock } from "../base/clock.ts";
import { type Endpoint, formatEndpoint, type IpAddress } from "../net/endpoint.ts";
import { isUnicast } from "../net/ip_address.ts";
import { type IpPrefix, prefixContains } from "../net/ip_prefix.ts";
import { DiscoveryAsks } from "../session/discovery.ts";
import type { DiscoveryCredential, EndpointHint } from "../wire/control_message.ts";
import { localEndpoints } from "./local_endpoints.ts";

/** How often the local addresses are looked at: two netlink messages. */
const LOOK_EVERY_MS = 5_000;
/** When an ask is sent again, from the first one on, until one is answered. */
const ASK_AT_MS = [0, 250, 750, 1_750, 3_750];
/** How often to ask behind a NAT, so that its mapping stays. */
const KEEP_MAPPING_MS = 25_000;
/** How often to ask where there is no NAT. */
const CHECK_MAPPING_MS = 300_000;
/** A discovered endpoint that was not seen again for so long is no longer told. */
const FORGET_AFTER_MS = 90_000;

/** What an {@linkcode EndpointFinder} needs. */
export interface EndpointFinderOptions {
  readonly clock: Clock;
  /** Port of the data socket. */
  readonly port: number;
  /** Which families it has. */
  readonly families: { readonly ipv4: boolean; readonly ipv6: boolean };
  /** Ranges of the mesh, once they are known. */
  readonly meshRanges: () => readonly IpPrefix[];
  /** Sends from the data socket; may drop. */
  readonly send: (datagram: Uint8Array, to: Endpoint) => void;
  /** Called when the list is another one than before. */
  readonly changed: () => void;
  /** Called when the local addresses changed: sessions may have lost their way. */
  readonly moved: () => void;
}

/** Finds out, and keeps finding out, where this node can be reached. */
export class EndpointFinder {
  readonly #options: EndpointFinderOptions;
  #local: readonly string[] = [];
  /** By text; when it was seen last. */
  readonly #discovered = new Map<string, number>();
  #asks: DiscoveryAsks | undefined;
  #ports: readonly number[] = [];
  #addresses: readonly IpAddress[] = [];
  #isAskingRegularly = false;
  readonly #cancels = new Set<() => void>();
  #isAnswered = false;
  #askedAt = -Infinity;
  #isClosed = false;

  /** Looks at the local addresses once, at once. */
  constructor(options: EndpointFinderOptions) {
    this.#options = options;
    this.#local = this.#look();
  }

  /** For `hello` and `endpoints`: discovered ones last. */
  get hints(): EndpointHint[] {
    const found = [...this.#discovered.keys()].filter((text) => !this.#local.includes(text));
    return [
      ...this.#local.map((endpoint) => ({ endpoint, source: "local" })),
      ...found.map((endpoint) => ({ endpoint, source: "discovered" })),
    ];
  }

  /** Starts to watch the local addresses. */
  watch(): void {
    this.#after(LOOK_EVERY_MS, () => {
      this.lookAgain();
      this.watch();
    });
  }

  /** Looks at the local addresses now. */
  lookAgain(): void {
    const local = this.#look();
    if (local.join() === this.#local.join()) return;
    this.#local = local;
    this.#options.changed();
    this.#options.moved();
    this.#askAll();
  }

  /**
   * Sets with which key and at which ports to ask.
   *
   * @param credential Key and its id, from the control channel.
   * @param ports The coordinator's UDP ports that answer; `undefined`: the same as before.
   */
  setCredential(credential: DiscoveryCredential, ports: readonly number[] | undefined): void {
    this.#asks = new DiscoveryAsks({ key: credential.key, keyId: credential.id });
    this.#ports = ports ?? this.#ports;
    this.#serversChanged();
  }

  /** Sets the addresses under which this node reaches the coordinator. */
  setCoordinatorAddresses(addresses: readonly IpAddress[]): void {
    this.#addresses = addresses;
    this.#serversChanged();
  }

  /** Takes a discovery datagram; anything but an awaited answer does nothing. */
  receive(datagram: Uint8Array): void {
    const now = this.#options.clock.now();
    const seen = this.#asks?.receive(datagram, now);
    if (seen === undefined || !this.#isUseful(seen)) return;
    this.#isAnswered = true;
    const text = formatEndpoint(seen);
    const before = this.hints.length;
    const isNew = !this.#discovered.has(text);
    this.#discovered.set(text, now);
    for (const [other, at] of this.#discovered) {
      if (now - at > FORGET_AFTER_MS && other !== text) this.#discovered.delete(other);
    }
    if (isNew || this.hints.length !== before) this.#options.changed();
  }

  /** Stops. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }

  #look(): string[] {
    const { port, families, meshRanges } = this.#options;
    using netlink = new Netlink();
    return localEndpoints({
      addresses: netlink.addresses(),
      links: netlink.links(),
      port,
      families,
      meshRanges: meshRanges(),
    });
  }

  #isUseful({ address }: Endpoint): boolean {
    return isUnicast(address) && address[0] !== 127 &&
      !this.#options.meshRanges().some((range) => prefixContains(range, address));
  }

  #serversChanged(): void {
    if (this.#asks === undefined || this.#ports.length * this.#addresses.length === 0) return;
    if (this.#isAskingRegularly) return this.#askAll();
    this.#isAskingRegularly = true;
    this.#askRegularly();
  }

  #askRegularly(): void {
    const now = this.#options.clock.now();
    const isMapped = this.hints.some(({ source }) => source === "discovered");
    const isDue = now - this.#askedAt >= CHECK_MAPPING_MS;
    if (isMapped || isDue || !this.#isAnswered) this.#askAll();
    this.#after(KEEP_MAPPING_MS, () => this.#askRegularly());
  }

  #askAll(): void {
    this.#askedAt = this.#options.clock.now();
    this.#isAnswered = false;
    for (const ms of ASK_AT_MS) {
      this.#after(ms, () => {
        if (!this.#isAnswered) this.#askOnce();
      });
    }
  }

  #askOnce(): void {
    if (this.#asks === undefined) return;
    for (const address of this.#addresses) {
      for (const port of this.#ports) {
        this.#options.send(this.#asks.ask(this.#options.clock.now()), { address, port });
      }
    }
  }

  #after(ms: number, callback: () => void): void {
    if (this.#isClosed) return;
    const { clock } = this.#options;
    const cancel = clock.schedule(clock.now() + ms, () => {
      this.#cancels.delete(cancel);
      callback();
    });
    this.#cancels.add(cancel);
  }
}
