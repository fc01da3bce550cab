/**
 * What the race measures, what is aimed at, and the two tables made of it. Pure.
 *
 * @module
 */

/** A figure: what it is, and which direction is good; no direction for figures that only explain. */
interface Measure {
  readonly title: string;
  readonly unit: string;
  readonly better?: "more" | "less";
}

/** Every figure of one round, in the order of the table. */
export const MEASURES = {
  tcp: { title: "one TCP stream", unit: "Mbit/s", better: "more" },
  reverse: { title: "one TCP stream, reverse", unit: "Mbit/s", better: "more" },
  ten: { title: "ten TCP streams", unit: "Mbit/s", better: "more" },
  cpuSender: { title: "CPU, sender", unit: "s/GB", better: "less" },
  cpuReceiver: { title: "CPU, receiver", unit: "s/GB", better: "less" },
  cpuBoth: { title: "CPU, both ends", unit: "s/GB", better: "less" },
  lost: { title: "lost inside while TCP runs", unit: "packets", better: "less" },
  retransmits: { title: "TCP segments sent again", unit: "segments", better: "less" },
  udpReceived: { title: "64-byte UDP received", unit: "1/s", better: "more" },
  udpSent: { title: "64-byte UDP sent", unit: "1/s" },
  pingIdle: { title: "ping idle, average", unit: "ms", better: "less" },
  pingIdleMax: { title: "ping idle, longest", unit: "ms", better: "less" },
  pingLoad: { title: "ping under TCP, average", unit: "ms", better: "less" },
  pingLoadMax: { title: "ping under TCP, longest", unit: "ms", better: "less" },
  pingLoadLost: { title: "pings lost under TCP", unit: "%", better: "less" },
  rssIdle: { title: "memory idle, larger end", unit: "MB", better: "less" },
  rssLoaded: { title: "memory after load, larger end", unit: "MB", better: "less" },
  start: { title: "start to first ping", unit: "ms", better: "less" },
} as const satisfies Record<string, Measure>;

/** Name of a figure. */
export type MeasureName = keyof typeof MEASURES;
/** The figures of one program in one round; what failed is absent. */
export type Sample = Partial<Record<MeasureName, number>>;
/** The rounds of every program that ran, by name. */
export type Samples = ReadonlyMap<string, readonly Sample[]>;

/** Names of columns that are no peers: the cable, and what is ours. */
export const NO_PEERS = ["raw", "tunnelmesh", "tunnelmesh-portable"] as const;
/** The column that the aims are about. */
const OURS = "tunnelmesh";

/** What one aim compares with: the best peer, one peer by name, or a number. */
type Against = "best peer" | "nebula" | "fixed";
type Aim = readonly [measure: MeasureName, against: Against, factor: number];

/** Ours has to reach `factor` times what it is compared with, or stay below it. */
export const AIMS: readonly Aim[] = [
  ["tcp", "best peer", 1.4],
  ["tcp", "nebula", 4.5],
  ["reverse", "best peer", 1.4],
  ["reverse", "nebula", 4.5],
  ["ten", "best peer", 1.4],
  ["ten", "nebula", 4.5],
  ["cpuSender", "best peer", 0.75],
  ["cpuReceiver", "best peer", 0.75],
  ["cpuBoth", "best peer", 0.75],
  ["udpReceived", "nebula", 1],
  ["pingIdle", "nebula", 1],
  ["pingLoad", "nebula", 1],
  ["lost", "fixed", 0],
  ["rssIdle", "fixed", 110],
  ["rssLoaded", "fixed", 130],
];

/** How one aim stands. */
export interface Verdict {
  readonly measure: MeasureName;
  /** In words, as in `at least 1.4 × wireguard-go (2710)`. */
  readonly aim: string;
  /** What has to be reached; `undefined` if nobody is there to compare with. */
  readonly bound: number | undefined;
  readonly ours: number | undefined;
  readonly word: "pass" | "miss" | "no figure";
}

/**
 * The middle of the figures of one program, `undefined` if no round has any.
 *
 * @param name The program.
 */
export function medianOf(
  samples: Samples,
  name: string,
  measure: MeasureName,
): number | undefined {
  const sorted = figuresOf(samples, name, measure).toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}

