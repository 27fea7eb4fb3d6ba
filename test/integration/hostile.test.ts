import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DriverCase, driverCasesFor, type Trial } from '@remio/hostile';
import { DEVICE_ID_BLOCK } from '@remio/virtio-spec';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ended, remio, reportsOf, root } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-hostile-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** The verdicts that `remio hostile --json` prints. */
const trialsOf = ({ stdout }: Ended): readonly Trial[] =>
  stdout
    .split('\n')
    .filter((line) => line.startsWith('{"trial"'))
    .map((line) => (JSON.parse(line) as { readonly trial: Trial }).trial);

const shown = ({ id, title, seen, detail = '' }: Trial): string => `${id} ${title}: ${seen} ${detail}`;

describe('remio hostile', () => {
  it('does what docs/hostile.md shows', async () => {
    const page = readFileSync(join(root, 'docs', 'hostile.md'), 'utf8');
    const [, example = ''] = /npm run remio -- (hostile .*)/.exec(page) ?? [];
    const ended = await remio(...example.split(' '));
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(ended.stdout).toMatch(/A5 +2\.7\.6 +L +L {2}an index more than/);
    expect(ended.stdout).toMatch(/V12 +4\.2\.2\.2 +B +B {2}MagicValue 0x0/);
    expect(ended.stdout).toMatch(/\d+ cases: \d+ as wanted/);
  });

  it('says what there is, of a device that is not there; and that nothing was tried, of a case that is not', async () => {
    const file = join(root, 'deploy', 'topologies', 'entropy.yaml');
    expect(await remio('hostile', file, '--device', 'disk')).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('it has guest/rng0'),
    });
    expect(await remio('hostile', file, '--case', 'A99')).toMatchObject({ code: 2, stdout: '' });
  });

  describe('on a program and a device model of a user', () => {
    const file = join(scratch, 'counter.yaml');
    const device = join(scratch, 'counter-device.mjs');

    beforeAll(() => cpSync(join(root, 'test', 'fixtures', 'modules'), scratch, { recursive: true }));

    it('tries both: the device holds, the program that never looks after its request does not', async () => {
      const ended = await remio(
        'hostile',
        file,
        '--json',
        '--case',
        'A9',
        '--case',
        'A4',
        '--case',
        'V8',
        '--case',
        'V12',
      );
      expect(ended).toMatchObject({ code: 1, stderr: '' });
      const wrong = trialsOf(ended).filter(({ ok }) => !ok);
      expect(wrong.filter(({ id }) => id.startsWith('A')).map(shown)).toEqual([]);
      // It waits for an interrupt, for ever; and looks at no register before it uses them.
      expect(wrong.map(shown)).toContainEqual(
        expect.stringMatching(/^V8 requests that never end, from the first.*: W /),
      );
    });

    it('a device that never gives way hangs, and nothing else does', async () => {
      const stuck = readFileSync(device, 'utf8').replace('const queue = io.queues[index];', 'for (;;);');
      expect(stuck).toContain('for (;;);');
      writeFileSync(device, stuck);
      const options = ['--catalogue', 'a', '--case', 'A40', '--bound', '1', '--json'];
      const ended = await remio('hostile', file, ...options);
      expect(ended.code).toBe(1);
      const trials = trialsOf(ended);
      expect(new Set(trials.map(({ id }) => id))).toEqual(new Set(['A40']));
      expect(trials.map(shown)).toEqual(
        trials.map(() => expect.stringContaining('W it keeps its process busy for ever')),
      );
    });
  });
});

