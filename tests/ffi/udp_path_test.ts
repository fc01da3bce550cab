import { deepStrictEqual, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { hashBytes, isLinkLocal, LinuxUdpPath, PathCache, unmapped } from "../../ffi/udp_path.ts";
import { formatEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import type { UdpPath } from "../../lib/transport/transport.ts";

/** Far end, own address, interface; and the key, all of them different. */
const PATHS: [far: string, own: string | undefined, index: number, key: string][] = [
  ["192.0.2.1", undefined, 0, "udp 192.0.2.1:9 *"],
  ["192.0.2.1", "192.0.2.2", 0, "udp 192.0.2.1:9 192.0.2.2:0"],
  ["192.0.2.1", "192.0.2.3", 0, "udp 192.0.2.1:9 192.0.2.3:0"],
  ["2001:db8::1", undefined, 0, "udp [2001:db8::1]:9 *"],
  ["2001:db8::1", "2001:db8::2", 0, "udp [2001:db8::1]:9 [2001:db8::2]:0"],
  ["fe80::1", "fe80::2", 3, "udp [fe80::1]:9%3 [fe80::2]:0"],
  ["fe80::1", "fe80::2", 4, "udp [fe80::1]:9%4 [fe80::2]:0"],
];

Deno.test("LinuxUdpPath tells different ends apart by its key", () => {
  for (const [far, own, index, key] of PATHS) {
    const path: UdpPath = makePath(far, own, index);
    strictEqual(path.key, key);
    ok(path.remote.includes(far));
  }
});

Deno.test("LinuxUdpPath lays out socket name and control message", () => {
  const path = makePath("fe80::1", "fe80::2", 3);
  // family, port (network order), flow, address, scope
  deepStrictEqual(
    hex(path.name),
    "0a000009" + "00000000" + "fe800000000000000000000000000001" + "03000000",
  );
  // length, level 41, type 50, address, interface, padding
  deepStrictEqual(
    hex(path.control),
    "2400000000000000" + "29000000" + "32000000" + "fe800000000000000000000000000002" + "03000000" +
      "00000000",
  );
  const ipv4 = makePath("192.0.2.1", "192.0.2.2", 0);
  deepStrictEqual(hex(ipv4.name), "02000009" + "c0000201" + "0000000000000000");
  // length, level 0, type 8, interface, own address, (ignored), padding
  deepStrictEqual(
    hex(ipv4.control),
    "1c00000000000000" + "00000000" + "08000000" + "00000000" + "c0000202" + "00000000" +
      "00000000",
  );
  strictEqual(makePath("192.0.2.1", undefined, 0).control.length, 0);
});

Deno.test("PathCache keeps what is used, forgets the rest, and stays bounded", () => {
  const cache = new PathCache(4);
  let made = 0;
  const find = (port: number) =>
    cache.find(port, (path) => path.endpoint.port === port, () => {
      made++;
      return makePath("192.0.2.1", undefined, 0, port);
    });
  const used = find(1);
  for (let port = 100; port < 200; port++) {
    find(port);
    strictEqual(find(1), used, "met again and again");
  }
  strictEqual(made, 101);
  const forgotten = made;
  find(100);
  strictEqual(made, forgotten + 1, "long not met");
});

Deno.test("PathCache does not mistake paths of one hash for each other", () => {
  const cache = new PathCache(4);
  const find = (port: number) =>
    cache.find(
      7,
      (path) => path.endpoint.port === port,
      () => makePath("192.0.2.1", undefined, 0, port),
    );
  const first = find(1);
  strictEqual(find(2).endpoint.port, 2);
  const again = find(1);
  strictEqual(again.endpoint.port, 1);
  strictEqual(again.key, first.key);
});

Deno.test("hashBytes() depends on every byte in range and on none outside", () => {
  const bytes = Uint8Array.from({ length: 8 }, (_, i) => i);
  const hash = hashBytes(0, bytes, 2, 4);
  for (let i = 0; i < 8; i++) {
    const changed = bytes.with(i, 99);
    if (i >= 2 && i < 6) notStrictEqual(hashBytes(0, changed, 2, 4), hash);
    else strictEqual(hashBytes(0, changed, 2, 4), hash);
  }
});

/** Address, what is left of it, and whether that is link-local. */
const ADDRESSES: [hex: string, unmapped: string, linkLocal: boolean][] = [
  ["c0000201", "c0000201", false],
  ["00000000000000000000ffffc0000201", "c0000201", false],
  ["00000000000000000001ffffc0000201", "00000000000000000001ffffc0000201", false],
  ["00000000000000000000fffec0000201", "00000000000000000000fffec0000201", false],
  ["fe800000000000000000000000000001", "fe800000000000000000000000000001", true],
  ["febf0000000000000000000000000001", "febf0000000000000000000000000001", true],
  ["fec00000000000000000000000000001", "fec00000000000000000000000000001", false],
];

Deno.test("unmapped() and isLinkLocal() know their prefixes to the bit", () => {
  for (const [text, plain, linkLocal] of ADDRESSES) {
    const address = Uint8Array.fromHex(text);
    strictEqual(hex(unmapped(address)), plain);
    strictEqual(isLinkLocal(address), linkLocal, text);
  }
});

function makePath(far: string, own: string | undefined, index: number, port = 9): LinuxUdpPath {
  const endpoint = { address: parseIpAddress(far), port };
  return new LinuxUdpPath(endpoint, own ? parseIpAddress(own) : undefined, index, formatEndpoint);
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
