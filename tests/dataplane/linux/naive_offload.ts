/**
 * What a network card does to a super-segment, written for clarity and from the specifications only
 * (RFC 9293, RFC 768, RFC 791, RFC 8200): the twin that segmentation and coalescing are held against.
 *
 * @module
 */

/** A super-segment, or a packet: `gsoSize` 0. */
export interface Offloaded {
  /** From the IP header on. */
  readonly bytes: Uint8Array;
  readonly gsoSize: number;
  /** Where TCP or UDP begins. */
  readonly transport: number;
  readonly isTcp: boolean;
}

/** Splits, with every checksum complete. */
export function naiveSplit({ bytes, gsoSize, transport, isTcp }: Offloaded): Uint8Array[] {
  const headers = transport + (isTcp ? (bytes[transport + 12]! >> 4) * 4 : 8);
  const payload = bytes.slice(headers);
  const size = gsoSize === 0 ? Math.max(1, payload.length) : gsoSize;
  const packets: Uint8Array[] = [];
  const count = Math.max(1, Math.ceil(payload.length / size));
  for (let i = 0; i < count; i++) {
    const part = payload.slice(i * size, (i + 1) * size);
    const packet = new Uint8Array(headers + part.length);
    packet.set(bytes.slice(0, headers));
    packet.set(part, headers);
    const view = new DataView(packet.buffer);
    const isIpv4 = packet[0]! >> 4 === 4;
    if (isIpv4) {
      view.setUint16(2, packet.length);
      view.setUint16(4, (view.getUint16(4) + i) & 0xffff);
    } else view.setUint16(4, packet.length - 40);
    if (isTcp) {
      view.setUint32(transport + 4, (view.getUint32(transport + 4) + i * size) >>> 0);
      const isFirst = i === 0;
      const isLast = i === count - 1;
      let flags = packet[transport + 13]!;
      if (!isLast) flags &= ~0x09; // FIN, PSH
      if (!isFirst) flags &= ~0x80; // CWR
      packet[transport + 13] = flags;
    } else view.setUint16(transport + 4, packet.length - transport);
    completeChecksums(packet, transport, isTcp);
    packets.push(packet);
  }
  return packets;
}

/** Writes the IPv4 header's checksum and the transport's. */
export function completeChecksums(packet: Uint8Array, transport: number, isTcp: boolean): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const isIpv4 = packet[0]! >> 4 === 4;
  if (isIpv4) {
    view.setUint16(10, 0);
    view.setUint16(10, ~sum(packet.slice(0, transport)) & 0xffff);
  }
  const at = transport + (isTcp ? 16 : 6);
  view.setUint16(at, 0);
  const length = packet.length - transport;
  const pseudo = [
    ...(isIpv4 ? packet.slice(12, 20) : packet.slice(8, 40)),
    0,
    isTcp ? 6 : 17,
    length >> 8,
    length & 255,
  ];
  const checksum = ~sum([...pseudo, ...packet.slice(transport)]) & 0xffff;
  view.setUint16(at, checksum === 0 && !isTcp ? 0xffff : checksum);
}

function sum(bytes: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i]! << 8) + (bytes[i + 1] ?? 0);
  while (total > 0xffff) total = (total >>> 16) + (total & 0xffff);
  return total;
}