describe('hostile programs in processes of their own, over ZeroMQ', () => {
  const image = join(scratch, 'disk.img');
  beforeAll(() => writeFileSync(image, new Uint8Array(256 * 1024)));

  interface Pair {
    readonly backend: string;
    readonly guest: string;
    /** Ring features of both ends. */
    readonly ring?: string;
  }

  /** A topology with a disk for each of some pairs of VMs. */
  const topology = (pairs: readonly Pair[]): string => {
    const end = (n: number, ring: string, rest: string): string =>
      `      - { name: disk${n}, bind_key: ${n}, shmem: { memory: m${n}, base: 0xd0000000 }, ring: { ${ring} }, ${rest} }`;
    const file = join(scratch, `pairs-${pairs.length}.yaml`);
    const lines = [
      `board: { name: synthetic-riscv64, cpus: ${2 * pairs.length} }`,
      'shared_memories:',
      ...pairs.map((_, n) => `  m${n}: { size: 1MiB }`),
      'vms:',
      ...pairs.flatMap(({ backend, guest, ring = '' }, n) => [
        `  back${n}:`,
        '    cpus: 1',
        `    program: ${backend}`,
        '    remio_devs:',
        end(n, ring, `type: backend, interrupt: 40, device: { type: block, image: ${join(scratch, `disk${n}.img`)} }`),
        `  front${n}:`,
        '    cpus: 1',
        `    program: ${guest}`,
        '    remio_devs:',
        end(n, ring, 'type: frontend, interrupt: 79, window: { base: 0xa003e00 }'),
      ]),
    ];
    pairs.forEach((_, n) => cpSync(image, join(scratch, `disk${n}.img`)));
    writeFileSync(file, lines.join('\n'));
    return file;
  };

  it('catalogue A: every case on a disk', async () => {
    const file = topology([{ backend: 'dispatcher', guest: '{ builtin: hostile }' }]);
    const ended = await remio('up', file, '--until-done', '--json');
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const trials = reportsOf(ended, 'trial').map(({ trial }) => trial as Trial);
    expect(trials.filter(({ ok }) => !ok).map(shown)).toEqual([]);
    const ids = new Set(trials.map(({ id }) => id));
    // A43 and A44 are those of other devices; A48 is of saved states.
    const all = Array.from({ length: 48 }, (_, n) => `A${n + 1}`).filter((id) => !['A43', 'A44', 'A48'].includes(id));
    expect(all.filter((id) => !ids.has(id as Trial['id']))).toEqual([]);
    expect(trials.length).toBeGreaterThan(150);
  });

  it.each(['split', 'packed'] as const)('catalogue B: every lie to a disk’s driver, %s rings', async (layout) => {
    // A backend whose process ends is another matter: test/integration/backend-loss.test.ts. V6 comes about when requests
    // wait for each other, which is a matter of time here: test/hostile tries it in one process.
    const crashes = ({ lies }: DriverCase): boolean => lies.some((lie) => 'trick' in lie && lie.trick === 'crash');
    const cases = driverCasesFor(DEVICE_ID_BLOCK, layout).filter((each) => !crashes(each) && each.id !== 'V6');
    const guest = '{ builtin: blk-verify, options: { writes: 8, readSize: 16384, timeout: 1500000000 } }';
    const file = topology(
      cases.map(({ id, title }) => ({
        backend: `{ builtin: hostile, options: { case: ${id}, title: ${JSON.stringify(title)} } }`,
        guest,
        ring: `packed: ${layout === 'packed'}`,
      })),
    );
    const ended = await remio('up', file, '--until-done', '--json', '--processes', '2');
    const events = ended.stdout
      .split('\n')
      .filter((line) => line.startsWith('{"vm"'))
      .map((line) => JSON.parse(line) as { readonly vm: string; readonly event: Readonly<Record<string, unknown>> });
    const of = (vm: string, kind: string) => events.filter((each) => each.vm === vm && each.event['kind'] === kind);
    const verdicts = cases.map(({ id, title, expected }, n) => {
      const end = of(`front${n}`, 'vcpu-off')[0]?.event;
      const [work] = of(`front${n}`, 'blk-verify');
      const lies = of(`back${n}`, 'lies').at(-1)?.event;
      const gaveUp = end?.['reason'] !== undefined;
      const seen = end === undefined ? 'W' : gaveUp ? 'B' : lies?.['resets'] === 0 ? 'C' : 'N';
      // A driver that went on and told of no failure read back what it wrote; but for a device whose answers are false.
      const told = gaveUp || Number(work?.event['failed']) > 0 || expected.includes('R');
      const sound = told || work?.event['mismatches'] === 0;
      const good =
        (expected as readonly string[]).includes(seen) && sound && lies?.['case'] === id && lies['accepted'] === 0;
      return { id, good, text: `${id} ${title}: ${seen} of ${expected.join('')} ${String(end?.['reason'] ?? '')}` };
    });
    expect(verdicts.filter(({ good }) => !good).map(({ text }) => text)).toEqual([]);
    expect(new Set(verdicts.map(({ id }) => id)).size).toBeGreaterThanOrEqual(18);
    // Some guests ended with a reason.
    expect(ended.code).toBe(1);
  });
});
