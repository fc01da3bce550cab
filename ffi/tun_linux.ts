/**
 * The TUN device of Linux (Documentation/networking/tuntap.rst): a network interface whose far side
 * is this process. One read or write is one IP packet.
 *
 * The interface is not persistent: the kernel removes it, its addresses and its routes when the
 * descriptor is closed, by us or by the end of the process.
 *
 * @module
 */

import { ERRNO, SyscallError } from "./errno.ts";
import { IFREQ, INTERFACE_NAME_MAX, O, TUN } from "./layout.ts";
import { check, cString, errno, libc } from "./libc.ts";
import { Mem } from "./memory.ts";
import { Netlink } from "./netlink.ts";
import type { Poller } from "./poller.ts";

const DEVICE = "/dev/net/tun";
/** Packets read per turn. Ours: at about 5 µs a packet with sealing, timers wait 0.3 ms at most. */
const PACKETS_PER_DRAIN = 64;
/** Largest packet a TUN can hand over. */
const PACKET_MAX = 65_535;

const OPEN_REMEDY: Readonly<Record<number, string>> = {
  [ERRNO.ENOENT]: `load the driver ("modprobe tun"), or in a container pass "--device ${DEVICE}"`,
  [ERRNO.ENODEV]: `load the driver ("modprobe tun")`,
  [ERRNO.ENXIO]: `load the driver ("modprobe tun")`,
  [ERRNO.EACCES]: "run as root or with CAP_NET_ADMIN",
  [ERRNO.EPERM]: `run as root, or in a container pass "--device ${DEVICE} --cap-add NET_ADMIN"`,
};
const CREATE_REMEDY: Readonly<Record<number, string>> = {
  [ERRNO.EPERM]: "run as root or with CAP_NET_ADMIN",
  [ERRNO.EBUSY]: "an interface of that name exists, choose another",
};

/** What {@linkcode openTun} takes. */
export interface TunOptions {
  /** Interface name, or a pattern with one `%d` that the kernel fills in. @default {"tm%d"} */
  readonly name?: string;
  /** Largest packet in bytes, 68 to 65535 (IPv6 needs 1280). */
  readonly mtu: number;
  /** Waits for packets; stays the caller's. */
  readonly poller: Poller;
  /**
   * Whether packets come and go behind a virtio header, as super-segments, with checksums left
   * open: for whoever works on the descriptor itself. {@linkcode TunLinux.start} and `write` are of
   * no use then.
   *
   * @default {false}
   */
  readonly hasOffloads?: boolean;
}

/**
 * Creates a TUN device, in the network namespace of the calling thread. It is down and has no
 * addresses.
 *
 * @returns The device; {@linkcode TunLinux.close} removes it.
 * @throws {RangeError} If the name or the MTU cannot be one.
 * @throws {SyscallError} If there is no TUN driver, the right is missing, or the name is taken.
 */
