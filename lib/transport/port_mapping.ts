/**
 * Keeps a UDP port of this node open at the gateway, so that peers behind any NAT can reach it: by
 * whichever protocol the gateway speaks, renewed at half its time, removed at the end.
 *
 * ```
 * asking ──granted──▶ held ──half its time──▶ renewing ──granted──▶ held
 *   ▲ │ refused by all        ▲ │ failed, time left: asked again at half of it
 *   └─┴── RETRY_MS later      └─┘      … no time left ──▶ asking
 * ```
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { type Endpoint, equalEndpoints, type IpAddress } from "../net/endpoint.ts";
import { isLoopback, isUnicast } from "../net/ip_address.ts";

/** RFC 6886 §3.3 recommends it; PCP and UPnP gateways take it too. */
const LIFETIME_SECONDS = 7_200;
/** Shorter grants are renewed as if they were this long: nobody shall be asked every second. */
const LIFETIME_MIN_MS = 60_000;
/** Longer ones are not believed: a gateway that restarts has forgotten. */
const LIFETIME_MAX_MS = 24 * 3_600_000;
/** Below this a mapping that cannot be renewed is given up. */
const RENEW_MIN_MS = 15_000;
/** Ours: a gateway that speaks none of the protocols hardly learns it. */
const RETRY_MS = 15 * 60_000;

/** What is asked for. */
export interface MapRequest {
  /** The gateway, from the route table. */
  readonly gateway: IpAddress;
  /** Own address towards it. */
  readonly local: IpAddress;
  /** Own UDP port. */
  readonly port: number;
  /** What there is, or was, already; asked for again. */
  readonly previous: Endpoint | undefined;
  /** 0 removes. */
  readonly lifetimeSeconds: number;
}

/** What was granted. */
export interface Mapped {
  /** Where datagrams to it must go. */
  readonly external: Endpoint;
  /** For how long, in seconds. */
  readonly lifetimeSeconds: number;
}

/** A way to ask a gateway. */
export interface MappingProtocol {
  /** For status and log. */
  readonly name: "pcp" | "nat-pmp" | "upnp";
  /**
   * Asks for a mapping, renews it, or removes it.
   *
   * @returns `undefined` where the gateway refuses, does not answer or grants nothing of use.
   */
  request(request: MapRequest): Promise<Mapped | undefined>;
}

/** What a {@linkcode PortMapping} needs. */
export interface PortMappingOptions {
  readonly clock: Clock;
  /** The gateway, from the route table. */
  readonly gateway: IpAddress;
  /** Own address towards it. */
  readonly local: IpAddress;
  /** Own UDP port. */
  readonly port: number;
  /** Ways to ask, the best first. */
  readonly protocols: readonly MappingProtocol[];
  /** Called when {@linkcode PortMapping.mapped} is another one than before. */
  readonly changed: () => void;
}

/** One port at one gateway; after a change of network make another one. */
export class PortMapping {
  readonly #options: PortMappingOptions;
  #mapped: Endpoint | undefined;
  #protocol: MappingProtocol | undefined;
  #expiresAt = 0;
  #cancel: () => void = () => {};
  #work: Promise<void>;
  #isStopped = false;

  /** Starts to ask. */
  constructor(options: PortMappingOptions) {
    this.#options = options;
    this.#work = this.#ask();
  }

  /** Where peers can send to, while the gateway forwards it. */
  get mapped(): Endpoint | undefined {
    return this.#mapped;
  }

  /** Which protocol the gateway speaks, once that is known. */
  get protocol(): MappingProtocol["name"] | undefined {
    return this.#protocol?.name;
  }

  /** Removes the mapping, as far as the gateway lets it, and ends. Safe to call twice. */
  async stop(): Promise<void> {
    if (this.#isStopped) return await this.#work;
    this.#isStopped = true;
    this.#cancel();
    this.#work = this.#work.then(async () => {
      const protocol = this.#protocol;
      if (protocol === undefined) return;
      await this.#request(protocol, 0);
      this.#protocol = undefined;
      this.#mapped = undefined;
    });
    await this.#work;
  }

  async #ask(): Promise<void> {
    for (const protocol of this.#options.protocols) {
      if (this.#isStopped) return;
      const mapped = await this.#request(protocol, LIFETIME_SECONDS);
      if (mapped === undefined) continue;
      // Even if stopped meanwhile: stop() removes it then.
      this.#protocol = protocol;
      return this.#hold(mapped);
    }
    this.#after(RETRY_MS, () => this.#ask());
  }

  #hold({ external, lifetimeSeconds }: Mapped): void {
    const { clock } = this.#options;
    const lifetimeMs = Math.min(Math.max(lifetimeSeconds * 1000, LIFETIME_MIN_MS), LIFETIME_MAX_MS);
    this.#expiresAt = clock.now() + lifetimeMs;
    this.#set(external);
    this.#renewLater();
  }

  /** At half of the time that is left. */
  #renewLater(): void {
    const leftMs = this.#expiresAt - this.#options.clock.now();
    this.#after(leftMs / 2, () => this.#renew());
  }

  async #renew(): Promise<void> {
    const protocol = this.#protocol;
    if (protocol === undefined) return;
    const mapped = await this.#request(protocol, LIFETIME_SECONDS);
    if (mapped !== undefined) return this.#hold(mapped);
    if (this.#isStopped) return;
    if (this.#expiresAt - this.#options.clock.now() > RENEW_MIN_MS) return this.#renewLater();
    this.#protocol = undefined;
    this.#set(undefined);
    await this.#ask();
  }

  async #request(protocol: MappingProtocol, lifetimeSeconds: number): Promise<Mapped | undefined> {
    const { gateway, local, port } = this.#options;
    const request = { gateway, local, port, previous: this.#mapped, lifetimeSeconds };
    // Whatever a gateway answers, and however its answer is broken, is no more than a "no".
    const mapped = await protocol.request(request).catch(() => undefined);
    if (mapped === undefined) return undefined;
    const { address, port: externalPort } = mapped.external;
    const isUseful = externalPort > 0 && isUnicast(address) && !isLoopback(address);
    return isUseful ? mapped : undefined;
  }

  #set(mapped: Endpoint | undefined): void {
    const before = this.#mapped;
    this.#mapped = mapped;
    const isSame = before === undefined || mapped === undefined
      ? before === mapped
      : equalEndpoints(before, mapped);
    if (!isSame && !this.#isStopped) this.#options.changed();
  }

  #after(ms: number, work: () => Promise<void>): void {
    if (this.#isStopped) return;
    const { clock } = this.#options;
    this.#cancel = clock.schedule(clock.now() + ms, () => {
      this.#work = work();
    });
  }
}
