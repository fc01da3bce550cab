/**
 * Nodes that reach each other by a relay on loopback, in TLS, with tickets handed over without a
 * control channel.
 *
 * @module
 */

import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { HttpListener, type HttpListenerOptions } from "../../lib/coordinator/listener.ts";
import { makeCertificate } from "../../lib/coordinator/tls.ts";
import { RelayTransport, type RelayTransportOptions } from "../../lib/transport/relay.ts";
import { dialRelay, type RelayTarget } from "../../lib/transport/relay_dialing.ts";

let certificate: ReturnType<typeof makeCertificate> | undefined;

/** A certificate for `localhost` that nobody trusts; the same at every call. */
export function testCertificate(): ReturnType<typeof makeCertificate> {
  return certificate ??= makeCertificate(["localhost"], Date.now());
}

/** A relay on a port of its own. */
export class TestRelay {
  readonly listener: HttpListener;
  readonly port: number;
  readonly #scheme: "ws" | "wss";
  readonly #transports: RelayTransport[] = [];

  private constructor(listener: HttpListener, port: number, scheme: "ws" | "wss") {
    this.#scheme = scheme;
    this.listener = listener;
    this.port = port;
  }

  /** Opens one. TLS unless `options` says otherwise. @param members Their node ids. */
  static async open(
    members: readonly string[],
    options: Partial<HttpListenerOptions> = {},
  ): Promise<TestRelay> {
    const given: HttpListenerOptions = {
      listen: [{ hostname: "127.0.0.1", port: 0 }],
      port: 0,
      tls: await testCertificate(),
      ...options,
    };
    const listener = new HttpListener(given);
    const [address] = await listener.start({
      opened: () => {},
      received: () => {},
      closed: () => {},
      failed: (error) => {
        throw error;
      },
    });
    listener.relay.addMembers(members);
    return new TestRelay(listener, address!.port, given.tls === undefined ? "ws" : "wss");
  }

  /** Where it is. */
  get url(): string {
    return `${this.#scheme}://127.0.0.1:${this.port}/relay`;
  }

  /** A good ticket. */
  ticket(nodeId: string): Uint8Array {
    const ticket = crypto.getRandomValues(new Uint8Array(32));
    this.listener.relay.addTicket(nodeId, ticket.slice());
    return ticket;
  }

  /** The transport of a node, connecting. */
  transport(
    nodeId: string,
    options: Partial<RelayTransportOptions> = {},
    target: Partial<RelayTarget> = {},
  ): RelayTransport {
    const transport: RelayTransport = new RelayTransport({
      clock: SYSTEM_CLOCK,
      dial: (events) => dialRelay({ url: this.url, tlsVerify: false, ...target }, events),
      askTicket: () => {
        queueMicrotask(() => transport.takeTicket(this.ticket(nodeId)));
        return true;
      },
      isPeer: () => true,
      ...options,
    });
    this.#transports.push(transport);
    transport.connect();
    return transport;
  }

  /** Closes it, and the transports that were made here. */
  async close(): Promise<void> {
    for (const transport of this.#transports) await transport.close();
    await this.listener.stop();
  }
}

/** Waits for what sockets bring about. @throws {Error} after 30 s. */
export async function until(holds: () => boolean, what = "it"): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`Waited too long for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
