/**
 * Processes that a test starts, watches and surely ends.
 *
 * @module
 */

/** How long a test waits for what should be so; what is not by then never will be. */
const WAIT_MS = 60_000;
/** How long a process that was told to end may take, before it is killed. */
const ENDING_MS = 20_000;
/** Turns of 10 ms for reading what a process that has ended wrote. */
const READING_TURNS = 50;

/** How a command ended. */
export interface Finished {
  /** Exit code; 128 + signal if a signal ended it. */
  readonly code: number;
  /** What it wrote to standard output. */
  readonly stdout: string;
  /** What it wrote to standard error. */
  readonly stderr: string;
}

/** Where and how a command runs. */
export interface RunOptions {
  /** Working folder. */
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Text for its standard input; none if absent. */
  readonly input?: string;
  /** It is killed after that time. @default {120_000} */
  readonly timeoutMs?: number;
}

/** A process in the background, with all it ever wrote. */
export class Background {
  readonly #child: Deno.ChildProcess;
  readonly #ended: Promise<number>;
  readonly #watchers = new Set<() => void>();
  #stdout = "";
  #stderr = "";
  #code: number | undefined;

  /** Starts a command. */
  constructor(command: readonly string[], options: RunOptions = {}) {
    this.#child = commandOf(command, options, "null").spawn();
    const read = async (stream: ReadableStream<Uint8Array>, add: (text: string) => void) => {
      for await (const text of stream.pipeThrough(new TextDecoderStream())) {
        add(text);
        this.#wake();
      }
    };
    const streams = Promise.all([
      read(this.#child.stdout, (text) => this.#stdout += text),
      read(this.#child.stderr, (text) => this.#stderr += text),
    ]);
    this.#ended = this.#child.status.then(async ({ code }) => {
      // Whoever inherited its pipes may hold them open: the process itself is what counts. What it
      // wrote is read first, in turns of this process: time passes while that stands still, too.
      let isRead = false;
      const read = streams.then(() => isRead = true);
      for (let turn = 0; turn < READING_TURNS && !isRead; turn++) {
        await Promise.race([read, sleep(10)]);
      }
      this.#code = code;
      this.#wake();
      return code;
    });
  }

  /** Process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** What it wrote to standard output so far. */
  get stdout(): string {
    return this.#stdout;
  }

  /** What it wrote to standard error so far. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Exit code, `undefined` while it runs. */
  get code(): number | undefined {
    return this.#code;
  }

  /** Resolves to the exit code. */
  get ended(): Promise<number> {
    return this.#ended;
  }

  /**
   * Waits until its output matches.
   *
   * @throws {Error} With all output, if it ends first or the time is over.
   */
  async shows(pattern: RegExp, timeoutMs = WAIT_MS): Promise<RegExpExecArray> {
    const until = performance.now() + timeoutMs;
    while (true) {
      const match = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
      if (match) return match;
      const left = until - performance.now();
      if (this.#code !== undefined || left <= 0) {
        const what = this.#code === undefined ? `after ${timeoutMs} ms` : `ended ${this.#code}`;
        const threads = this.#code === undefined ? await threadsOf(this.pid) : "";
        const said = `${this.#stdout}\n${this.#stderr}\n${threads}`;
        throw new Error(`No ${pattern} (${what}) in:\n${said}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, left);
        const watchers = this.#watchers;
        watchers.add(done);
        function done() {
          clearTimeout(timer);
          watchers.delete(done);
          resolve();
        }
      });
    }
  }

  /** Sends a signal, if it still runs. */
  signal(signal: Deno.Signal): void {
    if (this.#code !== undefined) return;
    try {
      this.#child.kill(signal);
    } catch {
      // It ended in between.
    }
  }

  /** Sends SIGTERM, and SIGKILL to what has not ended 20 seconds later. @returns The exit code. */
  async stop(): Promise<number> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), ENDING_MS);
    const code = await this.#ended;
    clearTimeout(timer);
    return code;
  }

  /** Sends SIGKILL. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#ended;
  }

  #wake(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}

/** Where each thread of a process waits, to tell a slow one from one that hangs. */
async function threadsOf(pid: number): Promise<string> {
  const lines: string[] = [];
  for await (const { name } of Deno.readDir(`/proc/${pid}/task`)) {
    const read = (file: string) =>
      Deno.readTextFile(`/proc/${pid}/task/${name}/${file}`).catch(() => "?");
    const [comm, wchan, syscall] = await Promise.all(["comm", "wchan", "syscall"].map(read));
    lines.push(`${comm!.trim()}: ${wchan!.trim()}, system call ${syscall!.trim()}`);
  }
  return lines.join("\n");
}

/**
 * Runs a command to its end.
 *
 * @throws {Error} Only if the program cannot be started.
 */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = commandOf(command, options, options.input === undefined ? "null" : "piped").spawn();
  const timer = setTimeout(() => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It ended in between.
    }
  }, options.timeoutMs ?? 2 * WAIT_MS);
  if (options.input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(options.input)).catch(() => {});
    await writer.close().catch(() => {});
  }
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/**
 * Runs a command that has to succeed.
 *
 * @returns Its standard output.
 * @throws {Error} With its output, if it fails.
 */
export async function must(
  command: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, options);
  if (code !== 0) throw new Error(`${command.join(" ")} ended ${code}:\n${stdout}\n${stderr}`);
  return stdout;
}

/** Waits, where a test has nothing to wait for but the passing of time. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Tries until something is so.
 *
 * @param what For the message.
 * @param attempt Returns `undefined` or `false`, or throws, as long as it is not.
 * @returns What the attempt returned.
 * @throws {Error} With the last error, when the time is over.
 */
export async function eventually<T>(
  what: string,
  attempt: () => Promise<T | undefined | false>,
  timeoutMs = WAIT_MS,
): Promise<T> {
  const until = performance.now() + timeoutMs;
  let last: unknown = "nothing yet";
  while (true) {
    try {
      const result = await attempt();
      if (result !== undefined && result !== false) return result;
    } catch (error) {
      last = error;
    }
    if (performance.now() > until) throw new Error(`Not within ${timeoutMs} ms: ${what}: ${last}`);
    await sleep(100);
  }
}

function commandOf(
  command: readonly string[],
  options: RunOptions,
  stdin: "null" | "piped",
): Deno.Command {
  return new Deno.Command(command[0]!, {
    args: command.slice(1),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { NO_COLOR: "1", ...options.env },
    stdin,
    stdout: "piped",
    stderr: "piped",
  });
}
