/**
 * Reads a YAML configuration file, and says exactly where it is wrong.
 *
 * Costs the YAML parser and zod (6 MB of code): import it only where there is a file to read.
 *
 * @module
 */

import { type Document, isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import type { z } from "zod";
import { nearestOf } from "./edit_distance.ts";
import { ConfigError } from "./errors.ts";
import {
  AGENT_SCHEMA,
  type AgentConfig,
  COORDINATOR_SCHEMA,
  type CoordinatorConfig,
} from "./schema.ts";

/**
 * Reads a coordinator's configuration file.
 *
 * @param file Path of a YAML file; an empty one says nothing and is right.
 * @returns What the file says.
 * @throws {ConfigError} If it cannot be read, is no YAML, or says something that may not be.
 */
export async function loadCoordinatorConfig(file: string): Promise<CoordinatorConfig> {
  return parseConfig(await readConfig(file), file, COORDINATOR_SCHEMA);
}

/**
 * Reads an agent's configuration file.
 *
 * @param file Path of a YAML file; an empty one says nothing and is right.
 * @returns What the file says.
 * @throws {ConfigError} If it cannot be read, is no YAML, or says something that may not be.
 */
export async function loadAgentConfig(file: string): Promise<AgentConfig> {
  return parseConfig(await readConfig(file), file, AGENT_SCHEMA);
}

/**
 * Checks the text of a configuration file.
 *
 * @param text YAML.
 * @param file Path to name in errors.
 * @param schema What the file may say: an object of named values.
 * @returns What the text says, checked.
 * @throws {ConfigError} With the line and column of the first thing that is wrong.
 */
export function parseConfig<Schema extends z.ZodObject>(
  text: string,
  file: string,
  schema: Schema,
): z.output<Schema> {
  const lines = new LineCounter();
  // What is wrong is said below, and not to standard error as well.
  const quiet = { prettyErrors: false, logLevel: "error" } as const;
  const document = parseDocument(text, { lineCounter: lines, ...quiet });
  const fail = (fault: string, offset: number): never => {
    const { line, col } = lines.linePos(offset);
    throw new ConfigError(file, fault, line, col);
  };

  const broken = document.errors[0] ?? document.warnings[0];
  if (broken) fail(`no valid YAML (${firstLine(broken.message)})`, broken.pos[0]);

  const result = schema.safeParse(valueOf(document, fail) ?? {});
  if (result.success) return result.data;

  // A mistyped key also makes the right one missing: the key is the better thing to say.
  const issues = result.error.issues;
  const issue = issues.find((one) => one.code === "unrecognized_keys") ?? issues[0]!;
  const path = issue.path as (string | number)[];
  if (issue.code !== "unrecognized_keys") {
    const fault = path.length > 0 && !document.hasIn(path) ? "is missing" : issue.message;
    return fail(describe(path, fault), offsetOf(nearestNode(document, path)));
  }
  const unknown = issue.keys[0]!;
  const known = knownKeys(schema, path);
  const nearest = nearestOf(unknown, known);
  return fail(
    `unknown key "${[...path, unknown].join(".")}"; did you mean "${nearest}"?`,
    offsetOf(keyNode(nearestNode(document, path), unknown)),
  );
}

/**
 * Reads the text of a configuration file.
 *
 * @param file Path.
 * @throws {ConfigError} If it cannot be read.
 */
export async function readConfig(file: string): Promise<string> {
  try {
    return await Deno.readTextFile(file);
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound ? "there is no such file" : `${cause}`;
    throw new ConfigError(file, why, undefined, undefined, { cause });
  }
}

/** An alias of nothing, or a bomb of aliases, shows only now. */
function valueOf(document: Document, fail: (fault: string, offset: number) => never): unknown {
  try {
    return document.toJS();
  } catch (error) {
    return fail(`no valid YAML (${firstLine(error instanceof Error ? error.message : "")})`, 0);
  }
}

function describe(path: readonly (string | number)[], message: string): string {
  return path.length === 0 ? "it must hold keys with values" : `${path.join(".")}: ${message}`;
}

/** Keys that the object at a path of the schema may have. */
function knownKeys(schema: z.ZodObject, path: readonly (string | number)[]): string[] {
  let at: unknown = schema;
  for (const step of path) {
    // A list has no names: what its items may hold is found through it, like through `optional`.
    if (typeof step === "string") at = shapeOf(at)[step];
  }
  return Object.keys(shapeOf(at));
}

/** The fields of an object schema, through `optional`, lists and their like. */
function shapeOf(schema: unknown): Record<string | number, unknown> {
  let inner = schema as { shape?: Record<string, unknown>; unwrap?: () => unknown };
  while (inner.shape === undefined && inner.unwrap) inner = inner.unwrap() as typeof inner;
  return inner.shape ?? {};
}

/** What stands at a path, or at the longest part of it that is there. */
function nearestNode(document: Document, path: readonly (string | number)[]): unknown {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true);
    if (node !== undefined) return node;
  }
  return document.contents;
}

function keyNode(map: unknown, key: string): unknown {
  if (!isMap(map)) return map;
  return map.items.find((pair) => isScalar(pair.key) && pair.key.value === key)?.key;
}

function offsetOf(node: unknown): number {
  return (node as Node | undefined)?.range?.[0] ?? 0;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!;
}
