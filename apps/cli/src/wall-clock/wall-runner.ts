import { join } from 'node:path';
import type { Done, Job, Runner } from '@remio/experiments';
import { runOnWallClock } from './wall-run.js';

/** Makes runs with the processes of `remio up`, one run after the other: two at a time would measure each other. */
export class WallRunner implements Runner {
  readonly #logs: string;
  readonly #stopping = new AbortController();

  /** @param logs folder for the logs of runs that fail; made when it is needed */
  constructor(logs: string) {
    this.#logs = logs;
  }

  async run<J extends Job>(jobs: readonly J[], done: (job: J, result: Done) => void): Promise<void> {
    const { signal } = this.#stopping;
    for (const job of jobs) {
      if (signal.aborted) return;
      const result = await runOnWallClock(job, { signal, logs: join(this.#logs, job.name) });
      // What a run was at when everything was stopped says nothing.
      if (signal.aborted) return;
      done(job, result);
    }
  }

  stop(): void {
    this.#stopping.abort();
  }
}
