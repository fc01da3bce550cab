/**
 * Commands that run until they are told to stop.
 *
 * @module
 */

/**
 * Watches for SIGINT and SIGTERM from now on, so that one that comes during a start is not lost.
 *
 * @returns `signal` aborts at the first of either; `close` stops watching. A second SIGINT or
 * SIGTERM ends the process at once, with the code a shell expects.
 */
export function watchForStop(): { readonly signal: AbortSignal; close(): void } {
  const controller = new AbortController();
  const stop = (code: number) => {
    if (controller.signal.aborted) Deno.exit(code);
    controller.abort(new DOMException("Told to stop", "AbortError"));
  };
  const onInterrupt = () => stop(130);
  const onTerminate = () => stop(143);
  Deno.addSignalListener("SIGINT", onInterrupt);
  Deno.addSignalListener("SIGTERM", onTerminate);
  return {
    signal: controller.signal,
    close() {
      Deno.removeSignalListener("SIGINT", onInterrupt);
      Deno.removeSignalListener("SIGTERM", onTerminate);
    },
  };
}

/**
 * Waits for a signal to abort.
 *
 * @param signal Aborted already or later.
 */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
