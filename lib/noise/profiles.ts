/**
 * What the mesh uses the engine for: one row per profile of docs/protocol.md §2.
 *
 * @module
 */

import { concatBytes, utf8 } from "../base/bytes.ts";
import { parseProtocolName, type Protocol } from "./protocol_name.ts";

/** Version byte of the prologue: that of the datagrams, in a layer this one does not see. */
const VERSION = 1;

/** Bytes of the initiation that every prologue with a header ends in. */
const HEADER_LENGTH = 8;
const MESH_ID_LENGTH = 16;

/** One way in which two nodes may start a session. */
export interface Profile {
  /** Third byte of the handshake datagrams. */
  readonly id: number;
  /** Pattern, modifiers and primitives. */
  readonly protocol: Protocol;
  /** Payload length of message 1 in bytes. */
  readonly firstPayloadLength: number;
  /** Payload length of message 2 in bytes. */
  readonly secondPayloadLength: number;
  /** How transport counters are accepted. */
  readonly replay: "window" | "increasing";
  /**
   * Builds the prologue.
   *
   * @param meshId 16 bytes.
   * @param header First 8 bytes of the initiation.
   * @throws {RangeError} If one of them has another length.
   */
  readonly prologue: (meshId: Uint8Array, header: Uint8Array) => Uint8Array;
}

/** Name of a profile. */
export type ProfileName = "mesh" | "allowed-peers" | "pair" | "pair-interop";

const TIMESTAMP_LENGTH = 12;
const EPOCH_LENGTH = 4;
const INDEX_LENGTH = 4;
const XX = parseProtocolName("Noise_XX_25519_ChaChaPoly_SHA256");

/** Every profile. There is no negotiation and no fallback between them. */
export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  mesh: {
    id: 1,
    protocol: parseProtocolName("Noise_IKpsk2_25519_ChaChaPoly_SHA256"),
    firstPayloadLength: TIMESTAMP_LENGTH + EPOCH_LENGTH,
    secondPayloadLength: INDEX_LENGTH,
    replay: "window",
    prologue: (meshId, header) => meshPrologue(1, meshId, header),
  },
  "allowed-peers": {
    id: 2,
    protocol: parseProtocolName("Noise_IK_25519_ChaChaPoly_SHA256"),
    firstPayloadLength: TIMESTAMP_LENGTH,
    secondPayloadLength: INDEX_LENGTH,
    replay: "window",
    prologue: (meshId, header) => meshPrologue(2, meshId, header),
  },
  pair: {
    id: 3,
    protocol: XX,
    firstPayloadLength: 0,
    secondPayloadLength: INDEX_LENGTH,
    replay: "increasing",
    prologue: (_meshId, header) => pairPrologue(PAIR_PARTITION, header),
  },
  "pair-interop": {
    id: 4,
    protocol: XX,
    firstPayloadLength: 0,
    secondPayloadLength: 0,
    replay: "increasing",
    prologue: () => new Uint8Array(0),
  },
};

/** The native partition of pairing, unless both sides choose another. */
export const PAIR_PARTITION = "tunnelmesh-pair/1";

/** What may name a partition: printable, so that no name runs into the header behind it. */
const PARTITION = /^[\x21-\x7e]{1,64}$/;

/**
 * The prologue of a native partition of pairing: nodes of two partitions never complete a handshake.
 *
 * @param partition 1 to 64 printable ASCII characters without blanks.
 * @param header First 8 bytes of the initiation.
 * @throws {RangeError} If one of them is anything else.
 */
export function pairPrologue(partition: string, header: Uint8Array): Uint8Array {
  if (!PARTITION.test(partition)) {
    throw new RangeError(
      "Cannot build a prologue: a partition is 1 to 64 printable ASCII characters without blanks",
    );
  }
  check("header", header, HEADER_LENGTH);
  return concatBytes(utf8(partition), header);
}

/** The protocol of the control channel between a node and its coordinator. */
export const CONTROL_PROTOCOL = "Noise_IKpsk2_25519_ChaChaPoly_SHA256";

/**
 * The prologue of the control channel.
 *
 * @param meshId 16 bytes.
 * @throws {RangeError} If it has another length.
 */
export function controlPrologue(meshId: Uint8Array): Uint8Array {
  check("mesh id", meshId, MESH_ID_LENGTH);
  return concatBytes(utf8("tunnelmesh-control/1"), meshId);
}

function meshPrologue(id: number, meshId: Uint8Array, header: Uint8Array): Uint8Array {
  check("mesh id", meshId, MESH_ID_LENGTH);
  check("header", header, HEADER_LENGTH);
  return concatBytes(utf8("tunnelmesh"), Uint8Array.of(VERSION, id), meshId, header);
}

function check(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length === length) return;
  throw new RangeError(`Cannot build a prologue: the ${name} has ${length} bytes`);
}
