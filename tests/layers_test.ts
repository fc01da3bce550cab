/**
 * Keeps the layer table of docs/architecture.md true: a folder may import itself and the folders
 * named beside it, and nothing else of ours.
 *
 * @module
 */

import { deepStrictEqual, ok } from "node:assert/strict";

/** Folder => folders it may import. A row may name only rows above it. */
const MAY_IMPORT: Record<string, string[]> = {
  base: [],
  net: ["base"],
  crypto: ["base"],
  wire: ["base"],
  noise: ["base", "crypto"],
  session: ["base", "crypto", "noise", "wire"],
  route: ["base", "net"],
  transport: ["base", "net", "crypto"],
  ffi: ["base"],
  dataplane: ["base", "net", "crypto", "wire", "session", "route"],
  mesh: ["base", "net", "crypto", "wire", "noise", "session", "route", "transport", "dataplane"],
  token: ["base", "crypto"],
  coordinator: ["base", "net", "crypto", "wire", "noise", "session", "token"],
  config: ["base", "net", "crypto"],
};
const FOLDERS = Object.keys(MAY_IMPORT);
/** Its workers cannot be given symbols of the C library: those cannot be posted. */
const LINUX_PLANE = "lib/dataplane/linux/";
MAY_IMPORT.agent = FOLDERS; // the composition root sees everything
MAY_IMPORT.cli = ["base", "config", "crypto", "token", "agent", "coordinator"];

/** Packages that only one folder may import, because it is the one door to them. */
const ONE_DOOR: [packages: RegExp, folder: string, why: string][] = [
  [/^(@noble\/|node:crypto|ssh2)/, "crypto", "only lib/crypto imports crypto packages"],
  [/^commander$/, "cli", "only lib/cli reads the command line"],
  [/^(yaml|zod)$/, "config", "only lib/config reads configuration files"],
];

/** A static import, export-from or dynamic import, with its specifier. */
const SPECIFIER = /(?:\bfrom\s+|^\s*import\s+|\bimport\(\s*|new URL\(\s*)"([^"]+)"/gm;

const root = new URL("../", import.meta.url);

Deno.test("the layer table has no cycle", () => {
  const above = new Set<string>();
  for (const [folder, allowed] of Object.entries(MAY_IMPORT)) {
    for (const name of allowed) ok(above.has(name), `${folder} -> ${name}`);
    above.add(folder);
  }
});

Deno.test("docs/architecture.md has the same table", async () => {
  const text = await Deno.readTextFile(new URL("docs/architecture.md", root));
  const [table] = /^\| folder .*\n(?:\|.*\n)+/m.exec(text) ?? [""];
  const rows = table.trim().split("\n").slice(2).map((row) => row.split("|"));
  const written = rows.map(([, folder, , allowed]) => [
    folder!.trim(),
    allowed!.trim().split(", ").filter((name) => name !== ""),
  ]);
  deepStrictEqual(Object.fromEntries(written), MAY_IMPORT);
});

Deno.test("every import follows the layer table", async () => {
  const broken: string[] = [];
  for await (const [file, specifier] of imports()) {
    if (!specifier.startsWith(".")) continue;
    const from = folderOf(file);
    const to = folderOf(new URL(specifier, new URL(file, root)).href.slice(root.href.length));
    if (to === from || MAY_IMPORT[from]?.includes(to)) continue;
    if (file.startsWith(LINUX_PLANE) && to === "ffi") continue;
    broken.push(`${file} -> ${to}`);
  }
  deepStrictEqual(broken, []);
});

Deno.test("every package is imported through its one door", async () => {
  const broken: string[] = [];
  for await (const [file, specifier] of imports()) {
    for (const [packages, folder, why] of ONE_DOOR) {
      if (packages.test(specifier) && folderOf(file) !== folder) broken.push(`${file}: ${why}`);
    }
  }
  deepStrictEqual(broken, []);
});

Deno.test("only ffi/ loads native libraries", async () => {
  const broken: string[] = [];
  for await (const file of sources(["lib/", "ffi/"])) {
    const text = await Deno.readTextFile(new URL(file, root));
    if (text.includes("Deno.dlopen") && folderOf(file) !== "ffi") broken.push(file);
  }
  deepStrictEqual(broken, []);
});

function folderOf(path: string): string {
  const [top, second] = path.split("/");
  return top === "lib" ? second! : top!;
}

async function* imports(): AsyncGenerator<[file: string, specifier: string]> {
  for await (const file of sources(["lib/", "ffi/"])) {
    const text = await Deno.readTextFile(new URL(file, root));
    for (const [, specifier] of text.matchAll(SPECIFIER)) yield [file, specifier!];
  }
}

async function* sources(folders: string[]): AsyncGenerator<string> {
  for (const folder of folders) {
    for await (const entry of Deno.readDir(new URL(folder, root))) {
      const path = folder + entry.name;
      if (entry.isDirectory) yield* sources([path + "/"]);
      else if (path.endsWith(".ts")) yield path;
    }
  }
}
