/**
 * What one packet costs in the portable data plane, without system calls: TUN to datagram, and
 * datagram to TUN. Beside it the AEAD alone, so that the plane's own share can be seen.
 *
 * ```text
 * deno task bench portable_plane
 * ```
 *
 * @module
 */

import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { transportAead } from "../../lib/crypto/transport_aead.ts";
import type { DataPlaneEvents } from "../../lib/dataplane/data_plane.ts";
import type { DatagramCarrier } from "../../lib/dataplane/datagram_carrier.ts";
import { PortablePlane } from "../../lib/dataplane/portable.ts";
import { hostPrefix } from "../../lib/net/ip_prefix.ts";
import { DEFAULT_LIMITS } from "../../lib/session/limits.ts";
import type { Path } from "../../lib/session/path.ts";
import { FarEnd } from "../fakes/far_end.ts";
import { udpPacket } from "../fakes/packets.ts";
import { FakeTun } from "../fakes/tun.ts";

const OWN = Uint8Array.of(100, 64, 0, 1);
const PEER = Uint8Array.of(100, 64, 0, 2);
const PEER_ID = "aa".repeat(32);
const PATH: Path = { kind: "udp", key: "a", remote: "192.0.2.2:1" };
const ROUNDS = 5;
const PACKETS = 20_000;

/** A TUN that takes everything and keeps nothing. */
class NullTun extends FakeTun {
  receive!: (packet: Uint8Array) => void;

  override start(receive: (packet: Uint8Array) => void): void {
    this.receive = receive;
  }

  override write(): boolean {
    return true;
  }
}

/** A carrier that takes everything and keeps nothing. */
class NullCarrier implements DatagramCarrier {
  receive!: (datagram: Uint8Array, path: Path) => void;

  start(receive: (datagram: Uint8Array, path: Path) => void): void {
    this.receive = receive;
  }

  send(): boolean {
    return true;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function ignore(): void {}

const EVENTS: DataPlaneEvents = {
  datagram: ignore,
  wanted: ignore,
  confirmed: ignore,
  strayed: ignore,
  control: ignore,
  tooLarge: ignore,
  failed: ignore,
};

/** Nanoseconds per call, the best of some rounds. */
function measure(calls: number, run: (i: number) => void, prepare: () => void = ignore): number {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    prepare();
    const startedAt = performance.now();
    for (let i = 0; i < calls; i++) run(i);
    best = Math.min(best, (performance.now() - startedAt) / calls * 1e6);
  }
  return Math.round(best);
}

function benchPackets(size: number): string {
  const tun = new NullTun();
  const carrier = new NullCarrier();
  const plane = new PortablePlane({
    clock: SYSTEM_CLOCK,
    tun,
    socket: carrier,
    events: EVENTS,
    limits: DEFAULT_LIMITS,
  });
  plane.setOwnAddresses([OWN]);
  plane.setPeer(PEER_ID, [hostPrefix(PEER)]);
  const far = new FarEnd({ peer: PEER_ID, seed: 1, createdAt: SYSTEM_CLOCK.now(), path: PATH });
  plane.install(far.keypair);
  plane.use(far.keypair);

  const payload = new Uint8Array(size - 28);
  const packet = udpPacket({ source: OWN, destination: PEER, payload });
  const out = measure(PACKETS, () => tun.receive(packet));

  const arriving = udpPacket({ source: PEER, destination: OWN, payload });
  let datagrams: Uint8Array[] = [];
  let counter = 0;
  const count = 2_000;
  const into = measure(count, (i) => carrier.receive(datagrams[i]!, PATH), () => {
    datagrams = Array.from({ length: count }, () => far.seal(arriving, counter++));
  });
  if (plane.traffic(PEER_ID).rxPackets !== ROUNDS * count) throw new Error("Packets were dropped");

  const aead = transportAead();
  const [key, header, sealed] = [new Uint8Array(32), new Uint8Array(16), new Uint8Array(size + 16)];
  const alone = measure(PACKETS, (i) => aead.seal(key, i, header, packet, sealed, 0));
  const figure = (what: string, ns: number) => `figure: ${what}, ${size} bytes: ${ns} ns\n`;
  return figure("TUN to datagram", out) + figure("datagram to TUN", into) +
    figure(`seal alone (${aead.name})`, alone);
}

for (const size of [64, 512, 1408]) {
  Deno.stdout.writeSync(new TextEncoder().encode(benchPackets(size)));
}
