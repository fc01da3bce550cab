/**
 * The control channel, both ends (protocol.md §2): who gets in, what a replayed or altered message
 * can do, and that bodies of every length come through whole.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, utf8 } from "../../lib/base/bytes.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import { Handshake } from "../../lib/noise/handshake.ts";
import {
  type ClientCredential,
  CONTROL_VERSION,
  ControlChannelError,
  ControlClient,
  type ControlFault,
  ControlServer,
  MAX_CONTROL_MESSAGE,
  type NamedCredential,
} from "../../lib/session/control_channel.ts";
import { RefusalError, type RefusalReason } from "../../lib/wire/refusal.ts";

const MESH = new Uint8Array(16).fill(7);
const OTHER_MESH = new Uint8Array(16).fill(8);
const PSK = new Uint8Array(32).fill(9);
const TOKEN_ID = new Uint8Array(8).fill(5);
const COORDINATOR = generateKeyPair();
const NODE = generateKeyPair();
const NOTHING = new Uint8Array(0);
const UNIX_MS = 1_900_000_000_123;

const MEMBER: ClientCredential = { kind: "member", psk: PSK };
const TOKEN: ClientCredential = { kind: "token", tokenId: TOKEN_ID, joinPsk: PSK };

function clientWith(change: { credential?: ClientCredential; meshId?: Uint8Array } = {}) {
  return new ControlClient({
    coordinatorKey: COORDINATOR.publicKey,
    meshId: MESH,
    staticKey: NODE,
    credential: MEMBER,
    ...change,
  });
}

function serverWith(
  change: {
    lookup?: (credential: NamedCredential, key: Uint8Array) => Uint8Array;
    maxBodyLength?: number;
    staticKey?: typeof COORDINATOR;
  } = {},
) {
  return new ControlServer({
    staticKey: COORDINATOR,
    meshId: MESH,
    lookup: () => PSK,
    unixNow: () => UNIX_MS,
    ...change,
  });
}

/** Both ends, open. */
function openPair(change: Parameters<typeof serverWith>[0] = {}) {
  const client = clientWith();
  const server = serverWith(change);
  const [answer] = server.receive(client.start()).toSend;
  client.receive(answer!);
  return { client, server };
}

function refusal(reason: RefusalReason) {
  return (error: unknown) => {
    ok(error instanceof RefusalError, String(error));
    strictEqual(error.reason, reason);
    return true;
  };
}

function fault(wanted: ControlFault) {
  return (error: unknown) => {
    ok(error instanceof ControlChannelError, String(error));
    strictEqual(error.fault, wanted);
    return true;
  };
}

Deno.test("ControlServer.receive() opens at the client's first transport message, not before", () => {
  for (const credential of [MEMBER, TOKEN]) {
    const seen: [NamedCredential, Uint8Array][] = [];
    const client = clientWith({ credential });
    const server = serverWith({ lookup: (...call) => (seen.push(call), PSK) });

    const answered = server.receive(client.start());
    strictEqual(answered.opened, false);
    strictEqual(server.isOpen, false, "message 1 may be a replay");
    throws(() => server.client, TypeError);
    throws(() => server.seal(new Uint8Array(1)), TypeError);

    const { opened } = client.receive(answered.toSend[0]!);
    strictEqual(opened, true);
    strictEqual(client.coordinatorUnixSeconds, Math.floor(UNIX_MS / 1000));

    const hello = Uint8Array.of(1, 2, 3);
    const [message] = client.seal(hello);
    const received = server.receive(message!);
    strictEqual(received.opened, true);
    deepStrictEqual(received.bodies, [hello]);
    deepStrictEqual(server.client.staticKey, NODE.publicKey);
    strictEqual(server.client.credential.kind, credential.kind);
    strictEqual(server.receive(client.seal(hello)[0]!).opened, false, "it opens once");

    const named = credential.kind === "token" ? { kind: "token", tokenId: TOKEN_ID } : {
      kind: "member",
    };
    deepStrictEqual(seen, [[named, NODE.publicKey]]);
  }
});

Deno.test("a replayed message 1 is answered, but nothing more can follow (T37)", () => {
  const client = clientWith();
  const message1 = client.start();
  const server = serverWith();
  client.receive(server.receive(message1).toSend[0]!);
  const hello = client.seal(Uint8Array.of(1))[0]!;
  strictEqual(server.receive(hello).opened, true);

  const replayed = serverWith();
  replayed.receive(message1);
  throws(() => replayed.receive(hello), refusal("bad-handshake"));
  strictEqual(replayed.isOpen, false);
  throws(() => replayed.client, TypeError);
});

Deno.test("ControlClient.receive() refuses a coordinator that lacks the PSK or the static key", () => {
  const client = clientWith();
  const wrongPsk = serverWith({ lookup: () => new Uint8Array(32) });
  throws(
    () => client.receive(wrongPsk.receive(client.start()).toSend[0]!),
    fault("wrong-coordinator"),
  );
  const restored = serverWith({ staticKey: generateKeyPair() });
  throws(() => restored.receive(clientWith().start()), refusal("bad-handshake"));
});

