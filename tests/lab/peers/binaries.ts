/**
 * The programs to race, built from Go's module proxy at fixed versions and kept in the user's cache
 * folder: `$XDG_CACHE_HOME/tunnelmesh-peers`, by default `~/.cache/tunnelmesh-peers`. The first time
 * takes about four minutes and needs Go.
 *
 * @module
 */

import { isThere } from "../../packages.ts";
import { must } from "../processes.ts";

/** A program and the Go package it is built from; `undefined`: the folder `tscontrol` beside this. */
const PACKAGES = {
  wireguard: "golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446",
  nebula: "github.com/slackhq/nebula/cmd/nebula@v1.11.1",
  "nebula-cert": "github.com/slackhq/nebula/cmd/nebula-cert@v1.11.1",
  tailscale: "tailscale.com/cmd/tailscale@v1.102.5",
  tailscaled: "tailscale.com/cmd/tailscaled@v1.102.5",
  tscontrol: undefined,
} as const satisfies Record<string, string | undefined>;

/** Name of a program that is built here. */
export type Binary = keyof typeof PACKAGES;

const BUILD_TIMEOUT_MS = 900_000;

const folder = `${
  Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`
}/tunnelmesh-peers`;

/** Where a program lies, once built. */
export function binaryPath(name: Binary): string {
  return `${folder}/${name}`;
}

/**
 * Builds those of some programs that are not there yet.
 *
 * @returns Why that cannot be done here, `undefined` if all are there.
 */
export async function buildBinaries(names: readonly Binary[]): Promise<string | undefined> {
  for (const name of names) {
    if (await Deno.stat(binaryPath(name)).then(() => true, () => false)) continue;
    if (!isThere("go")) return `there is no ${binaryPath(name)}, and no Go to build it`;
    await Deno.mkdir(folder, { recursive: true });
    const source = PACKAGES[name];
    const options = {
      cwd: decodeURIComponent(new URL("tscontrol/", import.meta.url).pathname),
      env: { GOBIN: folder, GOFLAGS: "-buildvcs=false" },
      timeoutMs: BUILD_TIMEOUT_MS,
    };
    try {
      if (source !== undefined) await must(["go", "install", source], options);
      else await must(["go", "build", "-o", binaryPath(name), "."], options);
    } catch (error) {
      return `${name} cannot be built: ${error instanceof Error ? error.message : error}`;
    }
  }
  return undefined;
}
