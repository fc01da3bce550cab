/**
 * tunnelmesh in the race: a coordinator that is no member on a host of its own, `b` has joined
 * before `a` starts.
 *
 * @module
 */

import { COMMAND, ENVIRONMENT, Node } from "../../e2e/mesh.ts";
import { eventually, run } from "../processes.ts";
import type { Racer } from "./racer.ts";

/** The data planes that can be asked for. */
export type DataPlaneKind = "linux" | "portable";

/**
 * tunnelmesh with one data plane.
 *
 * @param name Name in the table.
 */
export function tunnelmesh(name: string, plane: DataPlaneKind): Racer {
  return {
    name,
    async lack() {
      if (plane === "portable" || await canChoose()) return undefined;
      return "this program has only the portable data plane";
    },
    async start(pair) {
      const hub = await pair.addControl();
      const { folder } = pair;
      const tokenFile = `${folder}/token`;
      const coordinator = new Node(hub, `${folder}/hub`, ["coordinator", "--no-member"]);
      await coordinator.start();
      const { token } = await coordinator.askJson<{ token: string }>("token", "show");
      await Deno.writeTextFile(tokenFile, token, { mode: 0o600 });
      const choice = await canChoose() ? ["--data-plane", plane] : [];
      const [a, b] = [pair.a, pair.b].map((host) =>
        new Node(host, `${folder}/${host.name}`, [
          ...["join", "--coordinator", `https://${hub.ipv4}:8443`, "--token-file", tokenFile],
          ...["--name", host.name, ...choice],
        ])
      ) as [Node, Node];
      await b.start();
      const target = (await b.status()).addresses.ipv4;
      const startedAt = performance.now();
      a.launch();
      return {
        target,
        startedAt,
        pids: [a.process!.pid, b.process!.pid],
        settled: async () => {
          await eventually("tunnelmesh goes the direct way", async () => {
            const { path } = await a.peer(b.host.name);
            return path.kind === "udp" && path.remote?.startsWith(`${b.host.ipv4}:`);
          });
          const { kind, reason } = (await a.glance()).dataPlane;
          if (kind !== plane) throw new Error(`it runs on the ${kind} data plane: ${reason}`);
        },
        drops: async () => sum(await dropsOf(a)) + sum(await dropsOf(b)),
        carried: async () => (await a.peer(b.host.name)).txBytes,
        notes: async () => {
          const { dataPlane } = await a.glance();
          const drops = [a, b].map(async (node) =>
            `drops of ${node.host.name}: ${JSON.stringify(await dropsOf(node))}`
          );
          return [`${dataPlane.kind} plane, ${dataPlane.aead}`, ...await Promise.all(drops)];
        },
      };
    },
  };
}

let hasChoice: Promise<boolean> | undefined;

/** Whether `join` takes `--data-plane`. */
function canChoose(): Promise<boolean> {
  return hasChoice ??= run([...COMMAND, "join", "--help"], { env: ENVIRONMENT })
    .then(({ stdout }) => stdout.includes("--data-plane"));
}

async function dropsOf(node: Node): Promise<Readonly<Record<string, number>>> {
  return (await node.glance()).drops;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}