Deno.test("ControlServer.receive() refuses another mesh, a damaged message 1 and unknown credentials", () => {
  throws(
    () => serverWith().receive(clientWith({ meshId: OTHER_MESH }).start()),
    refusal("bad-handshake"),
  );
  throws(() => serverWith().receive(new Uint8Array(0)), refusal("bad-handshake"));
  const tooLong: ClientCredential = {
    kind: "token",
    tokenId: new Uint8Array(9),
    joinPsk: PSK,
  };
  throws(
    () => serverWith().receive(clientWith({ credential: tooLong }).start()),
    refusal("unsupported-version"),
  );
  const lookup = () => {
    throw new RefusalError("token-rotated");
  };
  throws(
    () => serverWith({ lookup }).receive(clientWith({ credential: TOKEN }).start()),
    refusal("token-rotated"),
    "what the registry says reaches the client",
  );
});

Deno.test("any one changed bit of any message is refused on either side", () => {
  fc.assert(
    fc.property(fc.nat(3), fc.nat(), fc.nat(7), (which, at, bit) => {
      const flip = (message: Uint8Array): Uint8Array => {
        const changed = message.slice();
        changed[at % changed.length]! ^= 1 << bit;
        return changed;
      };
      const client = clientWith();
      const server = serverWith();
      const message1 = client.start();
      if (which === 0) return throws(() => server.receive(flip(message1)), RefusalError);
      const message2 = server.receive(message1).toSend[0]!;
      if (which === 1) {
        return throws(() => client.receive(flip(message2)), fault("wrong-coordinator"));
      }
      client.receive(message2);
      const up = client.seal(Uint8Array.of(1, 2, 3))[0]!;
      if (which === 2) return throws(() => server.receive(flip(up)), refusal("bad-handshake"));
      server.receive(up);
      const down = server.seal(Uint8Array.of(4))[0]!;
      return throws(() => client.receive(flip(down)), fault("bad-message"));
    }),
    { numRuns: 60 },
  );
});

Deno.test("bodies of every length come through whole and in order, in messages of at most 65535", () => {
  const { client, server } = openPair({ maxBodyLength: 200_000 });
  const lengths = [0, 1, 65_514, 65_515, 65_516, 65_519, 131_034, 200_000];
  for (const length of lengths) {
    const body = new Uint8Array(length).fill(length & 0xff);
    const messages = client.seal(body);
    ok(messages.every((message) => message.length <= MAX_CONTROL_MESSAGE));
    const bodies = messages.flatMap((message) => server.receive(message).bodies);
    deepStrictEqual(bodies, [body]);
    deepStrictEqual(
      server.seal(body).flatMap((message) => client.receive(message).bodies),
      [body],
    );
  }
});

Deno.test("bodies sealed together share messages and come apart again", () => {
  const { client, server } = openPair();
  const bodies = [Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3)];
  const messages = client.seal(...bodies);
  strictEqual(messages.length, 1);
  deepStrictEqual(server.receive(messages[0]!).bodies, bodies);
});

Deno.test("a message replayed, left out or too long ends the channel", () => {
  const steps: [why: string, run: (a: ControlClient, b: ControlServer) => void][] = [
    ["replayed", (client, server) => {
      const message = client.seal(Uint8Array.of(1))[0]!;
      server.receive(message);
      server.receive(message);
    }],
    ["left out", (client, server) => {
      client.seal(Uint8Array.of(1));
      server.receive(client.seal(Uint8Array.of(2))[0]!);
    }],
    ["body over the limit", (client, server) => {
      for (const message of client.seal(new Uint8Array(300_000))) server.receive(message);
    }],
    ["message over the limit", (_, server) => {
      server.receive(new Uint8Array(MAX_CONTROL_MESSAGE + 1));
    }],
  ];
  for (const [why, run] of steps) {
    const { client, server } = openPair();
    server.receive(client.seal(Uint8Array.of(0))[0]!);
    throws(() => run(client, server), refusal("bad-message"), why);
  }
});

Deno.test("ControlClient.receive() names an unknown control version", () => {
  for (const payload of [Uint8Array.of(CONTROL_VERSION + 1, 0, 0, 0, 0, 0, 0, 0, 0), NOTHING]) {
    const client = clientWith();
    const later = new Handshake({
      protocolName: "Noise_IKpsk2_25519_ChaChaPoly_SHA256",
      role: "responder",
      prologue: concatBytes(utf8("tunnelmesh-control/1"), MESH),
      staticKey: COORDINATOR,
      presharedKeys: [PSK],
    });
    deepStrictEqual(later.readMessage(client.start()), Uint8Array.of(2), "says it is a member");
    throws(() => client.receive(later.writeMessage(payload)), fault("unsupported-version"));
    strictEqual(client.isOpen, false);
  }
});

Deno.test("arbitrary bytes make the server throw nothing but a refusal", () => {
  // Anybody who can reach the port can send these.
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 4 }), (messages) => {
      const server = serverWith();
      for (const message of messages) {
        try {
          server.receive(message);
        } catch (error) {
          ok(error instanceof RefusalError, String(error));
          return;
        }
      }
    }),
    { numRuns: 100 },
  );
});
