/**
 * The one error class of the configuration layer.
 *
 * @module
 */

/** A configuration file that cannot be used, with the place in it that is wrong. */
export class ConfigError extends Error {
  /** Always `"ConfigError"`. */
  override readonly name = "ConfigError";

  /**
   * Creates an error for one place in a file.
   *
   * @param file Path as the user gave it.
   * @param fault What is wrong and what to do about it, without a trailing period.
   * @param line 1-based line, absent if the file could not be read at all.
   * @param column 1-based column.
   * @param options Carries the `cause`, if there is one.
   */
  constructor(
    readonly file: string,
    readonly fault: string,
    readonly line?: number,
    readonly column?: number,
    options?: ErrorOptions,
  ) {
    const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
    // Keys and names of the file are in it, with whatever a line or a terminal would act on.
    const text = fault.replace(/\p{Cc}+/gu, " ");
    super(`Cannot use the configuration ${place}: ${text}`, options);
  }
}
