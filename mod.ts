/**
 * tunnelmesh as a library: its Noise engine (https://noiseprotocol.org, revision 34).
 *
 * @module
 */

export { Handshake, type HandshakeOptions, type TransportCipher } from "./lib/noise/handshake.ts";
export { HandshakeError, type HandshakeFault } from "./lib/noise/errors.ts";
export type { HandshakeKeys, PresharedKeys, Role } from "./lib/noise/handshake_state.ts";
export type { KeyPair } from "./lib/crypto/x25519.ts";
