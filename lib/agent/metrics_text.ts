/**
 * Metrics as text, in the form that Prometheus and others read: OpenMetrics 1.0.
 *
 * ```text
 * # TYPE tunnelmesh_dropped counter
 * # HELP tunnelmesh_dropped Packets and datagrams dropped.
 * tunnelmesh_dropped_total{reason="bad-mac1"} 3
 * # EOF
 * ```
 *
 * @module
 */

/** What may stand before a value. */
export type MetricLabels = Readonly<Record<string, string>>;

/** One value. */
export interface MetricSample {
  readonly labels?: MetricLabels;
  readonly value: number;
}

/** Values of one kind. */
export interface MetricFamily {
  /** Without the suffix that its type adds: `_total` for a counter, `_info` for an info. */
  readonly name: string;
  /** A counter only grows while the process runs; an info is always 1 and says what it has by labels. */
  readonly type: "counter" | "gauge" | "info";
  /** Base unit, which is also the end of the name. */
  readonly unit?: "bytes" | "seconds";
  /** A sentence for people. */
  readonly help: string;
  /** In any order, no two with equal labels. */
  readonly samples: readonly MetricSample[];
}

const SUFFIX = { counter: "_total", gauge: "", info: "_info" } as const;

/**
 * Writes metrics.
 *
 * @param families Those without samples are left out.
 * @returns Lines, the last of which is `# EOF`, each with its line feed.
 */
export function openMetricsOf(families: readonly MetricFamily[]): string {
  const lines: string[] = [];
  for (const { name, type, unit, help, samples } of families) {
    if (samples.length === 0) continue;
    lines.push(`# TYPE ${name} ${type}`);
    if (unit !== undefined) lines.push(`# UNIT ${name} ${unit}`);
    lines.push(`# HELP ${name} ${escapeText(help)}`);
    for (const { labels, value } of samples) {
      lines.push(`${name}${SUFFIX[type]}${labelsOf(labels)} ${formatValue(value)}`);
    }
  }
  lines.push("# EOF", "");
  return lines.join("\n");
}

function labelsOf(labels: MetricLabels = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeText(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** Backslash, quote and line feed are all that has a meaning. */
function escapeText(text: string): string {
  return text.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}

function formatValue(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}
