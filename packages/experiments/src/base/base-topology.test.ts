import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '@remio/base';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Plan, RunFolder, readPlan, runPoint } from '../index.js';
import { leftOutOf, platformOf } from '../platform.js';
import { dataOf, parseRaw, textOf } from './base-topology.js';
import { setAt } from './topology-path.js';
import { withWorkload } from './with-workload.js';

const directory = mkdtempSync(join(tmpdir(), 'experiment-base-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** An end, as topology files have it. */
const end = (name: string, key: number, type: 'frontend' | 'backend', more: string): string => {
  const place = `interrupt: ${40 + key}, shmem: { memory: ${name}, base: 0x${(0xd0 + key).toString(16)}000000 }`;
  return `      - { name: ${name}, type: ${type}, bind_key: ${key}, ${place}, ${more} }`;
};
const window = (n: number): string => `window: { base: 0x${(0xa00_0000 + n * 0x200).toString(16)} }`;

/** A backend for three guests: two with a disk, one of which has a network interface as well, and one with nothing but that. */
const TOPOLOGY = `name: mine
board: { name: synthetic-aarch64, cpus: 8 }
shared_memories:
  disk0: { size: 4MiB }
  disk1: { size: 4MiB }
  net0: { size: 1MiB }
  net2: { size: 1MiB }
vms:
  io:
    cpus: 1
    remio_devs:
${end('disk0', 0, 'backend', 'device: { type: block, image: none.img }')}
${end('disk1', 1, 'backend', 'device: { type: block, image: none.img }')}
${end('net0', 2, 'backend', 'device: { type: net, switch: lan }')}
${end('net2', 3, 'backend', 'device: { type: net, switch: lan }')}
  guest0:
    cpus: 1
    remio_devs:
${end('disk0', 0, 'frontend', `${window(0)}, driver: { type: blk-verify }`)}
${end('net0', 2, 'frontend', `${window(1)}, driver: { type: probe }`)}
  guest1:
    cpus: 1
    remio_devs:
${end('disk1', 1, 'frontend', `${window(0)}, driver: { type: blk-verify }`)}
  guest2:
    cpus: 1
    remio_devs:
${end('net2', 3, 'frontend', `${window(0)}, driver: { type: probe }`)}
`;

const EXPERIMENT = `name: mine
title: Mine
base: mine.yaml
workload: { depth: 2 }
measure: { warm_up: 1ms, duration: 2ms }
`;

beforeAll(() => writeFileSync(join(directory, 'mine.yaml'), TOPOLOGY));

/** Every place of a topology. */
const placesOf = (node: unknown, at: readonly (string | number)[]): readonly (readonly (string | number)[])[] =>
  typeof node !== 'object' || node === null
    ? [at]
    : [
        ...(at.length > 0 ? [at] : []),
        ...Object.entries(node).flatMap(([key, value]) => placesOf(value, [...at, key])),
      ];

const file = join(directory, 'experiment.yaml');
const planOf = (extra = ''): Plan => {
  const { plan, text } = readPlan(EXPERIMENT + extra, file);
  assert(plan !== undefined, text);
  return plan;
};
const settingsOf = (plan: Plan, point = 0): Plan['points'][number]['settings'] => {
  const settings = plan.points[point]?.settings;
  assert(settings !== undefined, 'the plan has the point');
  return settings;
};

describe('an experiment on a topology of its own', () => {
  it('puts the workload on the disks of its frontends, and leaves out what nobody uses', async () => {
    const settings = settingsOf(planOf());
    const { topology, roles } = platformOf(settings);
    expect(Object.fromEntries(roles)).toEqual({
      io: 'backend',
      guest0: 'frontend',
      guest1: 'frontend',
      guest2: 'other',
    });
    expect(leftOutOf(settings)).toEqual(['net0', 'net2']);
    expect(topology?.vms.map(({ program, remioDevs }) => [program.name, remioDevs.map(({ name }) => name)])).toEqual([
      ['dispatcher', ['disk0', 'disk1']],
      ['load', ['disk0']],
      ['load', ['disk1']],
      ['idle', []],
    ]);
    const outcome = await runPoint(settings, 1);
    expect(outcome.operations).toBeGreaterThan(20);
    expect(outcome.use?.map(({ group, cpus }) => [group, cpus])).toEqual([
      ['backends', 1],
      ['frontends', 2],
      ['others', 1],
    ]);
    expect(await runPoint(settings, 1)).toEqual(outcome);
  });

  it('sets what a path leads to, in each point its own', () => {
    const plan = planOf(
      'sweep: { topology.vms.guest*.cpus: [1, 2], topology.vms.*.remio_devs.*.ring.packed: [true, false] }',
    );
    expect(plan.points.map(({ at }) => Object.values(at))).toEqual([
      [1, true],
      [1, false],
      [2, true],
      [2, false],
    ]);
    const [, guest0] = platformOf(settingsOf(plan, 3)).topology?.vms ?? [];
    expect(guest0?.cpus).toHaveLength(2);
    const ringOf = (point: number) => platformOf(settingsOf(plan, point)).topology?.vms[1]?.remioDevs[0]?.ring;
    expect(ringOf(2)).not.toBe(ringOf(3));
    // A disk has a queue for each vCPU of its frontend, for nobody said otherwise.
    const [io] = platformOf(settingsOf(plan, 3)).topology?.vms ?? [];
    expect(io?.remioDevs[0]?.device).toMatchObject({ choice: { options: { queues: 2 } } });
  });

  it('measures some frontends beside others that are noise', async () => {
    const { plan, text } = readPlan(
      EXPERIMENT.replace('{ depth: 2 }', '{ vms: guest0 }\nnoisy: { vms: [guest1, guest2], depth: 16 }'),
      file,
    );
    assert(plan !== undefined, text);
    const settings = settingsOf(plan);
    expect(Object.fromEntries(platformOf(settings).roles)).toEqual({
      io: 'backend',
      guest0: 'frontend',
      guest1: 'noisy',
      guest2: 'other',
    });
    const { noisy, throughput } = await runPoint(settings, 1);
    expect(noisy?.throughput).toBeGreaterThan(2 * throughput);
  });

  it('leaves those alone that nobody names, if its clock has what they use', () => {
    const named = EXPERIMENT.replace('{ depth: 2 }', '{ vms: [guest0, guest1] }');
    expect(readPlan(named, file).text).toContain(
      'net2 of VM io is a net device, which talks to the host: virtual time has',
    );
    const { plan, text } = readPlan(`${named}clock: wall\n`, file);
    assert(plan !== undefined, text);
    const { topology } = platformOf(settingsOf(plan));
    expect(leftOutOf(settingsOf(plan))).toEqual(['net0']);
    expect(topology?.vms.at(-1)).toMatchObject({ program: { name: 'drivers' }, remioDevs: [{ name: 'net2' }] });
  });

  it('has no use for a console that is the command’s, on the wall clock', () => {
    const tty = end('net2', 3, 'backend', 'device: { type: console, ports: [{ stdio: true }] }');
    const net = end('net2', 3, 'backend', 'device: { type: net, switch: lan }');
    writeFileSync(join(directory, 'stdio.yaml'), TOPOLOGY.replace(net, tty));
    const named = EXPERIMENT.replace('{ depth: 2 }', '{ vms: [guest0, guest1] }').replace('mine.yaml', 'stdio.yaml');
    expect(readPlan(`${named}clock: wall\n`, file).text).toContain(
      'VM io has standard input and output, which are the experiment’s',
    );
  });

  it('compares topologies with each other', () => {
    writeFileSync(join(directory, 'other.yaml'), TOPOLOGY.replace('cpus: 8', 'cpus: 16'));
    const plan = planOf('sweep: { platforms: { small: {}, large: { base: other.yaml } } }');
    const cpus = plan.points.map(({ settings }) => platformOf(settings).topology?.board.cpus.length);
    expect(cpus).toEqual([8, 16]);
    expect(plan.bases.map(({ name }) => name)).toEqual(['mine.yaml', 'other.yaml']);
  });

  it('goes on with the topology that it began with, whatever became of it', () => {
    const own = join(directory, 'own.yaml');
    writeFileSync(own, TOPOLOGY);
    const text = EXPERIMENT.replace('mine.yaml', 'own.yaml');
    const { plan } = readPlan(text, file);
    assert(plan !== undefined, 'it is a good experiment');
    RunFolder.create(join(directory, 'results'), plan);
    writeFileSync(own, 'no topology');
    const folder = RunFolder.open(join(directory, 'results'));
    const again = readPlan(folder.text, folder.file, folder.readBase);
    expect([again.text, again.plan?.points]).toEqual(['', plan.points]);
    const point = JSON.parse(readFileSync(join(folder.path, 'platforms', 'point-0.json'), 'utf8')) as object;
    expect(point).toMatchObject({ vms: { guest1: { program: 'load' } } });
  });

  it.each([
    ['sweep: { topology.vms.gest0.cpus: [1] }', 6, 'there is no gest0 under vms; there is io, guest0'],
    ['sweep:\n  topology.vms.io.cpus: [1, 9]', 7, 'topology.vms.io.cpus = 9: vms.io.cpus: VM io wants 9 CPUs'],
    ['sweep:\n  a: { x: { topology.vms.io.pcus: 1 } }\n', 7, 'there is no field `pcus` here [schema]'],
    ['sweep: { topology.shared_memories.disk1.size: [64KiB] }', 6, 'has 65536 bytes; for 1 vCPU with depth 2'],
    ['sweep: { topology.vms.guest1.program: [idle] }', 6, 'topology.vms.guest1.program makes no difference'],
    [
      'sweep: { topology.vms.*.remio_devs.net0.ring.packed: [true] }',
      6,
      'makes no difference: the workload has its own',
    ],
    ['sweep: { topology.vms.guest1.remio_devs.*.queue_vcpus: [[0]] }', 6, 'makes no difference'],
    ['platform: { frontends: 3 }', 6, '`platform.frontends`: the platform is that of mine.yaml'],
    ['noisy: { frontends: 3 }', 6, 'name them: `noisy: { vms: [PATTERN] }`'],
    ['noisy: { vms: [neighbour] }', 6, 'there is no VM neighbour; there are io, guest0'],
    ['noisy: { vms: [guest*] }', 3, 'names uses a disk and serves nothing: nobody makes any load'],
    ['sweep: { base: [none.yaml] }', 6, 'there is no file'],
    ['sweep: { topologie.vms: [1] }', 6, 'there is no parameter topologie.vms'],
  ])('%s: %j', (extra, line, message) => {
    const { plan, text } = readPlan(EXPERIMENT + extra, file);
    expect(plan).toBeUndefined();
    expect(text).toContain(message);
    expect(text).toContain(`experiment.yaml:${line}:`);
  });

  it('says what is wrong with its topology, in that one’s lines', () => {
    writeFileSync(join(directory, 'bad.yaml'), TOPOLOGY.replace('type: block', 'type: blok'));
    const { text } = readPlan(EXPERIMENT.replace('mine.yaml', 'bad.yaml'), file);
    expect(text).toContain('error: bad.yaml has mistakes, which are shown below');
    expect(text).toMatch(/bad\.yaml:12:\d+: error/);
  });

  it('hides no mistake of its topology, whatever is set wherever', () => {
    const data = dataOf(TOPOLOGY);
    const guests = { vms: ['guest*'], families: ['block'], queueSize: 16 };
    const noise = { ...guests, vms: ['guest1'] };
    const wrong = (topology: unknown): boolean => parseRaw({ file, text: textOf(topology) }).topology === undefined;
    const places = placesOf(data, []);
    let mistakes = 0;
    for (const place of places) {
      for (const value of [null, true, -1.5, [], {}, { x: null }, [null, 7n], 'x']) {
        const set = setAt(data, place.join('.'), value);
        assert(set.ok, `${place.join('.')} is there`);
        const loaded = withWorkload(set.data, guests, noise);
        // Every value is tried on the workload; the whole check, which takes longer, on one of them.
        if (value !== 'x' || !wrong(set.data)) continue;
        const matters = !loaded.idle.some((end) => end.every((step, n) => String(step) === String(place[n])));
        if (!matters) continue;
        mistakes += 1;
        expect([place.join('.'), wrong(loaded.data)]).toEqual([place.join('.'), true]);
      }
    }
    expect(mistakes).toBeGreaterThan(places.length / 2);
  });

  it('is none without a topology to set something in', () => {
    const { text } = readPlan('name: a\ntitle: A\nsweep: { topology.vms.io.cpus: [1] }\n', file);
    expect(text).toContain('there is no topology to set this in');
    expect(readPlan('name: a\ntitle: A\nworkload: { vms: [a] }\n', file).text).toContain(
      'names VMs of a base topology',
    );
  });
});

it('tells a few of the things that do not fit a point, and how many there are', () => {
  // An interrupt of a GIC for each device: beyond 980, every one is a mistake.
  const { text } = readPlan('name: a\ntitle: A\nsweep: { platform.frontends: [1000] }\n', file);
  expect(text.match(/^error/gm)).toHaveLength(3);
  expect(text).toMatch(/and 17 more$/m);
});

describe('an experiment on the wall clock', () => {
  it('counts for seconds unless it says otherwise', () => {
    const { plan } = readPlan('name: a\ntitle: A\nclock: wall\n', file);
    expect(plan?.points[0]?.settings.measure).toMatchObject({ warm_up: 1_000_000_000, duration: 2_000_000_000 });
  });

  it.each([
    ['costs: { trap_entry: 100 }', 4, '`costs` are for virtual time'],
    ['medium: { latency: 1ms }', 4, '`medium` are for virtual time'],
    ['sweep: { medium.latency: [1ms, 2ms] }', 4, 'values of medium.latency are for virtual time'],
    ['sweep:\n  fast: { costs: { costs.trap_exit: 1 } }', 5, 'values of costs.trap_exit are for virtual time'],
  ])('knows no costs: %s', (extra, line, message) => {
    const { plan, text } = readPlan(`name: a\ntitle: A\nclock: wall\n${extra}\n`, file);
    expect(plan).toBeUndefined();
    expect(text).toContain(message);
    expect(text).toContain(`experiment.yaml:${line}:`);
  });
});
