/**
 * Why a coordinator closes a control channel: a WebSocket close code with a reason for people
 * (protocol.md §2). The client reports it and deletes nothing.
 *
 * @module
 */

/**
 * Reason => close code, what the agent should do next, and the text for people. `stop`: trying again
 * as it is will fail, say so to the person; `retry`: try again with back-off.
 */
export const REFUSALS = {
  "bad-handshake": [4400, "stop", "the handshake failed: this coordinator has another key or mesh"],
  "bad-message": [4401, "stop", "a message could not be understood"],
  "bad-ticket": [4403, "retry", "the relay ticket is unknown, used or too old"],
  "unsupported-version": [4402, "stop", "the control versions differ: update the older side"],
  "unknown-token": [4410, "stop", "this coordinator does not know the token"],
  "token-rotated": [4411, "stop", "the token was replaced: ask for the current one"],
  "token-spent": [4412, "stop", "the invite was used already: ask for another one"],
  "token-expired": [4413, "stop", "the invite has expired: ask for another one"],
  "token-revoked": [4414, "stop", "the invite was revoked: ask for another one"],
  "not-a-member": [4420, "stop", "this node is not a member: join again with a token"],
  "removed": [4421, "stop", "this node was removed from the mesh: join again with a token"],
  "disabled": [4422, "stop", "this node is disabled: whoever runs the coordinator can enable it"],
  "bad-statement": [4430, "stop", "the identity statement is missing or does not verify"],
  "bad-name": [4431, "stop", "the name is no valid name: letters, digits and hyphens, at most 63"],
  "reserved-name": [4432, "stop", "the name is reserved: choose another one by --name"],
  "name-taken": [4433, "stop", "another node has the name: choose another one by --name"],
  "roster-full": [4440, "stop", "the address range of the mesh is used up"],
  "storage-failure": [4450, "retry", "the coordinator cannot store the registration (disk full?)"],
  "internal": [4451, "retry", "the coordinator failed; its log says why"],
  "newer-connection": [4460, "retry", "the same node connected again"],
  "cloned": [4461, "stop", "cloned state folder: two machines use the key of this node"],
  "timeout": [4470, "retry", "nothing was heard for too long"],
  "busy": [4471, "retry", "too many connections: try again later"],
  "too-slow": [4472, "retry", "the connection reads too slowly"],
  "shutdown": [4480, "retry", "the coordinator is stopping"],
} as const satisfies Record<string, readonly [number, "stop" | "retry", string]>;

/** One of {@linkcode REFUSALS}. */
export type RefusalReason = keyof typeof REFUSALS;

/** A refusal as it comes out of a WebSocket close. */
export interface Refusal {
  readonly reason: RefusalReason;
  /** Whether trying again as it is can help. */
  readonly advice: "stop" | "retry";
  /** For people, one line. */
  readonly text: string;
}

/** Thrown where a connection or a registration is refused; the channel then closes with it. */
export class RefusalError extends Error {
  override readonly name = "RefusalError";
  /** Which row of {@linkcode REFUSALS}. */
  readonly reason: RefusalReason;

  /** @param detail Text for people instead of the row's own; must hold no secret. */
  constructor(reason: RefusalReason, detail?: string, options?: ErrorOptions) {
    super(detail ?? REFUSALS[reason][2], options);
    this.reason = reason;
  }
}

/** A close reason may be 123 bytes of UTF-8 long (RFC 6455 §5.5). */
const MAX_REASON_BYTES = 123;

/** Code and reason text to close the WebSocket with. */
export function closeOf(refusal: RefusalError): { code: number; reason: string } {
  return { code: REFUSALS[refusal.reason][0], reason: clip(refusal.message) };
}

/**
 * What a WebSocket close means.
 *
 * @param code Close code.
 * @param text Close reason as received: shown to people, so control characters are taken out.
 * @returns `undefined` for a code that is none of ours (a proxy, a lost connection).
 */
export function refusalOf(code: number, text: string): Refusal | undefined {
  for (const [reason, [ownCode, advice, ownText]] of Object.entries(REFUSALS)) {
    if (ownCode !== code) continue;
    const clean = text.replace(/\p{Cc}/gu, "");
    return { reason: reason as RefusalReason, advice, text: clean === "" ? ownText : clean };
  }
  return undefined;
}

function clip(text: string): string {
  const encoder = new TextEncoder();
  if (encoder.encode(text).length <= MAX_REASON_BYTES) return text;
  let clipped = "";
  let length = 0;
  for (const character of text) {
    length += encoder.encode(character).length;
    if (length > MAX_REASON_BYTES) break;
    clipped += character;
  }
  return clipped;
}
