/**
 * What the gateway of a network says, or somebody in its place: UPnP, PCP and NAT-PMP.
 *
 * @module
 */

import { ok } from "node:assert/strict";
import { writeU16Be, writeU32Be } from "../../lib/base/integers.ts";
import {
  decodeNatPmpAddress,
  decodeNatPmpMap,
  decodePcpMap,
  encodePcpMap,
  type PcpRequest,
} from "../../lib/transport/port_control.ts";
import { leavesOf, locationOf, servicesOf } from "../../lib/transport/upnp.ts";
import { seededBytes } from "../fakes/random.ts";
import { bytesOf, type Depth, fuzz, textOf } from "./fuzz.ts";

const DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";
const SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1";
const SEARCH_ANSWER = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n" +
  `ST: ${DEVICE}\r\nLOCATION: http://192.0.2.1:5000/root.xml\r\nEXT:\r\n\r\n`;
const DESCRIPTION = `<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceType>${DEVICE}</deviceType>
<deviceList><device><serviceList><service><serviceType>${SERVICE}</serviceType>
<controlURL>/ctl</controlURL></service></serviceList></device></deviceList></device></root>`;
const ANSWER = `<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
<u:GetExternalIPAddressResponse xmlns:u="${SERVICE}"><NewExternalIPAddress>203.0.113.9
</NewExternalIPAddress></u:GetExternalIPAddressResponse></s:Body></s:Envelope>`;
const XML_PIECES = bytesOf(
  ...["<a>", "</a>", "<a/>", "<![CDATA[", "]]>", "<!--", "-->", "&lt;", "&#0;", "<__proto__>"],
  ...['<!DOCTYPE a [<!ENTITY b "c">]>', '<!ENTITY x SYSTEM "file:///etc/passwd">', "<?", "<s:s:s>"],
  ...["<constructor>x</constructor>", "<toString>x</toString>", ' x="y"', "<".repeat(40)],
);

Deno.test("fuzz: answers to a UPnP search lead to a URL or to nothing", () =>
  fuzz({
    name: "UPnP search answers",
    samples: bytesOf(SEARCH_ANSWER, SEARCH_ANSWER.replace("1.1", "1.0")),
    pieces: bytesOf("\r\n", ":", "LOCATION:", "http://", "[::1]", "%", "\0", "ST:", DEVICE),
    judge(input): Depth {
      const text = textOf(input);
      if (locationOf(text) !== undefined) return "taken";
      return /^HTTP\/1\.[01] 200\b/.test(text) ? "past" : "refused";
    },
  }));

Deno.test("fuzz: what a gateway answers in XML is read, or an Error", () =>
  fuzz({
    name: "UPnP XML",
    samples: bytesOf(DESCRIPTION, ANSWER),
    pieces: XML_PIECES,
    async judge(input): Promise<Depth> {
      const text = textOf(input);
      let depth: Depth = "past";
      try {
        const services = await servicesOf(text);
        const leaves = await leavesOf(text);
        ok([...services.values()].every((value) => typeof value === "string"));
        ok(Object.values(leaves).every((value) => typeof value === "string"));
        if (services.has(SERVICE) || leaves["NewExternalIPAddress"] !== undefined) depth = "taken";
      } catch (error) {
        if (!(error instanceof Error) || error.name === "AssertionError") throw error;
        depth = "refused";
      }
      ok(Object.keys(Object.prototype).length === 0, "no prototype is changed");
      return depth;
    },
  }));

Deno.test("a description nested without end is an Error at most", async () => {
  for (const depth of [1_000, 60_000]) {
    const text = "<a>".repeat(depth) + "</a>".repeat(depth);
    for (const read of [servicesOf, leavesOf]) await read(text).catch((error) => ok(error));
  }
});

Deno.test("fuzz: answers of PCP and NAT-PMP are read or nothing", () => {
  const bytes = seededBytes(3);
  const request: PcpRequest = {
    nonce: bytes(12),
    client: Uint8Array.of(192, 0, 2, 2),
    internalPort: 51_820,
    suggested: { address: Uint8Array.of(203, 0, 113, 9), port: 40_000 },
    lifetimeSeconds: 7_200,
  };
  // An answer repeats the request, with the bit of an answer and success.
  const pcp = encodePcpMap(request);
  pcp[1]! |= 0x80;
  pcp[3] = 0;
  const address = Uint8Array.of(0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 9);
  const map = new Uint8Array(16);
  map.set([0, 129, 0, 0, 0, 0, 0, 9]);
  writeU16Be(map, 8, request.internalPort);
  writeU16Be(map, 10, 40_000);
  writeU32Be(map, 12, 7_200);
  return fuzz({
    name: "PCP and NAT-PMP",
    samples: [pcp, address, map],
    judge(datagram): Depth {
      const answers = [
        decodePcpMap(datagram, request),
        decodeNatPmpAddress(datagram),
        decodeNatPmpMap(datagram, request.internalPort),
      ];
      if (answers.some((answer) => answer !== undefined)) return "taken";
      return datagram.length === pcp.length || datagram.length === 12 || datagram.length === 16
        ? "past"
        : "refused";
    },
  });
});
