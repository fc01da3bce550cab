/**
 * Network namespaces for the tests of `ffi/`: made, entered and removed. Needs root and `ip`.
 *
 * @module
 */

import { hasNetAdmin } from "../../ffi/privilege.ts";

/** Options of tests that make namespaces: ignored, by name, where that is not allowed. */
export const NEEDS_NET_ADMIN = { ignore: !hasNetAdmin() } as const;

const CLONE_NEWNET = 0x40000000;
const O_RDONLY_CLOEXEC = 0x80000;

const { open, close, setns } = Deno.dlopen("libc.so.6", {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  setns: { parameters: ["i32", "i32"], result: "i32" },
}).symbols;

/** A network namespace of this process alone, with loopback up. */
export class Namespace implements AsyncDisposable {
  static #count = 0;
  /** Its name, as `ip netns` shows it. */
  readonly name = `tm-ffi-${Deno.pid}-${Namespace.#count++}`;

  private constructor() {}

  /** Makes one. */
  static async create(): Promise<Namespace> {
    await removeAbandoned();
    const namespace = new Namespace();
    await run("ip", "netns", "add", namespace.name);
    await namespace.run("ip", "link", "set", "lo", "up");
    return namespace;
  }

  /**
   * Runs `action` with this thread inside: sockets and devices opened by it stay inside. It must
   * not await.
   */
  within<T>(action: () => T): T {
    const own = openFile("/proc/thread-self/ns/net");
    const inside = openFile(`/run/netns/${this.name}`);
    try {
      enter(inside);
      return action();
    } finally {
      enter(own);
      close(own);
      close(inside);
    }
  }

  /** Runs a command inside. */
  run(...command: string[]): Promise<string> {
    return run("ip", "netns", "exec", this.name, ...command);
  }

  /** Removes it, once nothing of it is open any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    await run("ip", "netns", "delete", this.name);
  }
}

/** Removes what processes left that were killed. */
async function removeAbandoned(): Promise<void> {
  const list = await run("ip", "netns", "list");
  for (const [name, pid] of list.matchAll(/^tm-ffi-(\d+)-\d+/gm)) {
    const isAlive = await Deno.stat(`/proc/${pid}`).then(() => true, () => false);
    if (!isAlive) await run("ip", "netns", "delete", name).catch(() => {}); // or somebody else has
  }
}

/** Runs a command; throws with what it said if it fails. */
export async function run(command: string, ...args: string[]): Promise<string> {
  const output = await new Deno.Command(command, { args }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!output.success) {
    throw new Error(`${[command, ...args].join(" ")}: ${decode(output.stderr)}`);
  }
  return decode(output.stdout);
}

function openFile(path: string): number {
  const fd = open(new TextEncoder().encode(path + "\0"), O_RDONLY_CLOEXEC);
  if (fd < 0) throw new Error(`cannot open ${path}`);
  return fd;
}

function enter(fd: number): void {
  if (setns(fd, CLONE_NEWNET) !== 0) throw new Error("cannot enter the network namespace");
}