/** The peer whose median is best; `undefined` if no peer has a figure. */
export function bestPeer(
  samples: Samples,
  measure: MeasureName,
): { readonly name: string; readonly value: number } | undefined {
  const isMore = directionOf(measure) === "more";
  let best: { name: string; value: number } | undefined;
  for (const name of samples.keys()) {
    if ((NO_PEERS as readonly string[]).includes(name)) continue;
    const value = medianOf(samples, name, measure);
    if (value === undefined) continue;
    if (best === undefined || (isMore ? value > best.value : value < best.value)) {
      best = { name, value };
    }
  }
  return best;
}

/** Judges every aim. */
export function verdictsOf(samples: Samples): Verdict[] {
  return AIMS.map(([measure, against, factor]) => {
    const isMore = directionOf(measure) === "more";
    const word = isMore ? "at least" : "at most";
    const ours = medianOf(samples, OURS, measure);
    const judge = (aim: string, bound: number | undefined): Verdict => {
      if (ours === undefined || bound === undefined) {
        return { measure, aim, bound, ours, word: "no figure" };
      }
      const isReached = isMore ? ours >= bound : ours <= bound;
      return { measure, aim, bound, ours, word: isReached ? "pass" : "miss" };
    };
    if (against === "fixed") return judge(`${word} ${factor}`, factor);
    const nebula = medianOf(samples, "nebula", measure);
    const rival = against === "best peer"
      ? bestPeer(samples, measure)
      : nebula === undefined
      ? undefined
      : { name: "nebula", value: nebula };
    const times = factor === 1 ? "" : `${factor} × `;
    if (rival === undefined) {
      return judge(`${word} ${times}${against === "nebula" ? "" : "the "}${against}`, undefined);
    }
    return judge(`${word} ${times}${rival.name} (${short(rival.value)})`, factor * rival.value);
  });
}

/** Medians, with the range if there were several rounds, and ratios to the best peer and nebula. */
export function figuresTable(samples: Samples): string {
  const names = [...samples.keys()];
  const ours = names.filter((name) => name.startsWith(OURS));
  const rivals = ["best peer", "nebula"] as const;
  const head = [
    ...["measure", "unit", ...names],
    ...ours.flatMap((name) => rivals.map((rival) => `${name} ÷ ${rival}`)),
  ];
  const rows = (Object.keys(MEASURES) as MeasureName[]).map((measure) => {
    const { title, unit } = MEASURES[measure];
    const isJudged = directionOf(measure) !== undefined;
    const cells = names.map((name) => cellOf(samples, name, measure));
    const ratios = ours.flatMap((name) =>
      rivals.map((rival) => {
        const value = medianOf(samples, name, measure);
        const theirs = rival === "nebula"
          ? medianOf(samples, rival, measure)
          : bestPeer(samples, measure)?.value;
        return isJudged && value !== undefined && theirs ? (value / theirs).toFixed(2) : "–";
      })
    );
    return [title, unit, ...cells, ...ratios];
  });
  return markdown(head, rows);
}

/** The aims, each with its verdict. */
export function aimsTable(samples: Samples): string {
  const rows = verdictsOf(samples).map(({ measure, aim, bound, ours, word }) => [
    MEASURES[measure].title,
    aim,
    bound === undefined ? "–" : `${short(bound)} ${MEASURES[measure].unit}`,
    ours === undefined ? "–" : short(ours),
    word,
  ]);
  return markdown(["measure", "aim", "that is", OURS, "verdict"], rows);
}

function cellOf(samples: Samples, name: string, measure: MeasureName): string {
  const figures = figuresOf(samples, name, measure);
  const median = medianOf(samples, name, measure);
  if (median === undefined) return "–";
  const rounds = samples.get(name)!.length;
  const range = figures.length > 1
    ? ` (${short(Math.min(...figures))}–${short(Math.max(...figures))})`
    : "";
  const missing = figures.length < rounds ? `, ${figures.length} of ${rounds} rounds` : "";
  return short(median) + range + missing;
}

function figuresOf(samples: Samples, name: string, measure: MeasureName): number[] {
  return (samples.get(name) ?? []).flatMap((sample) => sample[measure] ?? []);
}

function directionOf(measure: MeasureName): Measure["better"] {
  const row: Measure = MEASURES[measure];
  return row.better;
}

/** Three digits, or all there are before the point. */
function short(value: number): string {
  return value >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |\n`;
  return line(head) + line(widths.map((width) => "-".repeat(width))) + rows.map(line).join("");
}
