import { randomInt } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningRemio, remio, root } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-test-'));
const disk = join(scratch, 'disk.img');
const seed = Number(process.env['REMIO_SEED'] ?? randomInt(2 ** 31));

const ROUNDS = 20;
/** Milliseconds after its start within which a demo is ended: loading, booting, at work, between two topologies. */
const MOMENT_MAX = 2500;
/** Milliseconds after which what is left is left for good. */
const PATIENCE = 10_000;

/** How a demo is ended, and with which exit code (null: by the signal, before the command listens). */
const WAYS = [
  { name: 'SIGINT to the command', codes: [130, null] },
  { name: 'SIGTERM to the command', codes: [143, null] },
  { name: 'Ctrl-C: SIGINT to the whole group', codes: [130, null] },
  { name: 'SIGKILL to the command', codes: [null] },
  { name: 'SIGKILL to everything', codes: [null] },
] as const;
type Way = (typeof WAYS)[number]['name'];

/** Processes of a run: the run's directory is among their arguments. */
const processesOf = (run: number): readonly number[] =>
  readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      return readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(`/remio-${run}-`) ? [Number(entry)] : [];
    } catch {
      return [];
    }
  });

/** Directories of a run: shared memory and sockets, and copies of disks. */
const directoriesOf = (run: number): readonly string[] =>
  ['/dev/shm', tmpdir()].flatMap((base) =>
    readdirSync(base).flatMap((name) => (name.startsWith(`remio-${run}-`) ? [join(base, name)] : [])),
  );

function end(way: Way, run: number): void {
  switch (way) {
    case 'SIGINT to the command':
      process.kill(run, 'SIGINT');
      return;
    case 'SIGTERM to the command':
      process.kill(run, 'SIGTERM');
      return;
    case 'Ctrl-C: SIGINT to the whole group':
      process.kill(-run, 'SIGINT');
      return;
    case 'SIGKILL to the command':
      process.kill(run, 'SIGKILL');
      return;
    case 'SIGKILL to everything':
      process.kill(-run, 'SIGKILL');
      return;
  }
}

/** Waits until a list is empty; says what is left of it when patience ends. */
async function none(what: () => readonly (string | number)[], message: string): Promise<void> {
  for (const start = Date.now(); what().length > 0 && Date.now() - start < PATIENCE; ) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(what(), message).toEqual([]);
}

beforeAll(() => {
  const bytes = new Uint8Array(4 * 1024 * 1024);
  new Prng(7).fill(bytes);
  writeFileSync(disk, bytes);
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('the demo, ended at random moments (design decision 18)', () => {
  it(`leaves no process, socket, shared memory or file behind: ${ROUNDS} times, seed ${seed}`, async () => {
    console.log(`REMIO_SEED=${seed} repeats these moments`);
    const prng = new Prng(seed);
    const killed: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const way = WAYS[round % WAYS.length] ?? WAYS[0];
      const moment = prng.below(MOMENT_MAX);
      const where = `round ${round}: ${way.name} after ${moment} ms`;
      const running = new RunningRemio(['demo', '--disk', disk], { group: true });
      const run = running.process.pid ?? 0;
      await new Promise((resolve) => setTimeout(resolve, moment));
      end(way.name, run);
      const ended = await running.ended;
      expect(way.codes, `${where}\n${ended.stdout}\n${ended.stderr}`).toContain(ended.code);
      await none(() => processesOf(run), `${where}: processes`);
      const memory = (): readonly string[] => directoriesOf(run).filter((path) => path.startsWith('/dev/shm'));
      // Nobody is left to clean up when everything was killed; and nobody but the command knows of its copies.
      if (way.name !== 'SIGKILL to everything') await none(memory, `${where}: shared memory and sockets`);
      if (!way.name.startsWith('SIGKILL')) await none(() => directoriesOf(run), `${where}: files`);
      if (existsSync(`/proc/${run}`)) throw new Error(`${where}: the command`);
      killed.push(run);
    }
    // The next start removes what could not be removed.
    expect((await remio('demo', '--disk', join(scratch, 'none.img'))).code).toBe(2);
    const image = ['--image', disk];
    expect(
      (await remio('up', join(root, 'deploy', 'topologies', 'ping-riscv64.yaml'), '--until-done', ...image)).code,
    ).toBe(0);
    expect(killed.flatMap(directoriesOf)).toEqual([]);
  });
});
