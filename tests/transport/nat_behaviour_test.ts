/**
 * From what servers saw to how a NAT maps, and to the endpoints that are told.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { formatEndpoint, parseEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import {
  candidates,
  type CandidateSources,
  canPunch,
  type Mapping,
  type NatBehaviour,
  natBehaviour,
  needsKeepalive,
  type Observation,
} from "../../lib/transport/nat_behaviour.ts";

const LOCAL = "10.1.0.2:41000";
const [N, N1, OTHER] = ["203.0.113.10:8443", "203.0.113.10:8444", "203.0.113.11:3478"] as const;

/** Server, what it saw, when. */
type Seen = [server: string, seen: string, at?: number];

const MAPPINGS: [name: string, seen: Seen[], mapping: Mapping, isPortKept: boolean | undefined][] =
  [
    ["nobody answered", [], "unknown", undefined],
    ["no NAT", [[N, LOCAL], [N1, LOCAL]], "none", true],
    ["no NAT, one answer", [[N, LOCAL]], "none", true],
    ["one answer", [[N, "192.0.2.1:41000"]], "mapped", true],
    [
      "port kept",
      [[N, "192.0.2.1:41000"], [N1, "192.0.2.1:41000"]],
      "endpoint-independent",
      true,
    ],
    ["port changed", [[N, "192.0.2.1:9"], [N1, "192.0.2.1:9"]], "endpoint-independent", false],
    [
      "another port for each port",
      [[N, "192.0.2.1:9"], [N1, "192.0.2.1:10"]],
      "address-and-port-dependent",
      false,
    ],
    [
      "another port for each address",
      [[N, "192.0.2.1:9"], [N1, "192.0.2.1:9"], [OTHER, "192.0.2.1:10"]],
      "address-dependent",
      false,
    ],
    [
      "another address for each address",
      [[N, "192.0.2.1:9"], [N1, "192.0.2.1:9"], [OTHER, "192.0.2.2:9"]],
      "address-dependent",
      false,
    ],
    [
      "two servers that differ, and no second port",
      [[N, "192.0.2.1:9"], [OTHER, "192.0.2.1:10"]],
      "address-and-port-dependent",
      false,
    ],
    [
      "the newest of each server counts",
      [[N, "192.0.2.1:9", 0], [N1, "192.0.2.1:9", 0], [N, "192.0.2.1:10", 1], [
        N1,
        "192.0.2.1:10",
        2,
      ]],
      "endpoint-independent",
      false,
    ],
    [
      "an old answer is from before the NAT forgot",
      [[N, "192.0.2.1:9", 0], [N1, "192.0.2.1:10", 10_001]],
      "mapped",
      false,
    ],
    ["of the other family", [[N, "[2001:db8::1]:9"]], "unknown", undefined],
  ];

const observation = ([server, seen, at = 0]: Seen): Observation => ({
  server: parseEndpoint(server),
  seen: parseEndpoint(seen),
  at,
});

Deno.test("natBehaviour() derives the mapping from what servers saw", () => {
  for (const [name, seen, mapping, isPortKept] of MAPPINGS) {
    for (const ordered of [seen, [...seen].reverse()]) {
      const found = natBehaviour(4, ordered.map(observation), [parseEndpoint(LOCAL)]);
      deepStrictEqual([found.mapping, found.isPortKept], [mapping, isPortKept], name);
    }
  }
});

Deno.test("natBehaviour() lists what was seen, the newest first, once", () => {
  const seen: Seen[] = [[N, "192.0.2.1:9", 1], [N1, "192.0.2.1:10", 2], [OTHER, "192.0.2.1:9", 3]];
  const found = natBehaviour(4, seen.map(observation), []);
  deepStrictEqual(found.seen.map(formatEndpoint), ["192.0.2.1:9", "192.0.2.1:10"]);
});

Deno.test("needsKeepalive() and canPunch() follow the mapping", () => {
  const of = (mapping: Mapping): NatBehaviour => ({ mapping, isPortKept: undefined, seen: [] });
  const needs: [Mapping, boolean][] = [
    ["unknown", false],
    ["none", false],
    ["mapped", true],
    ["endpoint-independent", true],
    ["address-dependent", true],
    ["address-and-port-dependent", true],
  ];
  for (const [mapping, isNeeded] of needs) {
    strictEqual(needsKeepalive(of(mapping)), isNeeded, mapping);
  }
  const both = of("address-and-port-dependent");
  strictEqual(canPunch(both, both), false);
  strictEqual(canPunch(both, of("address-dependent")), false);
  strictEqual(canPunch(both, of("endpoint-independent")), true);
  strictEqual(canPunch(of("unknown"), both), true);
});

Deno.test("candidates() lists each useful endpoint once, as the first that it is", () => {
  const behaviour = natBehaviour(
    4,
    ([[N, "192.0.2.1:41000"], [N1, LOCAL], [OTHER, "100.64.0.9:41000"]] as Seen[]).map(observation),
    [],
  );
  const found = candidates({
    local: [LOCAL, "[2001:db8::2]:41000", "127.0.0.1:41000", "[fe80::1]:41000"].map(parseEndpoint),
    mapped: ["192.0.2.1:6000", "0.0.0.0:6000"].map(parseEndpoint),
    behaviours: [behaviour],
    meshRanges: [parseIpPrefix("100.64.0.0/10")],
  });
  deepStrictEqual(found.map(({ endpoint, source }) => [formatEndpoint(endpoint), source]), [
    [LOCAL, "local"],
    ["[2001:db8::2]:41000", "local"],
    ["192.0.2.1:6000", "mapped"],
    ["192.0.2.1:41000", "discovered"],
  ]);
});

Deno.test("candidates() leaves room for what lies beyond a NAT", () => {
  const many = (count: number, prefix: string) =>
    Array.from({ length: count }, (_, at) => parseEndpoint(`${prefix}.${at + 1}:41000`));
  const behaviour = {
    mapping: "address-dependent",
    isPortKept: true,
    seen: many(9, "192.0.2"),
  } as const;
  const sources: CandidateSources = {
    local: many(40, "10.0.0"),
    mapped: many(2, "198.51.100"),
    behaviours: [behaviour],
    meshRanges: [],
  };
  const found = candidates(sources).map(({ source }) => source);
  const count = (wanted: string) => found.filter((source) => source === wanted).length;
  deepStrictEqual([count("local"), count("mapped"), count("discovered")], [18, 2, 4]);
});
