import { randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { backendPrograms } from '@remio/backend-vm';
import { Prng } from '@remio/base';
import { frontendPrograms } from '@remio/frontend-vm';
import type { GuestProgram } from '@remio/guest';
import { BUILTIN_PROGRAMS, imagesOf, loadTopology } from '@remio/topology';
import { InprocEngine, programOf, type VmReport } from '@remio/vm-runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { RunningRemio, reportsOf, root } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Another run with the same one chooses the same moments: `REMIO_SEED=…`. */
const seed = Number(process.env['REMIO_SEED'] ?? randomInt(2 ** 31));

/** Register accesses of a device from one kill to the next, at least: a reset takes some thirty. */
const ACCESSES_BETWEEN = 60;

/** The demonstration's platform with guests that write for longer, and disks of its own. */
function platform(name: string, arch: string, writes: number): { readonly file: string; readonly images: string[] } {
  const text = readFileSync(join(root, 'deploy', 'topologies', `demo-${arch}.yaml`), 'utf8');
  const file = join(scratch, `${name}.yaml`);
  writeFileSync(file, text.replaceAll(/options: \{ seed: (\d) \}/g, `options: { seed: $1, writes: ${writes} }`));
  const images = ['disk0', 'disk1'].map((disk) => {
    const path = join(scratch, `${name}-${disk}.img`);
    const bytes = new Uint8Array(8 << 20);
    new Prng(7).fill(bytes);
    writeFileSync(path, bytes);
    return `${disk}=${path}`;
  });
  return { file, images };
}

/** What every guest says in the end: nothing that was written is lost, and nothing failed. */
const sound = expect.objectContaining({ kind: 'blk-verify', mismatches: 0, failed: 0 });

describe.each(['aarch64', 'riscv64'])('a backend that dies under verified writes, %s', (arch) => {
  it(`loses nothing: 50 times in one process, seed ${seed}`, async () => {
    const { file, images } = platform(`inproc-${arch}`, arch, 20_000);
    const loaded = loadTopology(file, { images: imagesOf(images), programs: BUILTIN_PROGRAMS });
    if (loaded.topology === undefined) throw new Error(loaded.text);
    const programs = new Map<string, GuestProgram>();
    for (const vm of loaded.topology.vms) {
      programs.set(vm.name, await programOf(vm, { ...backendPrograms, ...frontendPrograms }));
    }
    const reports: VmReport[] = [];
    const created = InprocEngine.create(
      loaded.topology,
      (vm) => programs.get(vm.name) ?? (() => Promise.reject(new Error(`no program of ${vm.name}`))),
      { report: (_, event) => void reports.push(event), log: () => {} },
    );
    if (!created.ok) throw new Error(created.error);
    const engine = created.value;
    const prng = new Prng(seed);
    engine.start();
    const accesses = (): readonly number[] =>
      engine.platform.deviceStats(engine.vm('backend')).map((device) => device.accesses);
    for (let kill = 0; kill < 50; kill += 1) {
      // A driver gives a device up that ends nothing from one reset to the next: each has time to be reset and to write.
      const before = accesses();
      while (accesses().some((count, n) => count < (before[n] ?? 0) + ACCESSES_BETWEEN)) await sleep(1);
      await sleep(prng.below(20));
      await engine.crash('backend');
    }
    const over = (): boolean =>
      reports.filter(({ kind }) => kind === 'blk-verify').length === 2 ||
      reports.some(({ reason }) => reason !== undefined);
    while (!over()) await sleep(20);
    await engine.stop();
    const verified = reports.filter(({ kind }) => kind === 'blk-verify');
    expect(verified).toEqual([sound, sound]);
    // The guests were at work all the time, and noticed.
    for (const { counters } of verified) {
      expect((counters as { readonly resets: number }).resets).toBeGreaterThan(10);
    }
  });

  it(`loses nothing: killed four times as a process, seed ${seed}`, async () => {
    const { file, images } = platform(`processes-${arch}`, arch, 4000);
    const args = images.flatMap((image) => ['--image', image]);
    const running = new RunningRemio(['up', file, ...args, '--until-done', '--json']);
    const prng = new Prng(seed);
    let seen = 0;
    await running.line((line) => line.includes('"endpoint"'));
    for (let kill = 0; kill < 4; kill += 1) {
      const started = (line: string): boolean => line.includes('"kind":"started","name":"backend"');
      const next = await running.line((line) => started(line) && running.lines.filter(started).length > seen);
      const pids = running.lines.filter(started).map((line) => (JSON.parse(line) as { readonly pid: number }).pid);
      expect(next).toBeDefined();
      seen = pids.length;
      await sleep(200 + prng.below(800));
      const pid = pids.at(-1);
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
    }
    const ended = await running.ended;
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(reportsOf(ended, 'blk-verify')).toEqual([sound, sound]);
  });
});
