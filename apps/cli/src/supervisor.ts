import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import { NO_PRETENURING } from '@remio/base';
import { STDIO_VARIABLE } from '@remio/host-io';
import { METRICS_VARIABLE } from '@remio/metrics';

/** A process of the platform. */
export interface ChildSpec {
  /** Names the process in messages and its log file. */
  readonly name: string;
  /** JavaScript file. */
  readonly entry: string;
  readonly args: readonly string[];
  /** Whether it is started again when it ends by itself with a failure. */
  readonly restart: boolean;
  /** Physical CPU of the host to pin it to (through taskset); absent: none. */
  readonly hostCpu?: number;
  /** Whether the others need it to end in order: it ends after them. */
  readonly last?: boolean;
  /** Whether it has the command's standard input and output, besides its own. */
  readonly stdio?: boolean;
}

/** Descriptors of the command's standard input and output in a child that has them. */
const STDIO_DESCRIPTORS = '4,5';

export type ChildEvent =
  | { readonly kind: 'started'; readonly name: string; readonly pid: number }
  | {
      readonly kind: 'ended';
      readonly name: string;
      readonly pid: number;
      readonly how: string;
      readonly failed: boolean;
      /** Whether it is started again. */
      readonly restarts: boolean;
    };

interface Child {
  readonly spec: ChildSpec;
  readonly process: ChildProcess;
  readonly ended: Promise<void>;
  /** The last lines of its standard error, for the message when it fails. */
  readonly tail: string[];
}

/**
 * MiB that V8 gives each half of the space of young objects in a process of the platform; 16 if nobody says. What an
 * access leaves behind is dead at once, and 4 stay in the CPU's cache: with all processes on one core an access is 3%
 * faster, and a process of many VMs is smaller by up to 24 MiB. The command's own flags come later, and win.
 */
const YOUNG_MIB = 4;

/** Milliseconds that children have to end after SIGTERM before they are killed. */
const GRACE_MS = 1_500;
/** Restarts of one process within {@link RESTART_WINDOW_MS} after which it is given up. */
const RESTARTS_MAX = 5;
const RESTART_WINDOW_MS = 30_000;

/** What a signal means that no person sent. */
const SIGNALS: Readonly<Record<string, string>> = {
  SIGBUS: ' (there was no room left for shared memory, or its file was cut: look at df of the run directory)',
};

/** Milliseconds before the second restart of a process; each further one waits twice as long. */
const PAUSE_MS = 100;

/**
 * Milliseconds to wait before a process is started again: none after it failed once, more and more if it goes on.
 * @param recent restarts of it within {@link RESTART_WINDOW_MS}
 */
export const restartPause = (recent: number): number => (recent === 0 ? 0 : PAUSE_MS * 2 ** (recent - 1));

/**
 * Starts the processes of a platform, starts failed ones again, and ends them all.
 *
 * A process that is replaced has been reaped before its successor starts, so two never claim one VM. Children hold a
 * channel to this process and end themselves when it closes, so none outlives a SIGKILL of this one.
 */
export class Supervisor {
  readonly #children = new Map<string, Child>();
  readonly #restarts = new Map<string, number[]>();
  /** Processes that wait to be started again. */
  readonly #pauses = new Set<NodeJS.Timeout>();
  readonly #logs: string;
  readonly #onEvent: (event: ChildEvent) => void;
  #stopping = false;

  /**
   * @param logs directory for the processes' logs, one file each
   * @param onEvent told of every start and end
   */
  constructor(logs: string, onEvent: (event: ChildEvent) => void) {
    this.#logs = logs;
    this.#onEvent = onEvent;
  }

