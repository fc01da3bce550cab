/**
 * Asking over a UDP socket of its own, some times over, until somebody answers.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { IpAddress } from "../net/endpoint.ts";
import { formatIpAddress } from "../net/ip_address.ts";

/** One thing to ask. */
export interface UdpAsking<T> {
  readonly clock: Clock;
  /** Own address. */
  readonly from: IpAddress;
  /** When to ask, in milliseconds from now. */
  readonly askAtMs: readonly number[];
  /** When to give up. */
  readonly giveUpMs: number;
  /** What to send where, each time. */
  readonly questions: readonly { readonly datagram: Uint8Array; readonly to: Deno.NetAddr }[];
  /** Reads what came; `undefined` for what is no answer. */
  readonly read: (datagram: Uint8Array, from: Deno.NetAddr) => T | undefined;
}

/**
 * Asks, and gives the first answer.
 *
 * @returns `undefined` if none came.
 * @throws {Error} when the socket cannot be opened or read.
 */
export async function askByUdp<T>(asking: UdpAsking<T>): Promise<T | undefined> {
  const { clock, from, askAtMs, giveUpMs, questions, read } = asking;
  const hostname = formatIpAddress(from);
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
  let isClosed = false;
  const close = () => {
    if (!isClosed) socket.close();
    isClosed = true;
  };
  const ask = () => {
    // What cannot be sent is as good as lost.
    for (const { datagram, to } of questions) socket.send(datagram, to).catch(() => {});
  };
  const startedAt = clock.now();
  const cancels = [
    ...askAtMs.map((ms) => clock.schedule(startedAt + ms, ask)),
    clock.schedule(startedAt + giveUpMs, close),
  ];
  try {
    for (;;) {
      const [datagram, sender] = await socket.receive();
      const answer = sender.transport === "udp" ? read(datagram, sender) : undefined;
      if (answer !== undefined) return answer;
    }
  } catch (error) {
    if (isClosed) return undefined;
    throw error;
  } finally {
    for (const cancel of cancels) cancel();
    close();
  }
}
