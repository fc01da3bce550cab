/**
 * `deno task bench [NAME]… [--FLAG…]`: lists the benches, runs those named, or all; from the first
 * flag on, all words are for the benches.
 *
 * Each is a file of this folder that ends in `_bench.ts`, a program of its own that prints lines
 * `figure: WHAT: VALUE UNIT`. Figures of this machine only: compare them with each other.
 *
 * @module
 */

const folder = new URL("./", import.meta.url);
const names: string[] = [];
for await (const { name } of Deno.readDir(folder)) {
  if (name.endsWith("_bench.ts")) names.push(name.replace(/_bench\.ts$/, ""));
}
names.sort();
const flagAt = Deno.args.findIndex((word) => word.startsWith("--"));
const words = flagAt < 0 ? Deno.args : Deno.args.slice(0, flagAt);
const flags = flagAt < 0 ? [] : Deno.args.slice(flagAt);
const chosen = words.length > 0 ? words : names;
say(`Benches: ${names.join(", ")}`);
let hasFailed = false;
for (const name of chosen) {
  if (!names.includes(name)) {
    say(`No bench "${name}"`);
    Deno.exit(2);
  }
  say(`\n== ${name}`);
  const file = decodeURIComponent(new URL(`${name}_bench.ts`, folder).pathname);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", file, ...flags],
    env: { NO_COLOR: "1" },
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  // It has namespaces and processes to take down.
  const end = () => child.kill("SIGTERM");
  Deno.addSignalListener("SIGTERM", end);
  const { code } = await child.status;
  Deno.removeSignalListener("SIGTERM", end);
  if (code !== 0) {
    hasFailed = true;
    say(`== ${name} failed (${code})`);
  }
}
Deno.exit(hasFailed ? 1 : 0);

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
