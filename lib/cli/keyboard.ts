/**
 * What is typed at one terminal while several questions are put at it, one after another.
 *
 * What must hold: a line that came before a question is no answer to it.
 *
 * @module
 */

/** Standard input, a line at a time. */
export class Keyboard {
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #take: ((line: string | undefined) => void) | undefined;
  #isAtEnd = false;

  /** Whether no question was put so far. */
  get isFresh(): boolean {
    return this.#reader === undefined;
  }

  /**
   * Lines that are typed from now on. One caller at a time.
   *
   * @param signal Ends the reading, as the end of the input does.
   */
  async *lines(signal: AbortSignal): AsyncGenerator<string> {
    const typed: (string | undefined)[] = [];
    let isThere = Promise.withResolvers<void>();
    this.#take = (line) => {
      typed.push(line);
      isThere.resolve();
    };
    const stop = () => this.#take?.(undefined);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted || this.#isAtEnd) stop();
    try {
      if (this.#reader === undefined) void this.#read(Deno.stdin.readable.getReader());
      while (true) {
        if (typed.length === 0) await isThere.promise;
        isThere = Promise.withResolvers();
        for (const line of typed.splice(0)) {
          if (line === undefined || signal.aborted) return;
          yield line;
        }
      }
    } finally {
      signal.removeEventListener("abort", stop);
      this.#take = undefined;
    }
  }

  /** Reads no more. Safe to call twice. */
  close(): void {
    void this.#reader?.cancel().catch(() => {});
  }

  async #read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    this.#reader = reader;
    const decoder = new TextDecoder();
    let pending = "";
    try {
      while (true) {
        const { done, value } = await reader.read();
        if (done) break;
        pending += decoder.decode(value, { stream: true });
        const lines = pending.split("\n");
        pending = lines.pop()!;
        for (const line of lines) this.#take?.(line);
      }
    } catch {
      // A terminal that is gone is an end like another.
    }
    this.#isAtEnd = true;
    this.#take?.(undefined);
  }
}
