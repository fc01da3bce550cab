/**
 * Members against a model of one line each: whatever is done in whatever order, nobody is connected
 * who is not an active member, and everybody who is connected has exactly the active ones in its
 * roster.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import type { NodeState } from "../../lib/coordinator/store.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import { nodeIdOf } from "../../lib/coordinator/registry.ts";
import { RefusalError, type RefusalReason } from "../../lib/wire/refusal.ts";
import { MemoryMesh, refusedFor } from "./memory_mesh.ts";
import type { SimulatedAgent } from "./simulated_agent.ts";

const NODES = 4;
/** A connection that says nothing dies after 75 s; each action takes a tenth of a second. */
const MAX_ACTIONS = 60;
const KEYS = Array.from({ length: NODES }, generateKeyPair);
const IDS = KEYS.map(({ publicKey }) => nodeIdOf(publicKey));

/** What a node is, and whether it is connected. */
interface Modelled {
  state: NodeState | "stranger";
  agent: SimulatedAgent | undefined;
  /** With what it comes back. */
  welcomed: SimulatedAgent | undefined;
}

interface OnNode {
  readonly what: "join" | "invited" | "come back" | "go" | NodeState;
  readonly node: number;
}

type Action = OnNode | { readonly what: "restart" | "rotate" };

const onNode = fc.record({
  what: fc.constantFrom(
    ...["join", "invited", "come back", "go", "active", "disabled", "removed"] as const,
  ),
  node: fc.nat({ max: NODES - 1 }),
});
const onAll = fc.record({ what: fc.constantFrom("restart", "rotate") });
const ACTIONS = fc.array(
  fc.oneof({ arbitrary: onNode, weight: 12 }, { arbitrary: onAll, weight: 1 }),
  { maxLength: MAX_ACTIONS, size: "max" },
) as fc.Arbitrary<Action[]>;

/** A coordinator and the model of it. */
class Both {
  mesh = new MemoryMesh();
  readonly nodes: Modelled[] = KEYS.map(() => ({
    state: "stranger",
    agent: undefined,
    welcomed: undefined,
  }));

  do(action: Action): void {
    if ("node" in action) {
      this.#doTo(action.what, action.node, this.nodes[action.node]!);
    } else if (action.what === "rotate") {
      this.mesh.tokens.rotate(this.mesh.clock.unixNow());
    } else {
      this.mesh = this.mesh.restarted();
      for (const node of this.nodes) node.agent = undefined;
    }
    this.mesh.run();
  }

  /** Compares what is with what should be. */
  check(): void {
    const active = IDS.filter((_, i) => this.nodes[i]!.state === "active").sort();
    deepStrictEqual([...this.mesh.registry.members()].map(({ nodeId }) => nodeId).sort(), active);
    for (const [i, { agent }] of this.nodes.entries()) {
      strictEqual(this.mesh.hub.isOnline(IDS[i]!), agent !== undefined);
      if (agent === undefined) continue;
      strictEqual(agent.closed, undefined);
      deepStrictEqual([...agent.roster.keys()].sort(), active, `the roster of node ${i}`);
    }
  }

  #doTo(what: OnNode["what"], i: number, node: Modelled): void {
    switch (what) {
      case "go":
        node.agent?.hangUp();
        node.agent = undefined;
        return;
      case "join":
      case "invited": {
        this.#doTo("go", i, node);
        this.mesh.run();
        const token = what === "join" ? this.mesh.token : this.mesh.invite();
        const agent = this.mesh.join(`node${i}`, { token, staticKey: KEYS[i]! });
        if (node.state === "disabled") return strictEqual(refusedFor(agent), "disabled");
        node.state = "active";
        return this.#isIn(node, agent);
      }
      case "come back": {
        if (node.welcomed === undefined) return;
        this.#doTo("go", i, node);
        this.mesh.run();
        const agent = this.mesh.reconnect(node.welcomed);
        if (node.state === "active") return this.#isIn(node, agent);
        return strictEqual(refusedFor(agent), node.state);
      }
      default:
        return this.#set(what, i, node);
    }
  }

  #isIn(node: Modelled, agent: SimulatedAgent): void {
    strictEqual(refusedFor(agent), undefined);
    node.agent = agent;
    node.welcomed = agent;
  }

  #set(state: NodeState, i: number, node: Modelled): void {
    const isMember = node.state === "active" || node.state === "disabled";
    let refused: RefusalReason | undefined;
    try {
      this.mesh.hub.setState(IDS[i]!, state);
    } catch (error) {
      if (!(error instanceof RefusalError)) throw error;
      refused = error.reason;
    }
    strictEqual(refused, isMember ? undefined : "not-a-member");
    if (!isMember) return;
    node.state = state;
    if (state === "active") return;
    this.mesh.run();
    if (node.agent !== undefined) strictEqual(refusedFor(node.agent), state);
    node.agent = undefined;
  }
}

Deno.test("T15: in any order of joins, returns and revocations, only active members are connected and known", () => {
  fc.assert(
    fc.property(ACTIONS, (actions) => {
      const both = new Both();
      for (const action of actions) {
        both.do(action);
        both.check();
      }
    }),
    { numRuns: 25 },
  );
});
