import { strictEqual } from "node:assert/strict";
import { libc } from "../../ffi/libc.ts";
import { goFirst } from "../../ffi/priority.ts";

/** Of this thread: field 19 of proc_pid_stat(5), counted behind the name in brackets. */
function nice(): number {
  const stat = Deno.readTextFileSync("/proc/thread-self/stat");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
}

/** CAP_SYS_NICE, bit 23 of linux/capability.h. */
function mayGoFirst(): boolean {
  const status = Deno.readTextFileSync("/proc/thread-self/status");
  return (BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)![1]}`) >> 23n & 1n) === 1n;
}

Deno.test("goFirst() raises the priority of this thread, where that is allowed", () => {
  const before = nice();
  goFirst();
  strictEqual(nice(), mayGoFirst() ? -10 : before);
  strictEqual(libc.setpriority(0, 0, before), 0);
  strictEqual(nice(), before);
});
