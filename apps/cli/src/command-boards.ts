import { boardRows } from '@remio/board';
import { renderTable } from '@remio/telemetry';

/** How the boards are shown: for people, for programs, or as docs/boards.md has them. */
export interface BoardsOptions {
  readonly json: boolean;
  readonly markdown: boolean;
}

/** `remio boards`: what every board profile has. */
export function boards({ json, markdown }: BoardsOptions): void {
  const [head = [], ...rows] = boardRows();
  if (json) {
    const objects = rows.map((row) => Object.fromEntries(head.map((name, n) => [name, row[n] ?? ''])));
    console.log(JSON.stringify(objects));
  } else if (markdown) {
    for (const row of [head, head.map(() => '---'), ...rows]) console.log(`| ${row.join(' | ')} |`);
  } else console.log(renderTable([head, ...rows]));
}
