/**
 * Sockets and messages of the bench of stages, which sends and receives super-segments itself.
 *
 * @module
 */

import { check, libc } from "../../ffi/libc.ts";
import { AF, CMSGHDR, SOCK, SOCKADDR_IN, SOCKET_OPTION } from "../../ffi/layout.ts";
import type { Mem } from "../../ffi/memory.ts";
import {
  CONTROL_AT,
  CONTROL_SIZE,
  MessageHeader,
  NAME_AT,
  NAME_SIZE,
} from "../../lib/dataplane/linux/message_header.ts";

const BUFFER_BYTES = 8 << 20;

/** A socket that takes and gives super-segments. */
export function udpSocket(address: Uint8Array, port: number): number {
  // Safety: integers only; below, buffers are read before the call returns.
  const fd = check(libc.socket(AF.INET, SOCK.DGRAM | SOCK.NONBLOCK, 0), "open a UDP socket");
  const set = ([level, option]: readonly [number, number], value: number) => {
    const bytes = new Uint8Array(Int32Array.of(value).buffer);
    check(libc.setsockopt(fd, level, option, bytes, 4), "set up a UDP socket");
  };
  set(SOCKET_OPTION.SO_RCVBUFFORCE, BUFFER_BYTES);
  set(SOCKET_OPTION.SO_SNDBUFFORCE, BUFFER_BYTES);
  set(SOCKET_OPTION.UDP_GRO, 1);
  check(libc.bind(fd, nameOf(address, port), SOCKADDR_IN.size), "bind a UDP socket");
  return fd;
}

/** A message of `length` bytes of `memory`, to be cut into datagrams of `segment` bytes. */
export function sendTo(
  address: Uint8Array,
  port: number,
  memory: Mem,
  length: number,
  segment: number,
): MessageHeader {
  const message = new MessageHeader(1);
  message.vector(0, memory, 0, length);
  message.memory.u8.set(nameOf(address, port), NAME_AT);
  message.nameLength = SOCKADDR_IN.size;
  if (length <= segment) {
    message.controlLength = 0;
    return message;
  }
  const { view } = message.memory;
  const [level, type] = SOCKET_OPTION.UDP_SEGMENT;
  view.setUint32(CONTROL_AT + CMSGHDR.length, CMSGHDR.data + 2, true);
  view.setInt32(CONTROL_AT + CMSGHDR.level, level, true);
  view.setInt32(CONTROL_AT + CMSGHDR.type, type, true);
  view.setUint16(CONTROL_AT + CMSGHDR.data, segment, true);
  message.controlLength = CMSGHDR.data + 8;
  return message;
}

/** A message that receives into `memory`, which the caller holds. */
export function receiveInto(memory: Mem): MessageHeader {
  const message = new MessageHeader(1);
  message.vector(0, memory, 0, 65_536);
  return message;
}

/** Makes a message ready to receive again. */
export function prepare(message: MessageHeader): void {
  message.nameLength = NAME_SIZE;
  message.controlLength = CONTROL_SIZE;
}

function nameOf(address: Uint8Array, port: number): Uint8Array<ArrayBuffer> {
  const name = new Uint8Array(SOCKADDR_IN.size);
  const view = new DataView(name.buffer);
  view.setUint16(SOCKADDR_IN.family, AF.INET, true);
  view.setUint16(SOCKADDR_IN.port, port);
  name.set(address, SOCKADDR_IN.address);
  return name;
}
