/**
 * What the control socket says of keys, with and without a coordinator.
 *
 * @module
 */

import { deepStrictEqual, ok, throws } from "node:assert/strict";
import { AgentError } from "../../lib/agent/errors.ts";
import { PeerBook, type PeerSink } from "../../lib/agent/peer_book.ts";
import { PeerTrust } from "../../lib/agent/peer_trust.ts";
import { PinStore } from "../../lib/agent/pins.ts";
import { RosterCopy } from "../../lib/agent/roster_copy.ts";
import { StateFolder } from "../../lib/agent/state_folder.ts";
import type { StaticPeerStatus } from "../../lib/agent/static_status.ts";
import { fileTrustMethods, trustMethods } from "../../lib/agent/trust_methods.ts";
import type { NodeRecord } from "../../lib/wire/server_message.ts";
import { FakeClock } from "../fakes/clock.ts";
import { rosterNode } from "./roster_node.ts";
import { inTempFolder } from "./temp_folder.ts";

const SELF = { name: "self", nodeId: "5e".repeat(32) };

function isAbout(text: string) {
  return (error: unknown) => {
    ok(error instanceof AgentError && error.message.includes(text), String(error));
    return true;
  };
}

Deno.test("trustMethods() verify and forget the very key that was shown", () =>
  inTempFolder((path) => {
    const folder = StateFolder.open(path);
    const clock = new FakeClock();
    const copy = new RosterCopy({ folder, clock, writeFailed() {} });
    const sink: PeerSink = { upsertPeer() {}, removePeer() {} };
    const trust = new PeerTrust({ pins: PinStore.load(folder), clock });
    const book = new PeerBook(copy, sink, trust, SELF.nodeId);
    let version = 0;
    const roster = (...upserts: NodeRecord[]) =>
      book.applyRoster({
        ...{ kind: "roster", version: ++version, lineage: "l", full: true, upserts, removes: [] },
      });
    const methods = trustMethods({ book, trust, self: () => SELF });
    const call = (method: string, params: Record<string, unknown>) => methods[method]!(params);
    const [bob, other] = [rosterNode("bob", 2), rosterNode("bob", 2, "another key")];

    deepStrictEqual(call("peer-identity", {}), SELF);
    throws(() => call("peer-identity", { peer: "bob" }), isAbout("no such peer"));
    roster(bob);
    const { name, nodeId } = bob;
    deepStrictEqual(call("peer-identity", { peer: "100.64.0.2" }), { name, nodeId, trust: "new" });
    throws(() => call("peer-pin", { name }), isAbout("nothing is known"));

    // Between showing and the answer of a person, the coordinator presents another key.
    roster(other);
    throws(() => call("peer-verify", { name, nodeId }), isAbout("another key"));
    roster(bob);
    deepStrictEqual(call("peer-verify", { name, nodeId }), { name, nodeId });
    deepStrictEqual(trust.pin("bob")?.addresses, ["100.64.0.2", "fd00::2"]);
    throws(
      () => call("peer-forget", { name, nodeId: other.nodeId }),
      isAbout("its pin is another one"),
    );
    roster(other);
    const shown = call("peer-identity", { peer: "bob" }) as { trust: string; refused: string };
    deepStrictEqual([shown.trust, shown.refused.includes(nodeId.slice(0, 16))], ["conflict", true]);
    const present = { name, nodeId: other.nodeId };
    const pin = trust.pin("bob");
    deepStrictEqual(call("peer-pin", { name }), { pin, present });
    deepStrictEqual(call("peer-forget", { name, nodeId }), { forgotten: pin, present });
    ok(book.admitted.has(other.nodeId));

    // Who is not there yet can be verified as well.
    call("peer-verify", { name: "later", nodeId });
    deepStrictEqual(trust.pin("later")?.state, "verified");
    trust.close();
    copy.close();
    folder.close();
  }));

Deno.test("fileTrustMethods() show keys, and leave the rest to the file", () => {
  const peer = {
    ...{ name: "Phone", nodeId: "ab".repeat(32), addresses: { ipv4: "10.9.0.2", ipv6: "" } },
  } as StaticPeerStatus;
  const config = { path: "/etc/up.yaml", loadedAt: "" };
  const methods = fileTrustMethods(() => ({ ...SELF, peers: [peer], config }));
  deepStrictEqual(methods["peer-identity"]!({}), SELF);
  const { name, nodeId } = peer;
  for (const text of ["Phone", "phone", nodeId, "10.9.0.2"]) {
    deepStrictEqual(methods["peer-identity"]!({ peer: text }), { name, nodeId }, text);
  }
  throws(() => methods["peer-identity"]!({ peer: "x" }), isAbout('"/etc/up.yaml" has none'));
  for (const method of ["peer-verify", "peer-pin", "peer-forget"]) {
    throws(() => methods[method]!({ name, nodeId }), isAbout('"/etc/up.yaml" says who'));
  }
});
