/**
 * The shape that other programs rely on, and what must never be in it.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { DataSide } from "../../lib/agent/data_side.ts";
import type { PeerBook } from "../../lib/agent/peer_book.ts";
import type { PeerTrust } from "../../lib/agent/peer_trust.ts";
import { agentStatusOf, peerStatusOf } from "../../lib/agent/status.ts";
import { Backoff } from "../../lib/agent/backoff.ts";
import { toBase64, toBase64Url, toHex } from "../../lib/base/bytes.ts";
import { randomBytes } from "../../lib/crypto/random.ts";
import type { PeerStatus } from "../../lib/mesh/device_options.ts";
import type { NodeRecord } from "../../lib/wire/server_message.ts";
import { FakeClock } from "../fakes/clock.ts";
import { WELCOME } from "./welcome.ts";

const NODE: NodeRecord = {
  nodeId: "cd".repeat(32),
  name: "bob",
  staticKey: randomBytes(32),
  addresses: { ipv4: "100.64.0.3", ipv6: "fd00::3" },
  statement: { sshPublicKey: randomBytes(51), signature: randomBytes(99), signedAt: 1 },
  endpoints: [],
};

function peer(change: Partial<PeerStatus>): PeerStatus {
  return {
    nodeId: NODE.nodeId,
    path: undefined,
    mtu: undefined,
    why: undefined,
    switches: { promotions: 0, demotions: 0, rebinds: 0 },
    rttMs: undefined,
    lastHandshakeAt: undefined,
    handshakes: 0,
    isSilent: false,
    queued: 0,
    candidates: [],
    rxBytes: 0,
    txBytes: 0,
    rxPackets: 0,
    txPackets: 0,
    ...change,
  };
}

Deno.test("agentStatusOf() has exactly the fields that programs know, and no secret (T36)", () => {
  const clock = new FakeClock(5_000, Date.UTC(2026, 0, 2, 3, 4, 5));
  const path = { kind: "udp", remote: "192.0.2.1:7" } as const;
  const device = {
    dataPlane: { kind: "portable", aead: "wasm" },
    peerStatus: () =>
      peer({
        ...{ path, rttMs: 1.5, lastHandshakeAt: 4_000, handshakes: 3 },
        ...{ rxBytes: 10, txBytes: 20, rxPackets: 1, txPackets: 2 },
        switches: { promotions: 0, demotions: 1, rebinds: 0 },
      }),
    drops: { "bad-tag": 2, "replayed": 0 },
  };
  const status = agentStatusOf({
    welcome: WELCOME,
    nodeId: WELCOME.nodeId,
    url: "https://h:8443",
    isConnected: true,
    carriers: { ssh: { queueFull: 4, noConnection: 0 } },
    data: {
      device,
      interfaceName: "tm0",
      port: 7,
      dataPlane: { kind: "portable" },
    } as unknown as DataSide,
    book: { peers: [NODE], isPresent: () => false } as unknown as PeerBook,
    trust: {
      mode: "all",
      alarms: [],
      conflicts: 3,
      judge: () => ({ state: "seen", refusal: { kind: "unverified" } }),
      keyBefore: () => "ef".repeat(32),
      noteOf: ({ name }: NodeRecord) => `${name} has another key than before`,
    } as unknown as PeerTrust,
    endpoints: ["192.0.2.9:7"],
    notes: [],
    clock,
  });
  deepStrictEqual(JSON.parse(JSON.stringify(status)), {
    name: "alice",
    nodeId: "ab".repeat(32),
    mesh: toHex(WELCOME.mesh.id),
    addresses: { ipv4: "100.64.0.2", ipv6: "fd00::2" },
    interface: "tm0",
    dataPlane: { kind: "portable", aead: "wasm" },
    coordinator: { url: "https://h:8443", connected: true },
    carriers: { ssh: { queueFull: 4, noConnection: 0 } },
    peers: [{
      name: "bob",
      nodeId: "cd".repeat(32),
      addresses: { ipv4: "100.64.0.3", ipv6: "fd00::3" },
      online: true,
      path: { kind: "udp", remote: "192.0.2.1:7", rttMs: 1.5 },
      lastHandshakeAt: "2026-01-02T03:04:04.000Z",
      handshakes: 3,
      switches: { promotions: 0, demotions: 1, rebinds: 0 },
      rxBytes: 10,
      txBytes: 20,
      rxPackets: 1,
      txPackets: 2,
      queued: 0,
      trust: "seen",
      refused: "it is not verified, and this node trusts verified peers only; compare its key by " +
        "tunnelmesh peer verify",
      keyBefore: "ef".repeat(32),
    }],
    udpPort: 7,
    endpoints: ["192.0.2.9:7"],
    policy: "allow-all",
    trust: "all",
    alarms: [],
    pinConflicts: 3,
    drops: { "bad-tag": 2 },
    notes: ["bob has another key than before"],
  });
  const text = Deno.inspect(status, { depth: 9 }) + JSON.stringify(status);
  for (const secret of [WELCOME.memberPsk, WELCOME.discovery.key]) {
    for (const form of [toHex, toBase64, toBase64Url]) ok(!text.includes(form(secret)));
  }
});

Deno.test("peerStatusOf() says online where there is a line or a session that answers", () => {
  const clock = new FakeClock();
  const path = { kind: "udp", remote: "192.0.2.1:7" } as const;
  /** What the device says, whether the coordinator has a line to it, expectation, why. */
  const rows: [device: PeerStatus | undefined, isPresent: boolean, online: boolean, why: string][] =
    [
      [undefined, false, false, "nothing is known"],
      [undefined, true, true, "the coordinator says so"],
      [peer({}), false, false, "no session"],
      [peer({ path }), false, true, "a session, and the coordinator is down"],
      [peer({ path, isSilent: true }), false, false, "a session that nothing comes back by"],
      [peer({ path, isSilent: true }), true, true, "its line stands"],
    ];
  for (const [device, isPresent, online, why] of rows) {
    strictEqual(peerStatusOf(NODE, device, isPresent, clock).online, online, why);
  }
  deepStrictEqual(peerStatusOf(NODE, peer({ rttMs: 3 }), true, clock).path, { kind: "none" });
});

Deno.test("Backoff keeps within its bounds, whatever the dice say", () => {
  for (const dice of [0, 0.25, 0.999999]) {
    const backoff = new Backoff(() => dice);
    const waits = Array.from({ length: 12 }, () => backoff.next());
    ok(waits[0]! >= 500 && waits[0]! < 1_500);
    ok(waits.every((wait, i) => i === 0 || wait >= waits[i - 1]!), "never shorter than before");
    ok(waits.at(-1)! >= 30_000 && waits.at(-1)! <= 60_000);
    backoff.reset();
    ok(backoff.next() < 1_500);
  }
});
