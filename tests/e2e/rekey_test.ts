/**
 * Rekeys under load: nobody notices.
 *
 * ```
 *   a ── 1000 UDP datagrams a second ──> b     while TCP goes both ways; sessions live 5 s
 * ```
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import { pings } from "../lab/namespaces.ts";
import { figure, IS_SOAK, Mesh, testProgram } from "./mesh.ts";

const SECONDS = IS_SOAK ? 60 : 24;
const REKEY_SECONDS = IS_SOAK ? 5 : 2;
const MAX_GAP_MS = 200;
const RATE = 1000;

Deno.test("ten rekeys under load leave no gap above 200 ms", async () => {
  const config = await Deno.makeTempFile({ suffix: ".yaml" });
  await Deno.writeTextFile(
    config,
    `session: { rekeyAfterSeconds: ${REKEY_SECONDS}, rejectAfterSeconds: ${2 * REKEY_SECONDS} }\n`,
  );
  await using mesh = await Mesh.create({
    agents: ["a", "b"],
    coordinatorArgs: ["--config", config],
  });
  await Deno.remove(config);
  const [a, b] = [mesh.agent("a"), mesh.agent("b")];
  const address = (await b.status()).addresses.ipv4;
  await pings(a.host, address);

  const stream = b.host.start(testProgram("tcp_transfer", "listen", "5000", String(1e12)));
  await stream.shows(/^ready$/m);
  const load = a.host.start(testProgram("tcp_transfer", "connect", address, "5000", String(1e12)));
  const receiver = b.host.start(testProgram("udp_probe", "receive", "5001"));
  await receiver.shows(/^ready$/m);
  const rx = (await a.peer("b")).rxBytes;
  const probe = testProgram("udp_probe", "send", address, "5001", String(SECONDS), String(RATE));
  const sender = a.host.start(probe);

  const before = (await a.peer("b")).handshakes;
  strictEqual(await sender.ended, 0, sender.stderr);
  const rekeys = (await a.peer("b")).handshakes - before;
  strictEqual(await receiver.ended, 0, receiver.stderr);
  await Promise.all([load.kill(), stream.kill()]);
  const megabytes = ((await a.peer("b")).rxBytes - rx) / 1e6;
  const { received, largestGapMs, lost } = JSON.parse(receiver.stdout.split("\n")[1]!);
  figure("rekeys under load", rekeys, `in ${SECONDS} s`);
  figure("largest gap of the probe", largestGapMs, "ms");
  figure("probe datagrams lost", lost, `of ${received + lost}`);
  figure("TCP carried meanwhile, one way", megabytes, "MB");
  ok(rekeys >= 10, `${rekeys} rekeys`);
  ok(megabytes > 10, `${megabytes} MB of load`);
  ok(received > SECONDS * RATE * 0.9, `${received} arrived`);
  ok(largestGapMs <= MAX_GAP_MS, `largest gap ${largestGapMs} ms`);
});
