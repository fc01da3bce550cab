/**
 * The poller on eventfds: readable exactly while their count is not zero.
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import { ERRNO } from "../../ffi/errno.ts";
import { EFD } from "../../ffi/layout.ts";
import { check, errno, libc } from "../../ffi/libc.ts";
import { Mem } from "../../ffi/memory.ts";
import { Poller } from "../../ffi/poller.ts";

Deno.test("Poller calls a source whenever it is readable, and not otherwise", async () => {
  const poller = new Poller();
  using event = new Event();
  let calls = 0;
  let called = Promise.withResolvers<void>();
  const remove = poller.add(event.fd, {
    drain() {
      calls++;
      strictEqual(event.take(), true);
      called.resolve();
    },
    failed: fail,
  });
  strictEqual(calls, 0, "never before add() has returned");
  for (let i = 1; i <= 3; i++) {
    event.post();
    await called.promise;
    called = Promise.withResolvers();
    await pause(i === 2 ? 20 : 0); // also from deep sleep
    strictEqual(calls, i);
  }
  remove();
  remove();
  event.post();
  await pause(5);
  strictEqual(calls, 3, "a removed source is left alone");
  await poller.close();
});

Deno.test("Poller lets timers and other I/O run while sources are always readable", async () => {
  const poller = new Poller();
  using event = new Event();
  event.post();
  let calls = 0;
  poller.add(event.fd, { drain: () => void calls++, failed: fail });
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [client, server] = await Promise.all([
    Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
    listener.accept(),
  ]);
  await client.write(Uint8Array.of(1));
  strictEqual(await server.read(new Uint8Array(8)), 1);
  for (let pauses = 0; calls <= 10 && pauses < 1_000; pauses++) await pause(5);
  ok(calls > 10, `it was busy meanwhile: ${calls} calls`);
  for (const resource of [client, server, listener]) resource.close();
  await poller.close();
  const atClose = calls;
  await pause(2);
  strictEqual(calls, atClose);
});

Deno.test("Poller.add() takes more sources while it sleeps", async () => {
  const poller = new Poller();
  using first = new Event();
  poller.add(first.fd, { drain: () => void first.take(), failed: fail });
  await pause(10);
  const events = Array.from({ length: 40 }, () => new Event()); // more than are taken at once
  const woken = new Set<number>();
  const all = Promise.withResolvers<void>();
  for (const event of events) {
    poller.add(event.fd, {
      drain() {
        event.take();
        if (woken.add(event.fd).size === events.length) all.resolve();
      },
      failed: fail,
    });
  }
  for (const event of events) event.post();
  await all.promise;
  await poller.close();
  for (const event of events) event[Symbol.dispose]();
});

Deno.test("Poller drops a source that throws, and goes on with the others", async () => {
  const poller = new Poller();
  using bad = new Event();
  using good = new Event();
  const failed = Promise.withResolvers<Error>();
  const drained = Promise.withResolvers<void>();
  let badCalls = 0;
  poller.add(bad.fd, {
    drain() {
      badCalls++;
      throw new Error("broken");
    },
    failed: failed.resolve,
  });
  poller.add(good.fd, {
    drain() {
      good.take();
      drained.resolve();
    },
    failed: fail,
  });
  bad.post();
  match((await failed.promise).message, /^broken$/);
  good.post();
  await drained.promise;
  strictEqual(badCalls, 1);
  await poller.close();
});

Deno.test("Poller does not call a source that another one removed in the same round", async () => {
  const poller = new Poller();
  using a = new Event();
  using b = new Event();
  const calls: string[] = [];
  const removals = new Map<string, () => void>();
  const done = Promise.withResolvers<void>();
  for (const [name, event, other] of [["a", a, "b"], ["b", b, "a"]] as const) {
    const drain = () => {
      event.take();
      calls.push(name);
      removals.get(other)!();
      done.resolve();
    };
    removals.set(name, poller.add(event.fd, { drain, failed: fail }));
  }
  a.post();
  b.post();
  await done.promise;
  await pause(5);
  strictEqual(calls.length, 1, `called: ${calls}`);
  await poller.close();
});

Deno.test("Poller does not take a new descriptor for an old one of the same number", async () => {
  const poller = new Poller();
  const events = [new Event(), new Event()];
  const removals: (() => void)[] = [];
  const done = Promise.withResolvers<Event>();
  let strayCalls = 0;
  for (const [i, event] of events.entries()) {
    const drain = () => {
      event.take();
      // The other one was posted too, so its event waits in this very round.
      const other = events[1 - i]!;
      removals[1 - i]!();
      other[Symbol.dispose]();
      const successor = new Event();
      strictEqual(successor.fd, other.fd, "the kernel gives the lowest free number");
      poller.add(successor.fd, { drain: () => void strayCalls++, failed: fail });
      done.resolve(event);
    };
    removals.push(poller.add(event.fd, { drain, failed: fail }));
  }
  for (const event of events) event.post();
  using _survivor = await done.promise;
  await pause(5);
  strictEqual(strayCalls, 0, "nothing was posted there");
  await poller.close();
  // The successor has the number of the event that is gone, and is closed by it.
  for (const event of events) if (event !== _survivor) event[Symbol.dispose]();
});

Deno.test("Poller.close() ends everything from any state, twice", async () => {
  const unused = new Poller();
  await unused.close();
  throws(() => unused.add(0, { drain() {}, failed: fail }), TypeError);

  const sleeping = new Poller();
  using event = new Event();
  sleeping.add(event.fd, { drain: fail, failed: fail });
  await pause(10);
  await Promise.all([sleeping.close(), sleeping.close()]);

  const busy = new Poller();
  using posted = new Event();
  posted.post();
  const closed = Promise.withResolvers<void>();
  let calls = 0;
  busy.add(posted.fd, {
    drain() {
      calls++;
      busy.close().then(closed.resolve);
    },
    failed: fail,
  });
  await closed.promise;
  strictEqual(calls, 1, "not called again after close() from inside");
});

Deno.test("Poller.add() refuses what cannot be waited for", async () => {
  const poller = new Poller();
  throws(() => poller.add(9999, { drain() {}, failed: fail }), {
    name: "SyscallError",
    message: "Cannot wait for descriptor 9999: EBADF (9)",
  });
  await poller.close();
});

/** What a program does with its poller, and what must follow. */
const ENDINGS: [title: string, program: string][] = [
  ["it ends by itself after close()", `await poller.close();`],
  ["Deno.exit() ends it though a call sleeps", `setTimeout(() => Deno.exit(0), 20);`],
  [
    "SIGTERM ends it through its own handler",
    `Deno.addSignalListener("SIGTERM", async () => { await poller.close(); Deno.exit(0); });
     setTimeout(() => Deno.kill(Deno.pid, "SIGTERM"), 20);`,
  ],
];

