import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { RunningRemio, remio, reportsOf } from './run-remio.js';
import { type VerifiedPlatform, verifiedPlatform } from './verified-platform.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const platform = (arch: string, policy: 'stop' | 'reconnect'): VerifiedPlatform =>
  verifiedPlatform(scratch, `${policy}-${arch}`, arch, {
    writes: 100,
    pause: '50ms',
    disk: 1 << 20,
    edit: (text) => `${text}on_hypervisor_loss: ${policy}\n`,
  });

const imagesOf = ({ images }: VerifiedPlatform): readonly string[] => images.flatMap((image) => ['--image', image]);

interface Line {
  readonly kind?: string;
  readonly name?: string;
  readonly pid?: number;
  readonly how?: string;
  readonly event?: { readonly kind: string; readonly device?: string };
}

/** A platform under verified load, and what becomes of its processes. */
class Run {
  readonly running: RunningRemio;

  constructor(args: readonly string[]) {
    this.running = new RunningRemio([...args, '--json']);
  }

  /** What it said, from a line on. */
  lines(from = 0): readonly Line[] {
    return this.running.lines.slice(from).map((line) => JSON.parse(line) as Line);
  }

  started(name: string): readonly number[] {
    return this.lines().flatMap((line) => (line.kind === 'started' && line.name === name ? [line.pid ?? -1] : []));
  }

  /** Until both disks were verified once more from now on; rejects if the command ends before. */
  async verified(): Promise<void> {
    const from = this.running.lines.length;
    const has = (device: string): boolean =>
      this.lines(from).some(({ event }) => event?.kind === 'blk-verify' && event.device === device);
    while (!has('disk0') || !has('disk1')) {
      const over = await Promise.race([this.running.ended, sleep(50)]);
      if (over !== undefined) throw new Error(`ended: ${over.stdout}${over.stderr}`);
    }
  }

  /** Does something to the hypervisor, and waits until another one is there. */
  async strike(signal: NodeJS.Signals): Promise<void> {
    const before = this.started('hypervisor');
    const pid = before.at(-1);
    if (pid === undefined) throw new Error('there is a hypervisor');
    process.kill(pid, signal);
    while (this.started('hypervisor').length === before.length) await sleep(20);
  }

  /** Stops it: the VMs were never started again, and no round found anything that was not as it was written. */
  async finish(hypervisors: number): Promise<void> {
    this.running.process.kill('SIGINT');
    const ended = await this.running.ended;
    expect(ended).toMatchObject({ code: 130, stderr: '' });
    expect(this.started('hypervisor')).toHaveLength(hypervisors);
    for (const name of ['backend', 'guest0', 'guest1']) expect(this.started(name), name).toHaveLength(1);
    for (const round of reportsOf(ended, 'blk-verify')) expect(round).toMatchObject({ mismatches: 0, failed: 0 });
    expect(reportsOf(ended, 'driver-failed')).toEqual([]);
    expect(reportsOf(ended, 'vcpu-off')).toEqual([]);
  }
}

// Side by side: most of their time is waiting.
describe.concurrent('a hypervisor that is lost under verified load', () => {
  it('reconnect: killed or stopped, it is started again, and the same processes boot their VMs anew', async () => {
    const made = platform('aarch64', 'reconnect');
    const recording = join(scratch, 'recording.json');
    const run = new Run(['up', made.file, ...imagesOf(made), '--record', recording]);
    await run.verified();
    await run.strike('SIGKILL');
    await run.verified();
    await run.strike('SIGSTOP');
    await run.verified();
    await run.finish(3);
    // Each hypervisor's recording is there.
    for (const path of [recording, `${recording}.1`, `${recording}.2`]) expect(statSync(path).size).toBeGreaterThan(0);
  });

  it('reconnect, with keys: whoever attaches anew proves anew who it is', async () => {
    const made = platform('riscv64', 'reconnect');
    const keys = join(scratch, 'keys');
    expect(await remio('keys', made.file, '-o', keys, '--write')).toMatchObject({ code: 0 });
    const run = new Run(['up', made.file, ...imagesOf(made), '--keys', keys]);
    await run.verified();
    await run.strike('SIGKILL');
    await run.verified();
    await run.finish(2);
  });

  it('stop: everything ends with exit code 3, also where it only says nothing any more', async () => {
    const made = platform('riscv64', 'stop');
    const run = new Run(['up', made.file, ...imagesOf(made)]);
    await run.verified();
    const [pid] = run.started('hypervisor');
    process.kill(pid ?? -1, 'SIGSTOP');
    expect(await run.running.ended).toMatchObject({ code: 3 });
    expect(run.started('hypervisor')).toHaveLength(1);
  });
});
