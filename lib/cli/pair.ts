/**
 * `tunnelmesh pair`: two machines meet for the first time, without a coordinator, and their people
 * see whom they met.
 *
 * @module
 */

import { type Command, InvalidArgumentError } from "commander";
import type { Agreement } from "../agent/pair_agreement.ts";
import type { PairLine } from "../agent/pair_line.ts";
import type { PairNode } from "../agent/pair_node.ts";
import type { PairRole } from "../agent/pair_role.ts";
import { AGENT_STATE_FOLDER, COORDINATOR_STATE_FOLDER } from "../config/paths.ts";
import { parseHostAndPort, parseRange, parseServer } from "../config/values.ts";
import { CommandError, errorLine, EXIT } from "./exit.ts";
import { watchForStop } from "./foreground.ts";
import type { Keyboard } from "./keyboard.ts";
import { type CommonOptions, parseSeconds, withCommonOptions } from "./options.ts";
import { findInviter, type Inviter, memberFolderOf } from "./pair_inviter.ts";
import { print, printError, printJson } from "./output.ts";

/** Port of a listening side, and of the network of the two, unless chosen otherwise. */
const DEFAULT_PORT = 51_820;

interface PairFlags extends CommonOptions {
  /** `true` without a value. */
  readonly listen?: string | true;
  readonly scan?: string;
  readonly expect?: string;
  readonly yes?: boolean;
  readonly qr?: string;
  readonly invite?: boolean;
  readonly name?: string;
  readonly config?: string;
  readonly range?: string;
  readonly timeout?: number;
  readonly interop?: boolean;
  readonly prologue?: string;
}

/** Declares the command. */
export function definePair(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .description("Meet another machine without any coordinator, and see who it is")
    .argument("[host:port]", "where the other machine listens")
    .option("--listen [address:port]", `wait for the other machine (default: port ${DEFAULT_PORT})`)
    .option("--scan <text>", "what was scanned from the other screen: confirms if it is right")
    .option("--expect <fingerprint>", "its fingerprint, known beforehand; any other one is refused")
    .option("--yes", "confirm without asking; only with --expect")
    .option("--qr <file>", "write the QR code of the other machine as a PNG file, too")
    .option("--invite", "invite the other machine into the mesh that this one is in")
    .option("--name <name>", "what this machine calls itself (default: the host's name)")
    .option(
      "--config <file>",
      "where to write the file for tunnelmesh up (default: STATE/NAME.yaml)",
    )
    .option("--range <prefix>", "IPv4 network of the two (default: a free one)", checkRange)
    .option("--timeout <s>", "seconds to dial without an answer (default: 90)", parseSeconds)
    .option("--interop", "speak with other programs: no MACs, empty prologue, local networks only")
    .option("--prologue <text>", "another partition: only machines with the same one meet")
    .addHelpText(
      "after",
      `
Both screens show the other machine's fingerprint, in words, in hex and as a QR code. Compare
it with what the other screen shows as its own and answer y at both ends; or scan the code of
the other screen and give the text here, at the question or by --scan in another terminal.

Examples:
  sudo tunnelmesh pair --listen                      # on one machine
  sudo tunnelmesh pair 192.0.2.1:${DEFAULT_PORT}               # on the other
  sudo tunnelmesh pair --scan 'tunnelmesh:…'         # what was scanned, while pair asks
  sudo tunnelmesh pair --listen --invite             # on a coordinator's machine, or any member's
                                                     # where that has --member-invites`,
    )
    .action(pair);
}

async function pair(host: string | undefined, flags: PairFlags): Promise<void> {
  if (flags.scan !== undefined && host === undefined && flags.listen === undefined) {
    return await scanOnly(flags.scan, flags);
  }
  refuseContradictions(host, flags);
  if (flags.qr !== undefined) await refuseExisting(flags.qr);
  const expected = flags.scan ?? flags.expect;
  if (expected !== undefined) (await import("./pair_question.ts")).refuseUnreadable(expected);
  const stop = watchForStop();
  if (flags.logLevel !== undefined) {
    (await import("../base/log.ts")).startLog({ level: flags.logLevel });
  }
  const role = await roleOf(host, flags);
  const inviter = flags.invite ? await findInviter(flags.state) : undefined;
  const state = inviter?.state ?? flags.state ?? AGENT_STATE_FOLDER;
  const { PairNode } = await import("../agent/pair_node.ts");
  const { staticSideOf } = await import("../agent/pair_role.ts");
  const node = await PairNode.open({
    state,
    isInviter: inviter !== undefined,
    name: flags.name,
    range: flags.range,
    side: staticSideOf(role),
    config: flags.config,
  });
  const keyboard = new (await import("./keyboard.ts")).Keyboard();
  let agreement: Agreement | undefined;
  try {
    const parts = { role, node, state, inviter, keyboard, signal: stop.signal };
    agreement = await agreedWithOne(parts, flags);
  } finally {
    node.close(agreement !== undefined);
    keyboard.close();
    stop.close();
  }
  await tell(agreement, state, flags);
}

