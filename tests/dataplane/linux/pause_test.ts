/**
 * How much the loops take per turn: after a pause what came alone goes out first, without pause all
 * that is there goes together. The TUN is a socket pair, the way to the peer leads back to its own
 * socket on loopback.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { AF, SOCK, SOCKET_OPTION } from "../../../ffi/layout.ts";
import { check, libc } from "../../../ffi/libc.ts";
import type { PacketCipher } from "../../../ffi/libcrypto.ts";
import { Mem } from "../../../ffi/memory.ts";
import { LinuxUdpPath } from "../../../ffi/udp_path.ts";
import { packetCipher } from "../../../lib/dataplane/linux/cipher.ts";
import { DatagramRing } from "../../../lib/dataplane/linux/datagram_ring.ts";
import { Egress } from "../../../lib/dataplane/linux/egress.ts";
import { newHandedRing } from "../../../lib/dataplane/linux/handed_datagrams.ts";
import { Ingress } from "../../../lib/dataplane/linux/ingress.ts";
import type { PathBytes, WorkerSetup } from "../../../lib/dataplane/linux/messages.ts";
import {
  DROP_BLOCK_SIZE,
  DROP_INDEX,
  PEER_BLOCK_SIZE,
  SharedKeypair,
} from "../../../lib/dataplane/linux/shared_state.ts";
import { VNET } from "../../../lib/dataplane/linux/virtio.ts";
import { hostPrefix } from "../../../lib/net/ip_prefix.ts";
import { newActivity } from "../../../lib/session/keypair.ts";
import { DEFAULT_LIMITS } from "../../../lib/session/limits.ts";
import { DATA_OVERHEAD } from "../../../lib/session/transport_keys.ts";
import { eventually } from "../../lab/processes.ts";
import { OWN, packetOut, PEER } from "../contract_scene.ts";
import { SocketPair } from "./socket_pair.ts";

/** From the shortest that the loops take for one on. */
const PAUSES_MS = [1, 1.1, 5_000];
const NO_PAUSE_MS = 0.1;
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
/** More than a turn takes after a pause, fewer than one takes at most. */
const COUNT = 5;
/** Of egress. */
const READS_PER_TURN = 32;

Deno.test("Egress.turn() sends the first packet after a pause before it looks for another", async () => {
  using scene = await EgressScene.create();
  for (const [i, pause] of PAUSES_MS.entries()) {
    let now = 10_000 * (i + 1);
    scene.egress.turn(now);
    now += pause;
    scene.fromTun(2);
    strictEqual(scene.egress.turn(now), false, "waiting will tell");
    await scene.assertRuns([1]);
    now += NO_PAUSE_MS;
    strictEqual(scene.egress.turn(now), false);
    await scene.assertRuns([1]);
  }
});

Deno.test("Egress.turn() without a pause takes all and sends it in one run", async () => {
  using scene = await EgressScene.create();
  let now = 10_000;
  scene.egress.turn(now);
  for (const pause of [NO_PAUSE_MS, 0.9]) {
    now += pause;
    scene.fromTun(COUNT);
    strictEqual(scene.egress.turn(now), false, "the TUN is empty");
    await scene.assertRuns([COUNT]);
  }
});

Deno.test("Egress.turn() wants another turn when the TUN never empties, but after a pause", async () => {
  using scene = await EgressScene.create();
  scene.onSeal = () => scene.fromTun(1);
  scene.fromTun(1);
  strictEqual(scene.egress.turn(10_000), false, "waiting will tell");
  await scene.assertRuns([1]);
  strictEqual(scene.egress.turn(10_000.1), true);
  await scene.assertRuns([READS_PER_TURN]);
  scene.onSeal = () => {};
  strictEqual(scene.egress.turn(10_000.2), false, "the last one");
  await scene.assertRuns([1]);
});

