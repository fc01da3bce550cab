/**
 * Datagrams, from anybody who can reach the port.
 *
 * @module
 */

import { deepStrictEqual, ok } from "node:assert/strict";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { mac1Key, writeMac1 } from "../../lib/session/mac.ts";
import { readIpPacket } from "../../lib/net/ip_packet.ts";
import { buildEcho, buildPacketTooBig, buildUnreachable, parseEcho } from "../../lib/net/icmp.ts";
import { finishPartialChecksum } from "../../lib/net/checksum.ts";
import {
  DATAGRAM_LENGTH,
  DATAGRAM_TYPE,
  datagramFault,
  decodeHandshake,
  encodeCookie,
  encodeInitiation,
  encodeResponse,
  encodeThird,
  isData,
  PROFILE_ID,
  type ProfileName,
  PROTOCOL_VERSION,
  writeDataHeader,
} from "../../lib/wire/datagram.ts";
import {
  decodeDiscovery,
  DISCOVERY_KEY_ID_LENGTH,
  encodeDiscovery,
  SEALED_DISCOVERY_LENGTH,
} from "../../lib/wire/discovery_datagram.ts";
import {
  decodeControl,
  encodeBye,
  encodeEcho,
  encodeEchoReply,
  encodePathReport,
  plaintextKind,
} from "../../lib/wire/inner_control.ts";
import { decodeLengthPrefixed, encodeLengthPrefixed } from "../../lib/wire/length_prefix.ts";
import { encodeStreamFrame, StreamFrameDecoder } from "../../lib/wire/stream_frame.ts";
import {
  decodeStunRequest,
  decodeStunResponse,
  encodeStunRequest,
  encodeStunResponse,
  isStunDatagram,
} from "../../lib/wire/stun.ts";
import { udpPacket } from "../fakes/packets.ts";
import { seededBytes } from "../fakes/random.ts";
import { ipv4, Scene } from "../session/admission_scene.ts";
import { type Depth, fuzz } from "./fuzz.ts";

const bytes = seededBytes(4);

/** One of each kind and profile. */
function everyDatagram(): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const profile of Object.keys(DATAGRAM_LENGTH) as ProfileName[]) {
    const { initiation, response, third, cookie } = DATAGRAM_LENGTH[profile];
    const macs = profile === "pair-interop" ? 0 : 32;
    const fields = { profile, senderIndex: 7 };
    found.push(encodeInitiation({ ...fields, noise: bytes(initiation - 8 - macs) }));
    const reply = { ...fields, receiverIndex: 9 };
    found.push(encodeResponse({ ...reply, noise: bytes(response - 12 - macs) }));
    if (third > 0) found.push(encodeThird({ ...reply, noise: bytes(third - 12 - macs) }));
    if (cookie > 0) {
      found.push(encodeCookie({ profile, receiverIndex: 9, nonce: bytes(24), sealed: bytes(32) }));
    }
  }
  const data = bytes(80);
  writeDataHeader(1, 2, data);
  found.push(data);
  for (const direction of ["ask", "answer"] as const) {
    found.push(encodeDiscovery({
      direction,
      keyId: bytes(DISCOVERY_KEY_ID_LENGTH),
      nonce: bytes(24),
      sealed: bytes(SEALED_DISCOVERY_LENGTH),
    }));
  }
  return found;
}

Deno.test("T27: fuzz: datagrams are decoded or have a fault, and nothing is thrown", () =>
  fuzz({
    name: "datagrams",
    samples: everyDatagram(),
    judge(datagram): Depth {
      const decoded = decodeHandshake(datagram) ?? decodeDiscovery(datagram);
      const isTaken = decoded !== undefined || isData(datagram);
      if (isTaken) return "taken";
      return datagramFault(datagram) === "unknown-type" || datagram.length < 4 ? "refused" : "past";
    },
  }));

for (const profile of ["mesh", "allowed-peers"] as const) {
  Deno.test(`T27: fuzz: a ${profile} node drops or answers, keeps no more than it may, and lives`, async () => {
    const scene = new Scene(profile);
    const { responder, client, clock } = scene;
    const key = mac1Key(NATIVE_BACKEND, responder.key.publicKey);
    const initiations = Array.from({ length: 8 }, () => client.initiate(responder));
    const mayEnd = new Set(["malformed", "unknown-type", "unknown-version", "unknown-profile"]);
    let inputs = 0;
    await fuzz({
      name: `datagrams to a ${profile} node`,
      samples: [...initiations, ...everyDatagram()],
      repair: (datagram) => asFor(profile, datagram, key),
      mayRefuseSamples: true,
      judge(datagram): Depth {
        // From many sources, at the rate that the budget allows now and then.
        if (++inputs % 64 === 0) clock.advance(20);
        responder.receive(datagram, ipv4(inputs & 0xffff));
        const [first] = responder.actions;
        if (first?.kind !== "drop") return "taken";
        return mayEnd.has(first.reason) || first.reason === "bad-mac1" ? "refused" : "past";
      },
    });
    const { keypairs } = responder.sessions.peer(client.nodeId)!;
    ok(keypairs.length <= 4, "never more than a peer may have");
  });
}

