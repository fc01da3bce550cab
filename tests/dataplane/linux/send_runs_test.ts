/**
 * Runs of datagrams on ways that take no segments, and on ways that are too narrow for them.
 *
 * The way is a TUN device. Which devices take no segments depends on the kernel; a socket that sends
 * without checksums never may send any (EINVAL).
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { libc } from "../../../ffi/libc.ts";
import { Mem } from "../../../ffi/memory.ts";
import { Netlink } from "../../../ffi/netlink.ts";
import { Poller } from "../../../ffi/poller.ts";
import { openTun } from "../../../ffi/tun_linux.ts";
import { openUdpSocket } from "../../../ffi/udp_linux.ts";
import { EgressPeer } from "../../../lib/dataplane/linux/egress_peer.ts";
import { SendKeys } from "../../../lib/dataplane/linux/send_keys.ts";
import { SendRuns } from "../../../lib/dataplane/linux/send_runs.ts";
import { PEER_BLOCK_SIZE, SharedKeypair } from "../../../lib/dataplane/linux/shared_state.ts";
import { formatEndpoint } from "../../../lib/net/endpoint.ts";
import { Namespace, NEEDS_NET_ADMIN } from "../../ffi/namespace.ts";
import { eventually } from "../../lab/processes.ts";

const OWN = Uint8Array.of(100, 64, 0, 1);
const FAR = { address: Uint8Array.of(100, 64, 0, 2), port: 4000 };
const DATA_OVERHEAD = 32;
/** socket(7), asm-generic/socket.h. */
const SO_NO_CHECK = [1, 11] as const;
/** IP and UDP. */
const HEADERS = 28;

Deno.test(
  "SendRuns sends one by one where no segments are taken, and loses none",
  NEEDS_NET_ADMIN,
  async () => {
    await using way = await Way.create();
    for (const takesSegments of [true, false]) {
      if (!takesSegments) way.refuseSegments();
      for (const round of [1, 2]) {
        for (let i = 0; i < 5; i++) way.seal(i, 1000);
        way.seal(5, 200);
        way.runs.flush();
        await eventually("all have left", () => Promise.resolve(way.left.length === 6));
        const expected = [1000, 1000, 1000, 1000, 1000, 200].map((length) =>
          length + DATA_OVERHEAD
        );
        deepStrictEqual(way.left.splice(0), expected, `${takesSegments}, round ${round}`);
      }
    }
    deepStrictEqual(way.troubles, []);
  },
);

Deno.test(
  "SendRuns tells once per run what is too large for the way, and counts every datagram",
  NEEDS_NET_ADMIN,
  async () => {
    await using way = await Way.create();
    await way.setMtu(1200);
    const sendsWhatFits = async () => {
      for (let i = 0; i < 3; i++) way.seal(i, 1200 - HEADERS - DATA_OVERHEAD);
      way.runs.flush();
      await eventually("what fits has left", () => Promise.resolve(way.left.length === 3));
      deepStrictEqual(way.left.splice(0), [1172, 1172, 1172]);
    };
    for (const takesSegments of [true, false]) {
      if (!takesSegments) way.refuseSegments();
      await sendsWhatFits();
      for (let i = 0; i < 5; i++) way.seal(i, 1300);
      way.runs.flush();
      const told = way.troubles.splice(0);
      deepStrictEqual(told.filter((text) => text.startsWith("too-large")), ["too-large 1300"]);
      const drops = told.filter((text) => text.startsWith("drop send-failed"));
      strictEqual(drops.length, told.length - 1);
      strictEqual(drops.reduce((sum, text) => sum + Number(text.split(" ")[2]), 0), 5);
      await sendsWhatFits();
    }
  },
);

Deno.test("SendRuns sends in fragments what must pass all the same", NEEDS_NET_ADMIN, async () => {
  await using way = await Way.create();
  await way.setMtu(1200);
  way.keys.limit = { mtu: 1280, whole: 1172 };
  for (let i = 0; i < 2; i++) way.seal(i, 1280);
  way.runs.flush();
  await eventually("both have left", () => Promise.resolve(way.fragments === 4));
  deepStrictEqual(way.troubles, []);
  way.keys.limit = { mtu: 1280, whole: Infinity };
  way.seal(3, 1280);
  way.runs.flush();
  deepStrictEqual(
    way.troubles.sort(),
    ["drop send-failed 1", "too-large 1280"],
    "and nothing else",
  );
});

/** A way through a TUN device, and what leaves by it. */
class Way implements AsyncDisposable {
  /** Lengths of the datagrams that left whole. */
  readonly left: number[] = [];
  /** IP fragments that left. */
  fragments = 0;
  readonly #source = new Mem(2048);

  private constructor(
    readonly runs: SendRuns,
    readonly keys: SendKeys,
    /** What was told. */
    readonly troubles: string[],
    private readonly fd: number,
    private readonly namespace: Namespace,
    private readonly parts: readonly { close(): Promise<void> }[],
  ) {}

  static async create(): Promise<Way> {
    const namespace = await Namespace.create();
    const poller = new Poller();
    const { tun, socket } = namespace.within(() => {
      const tun = openTun({ mtu: 1500, poller });
      using netlink = new Netlink();
      netlink.setLink(tun.index, { isUp: true });
      netlink.addAddress(tun.index, { address: OWN, length: 24 });
      return { tun, socket: openUdpSocket({ port: 4001, poller, formatEndpoint }) };
    });
    const block = new SharedArrayBuffer(PEER_BLOCK_SIZE);
    const copier = {
      seal: (...[, , to, , toAt, from, at, length]: Parameters<SendKeys["sealer"]["seal"]>) =>
        to.u8.set(from.u8.subarray(at, at + length), toAt),
      free() {},
    };
    const facts = {
      peer: "aa",
      localIndex: 1,
      remoteIndex: 2,
      createdAt: 0,
      block: new SharedKeypair().buffer,
    };
    const keys = new SendKeys(facts, new EgressPeer("aa", block), copier, socket.path(FAR));
    const troubles: string[] = [];
    const runs = new SendRuns(socket.descriptors.ipv4, -1, {
      stream: () => troubles.push("stream"),
      drop: (reason, times) => troubles.push(`drop ${reason} ${times}`),
      tooLarge: (_keys, packet) => troubles.push(`too-large ${packet.length}`),
    });
    const way = new Way(runs, keys, troubles, socket.descriptors.ipv4, namespace, [
      tun,
      socket,
      poller,
    ]);
    tun.start((packet) => {
      const isFragment = ((packet[6]! << 8 | packet[7]!) & 0x3fff) !== 0;
      if (isFragment) way.fragments++;
      else if (packet[9] === 17) way.left.push(packet.length - HEADERS);
    }, (error) => {
      throw error;
    });
    return way;
  }

  /** Seals a packet of this length. */
  seal(number: number, length: number): void {
    this.#source.u8[0] = number;
    this.runs.seal(this.keys, this.#source, 0, length, 0);
  }

  /** From here on the kernel refuses UDP_SEGMENT. */
  refuseSegments(): void {
    const [level, name] = SO_NO_CHECK;
    const result = libc.setsockopt(this.fd, level, name, Uint8Array.of(1, 0, 0, 0), 4);
    strictEqual(result, 0);
  }

  /** Narrows the device. */
  async setMtu(mtu: number): Promise<void> {
    await this.namespace.run("ip", "link", "set", "tm0", "mtu", String(mtu));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of this.parts) await part.close();
    await this.namespace[Symbol.asyncDispose]();
  }
}