/** What a pairing is made of, beside its flags. */
interface PairParts {
  readonly role: PairRole;
  readonly node: PairNode;
  readonly state: string;
  readonly inviter: Inviter | undefined;
  readonly keyboard: Keyboard;
  readonly signal: AbortSignal;
}

/**
 * Meets machines, one after another where this side listens: whoever is not the right one must not
 * keep that from coming.
 *
 * @throws {Error} Where there is nobody to wait for.
 */
async function agreedWithOne(parts: PairParts, flags: PairFlags): Promise<Agreement> {
  const { role, node, signal } = parts;
  const { NotThisOne } = await import("../agent/pair_agreement.ts");
  for (let isFirst = true;; isFirst = false) {
    const round = { isAlarmed: false };
    let agreement: Agreement | undefined;
    const line = await openLine(role, flags, node, signal);
    try {
      if (isFirst) await announce(role, line, node, flags);
      return agreement = await agreed(line, parts, flags, round);
    } catch (error) {
      const isOver = role.kind === "dial" || round.isAlarmed || signal.aborted;
      if (isOver || !(error instanceof NotThisOne)) throw error;
      printError(`${errorLine(error)}; this side listens on`);
      if (flags.json) printJson({ event: "refused", why: error.message });
    } finally {
      await line.close();
      if (agreement === undefined && flags.qr !== undefined) {
        await Deno.remove(flags.qr).catch(() => {});
      }
    }
  }
}

/** Gives what was scanned to the pairing that waits for it. */
async function scanOnly(text: string, flags: PairFlags): Promise<void> {
  const { tellScanned } = await import("../agent/pair_socket.ts");
  const folders = flags.state === undefined
    ? [AGENT_STATE_FOLDER, memberFolderOf(COORDINATOR_STATE_FOLDER)]
    : [flags.state, memberFolderOf(flags.state)];
  const answer = await tellScanned(folders, text);
  if (answer.result === "other") {
    throw new CommandError(
      `Cannot confirm "${answer.name}": what was scanned is of another machine, somebody may be in ` +
        "between; the pairing was ended",
      EXIT.refused,
    );
  }
  if (flags.json) printJson(answer);
  else print(`It is ${answer.name}: confirmed here; confirm at the other screen, too`);
}

async function openLine(
  role: PairRole,
  flags: PairFlags,
  node: PairNode,
  signal: AbortSignal,
): Promise<PairLine> {
  const { PairLine } = await import("../agent/pair_line.ts");
  const { SYSTEM_CLOCK } = await import("../base/clock.ts");
  return new PairLine({
    role,
    profile: flags.interop ? "pair-interop" : "pair",
    partition: flags.prologue,
    staticKey: node.staticKey,
    giveUpAfterMs: flags.timeout === undefined ? undefined : flags.timeout * 1000,
    clock: SYSTEM_CLOCK,
    signal,
  });
}

async function agreed(
  line: PairLine,
  { node, state, inviter, keyboard }: PairParts,
  flags: PairFlags,
  round: { isAlarmed: boolean },
): Promise<Agreement> {
  const { agree } = await import("../agent/pair_agreement.ts");
  const { decide } = await import("./pair_question.ts");
  return await agree(line, {
    hello: node.hello,
    check: (peer) => node.check(peer),
    keep: (peer, invite) => node.keep(peer, invite),
    makeInvite: async ({ name }) => ({ kind: "invite", ...await inviter!.invite(name) }),
    decide: async (peer, signal) => {
      const decision = await decide(peer, {
        ownName: node.hello.name,
        ownNodeId: node.nodeId,
        state,
        expected: flags.scan ?? flags.expect,
        isEnough: flags.scan !== undefined || flags.yes === true,
        qrFile: flags.qr,
        keyboard,
        isJson: flags.json ?? false,
      }, signal);
      round.isAlarmed ||= decision.isAlarm ?? false;
      return decision;
    },
  });
}

