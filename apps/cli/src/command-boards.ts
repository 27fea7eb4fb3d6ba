import { type BoardProfile, boardFacts, boardNames, boardRows, loadBoard, memoryMap } from '@remio/board';
import { renderTable } from '@remio/telemetry';
import { loadBoardFile } from '@remio/topology';
import { CommandError, EXIT } from './exit-codes.js';

/** How the boards are shown: for people, for programs, or as docs/boards.md has them. */
export interface BoardsOptions {
  readonly json: boolean;
  readonly markdown: boolean;
}

/** `remio boards`: what every board profile has; `remio boards NAME`: one board, with its memory map. */
export function boards(name: string | undefined, { json, markdown }: BoardsOptions): void {
  if (name !== undefined) {
    const board = boardOf(name);
    console.log(json ? toJson(board) : showBoard(board));
    return;
  }
  const [head = [], ...rows] = boardRows();
  if (json) console.log(toJson(boardNames.map(boardOf)));
  else if (markdown) {
    for (const row of [head, head.map(() => '---'), ...rows]) console.log(`| ${row.join(' | ')} |`);
  } else {
    console.log(renderTable([head, ...rows].map((row) => row.slice(0, SHORT_COLUMNS))));
    console.log('\nremio boards NAME shows one, with its memory map.');
  }
}

/** Columns of the table that a terminal has room for. */
const SHORT_COLUMNS = 5;

/**
 * A board by its name, or by the path of its file.
 * @throws CommandError if there is no such board, or something is wrong with its file
 */
function boardOf(name: string): BoardProfile {
  if (name.includes('/') || /\.ya?ml$/.test(name)) {
    const { board, text } = loadBoardFile(name);
    if (board === undefined) throw new CommandError(text, EXIT.USAGE);
    return board;
  }
  const board = loadBoard({ name });
  if (!board.ok) throw new CommandError(board.error, EXIT.USAGE);
  return board.value;
}

/** Addresses as they are written elsewhere: JSON has no integers of 64 bits. */
const toJson = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? `0x${inner.toString(16)}` : inner), 2);

function showBoard(board: BoardProfile): string {
  const facts = boardFacts(board);
  const width = Math.max(...facts.map(([name]) => name.length));
  return [
    `${board.name}: ${board.description}`,
    '',
    ...facts.map(([name, value], n) => `${(facts[n - 1]?.[0] === name ? '' : name).padEnd(width)}  ${value}`),
    '',
    ...memoryMap(board),
  ].join('\n');
}