Deno.test("Poller never keeps a process from ending", async () => {
  const file = (name: string) => new URL(`../../ffi/${name}.ts`, import.meta.url).href;
  for (const [title, program] of ENDINGS) {
    const text = `
      import { Poller } from "${file("poller")}";
      import { libc } from "${file("libc")}";
      const poller = new Poller();
      poller.add(libc.eventfd(0, ${EFD.NONBLOCK}), { drain() {}, failed() {} });
      await new Promise((resolve) => setTimeout(resolve, 20));
      ${program}`;
    const signal = AbortSignal.timeout(60_000);
    const child = new Deno.Command(Deno.execPath(), { args: ["eval", text], signal });
    const { code, stderr } = await child.output();
    strictEqual(code, 0, `${title}: ${new TextDecoder().decode(stderr)}`);
  }
});

Deno.test("Poller leaves the processor alone while nothing arrives", async () => {
  const poller = new Poller();
  using event = new Event();
  let calls = 0;
  poller.add(event.fd, { drain: () => void (event.take(), calls++), failed: fail });
  event.post();
  await pause(30);
  // A machine may count what it did itself meanwhile as done by this thread; not every time.
  const spent: number[] = [];
  do {
    const before = processorMs();
    await pause(200);
    spent.push(processorMs() - before);
  } while (spent.at(-1)! >= 40 && spent.length < 5);
  ok(spent.at(-1)! < 40, `this thread ran for ${spent} ms of 200 each`);
  strictEqual(calls, 1);
  await poller.close();
});

Deno.test("Mem pointers point where they say", () => {
  const memory = new Mem(4096);
  deepStrictEqual([memory.u8.length, new Mem(9).u8.length], [4096, 16]);
  const other = new Mem(64);
  memory.u8.set([1, 2, 3, 4], 100);
  // Safety: four bytes inside both memories.
  libc.memcpy(other.at(8), memory.at(100), 4);
  libc.memcpy(other.pointer(16), memory.at(100), 4);
  deepStrictEqual([...other.u8.subarray(8, 20)], [1, 2, 3, 4, 0, 0, 0, 0, 1, 2, 3, 4]);
  strictEqual(memory.at(100), memory.at(100), "made once");
  other.putAddress(8, other.u32, 0);
  const address = Deno.UnsafePointer.value(other.at(8));
  strictEqual(other.view.getBigUint64(0, true), address);
  throws(() => memory.pointer(4097), RangeError);
  throws(() => memory.pointer(-1), RangeError);
});

Deno.test("errno() tells why the last call failed", () => {
  strictEqual(libc.close(-1), -1);
  strictEqual(errno(), ERRNO.EBADF);
  strictEqual(check(0, "do nothing"), 0);
  strictEqual(check(7, "do nothing"), 7);
  throws(() => check(libc.close(-1), `close "x"`, { [ERRNO.EBADF]: "open it first" }), {
    name: "SyscallError",
    errno: ERRNO.EBADF,
    message: `Cannot close "x": EBADF (9); open it first`,
  });
});

/** A descriptor that is readable while something was posted. */
class Event implements Disposable {
  readonly fd = check(libc.eventfd(0, EFD.NONBLOCK | EFD.CLOEXEC), "create an eventfd");
  readonly #memory = new Mem(8);

  post(): void {
    this.#memory.u32.set([1, 0]);
    strictEqual(libc.write(this.fd, this.#memory.pointer(0), 8), 8);
  }

  take(): boolean {
    return libc.read(this.fd, this.#memory.pointer(0), 8) === 8;
  }

  [Symbol.dispose](): void {
    libc.close(this.fd);
  }
}

/** How long this thread has run. */
function processorMs(): number {
  return Number(Deno.readTextFileSync("/proc/thread-self/schedstat").split(" ")[0]) / 1e6;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function fail(reason?: unknown): never {
  throw new Error("not expected", { cause: reason });
}