Deno.test("Ingress.turn() receives only from the family that has something", async () => {
  using scene = await IngressSockets.create();
  let now = 0;
  for (const pause of [...PAUSES_MS, NO_PAUSE_MS]) {
    for (const [ready, left] of [[0, [4, 6]], [1, [6]], [2, [4]], [3, []], [-1, []]] as const) {
      now += 10_000;
      scene.ingress.turn(now, 0);
      scene.send(1);
      strictEqual(scene.ingress.turn(now + pause, ready), false);
      deepStrictEqual(scene.takeLeft(), left, `ready ${ready}, ${pause} ms after the last turn`);
    }
  }
});

Deno.test("Ingress.turn() takes one batch of each family after a pause, else all", async () => {
  using scene = await IngressSockets.create();
  for (const [i, pause] of PAUSES_MS.entries()) {
    let now = 10_000 * (i + 1);
    scene.ingress.turn(now, 0);
    now += pause;
    scene.send(COUNT);
    strictEqual(scene.ingress.turn(now, 3), false, "waiting will tell");
    strictEqual(scene.takeBatches(), 2);
    now += NO_PAUSE_MS;
    strictEqual(scene.ingress.turn(now, 3), false);
    strictEqual(scene.takeBatches(), 2 * COUNT - 2);
    deepStrictEqual(scene.takeLeft(), []);
  }
});

/** What both loops are made with. */
function setupOf(fds: Partial<WorkerSetup> & Pick<WorkerSetup, "role">): WorkerSetup {
  const { port1, port2 } = new MessageChannel();
  for (const port of [port1, port2]) port.close();
  return {
    port: port1,
    eventFd: -1,
    tunFd: -1,
    ipv4Fd: -1,
    ipv6Fd: -1,
    hasUdpSegmentation: true,
    timeOrigin: performance.timeOrigin,
    limits: DEFAULT_LIMITS,
    binding: "strict",
    handed: newHandedRing().buffer,
    drops: new SharedArrayBuffer(DROP_BLOCK_SIZE),
    ring: new DatagramRing().buffer,
    ...fds,
  };
}

/** The sending loop between a socket pair and a socket that sends to itself. */
class EgressScene implements Disposable {
  /** On every packet that is sealed. */
  onSeal = () => {};
  readonly #packet = packetOut(4, PEER, new Uint8Array(100));
  readonly #received = new Mem(65_536);

  readonly egress: Egress;
  readonly #tun = new SocketPair();
  readonly #udp: number;

