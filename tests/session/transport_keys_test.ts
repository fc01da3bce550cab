/**
 * What one keypair lets through, in both directions.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { writeU32Le } from "../../lib/base/integers.ts";
import { NOBLE_AEAD, type TransportAead } from "../../lib/crypto/transport_aead.ts";
import type { DropReason } from "../../lib/session/actions.ts";
import { type Keypair, newActivity } from "../../lib/session/keypair.ts";
import { DEFAULT_LIMITS, lowerLimits } from "../../lib/session/limits.ts";
import type { Path } from "../../lib/session/path.ts";
import {
  type Binding,
  DATA_OVERHEAD,
  TransportKeys,
  type TransportRules,
} from "../../lib/session/transport_keys.ts";
import { dataCounter } from "../../lib/wire/datagram.ts";

const HERE: Path = { kind: "udp", key: "here", remote: "192.0.2.1:1" };
const THERE: Path = { kind: "udp", key: "there", remote: "192.0.2.2:1" };
const PACKET = Uint8Array.from({ length: 40 }, (_, i) => i === 0 ? 0x45 : i);
const KEEPALIVE = new Uint8Array(0);
const CONTROL = Uint8Array.of(0, 9);

/** Counts, so that tests can say that no AEAD work was done. */
class CountingAead implements TransportAead {
  readonly name = "counting";
  calls = 0;
  seal(...args: Parameters<TransportAead["seal"]>): void {
    this.calls++;
    NOBLE_AEAD.seal(...args);
  }
  open(...args: Parameters<TransportAead["open"]>): number {
    this.calls++;
    return NOBLE_AEAD.open(...args);
  }
  wipe(): void {}
}

interface Ends {
  readonly sender: TransportKeys;
  readonly receiver: TransportKeys;
  readonly aead: CountingAead;
  readonly rules: { limits: TransportRules["limits"]; binding: Binding };
}

/** The two ends of one keypair, confirmed, made at 0. */
function ends(binding: Binding = "strict"): Ends {
  const aead = new CountingAead();
  const rules = { limits: DEFAULT_LIMITS, binding };
  const keys = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)] as const;
  const keypair = (isInitiator: boolean): Keypair => ({
    peer: "p",
    localIndex: isInitiator ? 1 : 2,
    remoteIndex: isInitiator ? 2 : 1,
    isInitiator,
    createdAt: 0,
    sendKey: Uint8Array.from(keys[isInitiator ? 0 : 1]),
    receiveKey: Uint8Array.from(keys[isInitiator ? 1 : 0]),
    path: HERE,
    unconfirmedPaths: [],
    isConfirmed: true,
    isRetired: false,
    activity: newActivity(),
  });
  return {
    sender: new TransportKeys(keypair(true), aead, rules),
    receiver: new TransportKeys(keypair(false), aead, rules),
    aead,
    rules,
  };
}

function seal(keys: TransportKeys, plaintext = PACKET, now = 0): Uint8Array {
  const out = new Uint8Array(plaintext.length + DATA_OVERHEAD);
  strictEqual(keys.seal(plaintext, out, 0, now), out.length);
  return out;
}

/** Opens as a data plane does: the reason it was refused for, or the plaintext. */
function open(
  keys: TransportKeys,
  datagram: Uint8Array,
  now = 0,
  path = HERE,
): DropReason | Uint8Array {
  const reason = keys.whyNotOpen(datagram, path, now);
  if (reason !== undefined) return reason;
  const out = new Uint8Array(datagram.length - DATA_OVERHEAD);
  const length = keys.open(datagram, out, path, now);
  return length < 0 ? "bad-tag" : out.subarray(0, length);
}

function withCounter(datagram: Uint8Array, low: number, high: number): Uint8Array {
  const forged = Uint8Array.from(datagram);
  writeU32Le(forged, 8, low);
  writeU32Le(forged, 12, high);
  return forged;
}

Deno.test("TransportKeys open what the other end sealed", () => {
  const { sender, receiver } = ends();
  for (const plaintext of [PACKET, KEEPALIVE, CONTROL]) {
    deepStrictEqual(open(receiver, seal(sender, plaintext)), plaintext);
  }
  strictEqual(sender.keypair.activity.sendCounter, 3);
  strictEqual(receiver.keypair.activity.receiveCounter, 2);
});

