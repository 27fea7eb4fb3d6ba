import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { NO_PRETENURING } from '@remio/base';
import type { HostileAnswer, HostileCopy, HostileJob } from './job.js';

/** Milliseconds beyond a job's own bound after which its process has stopped giving way. */
const GRACE_MS = 2000;
/** Milliseconds that a process has to load. */
const START_MS = 30_000;

/** Does jobs in a process of its own, which is ended when it hangs and started anew for the next. */
export class HostileRunner {
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;

  /** @param file the topology's */
  constructor(file: string, copies: readonly HostileCopy[]) {
    this.#args = [file, JSON.stringify(copies)];
  }

  /** Does a job; `hangs` if that does not come to an end, `dies` if the process does not live through it. */
  async run(job: HostileJob): Promise<HostileAnswer | 'hangs' | 'dies'> {
    const child = await this.#start();
    if (child === undefined) return 'dies';
    const answer = await next<HostileAnswer>(child, job.bound + GRACE_MS, () => child.send(job));
    if (answer === 'hangs' || answer === 'dies') this.stop();
    return answer;
  }

  stop(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  async #start(): Promise<ChildProcess | undefined> {
    if (this.#child !== undefined) return this.#child;
    const child = fork(join(import.meta.dirname, 'worker.js'), this.#args, {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      execArgv: [NO_PRETENURING, ...process.execArgv],
    });
    this.#child = child;
    const ready = await next(child, START_MS, () => {});
    if (ready !== 'hangs' && ready !== 'dies') return child;
    this.stop();
    return undefined;
  }
}

/** The next thing that a process says. */
function next<T>(child: ChildProcess, within: number, begin: () => void): Promise<T | 'hangs' | 'dies'> {
  return new Promise((resolve) => {
    const end = (what: T | 'hangs' | 'dies'): void => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      resolve(what);
    };
    const onMessage = (message: unknown): void => end(message as T);
    const onExit = (): void => end('dies');
    const timer = setTimeout(() => end('hangs'), within);
    child.once('message', onMessage);
    child.once('exit', onExit);
    begin();
  });
}
