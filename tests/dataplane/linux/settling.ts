/**
 * Tells when a Linux data plane has dealt with everything that it was given, however slow the
 * machine: nothing is on the way in its namespace, nothing is unread, and twice in a row a marker
 * that went through both workers and back brought no news.
 *
 * A marker is a keypair of a peer that nobody else knows, on a stream that this module plays:
 *
 * ```text
 * install ► datagram ► ingress opens it ► "confirmed" ► confirm, bind ► ingress: "control" ►
 * seal ► egress: "departures" ► the stream sends it ► retire
 * ```
 *
 * Each thread hears what another tells it in order, so whatever was told before has been dealt with
 * when the marker is back. It counts nothing and writes nothing to the TUN.
 *
 * @module
 */

import { libc } from "../../../ffi/libc.ts";
import type { DataPlane, DataPlaneEvents } from "../../../lib/dataplane/data_plane.ts";
import type { StreamCarrier } from "../../../lib/dataplane/linux/stream_side.ts";
import type { Path } from "../../../lib/session/path.ts";
import { FarEnd } from "../../fakes/far_end.ts";
import type { Namespace } from "../../ffi/namespace.ts";

const MARKER_ID = "ee".repeat(32);
const MARKER_PATH: Path = { kind: "ssh", key: "marker", remote: "marker" };
/** Control of a type that nobody sends. */
const MARK = Uint8Array.of(0, 255);
/** Seeds that no test uses. */
const FIRST_SEED = 1 << 24;
/** Rounds without news: the first may have met a worker between its sources and its commands. */
const QUIET_ROUNDS = 2;
/** How long a busy machine may take; what is not over by then never will be. */
const GIVE_UP_MS = 60_000;

/** Sends markers through a data plane. */
export class Markers {
  /** For the data plane. */
  readonly carrier: StreamCarrier;
  /** For the data plane: what is no marker's goes on to the test. */
  readonly events: DataPlaneEvents;
  /** How much the data plane has told the test. */
  told = 0;
  #receive: ((datagram: Uint8Array, path: Path) => void) | undefined;
  #opened = Promise.withResolvers<void>();
  #sent = Promise.withResolvers<void>();
  #seed = FIRST_SEED;

  /** @param events The test's. */
  constructor(events: DataPlaneEvents) {
    this.carrier = {
      startBesideUdp: (receive) => this.#receive = receive,
      send: () => {
        this.#sent.resolve();
        return true;
      },
      close: () => Promise.resolve(),
    };
    const counted = <Arguments extends unknown[]>(tell: (...args: Arguments) => void) => {
      return (...args: Arguments) => {
        this.told++;
        tell(...args);
      };
    };
    const confirmed = counted(events.confirmed);
    const control = counted(events.control);
    this.events = {
      datagram: counted(events.datagram),
      wanted: counted(events.wanted),
      strayed: counted(events.strayed),
      tooLarge: counted(events.tooLarge),
      failed: counted(events.failed),
      confirmed(keypair, path) {
        if (keypair.peer !== MARKER_ID) return confirmed(keypair, path);
        keypair.path = path;
        keypair.isConfirmed = true;
      },
      control: (keypair, plaintext, path) => {
        if (keypair.peer !== MARKER_ID) return control(keypair, plaintext, path);
        this.#opened.resolve();
      },
    };
  }

  /** Sends one there and back. */
  async round(plane: DataPlane): Promise<void> {
    const createdAt = performance.now();
    const unconfirmedPaths = [MARKER_PATH];
    const far = new FarEnd({ peer: MARKER_ID, seed: this.#seed++, createdAt, unconfirmedPaths });
    this.#opened = Promise.withResolvers();
    this.#sent = Promise.withResolvers();
    plane.setPeer(MARKER_ID, []);
    plane.install(far.keypair);
    this.#receive!(far.seal(MARK), MARKER_PATH);
    await this.#opened.promise;
    plane.seal(far.keypair, MARK);
    await this.#sent.promise;
    plane.retire(far.keypair);
  }
}

/** What {@linkcode settled} watches. */
export interface Watched {
  readonly plane: DataPlane;
  readonly markers: Markers;
  readonly namespace: Namespace;
  /** Descriptors of the data plane and of the far sockets; all that they have to read is theirs. */
  readonly descriptors: readonly number[];
  /** Grows with whatever the data plane does to the world. */
  readonly count: () => number;
}

/** Resolves when all that the data plane was given has been dealt with. */
export async function settled(watched: Watched): Promise<void> {
  const { plane, markers, namespace, descriptors, count } = watched;
  const until = performance.now() + GIVE_UP_MS;
  for (let quiet = 0; quiet < QUIET_ROUNDS;) {
    const before = count() + markers.told;
    const underWay = datagramsUnderWay(namespace);
    const unread = descriptors.filter((fd) => unreadBytes(fd) > 0).length;
    await markers.round(plane);
    const isQuiet = underWay === 0 && unread === 0 && count() + markers.told === before;
    quiet = isQuiet ? quiet + 1 : 0;
    if (performance.now() < until) continue;
    throw new Error(`Not settled: ${underWay} datagrams under way, ${unread} sockets unread`);
  }
}

/** ioctl(2): how much the next read brings. */
const FIONREAD = 0x541bn;

/** Whether something waits in a socket; nothing of an empty datagram is seen. */
function unreadBytes(fd: number): number {
  const count = new Uint8Array(4);
  libc.ioctl(fd, FIONREAD, count);
  return new Int32Array(count.buffer)[0]!;
}

/**
 * IPv4 packets that were sent inside and have reached no socket: under load the kernel leaves what
 * goes over loopback to a thread of its own.
 */
function datagramsUnderWay(namespace: Namespace): number {
  const text = namespace.within(() => Deno.readTextFileSync("/proc/thread-self/net/snmp"));
  const [names, values] = text.split("\n").filter((line) => line.startsWith("Ip:"));
  const keys = names!.split(" ");
  const numbers = values!.split(" ");
  const valueOf = (key: string) => Number(numbers[keys.indexOf(key)]);
  return valueOf("OutRequests") - valueOf("InDelivers");
}
