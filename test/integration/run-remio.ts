import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const root = join(import.meta.dirname, '..', '..');
export const main = join(root, 'apps', 'cli', 'dist', 'main.js');

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A `remio` that runs: its lines as they come, and its end. */
export class RunningRemio {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly lines: string[] = [];
  readonly #waiting: { readonly matches: (line: string) => boolean; readonly resolve: (line: string) => void }[] = [];

  /** @param group whether it leads a process group of its own, as in a terminal */
  constructor(args: readonly string[], { group = false }: { readonly group?: boolean } = {}) {
    this.process = spawn(process.execPath, [main, ...args], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: group,
    });
    let stderr = '';
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    if (this.process.stdout !== null) createInterface(this.process.stdout).on('line', (line) => this.#take(line));
    this.ended = new Promise((resolve) => {
      this.process.once('close', (code) => resolve({ code, stdout: this.lines.join('\n'), stderr }));
    });
  }

  /** The first line, past or to come, that matches; rejects if the command ends without one. */
  line(matches: (line: string) => boolean): Promise<string> {
    const seen = this.lines.find(matches);
    if (seen !== undefined) return Promise.resolve(seen);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ matches, resolve });
      void this.ended.then(({ stdout, stderr }) =>
        reject(new Error(`ended before the line came:\n${stdout}\n${stderr}`)),
      );
    });
  }

  #take(line: string): void {
    this.lines.push(line);
    for (const waiting of this.#waiting) if (waiting.matches(line)) waiting.resolve(line);
  }
}

/** Runs a command to its end. */
export const remio = (...args: readonly string[]): Promise<Ended> => new RunningRemio(args).ended;

/** The reports of one kind among the lines of a command that was run with `--json`. */
export const reportsOf = (ended: Ended, kind: string): readonly Readonly<Record<string, unknown>>[] =>
  ended.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { readonly event?: Readonly<Record<string, unknown>> })
    .flatMap(({ event }) => (event?.['kind'] === kind ? [event] : []));
