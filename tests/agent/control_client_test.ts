/**
 * The line to the coordinator against a coordinator in this process: no sockets, no real time.
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { CoordinatorLine, type LineEnd } from "../../lib/agent/control_client.ts";
import type { WebSocketDialer, WebSocketEvents } from "../../lib/agent/websocket.ts";
import { controlUrl } from "../../lib/agent/websocket.ts";
import { AgentError } from "../../lib/agent/errors.ts";
import { toBase64, toHex } from "../../lib/base/bytes.ts";
import { randomBytes } from "../../lib/crypto/random.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import { ControlServer } from "../../lib/session/control_channel.ts";
import { decodeClientMessage } from "../../lib/wire/client_message.ts";
import { closeOf, RefusalError, type RefusalReason, REFUSALS } from "../../lib/wire/refusal.ts";
import { encodeServerMessage, type ServerMessage } from "../../lib/wire/server_message.ts";
import { FakeClock } from "../fakes/clock.ts";
import { WELCOME } from "./welcome.ts";

const JOIN_PSK = randomBytes(32);
const COORDINATOR_SECONDS = 1_900_000_000;

/** A coordinator that answers every dial by what `behave` says. */
class FakeCoordinator {
  readonly keys = generateKeyPair();
  readonly heard: string[] = [];
  dials = 0;
  psk: Uint8Array = JOIN_PSK;
  behave: "welcome" | "mute" | "unreachable" | RefusalReason = "welcome";
  #events: WebSocketEvents | undefined;
  #server: ControlServer | undefined;

  readonly dial: WebSocketDialer = (_target, events) => {
    this.dials++;
    this.#events = events;
    this.#server = new ControlServer({
      staticKey: this.keys,
      meshId: WELCOME.mesh.id,
      lookup: () => this.psk,
      unixNow: () => COORDINATOR_SECONDS * 1000,
    });
    if (this.behave === "unreachable") {
      const error = new AgentError("unreachable", "Cannot reach coordinator");
      queueMicrotask(() => events.closed({ code: 1006, reason: "", error }));
    } else queueMicrotask(() => queueMicrotask(() => events.open()));
    return Promise.resolve({
      send: (bytes) => this.#receive(bytes),
      close: () => this.hangUp(1000, ""),
      terminate: () => this.hangUp(1006, ""),
    });
  };

  say(message: ServerMessage): void {
    for (const bytes of this.#server!.seal(encodeServerMessage(message))) {
      this.#events!.message(bytes);
    }
  }

  inject(bytes: Uint8Array): void {
    this.#events!.message(bytes);
  }

  hangUp(code: number, reason: string): void {
    this.#events!.closed({ code, reason });
  }

  #receive(bytes: Uint8Array): void {
    try {
      const { toSend, bodies } = this.#server!.receive(bytes);
      for (const message of toSend) this.#events!.message(message);
      for (const body of bodies) this.#hear(decodeClientMessage(body).kind);
    } catch (error) {
      if (!(error instanceof RefusalError)) throw error;
      const { code, reason } = closeOf(error);
      this.hangUp(code, reason);
    }
  }

  #hear(kind: string): void {
    this.heard.push(kind);
    if (kind !== "hello" || this.behave === "mute") return;
    if (this.behave === "welcome") return this.say(WELCOME);
    const { code, reason } = closeOf(new RefusalError(this.behave as RefusalReason));
    this.hangUp(code, reason);
  }
}

function setUp(coordinatorKey?: Uint8Array) {
  const clock = new FakeClock();
  const coordinator = new FakeCoordinator();
  const ends: LineEnd[] = [];
  const messages: string[] = [];
  const seconds: number[] = [];
  const line = new CoordinatorLine({
    url: "https://coordinator.example:8443",
    tlsVerify: false,
    coordinatorKey: coordinatorKey ?? coordinator.keys.publicKey,
    meshId: WELCOME.mesh.id,
    staticKey: generateKeyPair(),
    credential: () => ({ kind: "token", tokenId: new Uint8Array(8), joinPsk: JOIN_PSK }),
    clock,
    dial: coordinator.dial,
    random: () => 0.5,
    events: {
      hello: () => ({
        kind: "hello",
        software: "test",
        nameIsExplicit: false,
        rosterVersion: 0,
        endpoints: [],
      }),
      authenticated: (unixSeconds) => seconds.push(unixSeconds),
      message: ({ kind }) => messages.push(kind),
      disconnected: (end) => ends.push(end),
    },
  });
  return { clock, coordinator, line, ends, messages, seconds };
}

