/**
 * What a UDP datagram costs through `ffi/` on loopback, and how soon one is noticed. Prints; proves
 * nothing.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { Poller } from "../../ffi/poller.ts";
import { openUdpSocket } from "../../ffi/udp_linux.ts";
import { formatEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";

const BURST = 64;
const BURST_MS = 1000;
const ROUND_TRIPS = 1000;
const IDLE_MS = 3;

/** Runs everything once per family. */
export async function benchUdpLoopback(print: (line: string) => void): Promise<void> {
  const poller = new Poller();
  const open = () => openUdpSocket({ port: 0, poller, formatEndpoint });
  const near = open();
  const far = open();
  let received = 0;
  let isEcho = false;
  let onAnswer = () => {};
  far.start((datagram, path) => {
    received++;
    if (isEcho) far.send(datagram, path);
  }, fail);
  near.start(() => onAnswer(), fail);
  for (const own of ["127.0.0.1", "::1"].map(parseIpAddress)) {
    const name = own.length === 4 ? "IPv4" : "IPv6";
    const path = near.path({ address: own, port: far.port }, own);
    const datagram = new Uint8Array(1400);
    isEcho = false;
    received = 0;
    let sent = 0;
    const start = performance.now();
    while (performance.now() - start < BURST_MS) {
      for (let i = 0; i < BURST; i++) if (near.send(datagram, path)) sent++;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    const seconds = (performance.now() - start) / 1000;
    await pause(50);
    const rate = Math.round(received / seconds);
    print(`${name}: ${rate} datagrams of 1400 bytes per second, ${sent - received} lost`);
    isEcho = true;
    const roundTrip = async () => {
      const answered = new Promise<void>((resolve) => onAnswer = resolve);
      const sentAt = performance.now();
      near.send(datagram.subarray(0, 64), path);
      await answered;
      return (performance.now() - sentAt) * 1000;
    };
    const busy: number[] = [];
    for (let i = 0; i < ROUND_TRIPS; i++) busy.push(await roundTrip());
    print(`${name}: round trip, one after another: ${spread(busy)}`);
    const idle: number[] = [];
    for (let i = 0; i < ROUND_TRIPS / 5; i++) {
      await pause(IDLE_MS);
      idle.push(await roundTrip());
    }
    print(`${name}: round trip after ${IDLE_MS} ms of rest: ${spread(idle)}`);
  }
  await near.close();
  await far.close();
  await poller.close();
}

function spread(microseconds: number[]): string {
  microseconds.sort((a, b) => a - b);
  const at = (part: number) => microseconds[Math.floor(microseconds.length * part)]!.toFixed(0);
  return `median ${at(0.5)} µs, 99 % ${at(0.99)} µs`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function fail(error: Error): never {
  throw error;
}

if (import.meta.main) {
  const encoder = new TextEncoder();
  await benchUdpLoopback((line) => Deno.stdout.writeSync(encoder.encode(line + "\n")));
}
