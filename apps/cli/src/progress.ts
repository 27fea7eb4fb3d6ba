/** Cells of a bar. */
const WIDTH = 24;
/** Milliseconds between two drawings. */
const REDRAW_MS = 100;

/** Where a bar is drawn: standard error of a terminal, so that what the command says can be piped. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Whether a command may draw at all. */
export interface ProgressOptions {
  /** The command speaks to a program. */
  readonly json: boolean;
  readonly stream?: ProgressStream;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds. */
  readonly now?: () => number;
}

/**
 * A progress bar for long work. Drawn on a terminal only, never with `--json`; without colour where NO_COLOR is set.
 */
export class Progress {
  readonly #stream: ProgressStream | undefined;
  readonly #colour: boolean;
  readonly #now: () => number;
  readonly #total: number;
  #done = 0;
  #label = '';
  #drawnAt = Number.NEGATIVE_INFINITY;
  #length = 0;

  constructor(
    total: number,
    { json, stream = process.stderr, env = process.env, now = () => performance.now() }: ProgressOptions,
  ) {
    this.#total = total;
    this.#stream = !json && stream.isTTY === true && env['TERM'] !== 'dumb' ? stream : undefined;
    this.#colour = (env['NO_COLOR'] ?? '') === '';
    this.#now = now;
  }

  /** So much is done, and this is at work. */
  at(done: number, label: string): void {
    this.#done = done;
    this.#label = label;
    if (this.#now() - this.#drawnAt >= REDRAW_MS) this.#draw();
  }

  /** Takes the bar away: before something else is printed, and at the end. */
  clear(): void {
    if (this.#length === 0) return;
    this.#stream?.write(`\r${' '.repeat(this.#length)}\r`);
    this.#length = 0;
    this.#drawnAt = Number.NEGATIVE_INFINITY;
  }

  #draw(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    const cells = this.#total === 0 ? 0 : Math.min(WIDTH, Math.floor((WIDTH * this.#done) / this.#total));
    const [full, empty] = ['='.repeat(cells), ' '.repeat(WIDTH - cells)];
    const text = ` ${this.#done}/${this.#total} ${this.#label}`.slice(
      0,
      Math.max(0, (stream.columns ?? 80) - WIDTH - 3),
    );
    const length = WIDTH + 2 + text.length;
    const pad = ' '.repeat(Math.max(0, this.#length - length));
    stream.write(`\r[${this.#colour ? `\u001b[32m${full}\u001b[0m` : full}${empty}]${text}${pad}`);
    this.#length = length;
    this.#drawnAt = this.#now();
  }
}
