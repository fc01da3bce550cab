/**
 * A coordinator outside of a lab's NATs, no member itself, and how nodes join it.
 *
 * @module
 */

import type { NatLab } from "../lab/nat.ts";
import { Node } from "./mesh.ts";

/** What {@linkcode startNatHub} has started. */
export interface NatHub {
  readonly coordinator: Node;
  /** Words of the command line that joins it; flags may follow. */
  readonly join: readonly string[];
}

/** Starts it on `pub1`. */
export async function startNatHub(lab: NatLab): Promise<NatHub> {
  const host = lab.host("pub1");
  const coordinator = await new Node(host, `${lab.folder}/hub`, [
    ...["coordinator", "--no-member", "--listen", `${host.ipv4}:8443`],
  ]).start();
  const { token } = await coordinator.askJson<{ token: string }>("token", "show");
  const file = `${lab.folder}/token`;
  await Deno.writeTextFile(file, `${token}\n`, { mode: 0o600 });
  const url = `https://${host.ipv4}:8443`;
  return { coordinator, join: ["join", "--coordinator", url, "--token-file", file] };
}
