/**
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { formatEndpoint } from "../../lib/net/endpoint.ts";
import { randomBytes } from "../../lib/crypto/random.ts";
import type { NodeRecord, Psks, Roster } from "../../lib/wire/server_message.ts";
import { readCachedRoster } from "../../lib/agent/membership.ts";
import { AT_COORDINATOR, PeerBook, type PeerGate } from "../../lib/agent/peer_book.ts";
import { RosterCopy } from "../../lib/agent/roster_copy.ts";
import { StateFolder } from "../../lib/agent/state_folder.ts";
import { FakeClock } from "../fakes/clock.ts";
import { rosterNode } from "./roster_node.ts";
import { inTempFolder } from "./temp_folder.ts";

const PSKS: Psks = { kind: "psks", current: { epoch: 1, psk: randomBytes(32) } };

function node(name: string, host: number, endpoint = `192.0.2.${host}:1`): NodeRecord {
  return { ...rosterNode(name, host), endpoints: [{ endpoint, source: "local" }] };
}

function roster(version: number, upserts: NodeRecord[], rest: Partial<Roster> = {}): Roster {
  return { kind: "roster", version, lineage: "l", full: false, upserts, removes: [], ...rest };
}

/** Admits everybody. */
const ALL: PeerGate = { admits: () => true, gone() {}, learn: () => false };

const [ANN, BEN, CAT] = [node("ann", 1), node("ben", 2), node("cat", 3)];

function setUp(base: string) {
  const clock = new FakeClock();
  const folder = StateFolder.open(base);
  const failures: unknown[] = [];
  const open = () =>
    new RosterCopy({
      folder,
      clock,
      cached: readCachedRoster(folder),
      writeFailed: (error) => failures.push(error),
    });
  return { clock, folder, failures, open };
}

Deno.test("RosterCopy follows deltas, and comes back from the disk as it was", () =>
  inTempFolder((base) => {
    const { clock, folder, open } = setUp(base);
    const copy = open();
    strictEqual(copy.version, 0);
    copy.apply(roster(7, [ANN, BEN], { full: true }));
    ok(copy.setPsks(PSKS));
    const change = copy.apply(roster(8, [CAT, BEN], { removes: [ANN.nodeId, "f".repeat(64)] }));
    deepStrictEqual(change, { upserts: [CAT], removes: [ANN.nodeId] });
    clock.advance(10_000);
    const again = open();
    deepStrictEqual([...again.nodes.values()], [BEN, CAT]);
    strictEqual(again.version, 8);
    strictEqual(again.lineage, "l");
    deepStrictEqual(again.psks, PSKS);
    folder.close();
  }));

Deno.test("RosterCopy takes a full roster in several bodies, and forgets who is in none", () =>
  inTempFolder((base) => {
    const { clock, folder, open } = setUp(base);
    const copy = open();
    copy.setPsks(PSKS);
    copy.apply(roster(3, [ANN, BEN], { full: true }));
    clock.advance(10_000);
    deepStrictEqual(copy.apply(roster(0, [CAT], { full: true })), { upserts: [CAT], removes: [] });
    strictEqual(copy.version, 0, "a copy that is not complete must not be named in a hello");
    clock.advance(10_000);
    strictEqual(open().version, 3, "nor replace the one on disk");
    deepStrictEqual(copy.apply(roster(9, [BEN])), { upserts: [], removes: [ANN.nodeId] });
    strictEqual(copy.version, 9);
    folder.close();
  }));

Deno.test("RosterCopy leaves out a node whose id is not the hash of its key", () =>
  inTempFolder((base) => {
    const { folder, open } = setUp(base);
    const copy = open();
    copy.apply(roster(1, [{ ...ANN, nodeId: BEN.nodeId }, CAT], { full: true }));
    deepStrictEqual([...copy.nodes.keys()], [CAT.nodeId]);
    folder.close();
  }));

Deno.test("RosterCopy gathers changes, and writes endpoints later than members", () =>
  inTempFolder((base) => {
    const { clock, folder, open } = setUp(base);
    const copy = open();
    copy.setPsks(PSKS);
    copy.apply(roster(1, [ANN], { full: true }));
    clock.advance(1_000);
    strictEqual(open().nodes.size, 1);
    copy.setEndpoints(ANN.nodeId, [{ endpoint: "192.0.2.99:1", source: "discovered" }]);
    clock.advance(1_000);
    strictEqual(open().nodes.get(ANN.nodeId)!.endpoints[0]!.endpoint, "192.0.2.1:1");
    copy.apply(roster(2, [BEN]));
    clock.advance(1_000);
    strictEqual(open().nodes.get(ANN.nodeId)!.endpoints[0]!.endpoint, "192.0.2.99:1");
    copy.setEndpoints(BEN.nodeId, []);
    copy.close();
    deepStrictEqual(open().nodes.get(BEN.nodeId)!.endpoints, []);
    folder.close();
  }));

