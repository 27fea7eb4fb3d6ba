import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { NO_PRETENURING } from '@remio/base';
import type { Settings } from './language.js';
import type { Outcome } from './outcome.js';
import type { Factors } from './run-point.js';

/** A run to be made. */
export interface Job {
  /** Names the run among those of its experiment, in file names too. */
  readonly name: string;
  readonly settings: Settings;
  readonly seed: number;
  readonly factors: Factors;
}

/** What became of a job. */
export type Done = { readonly ok: true; readonly outcome: Outcome } | { readonly ok: false; readonly reason: string };

/** Characters of a process's last words. */
const LAST_WORDS = 2000;

/** Processes that make runs, one each at a time. */
export class RunPool {
  readonly #parallel: number;
  readonly #children = new Set<ChildProcess>();
  #stopped = false;

  /** @param parallel processes, 1 and up */
  constructor(parallel: number) {
    this.#parallel = parallel;
  }

  /** Makes all runs; `done` is told of each when it has ended, in any order. Settles when all have, or after {@link stop}. */
  async run<J extends Job>(jobs: readonly J[], done: (job: J, result: Done) => void): Promise<void> {
    const queue = [...jobs];
    const workers = Array.from({ length: Math.min(this.#parallel, jobs.length) }, async () => {
      let child: Worker | undefined;
      for (let job = queue.shift(); job !== undefined && !this.#stopped; job = queue.shift()) {
        child ??= this.#start();
        const result = await child.make(job);
        if (this.#stopped) break;
        done(job, result);
        if (child.over) child = undefined;
      }
      child?.end();
    });
    await Promise.all(workers);
  }

  /** Ends every process; what they were at is dropped. */
  stop(): void {
    this.#stopped = true;
    for (const child of this.#children) child.kill('SIGKILL');
  }

  #start(): Worker {
    const child = fork(join(import.meta.dirname, 'point-process.js'), {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [NO_PRETENURING, ...process.execArgv],
    });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return new Worker(child);
  }
}

class Worker {
  over = false;
  readonly #process: ChildProcess;
  #lastWords = '';

  constructor(process: ChildProcess) {
    this.#process = process;
    process.stderr?.on('data', (bytes: Buffer) => {
      this.#lastWords = `${this.#lastWords}${bytes.toString()}`.slice(-LAST_WORDS);
    });
  }

  make(job: Job): Promise<Done> {
    return new Promise((resolve) => {
      const onExit = (code: number | null, signal: string | null): void => {
        this.over = true;
        resolve({ ok: false, reason: `its process ended (${signal ?? `code ${code}`}): ${this.#lastWords.trim()}` });
      };
      this.#process.once('exit', onExit);
      this.#process.once('message', (result) => {
        this.#process.off('exit', onExit);
        resolve(result as Done);
      });
      this.#process.send(job);
    });
  }

  end(): void {
    if (!this.over) this.#process.disconnect();
  }
}
