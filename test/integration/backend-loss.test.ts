import { randomInt } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
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
import { type Ended, RunningRemio, reportsOf } from './run-remio.js';
import { type VerifiedPlatform, verifiedPlatform } from './verified-platform.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Another run with the same one chooses the same moments: `REMIO_SEED=…`. */
const seed = Number(process.env['REMIO_SEED'] ?? randomInt(2 ** 31));

/** Register accesses of a device from one kill to the next, at least: a reset takes some thirty. */
const ACCESSES_BETWEEN = 60;

const platform = (name: string, arch: string, edit = (text: string): string => text): VerifiedPlatform =>
  verifiedPlatform(scratch, name, arch, { writes: 500, pause: '10ms', disk: 4 << 20, edit });

type Report = Readonly<Record<string, unknown>>;

/** Nothing that was written is lost, and nothing failed, in any round of any guest. */
function expectSound(reports: readonly Report[]): void {
  const rounds = reports.filter(({ kind }) => kind === 'blk-verify');
  expect(new Set(rounds.map(({ device }) => device))).toEqual(new Set(['disk0', 'disk1']));
  for (const round of rounds) expect(round).toMatchObject({ mismatches: 0, failed: 0 });
  expect(reports.filter(({ reason }) => reason !== undefined)).toEqual([]);
}

/** How often drivers have reset their devices because these were lost. */
const resetsOf = (reports: readonly Report[]): number =>
  reports.reduce((sum, { counters }) => sum + ((counters as { readonly resets?: number } | undefined)?.resets ?? 0), 0);

/** The platform as processes, whose backend is killed four times at moments that the seed says; then both disks are verified. */
async function killedFourTimes({ file, images }: VerifiedPlatform): Promise<Ended> {
  const args = images.flatMap((image) => ['--image', image]);
  const running = new RunningRemio(['up', file, ...args, '--json']);
  const prng = new Prng(seed);
  await running.line((line) => line.includes('"endpoint"'));
  const pids = (): readonly number[] =>
    running.lines
      .filter((line) => line.includes('"kind":"started","name":"backend"'))
      .map((line) => (JSON.parse(line) as { readonly pid: number }).pid);
  const served = (): number => running.lines.filter((line) => line.includes('"kind":"serving"')).length;
  const servedTimes = async (times: number): Promise<void> => {
    while (served() < times) await sleep(20);
  };
  for (let kill = 0; kill < 4; kill += 1) {
    await servedTimes(kill + 1);
    await sleep(prng.below(800));
    const pid = pids().at(-1);
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  }
  await servedTimes(5);
  const last = running.lines.length;
  const verified = (device: string): boolean =>
    running.lines.slice(last).some((line) => line.includes(`"kind":"blk-verify","device":"${device}"`));
  while (!verified('disk0') || !verified('disk1')) await sleep(50);
  running.process.kill('SIGINT');
  const ended = await running.ended;
  expect(ended).toMatchObject({ code: 130, stderr: '' });
  return ended;
}

const allOf = (ended: Ended): readonly Report[] =>
  ['blk-verify', 'driver-failed', 'vcpu-off'].flatMap((kind) => reportsOf(ended, kind));

describe.each(['aarch64', 'riscv64'])('a backend that dies under verified writes, %s', (arch) => {
  it(`loses nothing: 50 times in one process, seed ${seed}`, async () => {
    const { file, images } = platform(`inproc-${arch}`, arch);
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
    const last = reports.length;
    const verified = (device: string): boolean =>
      reports.slice(last).some((report) => report.kind === 'blk-verify' && report['device'] === device);
    while (!verified('disk0') || !verified('disk1')) await sleep(20);
    await engine.stop();
    expectSound(reports);
    // The guests were at work all the time, and noticed.
    expect(resetsOf(reports)).toBeGreaterThan(20);
  });

  it(`loses nothing: killed four times as a process, seed ${seed}`, async () => {
    const ended = await killedFourTimes(platform(`processes-${arch}`, arch));
    const reports = allOf(ended);
    expectSound(reports);
    expect(resetsOf(reports)).toBeGreaterThan(0);
  });
});

it(`a backend that resumes and is killed four times under verified writes: no driver notices, seed ${seed}`, async () => {
  const resume = (text: string): string => text.replaceAll(/^( +)type: backend$/gm, '$&\n$1on_backend_loss: resume');
  const ended = await killedFourTimes(platform('resume', 'riscv64', resume));
  const reports = allOf(ended);
  expectSound(reports);
  expect(resetsOf(reports)).toBe(0);
  // Both disks, each time.
  expect(reportsOf(ended, 'resumed')).toHaveLength(8);
});