/** Lets what was queued happen; nothing here waits for time. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

Deno.test("CoordinatorLine says hello, takes the time and the welcome, and is then connected", async () => {
  const { line, coordinator, messages, seconds } = setUp();
  ok(!line.isConnected);
  line.start();
  line.start();
  await settle();
  strictEqual(coordinator.dials, 1);
  ok(line.isConnected);
  deepStrictEqual(coordinator.heard, ["hello"]);
  deepStrictEqual(messages, ["welcome"]);
  deepStrictEqual(seconds, [COORDINATOR_SECONDS]);
  ok(line.send({ kind: "endpoints", endpoints: [] }));
  deepStrictEqual(coordinator.heard, ["hello", "endpoints"]);
  line.close();
  ok(!line.send({ kind: "heartbeat" }));
});

Deno.test("CoordinatorLine beats, and hangs up on a coordinator that fell silent", async () => {
  const { line, coordinator, clock, ends } = setUp();
  line.start();
  await settle();
  clock.advance(WELCOME.heartbeatMs);
  strictEqual(coordinator.heard.at(-1), "heartbeat");
  coordinator.say({ kind: "heartbeat" });
  clock.advance(3 * WELCOME.heartbeatMs);
  strictEqual(ends.length, 0);
  clock.advance(2 * WELCOME.heartbeatMs);
  strictEqual(ends.length, 1);
  strictEqual(ends[0]!.failure.fault, "unreachable");
  line.close();
});

Deno.test("CoordinatorLine tries again, more and more seldom, and at once when told to", async () => {
  const { line, coordinator, clock, ends } = setUp();
  coordinator.behave = "unreachable";
  line.start();
  await settle();
  const waits = [];
  for (let i = 0; i < 8; i++) {
    waits.push(ends.at(-1)!.retryMs);
    clock.advance(ends.at(-1)!.retryMs);
    await settle();
  }
  deepStrictEqual(waits, [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
  coordinator.behave = "welcome";
  line.retryNow();
  await settle();
  ok(line.isConnected);
  strictEqual(line.failure, undefined);
  coordinator.hangUp(1006, "");
  strictEqual(ends.at(-1)!.retryMs, 1000, "a welcome makes the waits short again");
  line.close();
  clock.advance(100_000);
  await settle();
  strictEqual(coordinator.dials, 10, "closed for good");
});

Deno.test("CoordinatorLine.networkChanged() lets the line prove itself, or opens it anew at once", async () => {
  const { line, coordinator, clock, ends } = setUp();
  line.start();
  await settle();
  line.networkChanged();
  strictEqual(coordinator.heard.at(-1), "heartbeat");
  coordinator.say({ kind: "heartbeat" });
  clock.advance(2_000);
  strictEqual(ends.length, 0, "it answered");
  clock.advance(1);
  line.networkChanged();
  clock.advance(2_000);
  await settle();
  strictEqual(ends.length, 1, "it did not");
  deepStrictEqual([coordinator.dials, line.isConnected], [2, true]);
  line.networkChanged(true);
  await settle();
  deepStrictEqual([coordinator.dials, line.isConnected], [3, true], "not even asked");
  coordinator.behave = "unreachable";
  line.networkChanged(true);
  await settle();
  coordinator.behave = "welcome";
  line.networkChanged();
  await settle();
  ok(line.isConnected, "what waits tries at once");
  line.close();
});

Deno.test("CoordinatorLine turns every refusal into what to do, and knows which are final", async () => {
  for (const reason of Object.keys(REFUSALS) as RefusalReason[]) {
    const { line, coordinator, ends } = setUp();
    coordinator.behave = reason;
    line.start();
    await settle();
    strictEqual(ends.length, 1, reason);
    const { failure, refusal, retryMs, hasLeft } = ends[0]!;
    strictEqual(refusal?.reason, reason);
    const isFinal = REFUSALS[reason][1] === "stop";
    strictEqual(failure.fault, isFinal ? "refused" : "unreachable", reason);
    strictEqual(retryMs, isFinal ? 10_000 : 1000, reason);
    ok(!hasLeft);
    ok(failure.message.includes(REFUSALS[reason][2]), failure.message);
    line.close();
  }
});

Deno.test("CoordinatorLine asks at the same pace for as long as the node is disabled", async () => {
  const { line, coordinator, clock, ends } = setUp();
  coordinator.behave = "disabled";
  line.start();
  await settle();
  for (let i = 0; i < 6; i++) {
    strictEqual(ends.at(-1)!.retryMs, 10_000);
    clock.advance(10_000);
    await settle();
  }
  coordinator.behave = "welcome";
  clock.advance(10_000);
  await settle();
  ok(line.isConnected);
  line.close();
});

Deno.test("CoordinatorLine names restore and re-join where another coordinator answers", async () => {
  // It cannot read message 1 and says so, or (with our key but another PSK) fails message 2.
  const other = setUp(generateKeyPair().publicKey);
  other.line.start();
  await settle();
  const psk = setUp();
  psk.coordinator.psk = randomBytes(32);
  psk.line.start();
  await settle();
  for (const { ends, line } of [other, psk]) {
    strictEqual(ends[0]!.failure.fault, "refused");
    match(ends[0]!.failure.message, /coordinator restore/);
    match(ends[0]!.failure.message, /re-join with a token/);
    line.close();
  }
});

Deno.test("CoordinatorLine gives up on a coordinator that opens and says nothing", async () => {
  const { line, coordinator, clock, ends } = setUp();
  coordinator.behave = "mute";
  line.start();
  await settle();
  clock.advance(15_000);
  strictEqual(ends.length, 1);
  ok(!line.isConnected);
  line.close();
});

Deno.test("CoordinatorLine is damaged by no bytes, and reports none of its secrets (T36)", async () => {
  for (const length of [0, 1, 16, 48, 65_535]) {
    const { line, coordinator, ends } = setUp();
    coordinator.behave = "mute";
    line.start();
    await settle();
    coordinator.inject(randomBytes(length)); // the channel is open; this does not authenticate
    strictEqual(ends.length, 1, `${length}`);
    const said = Deno.inspect(ends[0]!.failure) + ends[0]!.failure.message;
    for (const text of [toHex(JOIN_PSK), toBase64(JOIN_PSK)]) ok(!said.includes(text));
    line.close();
  }
});

Deno.test("CoordinatorLine knows a farewell from a broken line", async () => {
  for (
    const [asked, code, hasLeft] of [[true, 1000, true], [true, 1006, false], [
      false,
      1000,
      false,
    ]] as const
  ) {
    const { line, coordinator, ends } = setUp();
    line.start();
    await settle();
    if (asked) line.send({ kind: "leave" });
    coordinator.hangUp(code, "");
    strictEqual(ends[0]!.hasLeft, hasLeft, `${asked} ${code}`);
    line.close();
  }
});

Deno.test("controlUrl() takes http and https, with or without a path", () => {
  const rows: [text: string, url: string | undefined][] = [
    ["https://h:8443", "wss://h:8443/control"],
    ["https://h:8443/", "wss://h:8443/control"],
    ["http://127.0.0.1:80", "ws://127.0.0.1/control"],
    ["https://[fd00::1]:1/mesh/", "wss://[fd00::1]:1/mesh/control"],
    ["https://user:secret@h", "wss://h/control"],
    ["ftp://h", undefined],
    ["h:8443", undefined],
    ["", undefined],
  ];
  for (const [text, url] of rows) {
    let made: string | undefined;
    try {
      made = controlUrl(text, "/control");
    } catch (error) {
      ok(error instanceof AgentError && error.fault === "usage");
    }
    strictEqual(made, url, text);
  }
});