async function announce(
  role: PairRole,
  line: PairLine,
  node: PairNode,
  flags: PairFlags,
): Promise<void> {
  const { nodeId, hello: { name } } = node;
  const { fingerprintOf, showMachine } = await import("./pair_screen.ts");
  if (flags.json) {
    const event = role.kind === "listen" ? "listening" : "dialling";
    const self = { name, nodeId, fingerprint: fingerprintOf(nodeId) };
    return printJson({ event, port: line.port, self });
  }
  showMachine("This machine", { name, nodeId });
  if (role.kind === "dial") print(`\nDials ${role.text} …`);
  else {print(
      `\nListens on UDP port ${line.port}; on the other machine: tunnelmesh pair HOST:${line.port}`,
    );}
}

/** What is kept, and how to go on. */
async function tell(
  { peer, kept, isMutual }: Agreement,
  state: string,
  flags: PairFlags,
): Promise<void> {
  const { name, nodeId, outcome } = peer;
  const folder = flags.state === undefined ? "" : ` --state ${state}`;
  const command = outcome === "static"
    ? `sudo tunnelmesh up --config ${kept.file}${folder}`
    : outcome === "they-invite"
    ? `sudo tunnelmesh join --coordinator ${kept.coordinator} --token-file ${kept.file}${folder}` +
      (flags.name === undefined ? "" : ` --name ${flags.name}`)
    : undefined;
  if (flags.json) {
    const { file } = kept;
    const { fingerprintOf } = await import("./pair_screen.ts");
    return printJson({
      ...{ event: "paired", name, nodeId, fingerprint: fingerprintOf(nodeId), outcome, isMutual },
      ...(file !== undefined && { file }),
      ...(command !== undefined && { command }),
    });
  }
  print(`\nPaired with ${name}: its key is pinned`);
  if (!isMutual) {
    printError("The other machine did not say that it has kept its part; look there");
  }
  if (command !== undefined) print(`\nTo go on:\n\n  ${command}\n`);
  else print(`Invited ${name}: it joins by the command on its screen, within ten minutes`);
}

function refuseContradictions(host: string | undefined, flags: PairFlags): void {
  const refuse = (why: string): never => {
    throw new CommandError(`Cannot pair: ${why}`, EXIT.usage);
  };
  if ((host === undefined) === (flags.listen === undefined)) {
    refuse("say --listen on one machine, and where that is, HOST:PORT, on the other");
  }
  if (flags.yes && flags.expect === undefined && flags.scan === undefined) {
    refuse("--yes confirms what nobody has looked at; give --expect FINGERPRINT with it");
  }
  if (flags.scan !== undefined && flags.expect !== undefined) {
    refuse("--scan and --expect say the same; give one of them");
  }
  if (flags.interop && flags.prologue !== undefined) {
    refuse("--interop has no prologue; leave out one of the two");
  }
  if (flags.invite && flags.config !== undefined) {
    refuse("--config is for a network of the two; leave it out with --invite");
  }
}

async function roleOf(host: string | undefined, { listen }: PairFlags): Promise<PairRole> {
  const { dialRole, listenRole } = await import("../agent/pair_role.ts");
  if (host !== undefined) return await dialRole(usage(() => parseServer(host)));
  if (typeof listen === "string") return listenRole(usage(() => parseHostAndPort(listen)));
  return { kind: "listen", address: undefined, port: DEFAULT_PORT };
}

async function refuseExisting(path: string): Promise<void> {
  if (!await Deno.lstat(path).then(() => true, () => false)) return;
  throw new CommandError(
    `Cannot write "${path}": it is there already; name another one, or remove it first`,
    EXIT.usage,
  );
}

function checkRange(text: string): string {
  try {
    parseRange(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

/** Runs a parser of what a person wrote. */
function usage<Value>(parse: () => Value): Value {
  try {
    return parse();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CommandError(`Cannot pair: ${why}`, EXIT.usage, { cause });
  }
}
