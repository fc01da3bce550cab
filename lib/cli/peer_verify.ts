/**
 * `tunnelmesh peer show|verify|forget`: whom this node knows, by what a person compared.
 *
 * The coordinator is not asked: it is the one whose word is checked.
 *
 * @module
 */

import type { Command } from "commander";
import type { NamedKey } from "../agent/pins.ts";
import type { ForgottenPeer, PeerIdentity, PinnedPeer } from "../agent/trust_methods.ts";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { askNode } from "./ask.ts";
import { CommandError, EXIT } from "./exit.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";
import { promptForYes } from "./prompt.ts";

interface VerifyOptions extends CommonOptions {
  readonly scan?: string;
}

interface ForgetOptions extends CommonOptions {
  readonly yes?: boolean;
}

/** Declares the commands in the group `peer`. */
export function definePeerVerify(group: Command): void {
  withCommonOptions(group.command("show"), AGENT_STATE_FOLDER)
    .description("Show the key of this node, or of a peer, to compare: words, hex digits, QR code")
    .argument("[peer]", "name, mesh address or node id; left out: this node")
    .action(show);
  withCommonOptions(group.command("verify"), AGENT_STATE_FOLDER)
    .description("Pin the key of a peer that you compared: no other key gets its name or address")
    .argument("<peer>", "name, mesh address or node id of the peer")
    .option("--scan <text>", "what its own screen shows: text of the QR code, words or hex digits")
    .addHelpText(
      "after",
      `
Examples:
  sudo tunnelmesh peer show                  # there: what to compare with
  sudo tunnelmesh peer verify laptop         # here: compares by eye, and asks
  sudo tunnelmesh peer verify laptop --scan tunnelmesh:0123…`,
    )
    .action(verify);
  withCommonOptions(group.command("forget"), AGENT_STATE_FOLDER)
    .description("Give up what is known of a name, so that another key may have it")
    .argument("<name>", "name of the peer")
    .option("--yes", "do not ask")
    .action(forget);
}

async function show(peer: string | undefined, options: CommonOptions): Promise<void> {
  const identity = await identityOf(options, peer);
  const { fingerprintForms, showFingerprint } = await import("./fingerprint.ts");
  if (options.json) return printJson({ ...identity, ...fingerprintForms(identity.nodeId) });
  print(`${peer === undefined ? "This node" : "Peer"}: ${headingOf(identity)}\n`);
  print(await showFingerprint(identity.nodeId, Deno.stdout.isTerminal()));
}

async function verify(peer: string, options: VerifyOptions): Promise<void> {
  const identity = await identityOf(options, peer);
  const { name, nodeId } = identity;
  const { fingerprintForms } = await import("./fingerprint.ts");
  const forms = fingerprintForms(nodeId);
  if (options.scan !== undefined) await requireMatch(identity, options.scan);
  else if (options.json) return printJson({ ...identity, ...forms });
  else await askPerson(identity);
  const verified = await askNode<NamedKey>(options.state, "peer-verify", { name, nodeId });
  if (options.json) return printJson({ ...verified, ...forms, trust: "verified" });
  print(`Verified ${name}: its name and its addresses are held for this key`);
}

async function forget(name: string, options: ForgetOptions): Promise<void> {
  const known = await askNode<PinnedPeer>(options.state, "peer-pin", { name });
  if (!options.yes) {
    const question = `${warningAbout(known)}\nForget ${known.pin.name}? Type yes: `;
    if (!mayGoOn(question, `forget "${name}"`, "--yes")) return;
  }
  const { nodeId } = known.pin;
  const done = await askNode<ForgottenPeer>(options.state, "peer-forget", { name, nodeId });
  if (options.json) return printJson(done);
  const { forgotten, present } = done;
  print(`Forgot ${forgotten.name}; whoever has that name is new`);
  if (present !== undefined) {
    print(`To compare the key that has it:\n  tunnelmesh peer verify ${present.name}`);
  }
}

function identityOf(options: CommonOptions, peer: string | undefined): Promise<PeerIdentity> {
  return askNode<PeerIdentity>(options.state, "peer-identity", peer === undefined ? {} : { peer });
}

async function requireMatch({ name, nodeId }: NamedKey, scanned: string): Promise<void> {
  const { judgeFingerprint } = await import("../token/fingerprint_text.ts");
  const verdict = judgeFingerprint(scanned, nodeId);
  if (verdict === "match") return;
  if (verdict === "other") {
    throw new CommandError(
      `Cannot verify "${name}": what was scanned is another key than the mesh has under this name; ` +
        `do not trust it before you know why; see tunnelmesh peer show ${name}`,
      EXIT.failure,
    );
  }
  throw new CommandError(
    `Cannot verify "${name}": the text is no whole fingerprint; give the text of the QR code, all ` +
      "12 words or all 64 hex digits",
    EXIT.usage,
  );
}

/** Shows the key and asks whether the peer shows the same; returns only if it does. */
async function askPerson(identity: PeerIdentity): Promise<void> {
  const { name, nodeId } = identity;
  const { showFingerprint } = await import("./fingerprint.ts");
  print(`Peer: ${headingOf(identity)}\n`);
  print(await showFingerprint(nodeId, Deno.stdout.isTerminal()));
  const question = `\nOn ${name} itself, "tunnelmesh peer show" shows its key. Are all words, or ` +
    "all hex digits, the same there? Type yes: ";
  if (mayGoOn(question, `verify "${name}"`, "--scan TEXT")) return;
  throw new CommandError(
    `Cannot verify "${name}": you did not say yes; nothing has changed`,
    EXIT.failure,
  );
}

/** @throws {CommandError} If nobody is there to be asked. */
function mayGoOn(question: string, attempt: string, otherwise: string): boolean {
  const answer = promptForYes(question);
  if (answer !== undefined) return answer;
  throw new CommandError(
    `Cannot ${attempt}: there is no terminal to ask on; give ${otherwise}`,
    EXIT.usage,
  );
}

function headingOf({ name, trust, refused, keyBefore }: PeerIdentity): string {
  const lines = [trust === undefined ? name : `${name} (${trust})`];
  if (refused !== undefined) lines.push(`Refused: ${refused}`);
  if (keyBefore !== undefined) lines.push(`Its name was seen with another key: ${keyBefore}`);
  return lines.join("\n");
}

function warningAbout({ pin, present }: PinnedPeer): string {
  const facts = [`${pin.name} is ${pin.state} with the key ${pin.nodeId}`];
  if (present !== undefined && present.nodeId !== pin.nodeId) {
    facts.push(
      `The mesh has it with another key:    ${present.nodeId}`,
      "If nobody told you why, somebody may pretend to be it: forgetting lets that one in",
    );
  }
  return facts.join("\n");
}