export function openTun(options: TunOptions): TunLinux {
  const { name = "tm%d", mtu, poller, hasOffloads = false } = options;
  // The characters the kernel refuses (dev_valid_name), and what it would cut off.
  if (!/^[^\s/:%]*(%d)?[^\s/:%]*$/.test(name) || /^\.{0,2}$/.test(name)) {
    throw new RangeError(`name must be an interface name, is ${JSON.stringify(name)}`);
  }
  if (cString(name).length - 1 > INTERFACE_NAME_MAX) {
    throw new RangeError(`name must have at most ${INTERFACE_NAME_MAX} bytes, is "${name}"`);
  }
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > PACKET_MAX) {
    throw new RangeError(`mtu must be 68 to ${PACKET_MAX}, is ${mtu}`);
  }
  const attempt = `open TUN device "${name}"`;
  // Safety: the path is read before the call returns.
  const opened = libc.open(cString(DEVICE), O.RDWR | O.NONBLOCK | O.CLOEXEC);
  const fd = check(opened, `${attempt} through ${DEVICE}`, OPEN_REMEDY);
  try {
    const request = new Uint8Array(IFREQ.size);
    request.set(cString(name), IFREQ.name);
    const flags = TUN.IFF_TUN | TUN.IFF_NO_PI | TUN.IFF_TUN_EXCL |
      (hasOffloads ? TUN.IFF_VNET_HDR : 0);
    new DataView(request.buffer).setUint16(IFREQ.flags, flags, true);
    // Safety: TUNSETIFF reads and writes the 40 bytes of the request before it returns.
    check(libc.ioctl(fd, TUN.TUNSETIFF, request), attempt, CREATE_REMEDY);
    const hasUdpSegmentation = hasOffloads && setOffloads(fd, attempt);
    const actual = new TextDecoder().decode(request.subarray(0, request.indexOf(0)));
    using netlink = new Netlink();
    const index = netlink.link(actual)?.index;
    if (index === undefined) throw new SyscallError(`find interface "${actual}"`, ERRNO.ENODEV);
    netlink.setLink(index, { mtu });
    withoutLinkLocal(netlink, index);
    return new TunLinux({ fd, name: actual, index, mtu, poller, hasUdpSegmentation });
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/**
 * Lets the kernel hand over super-segments and leave checksums open.
 *
 * @returns Whether that includes UDP, which kernels before 6.2 do not know.
 */
function setOffloads(fd: number, attempt: string): boolean {
  const tcp = TUN.F_CSUM | TUN.F_TSO4 | TUN.F_TSO6 | TUN.F_TSO_ECN;
  // Safety: integers only: TUNSETOFFLOAD takes its flags as the argument itself.
  const all = BigInt(tcp | TUN.F_USO4 | TUN.F_USO6);
  if (libc.ioctlInteger(fd, BigInt(TUN.TUNSETOFFLOAD), all) >= 0) return true;
  check(libc.ioctlInteger(fd, BigInt(TUN.TUNSETOFFLOAD), BigInt(tcp)), `${attempt} (offloads)`);
  return false;
}

/** A TUN device; has the shape of `TunDevice` in lib/dataplane. */
export class TunLinux {
  /** Interface name, such as `tm0`. */
  readonly name: string;
  /** Interface number, for {@linkcode Netlink}. */
  readonly index: number;
  /** Largest packet in bytes. */
  readonly mtu: number;
  /** Whether super-segments of UDP come and go; only with offloads. */
  readonly hasUdpSegmentation: boolean;
  readonly #fd: number;
  readonly #poller: Poller;
  readonly #buffer = new Mem(PACKET_MAX + 1);
  readonly #bufferPointer = this.#buffer.pointer(0);
  #stop: (() => void) | undefined;
  #isClosed = false;

  /**
   * Wraps a descriptor; use {@linkcode openTun}.
   *
   * @param o The descriptor, owned from now on, and what is known about its interface.
   */
  constructor(
    o: {
      fd: number;
      name: string;
      index: number;
      mtu: number;
      poller: Poller;
      hasUdpSegmentation: boolean;
    },
  ) {
    this.#fd = o.fd;
    this.hasUdpSegmentation = o.hasUdpSegmentation;
    this.name = o.name;
    this.index = o.index;
    this.mtu = o.mtu;
    this.#poller = o.poller;
  }

  /** The descriptor, for whoever reads and writes it instead of {@linkcode start}; stays ours. */
  get fd(): number {
    return this.#fd;
  }

  /**
   * Starts delivering the packets that this machine sends into the device.
   *
   * @param receive Called per packet; the bytes are borrowed until it returns. May close the device.
   * @param failed Called once if the device cannot be read any more (it was deleted).
   * @throws {TypeError} If it was started or closed before.
   */
  start(receive: (packet: Uint8Array) => void, failed: (error: Error) => void): void {
    if (this.#isClosed || this.#stop) throw new TypeError("the TUN device was started or closed");
    this.#stop = this.#poller.add(this.#fd, { drain: () => this.#drain(receive), failed });
  }

  /**
   * Hands a packet to this machine's network stack.
   *
   * @param packet Copied by the kernel before this returns.
   * @returns `false` if the device is down, closed or gone, or the packet is no IP packet.
   */
  write(packet: Uint8Array): boolean {
    if (this.#isClosed) return false;
    // Safety: the packet is read before the call returns. The cast only drops SharedArrayBuffer
    // from the type; the kernel reads either.
    const bytes = packet as Uint8Array<ArrayBuffer>;
    return libc.writeBuffer(this.#fd, bytes, packet.length) === packet.length;
  }

  /** Stops and removes the device, its addresses and routes. Safe to call twice. */
  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#isClosed = true;
    this.#stop?.();
    // Safety: our own descriptor, out of the poller and closed once. The interface is gone when
    // close returns.
    libc.close(this.#fd);
    return Promise.resolve();
  }

  #drain(receive: (packet: Uint8Array) => void): void {
    for (let i = 0; i < PACKETS_PER_DRAIN && !this.#isClosed; i++) {
      // Safety: the kernel writes at most PACKET_MAX bytes into a field of this object.
      const length = libc.read(this.#fd, this.#bufferPointer, PACKET_MAX);
      if (length > 0) {
        receive(this.#buffer.u8.subarray(0, length));
        continue;
      }
      const code = length < 0 ? errno() : ERRNO.EIO;
      if (code === ERRNO.EINTR) continue;
      if (code === ERRNO.EAGAIN) return;
      throw new SyscallError(`read from TUN device "${this.name}"`, code);
    }
  }
}

/** Nobody is on the other side whom a link-local address and router solicitations could reach. */
function withoutLinkLocal(netlink: Netlink, index: number): void {
  try {
    netlink.setLink(index, { autoLinkLocal: false });
  } catch (error) {
    // A host without IPv6 has no such setting, and needs none.
    if (!(error instanceof SyscallError)) throw error;
  }
}
