import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Programs of Debian's packages iproute2, iputils-ping, iperf3 and tshark. */
const PROGRAMS = ['ip', 'ping', 'iperf3', 'tshark'] as const;

/** Why network tests cannot run on this host; undefined: they can. In CI they always run, and fail if they cannot. */
export function networkProblem(): string | undefined {
  if (process.env['CI'] !== undefined) return undefined;
  if (process.getuid?.() !== 0) return 'network tests need root';
  if (!existsSync('/dev/net/tun')) return 'network tests need /dev/net/tun';
  const missing = PROGRAMS.filter((program) => spawnSync('which', [program]).status !== 0);
  return missing.length === 0 ? undefined : `network tests need ${missing.join(', ')}`;
}

/** A network namespace of the host, with one interface in it besides loopback. */
export class Namespace {
  private constructor(readonly name: string) {}

  /** Makes a namespace of an interface that exists, with this address and prefix. */
  static async of(tap: string, address: string): Promise<Namespace> {
    await run('ip', ['netns', 'add', tap]);
    const namespace = new Namespace(tap);
    await run('ip', ['link', 'set', tap, 'netns', tap]);
    for (const device of ['lo', tap]) await run('ip', ['-n', tap, 'link', 'set', device, 'up']);
    await run('ip', ['-n', tap, 'addr', 'add', address, 'dev', tap]);
    return namespace;
  }

  /** Runs a program in the namespace to its end; gives what it printed, also when it fails. */
  async exec(program: string, ...args: readonly string[]): Promise<string> {
    try {
      return (await run('ip', ['netns', 'exec', this.name, program, ...args])).stdout;
    } catch (error) {
      const { stdout, stderr } = error as { readonly stdout: string; readonly stderr: string };
      return `${stdout}\n${stderr}`;
    }
  }

  /** Starts a program in the namespace, and waits until it printed a line that matches. */
  async start(expected: RegExp, program: string, ...args: readonly string[]): Promise<ChildProcess> {
    const child = spawn('ip', ['netns', 'exec', this.name, program, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    await new Promise<void>((resolve, reject) => {
      createInterface(child.stdout).on('line', (line) => {
        if (expected.test(line)) resolve();
      });
      child.once('exit', () => reject(new Error(`${program} ended before it was ready`)));
    });
    return child;
  }

  async remove(): Promise<void> {
    await run('ip', ['netns', 'del', this.name]);
  }
}

/** Names of interfaces that nobody else has: an interface's name has at most 15 characters. */
export const tapNames = (count: number): readonly string[] => {
  series += 1;
  return Array.from({ length: count }, (_, n) => `rm${process.pid}s${series}n${n}`);
};
let series = 0;
