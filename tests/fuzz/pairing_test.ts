/**
 * Pairing: datagrams from anybody while `pair` runs, messages of whoever completes a handshake, text
 * from any QR code. The seed of a failure repeats it.
 *
 * @module
 */

import { ok } from "node:assert/strict";
import { toHex } from "../../lib/base/bytes.ts";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { writeMac1 } from "../../lib/session/mac.ts";
import { pairMac1Key } from "../../lib/session/pair_messages.ts";
import { MAX_HALF_OPEN } from "../../lib/session/pair_limits.ts";
import { fingerprintHex, fingerprintWords } from "../../lib/token/fingerprint.ts";
import { judgePairText, pairText } from "../../lib/token/pair_text.ts";
import { MessageError } from "../../lib/wire/json_codec.ts";
import { decodePairMessage, encodePairMessage } from "../../lib/wire/pair_message.ts";
import { seededBytes } from "../fakes/random.ts";
import { PairWorld, pathTo } from "../session/pair_world.ts";
import { bytesOf, type Depth, fuzz, textOf } from "./fuzz.ts";

const bytes = seededBytes(13);

/** What is refused at first sight. */
const FAULTS_OF_FORM = ["malformed", "unknown-type", "unknown-version", "unknown-profile"];

for (const profile of ["pair", "pair-interop"] as const) {
  Deno.test(`T27: fuzz: a node that pairs (${profile}) drops or answers, and keeps its bounds`, async () => {
    const recorded = new PairWorld({ profile }, { profile });
    recorded.until(() => recorded.dialler.met !== undefined);
    recorded.say(recorded.dialler, "hello");
    recorded.say(recorded.listener, "hello");
    recorded.advance(1_000);
    // A second one, in the middle of which the inputs come: one side listens, the other has dialled.
    const world = new PairWorld({ profile }, { profile });
    world.advance(0);
    const { listener, dialler } = world;
    world.isLost = () => true;
    const right = recorded.flights.map(({ datagram }) => datagram);
    /** The form that some bytes would have had as a datagram of their type, with its mac1. */
    const repair = (input: Uint8Array): Uint8Array => {
      const like = right.find(([type]) => type === input[0]) ?? right[input.length % right.length]!;
      const repaired = like.slice();
      repaired.set(input.subarray(4, like.length), 4);
      if (profile === "pair" && like[0]! <= 3) {
        writeMac1(NATIVE_BACKEND, pairMac1Key(NATIVE_BACKEND), repaired);
      }
      return repaired;
    };
    await fuzz({
      name: `datagrams (${profile})`,
      samples: recorded.flights.map(({ datagram }) => datagram.slice()),
      mayRefuseSamples: true,
      repair,
      judge(input): Depth {
        world.advance(10);
        world.deliver(listener, input, pathTo(1 + input.length % 7));
        if (dialler.failed === undefined) world.deliver(dialler, input);
        ok(listener.pairing.halfOpen <= MAX_HALF_OPEN);
        ok(listener.met === undefined, "nobody completes a handshake by chance");
        const drops = [...listener.drops, ...dialler.drops];
        const isPast = drops.some((reason) => !FAULTS_OF_FORM.includes(reason));
        const isTaken = drops.length < 2;
        // What was kept for the assertions is not what is under test.
        listener.actions.length = 0;
        dialler.actions.length = 0;
        world.flights.length = 0;
        return isTaken ? "taken" : isPast ? "past" : "refused";
      },
    });
  });
}

Deno.test("fuzz: what a machine says when it pairs is read, or refused with a MessageError", () =>
  fuzz({
    name: "messages of a pairing",
    samples: [
      encodePairMessage({ kind: "hello", name: "left", purpose: "static", range: "10.1.2.0/24" }),
      encodePairMessage({ kind: "hello", name: "left", purpose: "invite" }),
      encodePairMessage({ kind: "verdict", isConfirmed: true }),
      encodePairMessage({ kind: "invite", coordinator: "https://192.0.2.1:8443", token: "tm1_x" }),
      encodePairMessage({ kind: "done" }),
    ],
    pieces: bytesOf('"kind"', '"hello"', '"purpose"', "null", "true", "{}", "[]", "\\u0000", "é"),
    share: 0.05,
    judge(input): Depth {
      try {
        return decodePairMessage(input) === undefined ? "past" : "taken";
      } catch (error) {
        if (!(error instanceof MessageError)) throw error;
        return "refused";
      }
    },
  }));

Deno.test("fuzz: what is scanned matches one handshake and one key, and nothing else", () => {
  const [own, peer] = [toHex(bytes(32)), toHex(bytes(32))];
  const view = { ownNodeId: own, peerNodeId: peer, handshakeHash: bytes(32) };
  const screen = pairText({ ...view, ownNodeId: peer, peerNodeId: own });
  const digits = /[0-9a-f]{64}/;
  return fuzz({
    name: "scanned text",
    samples: bytesOf(screen, fingerprintHex(peer), fingerprintWords(peer)),
    pieces: bytesOf("tunnelmesh:", "?pair=", " ", "\n", ":", "0", "zoo", "é"),
    share: 0.05,
    judge(input): Depth {
      const text = textOf(input);
      const judgement = judgePairText(text, view);
      if (judgement !== "match") return judgement === "unreadable" ? "refused" : "past";
      const plain = text.toLowerCase().replaceAll(/[\s:-]/g, "");
      const isKey = digits.exec(plain)?.[0] === peer || plain.includes("?pair=");
      ok(isKey || text.split(/[^A-Za-z]+/).filter(Boolean).length === 12, text);
      return "taken";
    },
  });
});
