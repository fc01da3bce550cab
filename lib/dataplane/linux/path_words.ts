/**
 * Both ends of a UDP path as eleven words, to be compared without making anything.
 *
 * ```text
 * 0 family, or 0 for a stream │ 1 port, or the number of the stream │ 2 interface of a link-local end, else 0 │ 3…6 far address │ 7…10 own address
 * ```
 *
 * @module
 */

import { AF, IN6_PKTINFO, IN_PKTINFO, SOCKADDR_IN, SOCKADDR_IN6 } from "../../../ffi/layout.ts";
import { isLinkLocal } from "../../../ffi/udp_path.ts";
import { NAME_AT } from "./message_header.ts";
import type { Mem } from "../../../ffi/memory.ts";
import { isStream, type ReceivedPath, type SendPath, type StreamPath } from "./messages.ts";

/** See the module. */
export type PathWords = Uint32Array;

const COUNT = 11;
const FAR = 3;
const OWN = 7;

/** Words of nothing yet. */
export function newPathWords(): PathWords {
  return new Uint32Array(COUNT);
}

/** The words of a path that the control thread named. */
export function pathWordsOf(path: SendPath): PathWords {
  const words = newPathWords();
  if (isStream(path)) {
    words[1] = path.stream;
    return words;
  }
  const name = new DataView(path.name.buffer, path.name.byteOffset, path.name.length);
  const isIpv4 = name.getUint16(SOCKADDR_IN.family, true) === AF.INET;
  const layout = isIpv4 ? SOCKADDR_IN : SOCKADDR_IN6;
  words[0] = isIpv4 ? AF.INET : AF.INET6;
  words[1] = name.getUint16(layout.port);
  words[2] = path.interfaceIndex;
  const count = isIpv4 ? 1 : 4;
  for (let i = 0; i < count; i++) words[FAR + i] = name.getUint32(layout.address + 4 * i, true);
  if (path.localName !== undefined) {
    const { buffer, byteOffset, length } = path.localName;
    const own = new DataView(buffer, byteOffset, length);
    for (let i = 0; i < count; i++) words[OWN + i] = own.getUint32(layout.address + 4 * i, true);
  }
  return words;
}

/**
 * Reads the words of a datagram that just arrived.
 *
 * @param memory Of the message header that received it.
 * @param infoAt Where the packet info's data stands in it.
 */
export function readPathWords(
  memory: Mem,
  infoAt: number,
  isIpv4: boolean,
  words: PathWords,
): void {
  const { view, u8 } = memory;
  if (isIpv4) {
    words[0] = AF.INET;
    words[1] = view.getUint16(NAME_AT + SOCKADDR_IN.port);
    words[2] = 0;
    words[FAR] = view.getUint32(NAME_AT + SOCKADDR_IN.address, true);
    words[OWN] = view.getUint32(infoAt + IN_PKTINFO.local, true);
    return;
  }
  words[0] = AF.INET6;
  words[1] = view.getUint16(NAME_AT + SOCKADDR_IN6.port);
  const isScoped = isLinkLocal(u8, NAME_AT + SOCKADDR_IN6.address) ||
    isLinkLocal(u8, infoAt + IN6_PKTINFO.local);
  words[2] = isScoped ? view.getUint32(infoAt + IN6_PKTINFO.interfaceIndex, true) : 0;
  for (let i = 0; i < 4; i++) {
    words[FAR + i] = view.getUint32(NAME_AT + SOCKADDR_IN6.address + 4 * i, true);
    words[OWN + i] = view.getUint32(infoAt + IN6_PKTINFO.local + 4 * i, true);
  }
}

/** Whether both are the same way. */
export function isSamePath(a: PathWords, b: PathWords): boolean {
  const count = a[0] === AF.INET ? 1 : a[0] === AF.INET6 ? 4 : 0;
  if (a[0] !== b[0] || a[1] !== b[1] || a[2] !== b[2]) return false;
  for (let i = 0; i < count; i++) {
    if (a[FAR + i] !== b[FAR + i] || a[OWN + i] !== b[OWN + i]) return false;
  }
  return true;
}

/** The path as the control thread takes it. */
export function receivedPathOf(words: PathWords): ReceivedPath | StreamPath {
  if (words[0] === 0) return { stream: words[1]! };
  const length = words[0] === AF.INET ? 4 : 16;
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return {
    address: bytes.slice(FAR * 4, FAR * 4 + length),
    port: words[1]!,
    local: bytes.slice(OWN * 4, OWN * 4 + length),
    interfaceIndex: words[2]!,
  };
}
