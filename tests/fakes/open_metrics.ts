/**
 * A strict reader of OpenMetrics text, as far as counters, gauges and infos go: whatever it does not
 * expect is an error, with the line.
 *
 * @module
 */

/** What the text says of one family. */
export interface ReadFamily {
  readonly type: "counter" | "gauge" | "info";
  readonly help: string;
  readonly unit?: string;
  /** Values by their labels, written as JSON of sorted pairs. */
  readonly samples: ReadonlyMap<string, number>;
}

const SUFFIX: Readonly<Record<string, string>> = { counter: "_total", gauge: "", info: "_info" };
const NAME = /^[a-z_][a-z0-9_]*$/;
const SAMPLE = /^([a-z_][a-z0-9_]*)(?:\{(.+)\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|NaN|[+-]Inf)$/s;
const LABEL = /^([a-z_][a-z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/;

/** Key of a sample: labels in any order. */
export function labelKey(labels: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => a < b ? -1 : 1));
}

/** Reads a text. @throws {Error} At the first line that breaks a rule. */
export function readOpenMetrics(text: string): Map<string, ReadFamily> {
  const families = new Map<string, ReadFamily>();
  if (!text.endsWith("\n# EOF\n")) throw new Error("it does not end with # EOF");
  let current: { name: string; type: string; samples: Map<string, number> } | undefined;
  const lines = text.slice(0, -"# EOF\n".length).split("\n").slice(0, -1);
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    const fail = (why: string): never => {
      throw new Error(`line ${i + 1}: ${why}: ${line}`);
    };
    const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (name !== undefined) {
      if (!NAME.test(name) || !(type! in SUFFIX)) fail("bad name or type");
      if (families.has(name)) fail("a family twice");
      const unit = /^# UNIT (\S+) (\S+)$/.exec(lines[i + 1] ?? "");
      if (unit !== null) {
        i++;
        if (unit[1] !== name || !name.endsWith(`_${unit[2]}`)) fail("bad unit");
      }
      const help = /^# HELP (\S+) (\S.*)$/.exec(lines[++i] ?? "");
      if (help?.[1] !== name) fail("no help");
      current = { name, type: type!, samples: new Map() };
      const family = { type: type as ReadFamily["type"], help: help![2]! };
      families.set(name, {
        ...family,
        ...(unit !== null && { unit: unit[2]! }),
        samples: current.samples,
      });
      continue;
    }
    const sample = SAMPLE.exec(line) ?? fail("neither metadata nor a sample");
    if (current === undefined || sample[1] !== current.name + SUFFIX[current.type]!) {
      return fail("a sample of another family");
    }
    const key = labelKey(readLabels(sample[2] ?? "", fail));
    if (current.samples.has(key)) fail("a sample twice");
    const value = Number(sample[3]!.replace("Inf", "Infinity"));
    if (current.type === "counter" && !(value >= 0)) fail("a counter below 0");
    if (current.type === "info" && value !== 1) fail("an info that is not 1");
    current.samples.set(key, value);
  }
  return families;
}

function readLabels(text: string, fail: (why: string) => never): Record<string, string> {
  const labels: Record<string, string> = {};
  for (let rest = text; rest !== "";) {
    const [all, name, value] = LABEL.exec(rest) ?? fail("bad labels");
    if (name! in labels) fail("a label twice");
    labels[name!] = value!.replace(/\\(.)/g, (_, char) => char === "n" ? "\n" : char);
    rest = rest.slice(all!.length);
    if (rest === "" && all!.endsWith(",")) fail("a comma too many");
  }
  return labels;
}
