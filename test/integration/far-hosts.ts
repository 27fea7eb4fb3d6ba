import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from './run-remio.js';

const ENTRIES = {
  hypervisor: join(root, 'apps', 'hypervisor', 'dist', 'service', 'main.js'),
  backend: join(root, 'apps', 'backend-vm', 'dist', 'main.js'),
  frontend: join(root, 'apps', 'frontend-vm', 'dist', 'main.js'),
  watcher: join(import.meta.dirname, 'watch-reports.mjs'),
  forwarder: join(import.meta.dirname, 'forwarder.mjs'),
} as const;

/** A report of a VM, as a watcher sees it. */
export interface Seen {
  readonly vm: string;
  readonly event: Readonly<Record<string, unknown>>;
}

/** Processes that were started by hand, each perhaps on a host of its own. */
export class FarHosts {
  readonly #children: ChildProcess[] = [];
  readonly #seen: Seen[] = [];
  #told: () => void = () => {};
  /** What they said on standard error, by process. */
  readonly logs: string[] = [];

  /** Starts a process; it is ready when it says so. @param namespace the network namespace that is its host's */
  async start(what: keyof typeof ENTRIES, args: readonly string[], namespace?: string): Promise<ChildProcess> {
    const command = [process.execPath, ENTRIES[what], ...args];
    const [program = '', ...rest] = namespace === undefined ? command : ['ip', 'netns', 'exec', namespace, ...command];
    const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    this.#children.push(child);
    let log = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
    const index = this.logs.push('') - 1;
    child.stderr?.on('data', () => {
      this.logs[index] = log;
    });
    if (child.stdout !== null) createInterface(child.stdout).on('line', (line) => this.#take(line));
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => resolve());
      child.once('exit', (code) => reject(new Error(`${what} ended with ${code} before it was ready:\n${log}`)));
    });
    return child;
  }

  /** The first report that matches, past or to come; rejects when a vCPU stops for a reason. */
  async report(matches: (seen: Seen) => boolean): Promise<Seen> {
    for (;;) {
      const found = this.#seen.find(matches);
      if (found !== undefined) return found;
      const failed = this.#seen.find(({ event }) => event['kind'] === 'vcpu-off' && event['reason'] !== undefined);
      if (failed !== undefined) throw new Error(`${failed.vm}: ${String(failed.event['reason'])}`);
      await new Promise<void>((resolve) => {
        this.#told = resolve;
      });
    }
  }

  /** The last report of a kind. */
  last(kind: string): Seen | undefined {
    return this.#seen.findLast(({ event }) => event['kind'] === kind);
  }

  /** Ends every process, the last first. */
  async stop(): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
  }

  #take(line: string): void {
    if (!line.startsWith('{')) return;
    this.#seen.push(JSON.parse(line) as Seen);
    this.#told();
  }
}