  private constructor(cipher: PacketCipher) {
    const { udp, path } = openLoop();
    this.#udp = udp;
    const shared = new SharedKeypair();
    shared.write(newActivity());
    const setup = setupOf({ role: "egress", tunFd: this.#tun.near, ipv4Fd: udp });
    const egress = this.egress = new Egress(setup, this.#watched(cipher), () => {});
    egress.command({ kind: "own-addresses", addresses: [OWN[4]] }, 0);
    const block = new SharedArrayBuffer(PEER_BLOCK_SIZE);
    egress.command({ kind: "peer", id: "aa", allowedIps: [hostPrefix(PEER[4])], block }, 0);
    const keypair = {
      peer: "aa",
      localIndex: 1,
      remoteIndex: 2,
      createdAt: 9_000,
      block: shared.buffer,
    };
    const sendKey = new Uint8Array(32).fill(3);
    egress.command({ kind: "install", keypair, sendKey, path }, 0);
    egress.command({ kind: "use", localIndex: 1 }, 0);
  }

  static async create(): Promise<EgressScene> {
    return new EgressScene(await packetCipher());
  }

  /** Packets come, all of one size. */
  fromTun(count: number): void {
    const message = new Uint8Array(VNET.size + this.#packet.length);
    message.set(this.#packet, VNET.size);
    for (let i = 0; i < count; i++) this.#tun.write(message);
  }

  /** What has been sent: runs of so many datagrams (`UDP_GRO` keeps them together), and no more. */
  async assertRuns(counts: readonly number[]): Promise<void> {
    const lengths: number[] = [];
    await eventually("it has arrived", () => {
      lengths.push(...this.#takeLengths());
      return Promise.resolve(lengths.length >= counts.length);
    });
    const size = this.#packet.length + DATA_OVERHEAD;
    deepStrictEqual(lengths, counts.map((count) => count * size));
  }

  [Symbol.dispose](): void {
    this.egress.command({ kind: "stop" }, 0);
    libc.close(this.#udp);
    this.#tun.close();
  }

  #watched(cipher: PacketCipher): PacketCipher {
    return {
      ...cipher,
      sealer: (key) => {
        const sealer = cipher.sealer(key);
        return {
          seal: (...args) => {
            this.onSeal();
            sealer.seal(...args);
          },
          free: () => sealer.free(),
        };
      },
    };
  }

  #takeLengths(): number[] {
    const lengths: number[] = [];
    for (;;) {
      // Safety: at most so many bytes are written to a field of this object.
      const length = libc.read(this.#udp, this.#received.pointer(0), this.#received.u8.length);
      if (length < 0) return lengths;
      lengths.push(length);
    }
  }
}

/** A UDP socket on loopback, and the way from it to itself. */
function openLoop(): { readonly udp: number; readonly path: PathBytes } {
  const udp = check(libc.socket(AF.INET, SOCK.DGRAM | SOCK.NONBLOCK | SOCK.CLOEXEC, 0), "open");
  const pathTo = (port: number) =>
    new LinuxUdpPath({ address: LOOPBACK, port }, LOOPBACK, 0, () => "");
  const name = pathTo(0).name.slice();
  check(libc.bind(udp, name, name.length), "bind");
  check(libc.getsockname(udp, name, Uint8Array.of(name.length, 0, 0, 0)), "get the name");
  const [level, option] = SOCKET_OPTION.UDP_GRO;
  check(libc.setsockopt(udp, level, option, Uint8Array.of(1, 0, 0, 0), 4), "keep runs together");
  return { udp, path: pathTo(name[2]! << 8 | name[3]!) };
}

/**
 * The receiving loop with socket pairs for UDP sockets. What comes by them arrives nowhere that is
 * known, so every batch is counted as one that is malformed.
 */
class IngressSockets implements Disposable {
  private constructor(
    readonly ingress: Ingress,
    private readonly pairs: { readonly 4: SocketPair; readonly 6: SocketPair },
    private readonly drops: Float64Array,
  ) {}

  static async create(): Promise<IngressSockets> {
    const pairs = { 4: new SocketPair(), 6: new SocketPair() };
    const setup = setupOf({ role: "ingress", ipv4Fd: pairs[4].near, ipv6Fd: pairs[6].near });
    const ingress = new Ingress(setup, await packetCipher(), () => {}, () => {}, () => 0);
    return new IngressSockets(ingress, pairs, new Float64Array(setup.drops));
  }

  /** So many datagrams come, by each family. */
  send(count: number): void {
    for (const pair of Object.values(this.pairs)) {
      for (let i = 0; i < count; i++) pair.write(new Uint8Array(40));
    }
  }

  /** Batches received since this was asked last. */
  takeBatches(): number {
    const at = DROP_INDEX.malformed;
    const count = this.drops[at]!;
    this.drops[at] = 0;
    return count;
  }

  /** Empties the sockets; of which families there was something left. */
  takeLeft(): number[] {
    const scratch = new Mem(64);
    return ([4, 6] as const).filter((family) => {
      let count = 0;
      // Safety: at most so many bytes are written to memory that this closure holds.
      while (libc.read(this.pairs[family].near, scratch.at(0), 64) >= 0) count++;
      return count > 0;
    });
  }

  [Symbol.dispose](): void {
    for (const pair of Object.values(this.pairs)) pair.close();
  }
}