Deno.test("TransportKeys.seal() works where the plaintext lies in the datagram's place", () => {
  const { sender, receiver } = ends();
  const out = new Uint8Array(7 + PACKET.length + DATA_OVERHEAD);
  const inPlace = out.subarray(7 + 16, 7 + 16 + PACKET.length);
  inPlace.set(PACKET);
  strictEqual(sender.seal(inPlace, out, 7, 0), out.length - 7);
  deepStrictEqual(open(receiver, out.subarray(7)), PACKET);
});

Deno.test("T22: data replayed is delivered exactly once", () => {
  const { sender, receiver, aead } = ends();
  const datagrams = [seal(sender), seal(sender), seal(sender)];
  for (const i of [2, 0, 1]) deepStrictEqual(open(receiver, datagrams[i]!), PACKET);
  aead.calls = 0;
  for (const datagram of datagrams) strictEqual(open(receiver, datagram), "replayed");
  strictEqual(aead.calls, 0, "before any AEAD work");
});

Deno.test("T24: a forged huge counter changes no state", () => {
  const { sender, receiver } = ends();
  const genuine = [seal(sender), seal(sender)];
  deepStrictEqual(open(receiver, genuine[0]!), PACKET);
  const before = structuredClone(receiver.keypair.activity);
  strictEqual(open(receiver, withCounter(genuine[1]!, 0xffff_ffff, 0x3ff)), "bad-tag");
  deepStrictEqual(receiver.keypair.activity, before);
  deepStrictEqual(open(receiver, genuine[1]!), PACKET, "the window has not moved");
});

Deno.test("T24: a counter at or beyond the reject limit costs no AEAD work", () => {
  const { sender, receiver, aead } = ends();
  const genuine = seal(sender);
  aead.calls = 0;
  // 2^50, 2^53 - 1
  for (const [low, high] of [[0, 0x4_0000], [0xffff_ffff, 0x1f_ffff]] as const) {
    strictEqual(open(receiver, withCounter(genuine, low, high)), "expired-keypair");
  }
  strictEqual(open(receiver, withCounter(genuine, 0xffff_ffff, 0x3_ffff)), "bad-tag", "2^50 - 1");
  strictEqual(aead.calls, 1);
});

Deno.test("T24: every altered byte of a datagram is refused and changes nothing", () => {
  const { sender, receiver } = ends();
  const genuine = seal(sender);
  const before = structuredClone(receiver.keypair.activity);
  for (let at = 8; at < genuine.length; at++) {
    const forged = Uint8Array.from(genuine);
    forged[at]! ^= 0x80;
    ok(typeof open(receiver, forged) === "string", `byte ${at}`);
  }
  deepStrictEqual(receiver.keypair.activity, before);
  deepStrictEqual(open(receiver, genuine), PACKET);
});

Deno.test("T25: sealing ends at the reject limit and no counter comes twice", () => {
  const { sender, rules } = ends();
  rules.limits = lowerLimits({ rekeyAfterMessages: 16, rejectAfterMessages: 20 });
  const counters = Array.from({ length: 20 }, () => dataCounter(seal(sender)));
  deepStrictEqual(counters, Array.from({ length: 20 }, (_, i) => i));
  strictEqual(sender.whyNotSend(0), "send-limit");
  throws(() => seal(sender), RangeError);
  strictEqual(sender.keypair.activity.sendCounter, 20);
});

Deno.test("T25: a seal that throws spends its counter", () => {
  const { sender } = ends();
  throws(() => sender.seal(PACKET, new Uint8Array(20), 0, 0), RangeError);
  strictEqual(dataCounter(seal(sender)), 1);
});

Deno.test("T25: the last counter is one below 2^50", () => {
  const { sender, receiver } = ends();
  sender.keypair.activity.sendCounter = 2 ** 50 - 1;
  const last = seal(sender);
  strictEqual(dataCounter(last), 2 ** 50 - 1);
  deepStrictEqual(open(receiver, last), PACKET);
  throws(() => seal(sender), RangeError);
});

Deno.test("T26: a keypair neither seals nor opens from 180 s on", () => {
  const { sender, receiver, aead } = ends();
  const datagrams = [seal(sender, PACKET, 179_999), seal(sender, PACKET, 179_999)];
  deepStrictEqual(open(receiver, datagrams[0]!, 179_999), PACKET);
  aead.calls = 0;
  strictEqual(open(receiver, datagrams[1]!, 180_000), "expired-keypair");
  strictEqual(sender.whyNotSend(180_000), "expired-keypair");
  throws(() => seal(sender, PACKET, 180_000), RangeError);
  strictEqual(aead.calls, 0);
});

