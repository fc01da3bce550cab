import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import { parseAllowedPeers } from "../../lib/config/allowed_peers.ts";
import { pairedConfig, type PairedConfigOptions } from "../../lib/config/paired_peer.ts";
import { formatEndpoint } from "../../lib/net/endpoint.ts";
import { formatIpPrefix } from "../../lib/net/ip_prefix.ts";

const [LEFT, RIGHT] = [generateKeyPair().publicKey, generateKeyPair().publicKey];

function options(side: PairedConfigOptions["side"]): PairedConfigOptions {
  const isListener = side.kind === "listener";
  return {
    ownName: isListener ? "left" : "right",
    peerName: isListener ? "right" : "left",
    peerPublicKey: isListener ? RIGHT : LEFT,
    privateKeyFile: "static.key",
    meshId: new Uint8Array(16).fill(0xab),
    range: "10.9.0.0/24",
    side,
  };
}

Deno.test("pairedConfig() writes two files that fit together", () => {
  const left = parseAllowedPeers(pairedConfig(options({ kind: "listener", port: 4000 })), "left");
  const dialler = options({ kind: "dialler", endpoint: "192.0.2.1:4000" });
  const right = parseAllowedPeers(pairedConfig(dialler), "right");
  deepStrictEqual(left.meshId, right.meshId);
  strictEqual(left.listen.port, 4000);
  deepStrictEqual([left.name, right.name], ["left", "right"]);
  for (const [own, other] of [[left, right], [right, left]] as const) {
    strictEqual(own.peers.length, 1);
    const [peer] = own.peers;
    strictEqual(peer!.name, other.name);
    const allowed = peer!.allowedIps.map(formatIpPrefix);
    deepStrictEqual(
      allowed,
      other.addresses.map(({ address }) => formatIpPrefix({ address, length: address.length * 8 })),
    );
  }
  strictEqual(formatEndpoint(right.peers[0]!.endpoint!), "192.0.2.1:4000");
  strictEqual(left.peers[0]!.endpoint, undefined);
});

Deno.test("pairedConfig() refuses what may not stand in such a file", () => {
  const listener = options({ kind: "listener", port: 4000 });
  throws(() => pairedConfig({ ...listener, range: "10.9.0.0/30" }), SyntaxError);
  throws(() => pairedConfig({ ...listener, peerName: 'x"\nallowedPeers: []' }));
  const dialler = options({ kind: "dialler", endpoint: '1.2.3.4:5"\nmtu: 9' });
  throws(() => pairedConfig(dialler));
});
