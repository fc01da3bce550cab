/**
 * What tests of handshakes do again and again.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { mac1Key, writeMac1 } from "../../lib/session/mac.ts";
import { type Node, type NodeOptions, World } from "./world.ts";

/** Type of message 1. */
export const INITIATION = 1;
/** Type of message 2. */
export const RESPONSE = 2;

/** Sends a packet from a to b and says whether both ends have a session afterwards. */
export function meet(world: World, a: Node, b: Node, ms = 100): boolean {
  a.send(b, 1);
  world.run(ms);
  const ends = [a.peer(b)?.current, b.peer(a)?.current];
  strictEqual(ends[0] === undefined, ends[1] === undefined, "one end alone has a session");
  deepStrictEqual(b.delivered, ends[0] === undefined ? [] : [1]);
  return ends[0] !== undefined;
}

/** Two nodes with a session, used in both directions. */
export function session(options: NodeOptions = {}): [world: World, a: Node, b: Node] {
  const world = new World();
  const [a, b] = world.pair(options, options);
  a.send(b, 1);
  world.run(50);
  b.send(a, 2);
  world.run(50);
  deepStrictEqual([a.delivered, b.delivered], [[2], [1]]);
  return [world, a, b];
}

/** Gives an altered handshake datagram the mac1 it needs, which anybody can. */
export function withMac1(datagram: Uint8Array, receiver: Node): Uint8Array {
  writeMac1(NATIVE_BACKEND, mac1Key(NATIVE_BACKEND, receiver.key.publicKey), datagram);
  return datagram;
}
