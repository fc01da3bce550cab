/**
 * UDP sockets for tests, and what they receive.
 *
 * @module
 */

import { openUdpSocket, type UdpLinux, type UdpOptions } from "../../ffi/udp_linux.ts";
import { LinuxUdpPath } from "../../ffi/udp_path.ts";
import { formatEndpoint } from "../../lib/net/endpoint.ts";
import { Namespace } from "./namespace.ts";

/** Opens a socket that can say where it sends. */
export function openUdp(options: Omit<UdpOptions, "formatEndpoint">): UdpLinux {
  return openUdpSocket({ ...options, formatEndpoint });
}

/** Gives the loopback interface addresses .1 to .4 of 192.0.2.0/24 and 2001:db8::/64. */
export async function addLoopbackAddresses(namespace: Namespace): Promise<void> {
  for (let i = 1; i <= 4; i++) {
    await namespace.run("ip", "address", "add", `192.0.2.${i}/32`, "dev", "lo");
    await namespace.run("ip", "address", "add", `2001:db8::${i}/128`, "dev", "lo", "nodad");
  }
}

/** Open file descriptors of this process. */
export function countDescriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** For what must not happen. */
export function fail(reason: unknown): never {
  throw new Error("not expected", { cause: reason });
}

/** What a socket receives, one after another. */
export class Arrivals {
  readonly #arrived: { length: number; path: LinuxUdpPath }[] = [];
  #wake = () => {};

  /** Starts the socket. */
  constructor(socket: UdpLinux, failures: Error[] = []) {
    socket.start((datagram, path) => {
      this.#arrived.push({ length: datagram.length, path });
      this.#wake();
    }, (error) => failures.push(error));
  }

  /** The next one, as soon as it is there. */
  async next(): Promise<{ length: number; path: LinuxUdpPath }> {
    while (this.#arrived.length === 0) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error("nothing arrived in 30 s")), 30_000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#arrived.shift()!;
  }
}
