/** Names that are compared: a file with thousands of wrong ones must not take longer for it. */
const COMPARED_MAX = 256;

/**
 * The name of a list that may have been meant: at most two letters differ, and fewer than half. Undefined if there are
 * two such names.
 */
export function similarName(written: string, names: readonly string[]): string | undefined {
  const most = Math.min(2, (written.length - 1) / 2);
  let best: { readonly name: string; readonly distance: number } | undefined;
  let tied = false;
  for (const name of names.slice(0, COMPARED_MAX)) {
    if (Math.abs(name.length - written.length) > most || name === best?.name) continue;
    const distance = editDistance(written, name);
    if (distance > most || (best !== undefined && distance > best.distance)) continue;
    tied = distance === best?.distance;
    best = { name, distance };
  }
  return tied ? undefined : best?.name;
}

/** Letters to insert, remove or replace. */
function editDistance(a: string, b: string): number {
  const row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 1; i <= a.length; i += 1) {
    let diagonal = row[0] ?? 0;
    row[0] = i;
    for (let j = 1; j <= b.length; j += 1) {
      const above = row[j] ?? 0;
      row[j] = Math.min(above + 1, (row[j - 1] ?? 0) + 1, diagonal + (a[i - 1] === b[j - 1] ? 0 : 1));
      diagonal = above;
    }
  }
  return row[b.length] ?? a.length;
}
