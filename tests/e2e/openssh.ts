/**
 * OpenSSH's own server and client on loopback, for tests that hold ours against them.
 *
 * @module
 */

import { toBase64 } from "../../lib/base/bytes.ts";
import type { TestKey } from "../transport/ssh_mesh.ts";
import { until } from "../transport/ssh_mesh.ts";

/** Whether this machine has OpenSSH. */
export const HAS_OPENSSH: boolean = ["/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/ssh-keyscan"]
  .every((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });

/** A public key as a line of `authorized_keys` or `known_hosts` has it. */
export function keyText(key: TestKey): string {
  return `${key.key.type} ${toBase64(key.publicKey)}`;
}

/** A folder for one test, with key files in it. */
export class KeyFolder implements AsyncDisposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "tunnelmesh-ssh-" });

  /** Writes a file that only its owner reads; returns its path. */
  write(name: string, text: string): string {
    const path = `${this.path}/${name}`;
    Deno.writeTextFileSync(path, text, { mode: 0o600 });
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/**
 * Environment that `sshd` gives to commands, so that no start-up file of the user's shell is read:
 * those may say anything, and take any time. The runtime's cache stays where it is.
 */
export const WITHOUT_PROFILE: string = "HOME=/nonexistent DENO_DIR=" +
  (Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`);

/** A running `sshd`. */
export interface Sshd extends AsyncDisposable {
  readonly port: number;
}

/** How often another port is tried, where somebody took the one that was free. */
const PORT_ATTEMPTS = 5;

/**
 * Starts `sshd` in the foreground, on a port of loopback.
 *
 * @param folder Where its files go.
 * @param hostKey What it proves itself with.
 * @param authorizedKeys Lines of the file; the user is the one who runs the tests.
 */
export async function startSshd(
  folder: KeyFolder,
  hostKey: TestKey,
  authorizedKeys: readonly string[],
): Promise<Sshd> {
  await Deno.mkdir("/run/sshd", { recursive: true });
  for (let attempt = 1;; attempt++) {
    const sshd = await sshdAt(freePort(), folder, hostKey, authorizedKeys);
    if (typeof sshd !== "string") return sshd;
    if (attempt === PORT_ATTEMPTS) throw new Error(`No sshd: ${sshd}`);
  }
}

/** Starts it on one port. @returns What it said instead, if it ended. */
async function sshdAt(
  port: number,
  folder: KeyFolder,
  hostKey: TestKey,
  authorizedKeys: readonly string[],
): Promise<Sshd | string> {
  const config = folder.write(
    "sshd_config",
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${folder.write("sshd_host_key", hostKey.privateText)}`,
      `AuthorizedKeysFile ${folder.write("authorized_keys", authorizedKeys.join("\n") + "\n")}`,
      "PermitRootLogin yes",
      "PasswordAuthentication no",
      "StrictModes no",
      "UsePAM no",
      "PidFile none",
      `SetEnv ${WITHOUT_PROFILE}`,
      "",
    ].join("\n"),
  );
  const child = new Deno.Command("/usr/sbin/sshd", {
    args: ["-D", "-e", "-f", config],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let log = "";
  const reading = (async () => {
    for await (const chunk of child.stderr) log += new TextDecoder().decode(chunk);
  })();
  let hasEnded = false;
  child.status.then(() => hasEnded = true);
  await until(() => hasEnded || log.includes("listening on"), "sshd");
  if (hasEnded) {
    await reading;
    return log;
  }
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      await child.status;
      await reading;
    },
  };
}

/** Who runs the tests, for `sshd` to log in. */
export function ownUser(): string {
  return Deno.env.get("USER") ?? "root";
}

/** Runs a program to its end. */
export async function run(program: string, args: string[]): Promise<{ code: number; out: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout) + text.decode(stderr) };
}

/** Options of `ssh` that let nothing of this machine's own configuration in. */
export function sshOptions(folder: KeyFolder, clientKey: TestKey, port: number): string[] {
  const key = folder.write("id_test", clientKey.privateText);
  return [
    ...["-F", "none", "-i", key, "-p", `${port}`, "-o", "IdentitiesOnly=yes"],
    ...["-o", "StrictHostKeyChecking=yes", "-o", `UserKnownHostsFile=${folder.path}/known_hosts`],
    ...["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "ClearAllForwardings=no"],
  ];
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}