Deno.test("RosterCopy has the disk forget at once who is no member any more", () =>
  inTempFolder((base) => {
    const { clock, folder, open } = setUp(base);
    const copy = open();
    copy.setPsks(PSKS);
    copy.apply(roster(1, [ANN, BEN], { full: true }));
    clock.advance(1_000);
    copy.apply(roster(2, [CAT]));
    copy.apply(roster(3, [], { removes: [BEN.nodeId] }));
    clock.advance(0);
    deepStrictEqual([...open().nodes.values()], [ANN, CAT], "what waited goes along");
    copy.apply(roster(9, [CAT], { full: true }));
    clock.advance(0);
    deepStrictEqual([...open().nodes.values()], [CAT], "also who a full roster does not name");
    folder.close();
  }));

Deno.test("RosterCopy goes on with a disk that refuses, and writes once it no longer does", () =>
  inTempFolder((base) => {
    const { clock, folder, failures, open } = setUp(base);
    const copy = open();
    Deno.mkdirSync(`${base}/roster.json.new/x`, { recursive: true });
    copy.apply(roster(4, [ANN], { full: true }));
    strictEqual(copy.setPsks(PSKS), false, "what is not on disk must not be acknowledged");
    clock.advance(1_000);
    ok(failures.length >= 2);
    strictEqual(copy.nodes.size, 1);
    Deno.removeSync(`${base}/roster.json.new`, { recursive: true });
    clock.advance(60_000);
    strictEqual(open().version, 4);
    folder.close();
  }));

Deno.test("readCachedRoster() takes a damaged copy for none", () =>
  inTempFolder((base) => {
    const { folder, open } = setUp(base);
    for (const text of ["", "{", "null", '{"roster":{}}']) {
      folder.write("roster.json", text);
      strictEqual(open().version, 0);
    }
    folder.close();
  }));

Deno.test("PeerBook keeps the device in step with roster and presence", () =>
  inTempFolder((base) => {
    const { folder, open } = setUp(base);
    const calls: string[] = [];
    const book = new PeerBook(
      open(),
      {
        upsertPeer: ({ name }, at) => calls.push(`+${name} ${at.map(formatEndpoint).join()}`),
        removePeer: ({ name }) => calls.push(`-${name}`),
      },
      ALL,
      ANN.nodeId,
    );
    const take = () => calls.splice(0);
    book.applyRoster(roster(1, [ANN, BEN, CAT], { full: true }));
    deepStrictEqual(take(), ["+ben 192.0.2.2:1", "+cat 192.0.2.3:1"]);
    deepStrictEqual(book.peers.map(({ name }) => name), ["ben", "cat"]);

    const endpoints = [
      { endpoint: "198.51.100.1:9", source: "discovered" },
      { endpoint: "carrier pigeon", source: "later version" },
      { endpoint: "0.0.0.0:8443", source: AT_COORDINATOR },
    ];
    const online = [{ nodeId: BEN.nodeId, endpoints }];
    book.applyPresence({ kind: "presence", full: true, online, offline: [] });
    deepStrictEqual(take(), ["+ben 198.51.100.1:9"]);
    ok(book.isPresent(BEN.nodeId) && !book.isPresent(CAT.nodeId));
    book.setCoordinatorAddresses([Uint8Array.of(203, 0, 113, 5)]);
    deepStrictEqual(take(), ["+ben 198.51.100.1:9,203.0.113.5:8443"]);

    const other = [{ nodeId: CAT.nodeId, endpoints: [] }];
    book.applyPresence({ kind: "presence", full: true, online: other, offline: [] });
    ok(!book.isPresent(BEN.nodeId) && book.isPresent(CAT.nodeId), "full: all others are offline");
    book.applyPresence({ kind: "presence", full: false, online, offline: [CAT.nodeId] });
    ok(book.isPresent(BEN.nodeId) && !book.isPresent(CAT.nodeId));
    take();

    book.applyRoster(roster(2, [], { removes: [BEN.nodeId, ANN.nodeId] }));
    deepStrictEqual(take(), ["-ben"]);
    ok(!book.isPresent(BEN.nodeId));
    folder.close();
  }));

Deno.test("PeerBook.find() takes a name, an address, a node id or its first digits", () =>
  inTempFolder((base) => {
    const { folder, open } = setUp(base);
    const copy = open();
    copy.apply(roster(1, [ANN, BEN, CAT], { full: true }));
    const book = new PeerBook(copy, { upsertPeer() {}, removePeer() {} }, ALL, ANN.nodeId);
    const { nodeId } = BEN;
    for (const text of ["ben", "BEN", "100.64.0.2", "fd00::2", nodeId, nodeId.slice(0, 8)]) {
      strictEqual(book.find(text).name, "ben", text);
    }
    for (const text of ["", "ann", "be", nodeId.slice(0, 7), "100.64.0.9"]) {
      try {
        book.find(text);
        ok(false, text);
      } catch (error) {
        ok(String(error).includes("no such peer"), text);
      }
    }
    folder.close();
  }));
