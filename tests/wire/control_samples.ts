/**
 * Messages of the control channel.
 *
 * @module
 */

import type { ClientMessage, Hello } from "../../lib/wire/client_message.ts";
import {
  INVITE_REFUSALS,
  type NodeRecord,
  type ServerMessage,
} from "../../lib/wire/server_message.ts";

const NODE_ID = "ab".repeat(32);
const KEY = new Uint8Array(32).fill(3);
const ENDPOINTS = [{ endpoint: "192.0.2.1:5000", source: "local" }];
const STATEMENT = {
  sshPublicKey: Uint8Array.of(1, 2, 3),
  signature: Uint8Array.of(4, 5),
  signedAt: 1_800_000_000,
};
const NODE: NodeRecord = {
  nodeId: NODE_ID,
  name: "laptop",
  staticKey: KEY,
  addresses: { ipv4: "100.64.0.1", ipv6: "fd00::1" },
  statement: STATEMENT,
  endpoints: ENDPOINTS,
  os: "linux",
};

/** What a node says that joins. */
export const HELLO: Hello = {
  kind: "hello",
  software: "tunnelmesh 0.1.0",
  os: "linux",
  name: "laptop",
  nameIsExplicit: true,
  statement: STATEMENT,
  rosterVersion: 7,
  rosterLineage: "0011",
  endpoints: ENDPOINTS,
};

/** Every kind of message of an agent, some in several forms. */
export const CLIENT_MESSAGES: ClientMessage[] = [
  HELLO,
  { kind: "hello", software: "x", nameIsExplicit: false, rosterVersion: 0, endpoints: [] },
  { kind: "endpoints", endpoints: ENDPOINTS },
  { kind: "heartbeat" },
  { kind: "psk-ack", epoch: 4_294_967_295 },
  { kind: "invite", request: 4_294_967_295, name: "laptop" },
  { kind: "connect", peer: NODE_ID },
  { kind: "leave" },
];

/** Every kind of message of the coordinator, some in several forms. */
export const SERVER_MESSAGES: ServerMessage[] = [
  {
    kind: "welcome",
    nodeId: NODE_ID,
    name: "laptop",
    addresses: NODE.addresses,
    memberPsk: KEY,
    mesh: {
      id: new Uint8Array(16),
      ipv4Range: "100.64.0.0/10",
      ipv6Range: "fd12:3456:789a::/48",
      policy: "allow-all",
      binding: "strict",
      limits: { rekeyAfterMs: 6000 },
    },
    udpPorts: [8443, 8444],
    discovery: { id: new Uint8Array(8), key: KEY },
    unixMs: 1_800_000_000_000,
    heartbeatMs: 25_000,
    software: "tunnelmesh 0.1.0",
  },
  { kind: "psks", current: { epoch: 1, psk: KEY } },
  {
    kind: "psks",
    previous: { epoch: 1, psk: KEY },
    current: { epoch: 2, psk: KEY },
    next: { epoch: 3, psk: KEY },
  },
  {
    kind: "roster",
    version: 9,
    lineage: "0011",
    full: false,
    upserts: [NODE],
    removes: [NODE_ID],
  },
  {
    kind: "presence",
    full: true,
    online: [{ nodeId: NODE_ID, endpoints: ENDPOINTS }],
    offline: [NODE_ID],
  },
  { kind: "discovery-key", discovery: { id: new Uint8Array(8), key: KEY } },
  { kind: "invite", request: 0, joinSecret: KEY },
  ...INVITE_REFUSALS.map((reason) => ({ kind: "invite-refused", request: 1, reason }) as const),
  { kind: "peer-wants", nodeId: NODE_ID, endpoints: ENDPOINTS },
  { kind: "heartbeat" },
];