Deno.test("T26: a retired keypair is dead and its keys are zeros", () => {
  const { sender, receiver, aead } = ends();
  const datagram = seal(sender);
  sender.retire();
  receiver.retire();
  aead.calls = 0;
  strictEqual(open(receiver, datagram), "expired-keypair");
  throws(() => seal(sender), RangeError);
  for (const { keypair } of [sender, receiver]) {
    deepStrictEqual([...keypair.sendKey, ...keypair.receiveKey], new Array(64).fill(0));
  }
  strictEqual(aead.calls, 0);
});

Deno.test("TransportKeys do not send before the keypair is confirmed", () => {
  const { sender } = ends();
  sender.keypair.isConfirmed = false;
  strictEqual(sender.whyNotSend(0), "no-keypair");
  throws(() => seal(sender), RangeError);
});

Deno.test("T19: data from another path costs no AEAD work under strict", () => {
  const { sender, receiver, aead } = ends();
  const datagram = seal(sender);
  aead.calls = 0;
  strictEqual(open(receiver, datagram, 0, THERE), "wrong-path");
  strictEqual(aead.calls, 0);
  ok(receiver.isAhead(datagram), "worth an initiation");
  deepStrictEqual(open(receiver, datagram), PACKET);
  ok(!receiver.isAhead(datagram), "not when it was seen");
});

Deno.test("TransportKeys of an unconfirmed keypair open data from the initiation's paths only", () => {
  const { sender, receiver } = ends("roam");
  const { keypair } = receiver;
  Object.assign(keypair, { isConfirmed: false, path: undefined, unconfirmedPaths: [HERE] });
  const datagram = seal(sender);
  strictEqual(open(receiver, datagram, 0, THERE), "wrong-path", "under roam, too");
  deepStrictEqual(open(receiver, datagram), PACKET);
});

Deno.test("T20: under roam a keypair moves only for fresh authentic data", () => {
  const { sender, receiver } = ends("roam");
  const [first, second, third] = [seal(sender), seal(sender), seal(sender)];
  deepStrictEqual(open(receiver, second, 0, HERE), PACKET);
  const forged = Uint8Array.from(third);
  forged[20]! ^= 1;
  strictEqual(open(receiver, forged, 0, THERE), "bad-tag");
  strictEqual(open(receiver, second, 0, THERE), "replayed");
  deepStrictEqual(open(receiver, first, 0, THERE), PACKET, "late, so it is delivered");
  strictEqual(receiver.keypair.path, HERE, "but nothing of it moves the session");
  deepStrictEqual(open(receiver, third, 0, THERE), PACKET);
  strictEqual(receiver.keypair.path, THERE);
  const connection: Path = { kind: "ssh", key: "ssh 1", remote: "ssh q" };
  strictEqual(open(receiver, seal(sender), 0, connection), "wrong-path", "that may be anybody's");
});

Deno.test("TransportKeys write down what timers need", () => {
  const { sender, receiver } = ends();
  const sent = sender.keypair.activity;
  const got = receiver.keypair.activity;
  open(receiver, seal(sender, KEEPALIVE, 10), 11);
  deepStrictEqual([sent.sentAt, sent.payloadSentAt], [10, -Infinity]);
  deepStrictEqual([got.receivedAt, got.payloadReceivedAt], [11, -Infinity]);
  open(receiver, seal(sender, CONTROL, 15), 16);
  deepStrictEqual([sent.payloadSentAt, got.payloadReceivedAt], [-Infinity, -Infinity]);
  open(receiver, seal(sender, PACKET, 20), 21);
  open(receiver, seal(sender, PACKET, 30), 31);
  deepStrictEqual([sent.payloadSentAt, sent.unansweredSince], [30, 20]);
  deepStrictEqual([got.payloadReceivedAt, got.unacknowledgedSince], [31, 21]);
  open(sender, seal(receiver, KEEPALIVE, 40), 41);
  open(receiver, seal(sender, PACKET, 50), 51);
  deepStrictEqual([sent.unansweredSince, got.unacknowledgedSince], [50, 51], "a new run");
});
