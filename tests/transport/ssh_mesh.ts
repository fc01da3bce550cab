/**
 * Nodes that reach each other by SSH on one machine, with a roster that tests may falsify.
 *
 * @module
 */

import { equalBytes } from "../../lib/base/bytes.ts";
import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { createSshKey, type SshKey } from "../../lib/crypto/ssh_key.ts";
import { SshTransport, type SshTransportOptions } from "../../lib/transport/ssh.ts";

/** A private key file's text and what others know of it. */
export interface TestKey {
  readonly privateText: string;
  /** Binary public key. */
  readonly publicKey: Uint8Array;
  readonly key: SshKey;
}

/** Makes a key. */
export function testKey(): TestKey {
  const { key, privateText } = createSshKey("test");
  return { key, privateText, publicKey: key.publicKey };
}

/** One node, as the roster has it. */
export interface TestNode {
  readonly nodeId: string;
  readonly hostKey: TestKey;
  readonly clientKey: TestKey;
}

/** Makes a node. @param digit Its node id is that digit 64 times. */
export function testNode(digit: string): TestNode {
  return { nodeId: digit.repeat(64), hostKey: testKey(), clientKey: testKey() };
}

/** The roster that all nodes see. */
export class TestRoster {
  readonly nodes: TestNode[];

  constructor(...nodes: TestNode[]) {
    this.nodes = nodes;
  }

  readonly clientKeyOwner = (key: Uint8Array): string | undefined =>
    this.nodes.find(({ clientKey }) => equalBytes(clientKey.publicKey, key))?.nodeId;

  readonly hostKeysOf = (nodeId: string): Uint8Array[] =>
    this.nodes.filter((node) => node.nodeId === nodeId).map(({ hostKey }) => hostKey.publicKey);
}

/** Opens the transport of a node, with a server on loopback unless told otherwise. */
export function openTransport(
  node: TestNode,
  roster: TestRoster,
  options: Partial<SshTransportOptions> = {},
): Promise<SshTransport> {
  return SshTransport.open({
    clock: SYSTEM_CLOCK,
    hostKey: node.hostKey.privateText,
    clientKey: node.clientKey.privateText,
    clientKeyOwner: roster.clientKeyOwner,
    hostKeysOf: roster.hostKeysOf,
    listen: { port: 0, host: "127.0.0.1" },
    ...options,
  });
}

/** Address of a transport's server. */
export function addressOf(transport: { readonly port: number | undefined }) {
  return { user: "tunnelmesh", host: "127.0.0.1", port: transport.port! };
}

/** Waits for what sockets bring about. @throws {Error} after 30 s. */
export async function until(holds: () => boolean, what = "it"): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`Waited too long for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