  /** Process ids by name, of those that run. */
  pids(): ReadonlyMap<string, number> {
    return new Map([...this.#children].map(([name, child]) => [name, child.process.pid ?? -1]));
  }

  /**
   * Starts a process and waits until it says that it is ready.
   * @throws Error with the end of its log when it ends before
   */
  async start(spec: ChildSpec): Promise<void> {
    if (this.#stopping) throw new Error('stopped');
    const child = this.#spawn(spec);
    await new Promise<void>((resolve, reject) => {
      child.process.on('message', (message) => {
        if (message === 'ready') resolve();
      });
      void child.ended.then(() =>
        reject(new Error(`${spec.name} ended before it was ready:\n${child.tail.join('\n')}`)),
      );
    });
  }

  /** Tells a process something; one that has ended does not hear it. */
  tell(name: string, message: object): void {
    const child = this.#children.get(name)?.process;
    // Its end is told by an event of its own.
    if (child?.connected === true) child.send(message, () => {});
  }

  /** Ends a process that has to be ended, whatever it does: it has failed then, and is started again as others are. */
  kill(name: string): void {
    this.#children.get(name)?.process.kill('SIGKILL');
  }

  /** Ends every process: SIGTERM, and SIGKILL for those that are still there after the grace time. */
  async stop(): Promise<void> {
    await this.#end([false, true]);
  }

  /** Ends every process but those that end last. None is started again. */
  async stopFirst(): Promise<void> {
    await this.#end([false]);
  }

  /** @param waves of processes, one after the other: whether it is that of those that end last */
  async #end(waves: readonly boolean[]): Promise<void> {
    this.#stopping = true;
    for (const pause of this.#pauses) clearTimeout(pause);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, GRACE_MS);
    });
    const all = [...this.#children.values()];
    const of = (last: boolean): readonly Child[] => all.filter((child) => (child.spec.last === true) === last);
    const inOrder = (async () => {
      for (const last of waves) {
        for (const child of of(last)) child.process.kill('SIGTERM');
        await Promise.all(of(last).map((child) => child.ended));
      }
    })();
    await Promise.race([inOrder, late]);
    clearTimeout(timer);
    for (const child of waves.flatMap(of)) child.process.kill('SIGKILL');
    await inOrder;
  }

  #spawn(spec: ChildSpec): Child {
    const flags = [`--max-semi-space-size=${YOUNG_MIB}`, NO_PRETENURING, ...process.execArgv];
    const node = [process.execPath, ...flags, spec.entry, ...spec.args];
    const [command = process.execPath, ...args] =
      spec.hostCpu === undefined ? node : ['taskset', '-c', String(spec.hostCpu), ...node];
    const log: WriteStream = createWriteStream(join(this.#logs, `${spec.name}.log`), { flags: 'a' });
    const stdio = spec.stdio === true ? ([0, 1] as const) : [];
    const started = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...stdio],
      env: {
        ...process.env,
        [METRICS_VARIABLE]: '',
        ...(spec.stdio === true ? { [STDIO_VARIABLE]: STDIO_DESCRIPTORS } : {}),
      },
    });
    const tail: string[] = [];
    started.stdout?.pipe(log, { end: false });
    started.stderr?.pipe(log, { end: false });
    started.stderr?.setEncoding('utf8').on('data', (text: string) => {
      tail.push(...text.split('\n').filter((line) => line !== ''));
      tail.splice(0, Math.max(0, tail.length - 10));
    });
    const ended = new Promise<void>((resolve) => {
      started.once('error', () => resolve());
      started.once('close', (code, signal) => {
        log.end();
        this.#children.delete(spec.name);
        const failed = code !== 0;
        const how = signal === null ? `exit code ${code}` : `${signal}${SIGNALS[signal] ?? ''}`;
        const restarts = failed && spec.restart && !this.#stopping;
        this.#onEvent({ kind: 'ended', name: spec.name, pid: started.pid ?? -1, how, failed, restarts });
        resolve();
        if (restarts) this.#restart(spec);
      });
    });
    const child: Child = { spec, process: started, ended, tail };
    this.#children.set(spec.name, child);
    if (started.pid !== undefined) this.#onEvent({ kind: 'started', name: spec.name, pid: started.pid });
    return child;
  }

  #restart(spec: ChildSpec): void {
    const now = performance.now();
    const recent = (this.#restarts.get(spec.name) ?? []).filter((time) => now - time < RESTART_WINDOW_MS);
    if (recent.length >= RESTARTS_MAX) {
      const how = `given up after ${RESTARTS_MAX} restarts in ${RESTART_WINDOW_MS / 1000} s`;
      this.#onEvent({ kind: 'ended', name: spec.name, pid: -1, how, failed: true, restarts: false });
      return;
    }
    this.#restarts.set(spec.name, [...recent, now]);
    const timer = setTimeout(() => {
      this.#pauses.delete(timer);
      this.#spawn(spec);
    }, restartPause(recent.length));
    this.#pauses.add(timer);
  }
}
