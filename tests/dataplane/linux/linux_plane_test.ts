/**
 * The data plane of Linux keeps the contract, between a TUN that the test plays and real UDP sockets
 * in a network namespace.
 *
 * The TUN is one end of a socket pair: it too gives one packet per read, behind a virtio header, and
 * takes one per write.
 *
 * @module
 */

import { Poller } from "../../../ffi/poller.ts";
import { openUdpSocket } from "../../../ffi/udp_linux.ts";
import type { DataPlaneEvents } from "../../../lib/dataplane/data_plane.ts";
import { LinuxPlane } from "../../../lib/dataplane/linux/linux_plane.ts";
import { formatEndpoint, parseEndpoint } from "../../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../../lib/net/ip_address.ts";
import { DEFAULT_LIMITS } from "../../../lib/session/limits.ts";
import type { Path } from "../../../lib/session/path.ts";
import { Namespace, NEEDS_NET_ADMIN } from "../../ffi/namespace.ts";
import { type PlaneBench, testDataPlane } from "../contract.ts";
import { completeChecksums, naiveSplit } from "./naive_offload.ts";
import { Markers, settled } from "./settling.ts";
import { SocketPair } from "./socket_pair.ts";

const VNET_SIZE = 10;
const PORTS = { near: 4001, far: [4002, 4003] } as const;
const HERE = parseIpAddress("127.0.0.1");

async function setUp(events: DataPlaneEvents): Promise<PlaneBench> {
  const namespace = await Namespace.create();
  const poller = new Poller();
  const pair = new SocketPair();
  const markers = new Markers(events);
  let isClosed = false;
  const close = () => {
    isClosed = true;
    return Promise.resolve();
  };
  const { plane, near, ends } = namespace.within(() => {
    const open = (port: number) => openUdpSocket({ port, poller, formatEndpoint });
    const near = open(PORTS.near);
    const plane = new LinuxPlane({
      tun: { fd: pair.near, hasUdpSegmentation: true, close },
      socket: near,
      carrier: markers.carrier,
      events: markers.events,
      limits: DEFAULT_LIMITS,
    });
    return { plane, near, ends: PORTS.far.map(open) };
  });
  await plane.ready;
  const pathTo = (port: number): Path =>
    near.receivedPath(parseEndpoint(`127.0.0.1:${port}`), HERE, 0);
  const paths = [pathTo(PORTS.far[0]), pathTo(PORTS.far[1])] as const;
  const left: { datagram: Uint8Array; path: Path }[] = [];
  ends.forEach((end, i) => {
    end.start((datagram) => left.push({ datagram: datagram.slice(), path: paths[i]! }), (error) => {
      throw error;
    });
  });
  const written: Uint8Array[] = [];
  const count = () => {
    for (let message = pair.read(); message !== undefined; message = pair.read()) {
      written.push(...packetsOf(message));
    }
    const dropped = Object.values(plane.drops).reduce((sum, drops) => sum + drops, 0);
    return written.length + left.length + dropped;
  };
  const descriptors = [pair.near, ...[near, ...ends].map((socket) => socket.descriptors.ipv4)];
  return {
    plane,
    paths,
    now: () => performance.now(),
    fromMachine: (packet) => pair.write(withHeader(packet)),
    fromNetwork(datagram, path) {
      const end = ends[path === paths[0] ? 0 : 1]!;
      end.send(datagram, end.path(parseEndpoint(`127.0.0.1:${PORTS.near}`)));
    },
    async settle() {
      if (isClosed) return;
      await settled({ plane, markers, namespace, descriptors, count });
      plane.refresh();
    },
    toMachine() {
      count();
      return written.splice(0);
    },
    toNetwork: () => left.splice(0),
    limitDatagrams(bytes) {
      namespace.within(() => setLoopbackMtu(bytes + 28));
    },
    async close() {
      await plane.close();
      await Promise.all(ends.map((end) => end.close()));
      await poller.close();
      pair.close();
      await namespace[Symbol.asyncDispose]();
    },
  };
}

testDataPlane("LinuxPlane", setUp, NEEDS_NET_ADMIN);

/** As a kernel hands it over that computed all checksums. */
function withHeader(packet: Uint8Array): Uint8Array {
  const message = new Uint8Array(VNET_SIZE + packet.length);
  message.set(packet, VNET_SIZE);
  return message;
}

/** What a kernel makes of a write: whole packets with complete checksums. */
function packetsOf(message: Uint8Array): Uint8Array[] {
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const packet = message.slice(VNET_SIZE);
  const needsChecksum = (message[0]! & 1) !== 0;
  if (!needsChecksum) return [packet];
  const transport = view.getUint16(6, true);
  const isTcp = view.getUint16(8, true) === 16;
  if (message[1] === 0) {
    completeChecksums(packet, transport, isTcp);
    return [packet];
  }
  return naiveSplit({ bytes: packet, gsoSize: view.getUint16(4, true), transport, isTcp });
}

function setLoopbackMtu(mtu: number): void {
  const args = ["link", "set", "lo", "mtu", String(mtu)];
  const { success } = new Deno.Command("ip", { args }).outputSync();
  if (!success) throw new Error(`Cannot set the MTU of loopback to ${mtu}`);
}
