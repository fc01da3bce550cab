/**
 * Asking a person: for a secret, or for leave to go on.
 *
 * @module
 */

const ENTER = 13;
const LINE_FEED = 10;
const INTERRUPT = 3;
const END = 4;
const BACKSPACES = [8, 127];

/**
 * Asks for a passphrase on the terminal, without showing it.
 *
 * @param question Shown before the cursor.
 * @returns What was typed, `undefined` where there is no terminal or it was interrupted.
 */
export function promptForPassphrase(question: string): string | undefined {
  if (!Deno.stdin.isTerminal()) return undefined;
  Deno.stderr.writeSync(new TextEncoder().encode(question));
  const typed: number[] = [];
  const buffer = new Uint8Array(64);
  Deno.stdin.setRaw(true);
  try {
    while (true) {
      const count = Deno.stdin.readSync(buffer);
      for (const byte of buffer.subarray(0, count ?? 0)) {
        if (byte === ENTER || byte === LINE_FEED) {
          return new TextDecoder().decode(new Uint8Array(typed));
        }
        if (byte === INTERRUPT || byte === END) return undefined;
        if (BACKSPACES.includes(byte)) typed.pop();
        else typed.push(byte);
      }
      if (count === null) return undefined;
    }
  } finally {
    Deno.stdin.setRaw(false);
    Deno.stderr.writeSync(new TextEncoder().encode("\n"));
    buffer.fill(0);
  }
}

/**
 * Asks a question that only a written "yes" answers so.
 *
 * @param question Shown before the cursor.
 * @returns Whether it was "yes"; `undefined` where there is no terminal.
 */
export function promptForYes(question: string): boolean | undefined {
  if (!Deno.stdin.isTerminal()) return undefined;
  Deno.stderr.writeSync(new TextEncoder().encode(question));
  const typed: number[] = [];
  const buffer = new Uint8Array(1);
  while (Deno.stdin.readSync(buffer) !== null && buffer[0] !== LINE_FEED) typed.push(buffer[0]!);
  return new TextDecoder().decode(new Uint8Array(typed)).trim().toLowerCase() === "yes";
}
