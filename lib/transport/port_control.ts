/**
 * Asks of a gateway to forward a UDP port: messages of PCP (RFC 6887) and NAT-PMP (RFC 6886), which
 * share UDP port 5351. Pure.
 *
 * ```text
 * PCP MAP     0 version=2 1 │ 1 response bit, opcode=1 1 │ 2 (zero) 1 │ 3 result 1 │ 4 lifetime s 4
 *             request:  8 client address 16        response: 8 epoch 4 │ 12 (zero) 12
 *             24 nonce 12 │ 36 protocol 1 │ 37 (zero) 3 │ 40 internal port 2 │ 42 external port 2
 *             44 external address 16                                                        = 60
 * NAT-PMP     request:  0 version=0 1 │ 1 opcode 1                              (0: address)  =  2
 *             request:  … │ 2 (zero) 2 │ 4 internal 2 │ 6 external 2 │ 8 lifetime s 4 (1: UDP) = 12
 *             response: 0 version=0 1 │ 1 opcode + 128 1 │ 2 result 2 │ 4 epoch 4
 *                       0: 8 address 4 = 12        1: 8 internal 2 │ 10 external 2 │ 12 lifetime 4
 * ```
 *
 * All numbers big-endian; addresses of PCP are 16 bytes, IPv4 as ::ffff:a.b.c.d.
 *
 * @module
 */

import { equalBytes } from "../base/bytes.ts";
import { readU16Be, readU32Be, writeU16Be, writeU32Be } from "../base/integers.ts";
import type { Endpoint, IpAddress } from "../net/endpoint.ts";
import { normalizeIpAddress } from "../net/ip_address.ts";

/** Where gateways listen for both protocols. */
export const PORT_CONTROL_PORT = 5351;
/** Length of the nonce that ties a PCP mapping to its owner. */
export const PCP_NONCE_LENGTH = 12;

const PCP = { version: 2, map: 1, length: 60 } as const;
const NAT_PMP = { version: 0, address: 0, mapUdp: 1 } as const;
const RESPONSE = 0x80;
const UDP = 17;
const IPV4_MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/** What a gateway grants. */
export interface Grant {
  /** For how long, in seconds; 0 after a removal. */
  readonly lifetimeSeconds: number;
  /** The port outside. */
  readonly externalPort: number;
}

/** An answer: what was asked for, or the protocol's number for why not (never 0). */
export type Answer<T> = { readonly value: T } | { readonly refusal: number };

/** What a PCP mapping is asked for with. */
export interface PcpRequest {
  /** 12 random bytes, the same for renewals and the removal. */
  readonly nonce: Uint8Array;
  /** Own address, as the gateway sees it. */
  readonly client: IpAddress;
  /** Own port. */
  readonly internalPort: number;
  /** What is asked for if it can be had; address and port zero: anything. */
  readonly suggested: Endpoint | undefined;
  /** In seconds; 0 removes. */
  readonly lifetimeSeconds: number;
}

/** Makes a PCP MAP request. */
export function encodePcpMap(request: PcpRequest): Uint8Array {
  const bytes = new Uint8Array(PCP.length);
  bytes[0] = PCP.version;
  bytes[1] = PCP.map;
  writeU32Be(bytes, 4, request.lifetimeSeconds);
  bytes.set(toMapped(request.client), 8);
  bytes.set(request.nonce, 24);
  bytes[36] = UDP;
  writeU16Be(bytes, 40, request.internalPort);
  writeU16Be(bytes, 42, request.suggested?.port ?? 0);
  const anything = new Uint8Array(request.client.length);
  bytes.set(toMapped(request.suggested?.address ?? anything), 44);
  return bytes;
}

/**
 * Reads the response to a PCP MAP request.
 *
 * @param datagram Any datagram.
 * @param request What it must answer.
 * @returns `undefined` for anything else. A gateway that knows only NAT-PMP refuses too (1).
 */
export function decodePcpMap(
  datagram: Uint8Array,
  request: PcpRequest,
): Answer<Grant & { readonly external: Endpoint }> | undefined {
  // Refusals of a version are short, and may be of another version than the request.
  if (datagram.length >= 8 && datagram[0] === NAT_PMP.version && datagram[1]! >= RESPONSE) {
    return { refusal: 1 };
  }
  if (
    datagram.length < PCP.length || datagram.length > 1100 || datagram.length % 4 !== 0 ||
    datagram[0] !== PCP.version || datagram[1] !== (RESPONSE | PCP.map) ||
    !equalBytes(datagram.subarray(24, 36), request.nonce) || datagram[36] !== UDP ||
    readU16Be(datagram, 40) !== request.internalPort
  ) return undefined;
  if (datagram[3] !== 0) return { refusal: datagram[3]! };
  const externalPort = readU16Be(datagram, 42);
  const address = normalizeIpAddress(datagram.slice(44, 60));
  return {
    value: {
      lifetimeSeconds: readU32Be(datagram, 4),
      externalPort,
      external: { address, port: externalPort },
    },
  };
}

/** Makes a NAT-PMP request for the gateway's public address. */
export function encodeNatPmpAddress(): Uint8Array {
  return Uint8Array.of(NAT_PMP.version, NAT_PMP.address);
}

/** Reads the response to {@linkcode encodeNatPmpAddress}; `undefined` for anything else. */
export function decodeNatPmpAddress(datagram: Uint8Array): Answer<IpAddress> | undefined {
  const refusal = natPmpResult(datagram, NAT_PMP.address);
  if (refusal === undefined) return undefined;
  if (refusal !== 0) return { refusal };
  return datagram.length === 12 ? { value: datagram.slice(8) } : undefined;
}

/**
 * Makes a NAT-PMP request for a UDP mapping.
 *
 * @param internalPort Own port.
 * @param externalPort What is asked for if it can be had; 0 to remove.
 * @param lifetimeSeconds 0 removes.
 */
export function encodeNatPmpMap(
  internalPort: number,
  externalPort: number,
  lifetimeSeconds: number,
): Uint8Array {
  const bytes = new Uint8Array(12);
  bytes[0] = NAT_PMP.version;
  bytes[1] = NAT_PMP.mapUdp;
  writeU16Be(bytes, 4, internalPort);
  writeU16Be(bytes, 6, externalPort);
  writeU32Be(bytes, 8, lifetimeSeconds);
  return bytes;
}

/** Reads the response to {@linkcode encodeNatPmpMap}; `undefined` for anything else. */
export function decodeNatPmpMap(
  datagram: Uint8Array,
  internalPort: number,
): Answer<Grant> | undefined {
  const refusal = natPmpResult(datagram, NAT_PMP.mapUdp);
  if (refusal === undefined) return undefined;
  if (refusal !== 0) return { refusal };
  if (datagram.length !== 16 || readU16Be(datagram, 8) !== internalPort) return undefined;
  return {
    value: { externalPort: readU16Be(datagram, 10), lifetimeSeconds: readU32Be(datagram, 12) },
  };
}

/** The result of a NAT-PMP response to an opcode; `undefined` if it is none. */
function natPmpResult(datagram: Uint8Array, opcode: number): number | undefined {
  const isResponse = datagram.length >= 8 && datagram[0] === NAT_PMP.version &&
    datagram[1] === (RESPONSE | opcode);
  return isResponse ? readU16Be(datagram, 2) : undefined;
}

function toMapped(address: IpAddress): Uint8Array {
  if (address.length === 16) return address;
  const mapped = new Uint8Array(16);
  mapped.set(IPV4_MAPPED);
  mapped.set(address, 12);
  return mapped;
}
