/** A duration for people: three digits and a unit. */
export function showDuration(nanoseconds: number): string {
  for (const [unit, scale] of [
    ['s', 1e9],
    ['ms', 1e6],
    ['us', 1e3],
  ] as const) {
    if (nanoseconds >= scale) return `${(nanoseconds / scale).toPrecision(3)} ${unit}`;
  }
  return `${Math.round(nanoseconds)} ns`;
}

/** A throughput for people: two digits and more. */
export function showRate(bytes: number, nanoseconds: number): string {
  const rate = bytes / (nanoseconds / 1e9);
  if (rate < 2 ** 20) return `${(rate / 2 ** 10).toFixed(0)} KiB/s`;
  return `${(rate / 2 ** 20).toFixed(rate < 10 * 2 ** 20 ? 1 : 0)} MiB/s`;
}

/** Rows as a table with aligned columns; the first row is the heading. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