/** Version, profile, length and mac1 made right, so that what is left of it is judged. */
function asFor(profile: "mesh" | "allowed-peers", datagram: Uint8Array, key: Uint8Array) {
  const kind = datagram[0] === DATAGRAM_TYPE.response
    ? "response"
    : datagram[0] === DATAGRAM_TYPE.cookie
    ? "cookie"
    : "initiation";
  const whole = new Uint8Array(DATAGRAM_LENGTH[profile][kind]);
  whole.set(datagram.subarray(0, whole.length));
  whole.set([DATAGRAM_TYPE[kind], PROTOCOL_VERSION, PROFILE_ID[profile], 0]);
  if (kind !== "cookie") writeMac1(NATIVE_BACKEND, key, whole);
  return whole;
}

Deno.test("fuzz: what is inside transport data, from a member", () => {
  const source = Uint8Array.of(100, 64, 0, 1);
  const source6 = Uint8Array.of(0xfd, ...new Uint8Array(14), 1);
  const echo = { isReply: false, identifier: 1, sequence: 2, data: bytes(9) };
  const packets = [source, source6].flatMap((address) => {
    const ends = { source: address, destination: address };
    return [udpPacket({ ...ends, payload: bytes(20) }), buildEcho({ ...ends, ...echo })];
  });
  return fuzz({
    name: "inner packets and control",
    samples: [
      ...packets,
      encodeEcho(bytes(8), 40),
      encodeEchoReply(bytes(8), 1400),
      encodePathReport(bytes(1)),
      encodeBye(),
    ],
    judge(plaintext): Depth {
      const kind = plaintextKind(plaintext);
      if (kind === undefined) return "refused";
      if (kind === "control") return decodeControl(plaintext) === undefined ? "past" : "taken";
      if (kind === "keepalive") return "taken";
      if (kind === "partial-packet") {
        plaintext[0]! &= 0x7f;
        finishPartialChecksum(plaintext);
      }
      parseEcho(plaintext);
      const own = plaintext[0]! >> 4 === 4 ? source : source6;
      buildPacketTooBig(plaintext, 1280, own);
      buildUnreachable(plaintext, own);
      return readIpPacket(plaintext) === undefined ? "past" : "taken";
    },
  });
});

Deno.test("fuzz: STUN, from anybody who can reach the port", () => {
  const seen = [
    { address: Uint8Array.of(192, 0, 2, 1), port: 5000 },
    { address: bytes(16), port: 1 },
  ];
  return fuzz({
    name: "STUN",
    samples: [
      encodeStunRequest(bytes(12)),
      ...seen.map((from) => encodeStunResponse(bytes(12), from)),
    ],
    judge(datagram): Depth {
      const isRight = decodeStunRequest(datagram) !== undefined ||
        decodeStunResponse(datagram) !== undefined;
      if (isRight) return "taken";
      return isStunDatagram(datagram) ? "past" : "refused";
    },
  });
});

Deno.test("fuzz: streams of datagrams and of bodies, from a peer or a coordinator", () => {
  const datagrams = [bytes(32), bytes(96), bytes(1)];
  const frames = [bytes(3), bytes(200)].map(encodeStreamFrame);
  return fuzz({
    name: "streams",
    samples: [encodeLengthPrefixed(...datagrams), ...frames],
    judge(stream): Depth {
      const decoder = new StreamFrameDecoder(1000);
      const whole = decoder.push(stream.slice());
      const parts = new StreamFrameDecoder(1000);
      const bodies: Uint8Array[] = [];
      let isBroken = false;
      for (let at = 0; at < stream.length && !isBroken; at += 7) {
        const more = parts.push(stream.slice(at, at + 7));
        if (more === undefined) isBroken = true;
        else bodies.push(...more);
      }
      if (!isBroken && whole !== undefined) deepStrictEqual(bodies, whole, "however it is cut");
      if (decodeLengthPrefixed(stream) !== undefined) return "taken";
      return whole === undefined ? "refused" : whole.length > 0 ? "taken" : "past";
    },
  });
});

Deno.test("fuzz: datagram types that the decoders know are all there", () => {
  deepStrictEqual(
    new Set(everyDatagram().map(([type]) => type)),
    new Set(Object.values(DATAGRAM_TYPE)),
  );
});
