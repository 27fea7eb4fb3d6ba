import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { backendPrograms } from '@remio/backend-vm';
import { frontendPrograms } from '@remio/frontend-vm';
import type { Guest } from '@remio/guest';
import { InprocEngine, programOf } from '@remio/vm-runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Exercise, type Report } from '../support/exercise.js';
import { RunningRemio, root } from './run-remio.js';

/** Milliseconds that an example has for its work. */
const WORK_MS = 30_000;

const folder = join(root, 'examples');
const examples = readdirSync(folder, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith('.yaml') && !name.startsWith('experiments'))
  .sort();

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'remio-example-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Boots a topology in this process, until it has done its work; what is wrong then. */
async function inProcess(exercise: Exercise): Promise<readonly string[]> {
  const programs = new Map<string, Guest>();
  const table = { ...backendPrograms, ...frontendPrograms };
  for (const vm of exercise.topology.vms) programs.set(vm.name, await programOf(vm, table));
  const engine = InprocEngine.create(exercise.topology, (vm) => programs.get(vm.name) ?? (() => Promise.resolve()), {
    report: (vm, event) => exercise.report(vm.name, event),
    log: () => {},
  });
  if (!engine.ok) throw new Error(engine.error);
  engine.value.start();
  const problems = await exercise.over(WORK_MS);
  await engine.value.stop();
  return problems;
}

describe('every example, booted in one process, does its work', () => {
  it.each(examples)('%s', async (name) => {
    expect(await inProcess(new Exercise(join(folder, name), directory))).toEqual([]);
  });
});

describe('a VM that is frontend and backend', () => {
  it('may have one vCPU for both, where no circle waits for it', async () => {
    const shipped = join(directory, 'shipped.yaml');
    writeFileSync(
      shipped,
      `board: qemu-aarch64-virt
shared_memories: { disk: { size: 1MiB }, rng: { size: 256KiB } }
vms:
  storage:
    cpus: 1
    remio_devs:
      - { name: disk, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: disk, base: 0xd0000000 }, device: { type: block, image: disk.img } }
  middle:
    cpus: 1
    remio_devs:
      - { name: disk, type: frontend, bind_key: 0, interrupt: 79, window: { base: 0xa003e00 }, shmem: { memory: disk, base: 0xd0000000 }, driver: { type: blk-verify } }
      - { name: rng, type: backend, bind_key: 1, interrupt: 40, shmem: { memory: rng, base: 0xd1000000 }, device: { type: entropy } }
  app:
    cpus: 1
    remio_devs:
      - { name: rng, type: frontend, bind_key: 1, interrupt: 79, window: { base: 0xa003e00 }, shmem: { memory: rng, base: 0xd1000000 }, driver: { type: rng, bytes: 64KiB } }
`,
    );
    expect(await inProcess(new Exercise(shipped, mkdtempSync(join(directory, 'run-'))))).toEqual([]);
  });
});

describe('examples, booted as separate processes, do their work', () => {
  it.each(['dom0.yaml', 'chain.yaml', 'automotive.yaml'])('%s', async (name) => {
    const exercise = new Exercise(join(folder, name), directory);
    const running = new RunningRemio(['up', exercise.file, '--json']);
    void running
      .line((line) => {
        const { vm, event } = JSON.parse(line) as { readonly vm?: string; readonly event?: Report };
        if (vm !== undefined && event !== undefined) exercise.report(vm, event);
        return false;
      })
      .catch(() => {});
    const problems = await exercise.over(WORK_MS);
    running.process.kill('SIGTERM');
    const ended = await running.ended;
    expect(problems).toEqual([]);
    expect(ended).toMatchObject({ code: 143, stderr: '' });
  });
});
