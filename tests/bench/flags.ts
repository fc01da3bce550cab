/**
 * The few flags that benches take, and how they speak.
 *
 * @module
 */

/**
 * Reads `--name value` and `--name` from the command line; ends the process with 2 on anything else.
 *
 * @param numbers Flags with a positive number, and their defaults.
 * @param texts Flags with a text, and their defaults.
 * @param switches Flags without a value.
 */
export function parseFlags<N extends string, T extends string = never, S extends string = never>(
  numbers: Readonly<Record<N, number>>,
  texts: Readonly<Record<T, string>> = {} as Record<T, string>,
  switches: readonly S[] = [],
): Record<N, number> & Record<T, string> & Record<S, boolean> {
  const found: Record<string, number | string | boolean> = { ...numbers, ...texts };
  for (const name of switches) found[name] = false;
  const args = [...Deno.args];
  for (let word = args.shift(); word !== undefined; word = args.shift()) {
    const name = word.replace(/^--/, "");
    if (word === name || !Object.hasOwn(found, name)) refuse(`It takes no "${word}"`, found);
    if (typeof found[name] === "boolean") {
      found[name] = true;
      continue;
    }
    const value = args.shift() ?? "";
    found[name] = typeof found[name] === "number" ? Number(value) : value;
    const isGood = typeof found[name] === "number" ? found[name] > 0 : value !== "";
    if (!isGood) refuse(`--${name} takes a value, not "${value}"`, found);
  }
  return found as Record<N, number> & Record<T, string> & Record<S, boolean>;
}

/** Prints a line. */
export function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

function refuse(why: string, known: Record<string, unknown>): never {
  say(`${why}; there are ${Object.keys(known).map((name) => `--${name}`).join(", ")}`);
  Deno.exit(2);
}
