/**
 * The codec without a kernel. Its input comes from the kernel, so damage means a bug there or a
 * misread layout here: it must end in nothing read, not in an exception from a view.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  ATTRIBUTE,
  Attributes,
  NESTED,
  nestedAttribute,
  NetlinkRequest,
  readMessages,
  RTM,
  u32,
} from "../../ffi/netlink_message.ts";
import { readAddress, readLink, readRoute } from "../../ffi/netlink_tables.ts";

Deno.test("NetlinkRequest lays out header, body and padded attributes", () => {
  const bytes = new NetlinkRequest(RTM.NEWADDR, 0x604, Uint8Array.of(2, 24, 0, 0, 3, 0, 0, 0))
    .attribute(ATTRIBUTE.IFA_LOCAL, Uint8Array.of(192, 0, 2))
    .attributeU32(ATTRIBUTE.IFA_FLAGS, 0x80)
    .finish(7);
  // deno-fmt-ignore
  deepStrictEqual([...bytes], [
    40, 0, 0, 0,  20, 0,  5, 6,  7, 0, 0, 0,  0, 0, 0, 0,
    2, 24, 0, 0,  3, 0, 0, 0,
    7, 0,  2, 0,  192, 0, 2, 0,
    8, 0,  8, 0,  0x80, 0, 0, 0,
  ]);
});

Deno.test("readMessages() splits an answer and Attributes reads what is in it", () => {
  const kind = nestedAttribute(ATTRIBUTE.IFLA_INFO_KIND, new TextEncoder().encode("tun\0"));
  const link = new NetlinkRequest(RTM.NEWLINK, 2, new Uint8Array(16))
    .attribute(ATTRIBUTE.IFLA_IFNAME, new TextEncoder().encode("tm0\0"))
    .attributeU32(ATTRIBUTE.IFLA_MTU, 1408)
    .attribute(ATTRIBUTE.IFLA_LINKINFO | NESTED, kind)
    .finish(1);
  const answer = new Uint8Array([...link, ...new NetlinkRequest(3, 0, u32(0)).finish(1)]);
  const messages = [...readMessages(answer)];
  deepStrictEqual(messages.map((message) => message.type), [RTM.NEWLINK, 3]);
  deepStrictEqual(readLink(messages[0]!), {
    index: 0,
    name: "tm0",
    mtu: 1408,
    isUp: false,
    kind: "tun",
  });
  strictEqual(readLink(messages[1]!), undefined);
});

Deno.test("readMessages() and the readers take any bytes", () => {
  const type = fc.constantFrom<number>(RTM.NEWLINK, RTM.NEWADDR, RTM.NEWROUTE);
  const property = fc.property(
    type,
    // Fast-check would make ten bytes at most, too few for a body with attributes.
    fc.uint8Array({ maxLength: 120, size: "max" }),
    fc.oneof(fc.constant(160), fc.nat(160)),
    (t, body, cut) => {
      const bytes = new NetlinkRequest(t, 0, body.subarray(0, body.length & ~3)).finish(1);
      for (const message of readMessages(bytes.subarray(0, cut))) {
        readLink(message);
        readAddress(message);
        readRoute(message);
      }
      for (const message of readMessages(body)) new Attributes(message.body, 0).text(1);
    },
  );
  fc.assert(property, { numRuns: 500 });
});
