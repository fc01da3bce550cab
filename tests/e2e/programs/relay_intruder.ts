/**
 * Two members that turned hostile: with the keys of two state folders, at the relay of the
 * coordinator that these belong to, over sockets of their own.
 *
 * `FOLDER_A FOLDER_B TOKEN_FILE` prints one JSON object: what became of each attempt of A's, and
 * what B was sent.
 *
 * @module
 */

import { WebSocket } from "ws";
import { readIdentity } from "../../../lib/agent/identity.ts";
import { readMembership } from "../../../lib/agent/membership.ts";
import { StateFolder } from "../../../lib/agent/state_folder.ts";
import { fromHex, toHex } from "../../../lib/base/bytes.ts";
import { encodeLengthPrefixed } from "../../../lib/wire/length_prefix.ts";
import { connect } from "../../coordinator/connect.ts";
import { SimulatedAgent } from "../../coordinator/simulated_agent.ts";

const TIMEOUT_MS = 60_000;
const PAYLOAD = new TextEncoder().encode("sealed by nobody");
/** Four hundred are more than is granted; the first few are within it and reach B, at any time. */
const GRANTED = new Uint8Array(60_000);

const [folderA, folderB, tokenFile] = Deno.args as [string, string, string];
const token = (await Deno.readTextFile(tokenFile)).trim();
const [a, b] = [await member(folderA), await member(folderB)];
const received: { source: string; rest: string }[] = [];
const atB = await relayOf(b);
atB.on("message", (data: Uint8Array) => {
  // A grant has eight bytes.
  if (data.length > 8 && data.length < GRANTED.length) {
    received.push({ source: toHex(data.subarray(0, 32)), rest: toHex(data.subarray(32)) });
  }
});

/** The message that A sends to a node, as it should be. */
const to = (nodeId: Uint8Array, datagram = PAYLOAD) =>
  Uint8Array.of(...nodeId, ...encodeLengthPrefixed(datagram));
const idOfA = fromHex(a.nodeId);
const idOfB = fromHex(b.nodeId);
const stranger = crypto.getRandomValues(new Uint8Array(32));

/** What A writes after a good ticket, then something good, which must not arrive any more. */
const ATTEMPTS: [why: string, write: (socket: WebSocket) => void][] = [
  ["to a node that is no member", (socket) => socket.send(to(stranger))],
  ["a length beyond the message", (socket) => socket.send(to(idOfB).with(32, 200))],
  ["half a length", (socket) => socket.send(Uint8Array.of(...idOfB, 1))],
  ["a length of zero", (socket) => socket.send(Uint8Array.of(...idOfB, 0, 0))],
  ["text", (socket) => socket.send("hello")],
  ["more than was granted", (socket) => {
    const large = to(idOfB, GRANTED);
    for (let i = 0; i < 400; i++) socket.send(large);
  }],
];

const codes: Record<string, number> = {};
for (const [why, write] of ATTEMPTS) {
  const socket = await relayOf(a);
  const code = endOf(socket);
  write(socket);
  if (socket.readyState === WebSocket.OPEN) socket.send(to(idOfB));
  codes[why] = await code;
}

// A ticket that was used, and one that was never given out.
const ticket = await ticketOf(a);
const first = await open(a);
first.send(ticket.slice());
for (const [why, bytes] of [["a used ticket", ticket], ["no ticket", stranger]] as const) {
  const socket = await open(a);
  const code = endOf(socket);
  socket.send(bytes.slice());
  socket.send(to(idOfB));
  codes[why] = await code;
}

// The source is of the ticket, whatever is written where one might look for it.
first.send(to(idOfB));
first.send(to(idOfB, Uint8Array.of(...idOfB, ...PAYLOAD)));
const until = performance.now() + TIMEOUT_MS;
while (received.length < 2 && performance.now() < until) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
await new Promise((resolve) => setTimeout(resolve, 200)); // for what should not come
const report = JSON.stringify({
  codes,
  received,
  good: [to(idOfB), to(idOfB, Uint8Array.of(...idOfB, ...PAYLOAD))].map((message) => ({
    source: toHex(idOfA),
    rest: toHex(message.subarray(32)),
  })),
});
Deno.stdout.writeSync(new TextEncoder().encode(`${report}\n`));
Deno.exit(0);

interface Hostile {
  readonly agent: SimulatedAgent;
  readonly nodeId: string;
  readonly url: string;
}

/** Connects to the coordinator as the member of a state folder. */
async function member(path: string): Promise<Hostile> {
  const folder = StateFolder.peek(path);
  const { coordinatorUrl: url, welcome } = readMembership(folder)!;
  const { nodeId, staticKey } = readIdentity(folder)!;
  const agent = connect(
    new SimulatedAgent({
      token,
      staticKey,
      credential: { kind: "member", psk: welcome.memberPsk! },
      hello: {
        ...{ kind: "hello", software: "tunnelmesh test", os: "linux", nameIsExplicit: false },
        ...{ rosterVersion: 0, endpoints: [] },
      },
    }),
    url,
  );
  await agent.until(() => agent.said("welcome") !== undefined);
  return { agent, nodeId, url };
}

async function ticketOf({ agent }: Hostile): Promise<Uint8Array> {
  const before = agent.heard.length;
  agent.say({ kind: "relay-ticket" });
  const found = () => agent.heard.slice(before).find(({ kind }) => kind === "relay-ticket");
  await agent.until(() => found() !== undefined);
  const message = found()!;
  if (message.kind !== "relay-ticket") throw new TypeError("no ticket");
  return message.ticket;
}

/** A connection to the relay that has shown nothing yet. */
async function open({ url }: Hostile): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/relay`, {
    rejectUnauthorized: false,
    perMessageDeflate: false,
  });
  socket.binaryType = "nodebuffer";
  socket.on("error", () => {});
  await new Promise((resolve) => socket.on("open", resolve));
  return socket;
}

/** A connection with a good ticket. */
async function relayOf(hostile: Hostile): Promise<WebSocket> {
  const socket = await open(hostile);
  socket.send(await ticketOf(hostile));
  return socket;
}

function endOf(socket: WebSocket): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const timer = setTimeout(() => resolve(0), TIMEOUT_MS);
  socket.on("close", (code: number) => {
    clearTimeout(timer);
    resolve(code);
  });
  return promise;
}
