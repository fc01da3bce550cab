import { strictEqual } from "node:assert/strict";
import { Answers } from "../../lib/session/answers.ts";
import { type Keypair, newActivity, retireKeypair } from "../../lib/session/keypair.ts";
import type { Path } from "../../lib/session/path.ts";
import type { Initiation } from "../../lib/wire/datagram.ts";

const PATH: Path = { kind: "udp", key: "1", remote: "192.0.2.1:1" };

function initiation(content: number, mac1 = content): Initiation {
  const beforeMac2 = new Uint8Array(136).fill(content);
  return {
    kind: "initiation",
    profile: "mesh",
    senderIndex: 1,
    header: beforeMac2.subarray(0, 8),
    noise: beforeMac2.subarray(8, 120),
    mac1: new Uint8Array(16).fill(mac1),
    mac2: new Uint8Array(16),
    beforeMac1: beforeMac2.subarray(0, 120),
    beforeMac2,
  };
}

function keypair(): Keypair {
  return {
    peer: "p",
    localIndex: 0,
    remoteIndex: 0,
    isInitiator: false,
    createdAt: 0,
    sendKey: new Uint8Array(32),
    receiveKey: new Uint8Array(32),
    path: undefined,
    unconfirmedPaths: [PATH],
    isConfirmed: false,
    isRetired: false,
    activity: newActivity(),
  };
}

function answered(peer: string, content: number, at = 0, answers = new Answers()) {
  const response = new Uint8Array(96);
  const pair = keypair();
  const answer = { peer, response, answeredAt: at, keypair: pair, paths: [PATH] };
  answers.remember(initiation(content), answer);
  return { answers, response, pair };
}

Deno.test("Answers.repeat() gives the response to the same bytes, for less than 5 s", () => {
  const { answers, response } = answered("p", 7, 100);
  const repeated = answers.repeat(initiation(7), PATH, 5_099);
  strictEqual(typeof repeated === "object" && repeated.response, response);
  strictEqual(answers.repeat(initiation(7), PATH, 5_100), undefined);
  strictEqual(answers.repeat(initiation(8), PATH, 200), undefined, "other bytes");
  strictEqual(answers.repeat(initiation(8, 7), PATH, 200), undefined, "the same mac1 alone");
});

Deno.test("Answers.repeat() gives no response whose keypair is gone", () => {
  const { answers, pair } = answered("p", 7);
  retireKeypair(pair);
  strictEqual(answers.repeat(initiation(7), PATH, 1), undefined);
});

Deno.test("Answers.repeat() ends after forty times", () => {
  const { answers } = answered("p", 7);
  for (let i = 1; i < 40; i++) {
    strictEqual(typeof answers.repeat(initiation(7), PATH, 1), "object", `time ${i}`);
  }
  strictEqual(answers.repeat(initiation(7), PATH, 1), "rate-limited");
});

Deno.test("Answers remember the latest of each peer, until they are told to forget", () => {
  const { answers } = answered("p", 7);
  answered("p", 8, 0, answers);
  answered("q", 9, 0, answers);
  strictEqual(answers.size, 2);
  strictEqual(answers.repeat(initiation(7), PATH, 1), undefined);
  strictEqual(answers.expiresAt("q"), 5_000);
  answers.forget("p");
  strictEqual(answers.repeat(initiation(8), PATH, 1), undefined);
  strictEqual(answers.expiresAt("p"), Infinity);
  strictEqual(answers.size, 1);
});
