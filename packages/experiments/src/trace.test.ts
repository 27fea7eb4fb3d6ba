import { assert, ok } from '@remio/base';
import { describe, expect, it } from 'vitest';
import { type Outcome, readPlan, runPoint } from './index.js';
import { readTrace, textOfTrace } from './trace.js';

const NOTHING = '"sent":[],"irqs":[],"regs":{},"active":[1,1],"events":[]';

const access = (fields: string): string => `{"do":"mmio","cpu":1,${fields},"expect":{"result":"paused",${NOTHING}}}`;

/** A recording of one frontend's accesses; whoever made it was killed. */
const recording = (...accesses: readonly string[]): string => `{
"format":"remio-vectors/1",
"name":"small",
"class":"hostile",
"quirks":[],
"description":"recorded from a running platform, profile hardened",
"arch":"aarch64",
"profile":"hardened",
"topology":{"cpus":2,"slots":2,"queue":253,"vms":[{"cpus":[0],"devices":[{"type":"backend","key":"0x0","va":"0x0","size":"0x0","irq":40,"shmem":{"base":"0xd0000000","size":"0x200000","id":0}}]},{"cpus":[1],"devices":[{"type":"frontend","key":"0x0","va":"0xa003e00","size":"0x200","irq":79,"shmem":{"base":"0xd0000000","size":"0x200000","id":0}}]}]},
"init":{"events":[]},
"steps":[
${accesses.join(',\n')},
`;

const READ = (now: number): string => access(`"addr":"0xa003e00","width":4,"dir":"r","reg":9,"now":${now}`);
const WRITE = (now: number): string =>
  access(`"addr":"0xa003e70","width":4,"dir":"w","reg":10,"value":"0x0","now":${now}`);
const THREE = recording(READ(7_000_000), WRITE(7_100_000), READ(7_500_000));

const TOPOLOGY = `board: { name: synthetic-aarch64, cpus: 4 }
shared_memories: { disk: { size: 2MiB } }
vms:
  backend:
    cpus: 1
    remio_devs:
      - { name: disk, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: disk, base: 0xd0000000 }, device: { type: block, image: none } }
  guest:
    cpus: 1
    remio_devs:
      - { name: disk, type: frontend, bind_key: 0, interrupt: 79, window: { base: 0xa003e00 }, shmem: { memory: disk, base: 0xd0000000 }, driver: { type: blk-verify } }
`;

/** A plan of an experiment that replays a text as a recording. */
const planOf = (lines: string, text = THREE) =>
  readPlan(
    `name: replay\ntitle: Replay\nbase: small.yaml\n${lines}\nmeasure: { warm_up: 1ns, duration: 10ms }\n`,
    'replay.yaml',
    (name, what) => {
      if (what === 'topology') return ok({ name, file: '/small.yaml', text: TOPOLOGY });
      const trace = readTrace(name, text);
      return trace.ok ? ok({ name, file: '/small.rec', text: textOfTrace(trace.value) }) : trace;
    },
  );

async function run(lines: string): Promise<Outcome> {
  const { plan, text } = planOf(lines);
  const [point] = plan?.points ?? [];
  assert(point !== undefined, text);
  return runPoint(point.settings, 1);
}

describe('a trace', () => {
  it('has the accesses of each vCPU, with times from the first one on, and is read as it was written', () => {
    const trace = readTrace('small.rec', THREE);
    assert(trace.ok, 'a recording is one');
    expect(trace.value.vms.map(({ vcpus }) => vcpus)).toEqual([
      [[]],
      [
        [
          { at: 0, address: '0xa003e00', width: 4 },
          { at: 100_000, address: '0xa003e70', width: 4, value: '0x0' },
          { at: 500_000, address: '0xa003e00', width: 4 },
        ],
      ],
    ]);
    expect(readTrace('again', textOfTrace(trace.value))).toEqual(trace);
  });

  it.each([
    ['what is no recording', 'name: two', /no recording of remio up --record/],
    [
      'a recording without accesses',
      recording(`{"do":"start","cpu":0,"expect":{"resumed":[],${NOTHING}}}`),
      /nothing to replay/,
    ],
    ['a trace that was changed', '{"format":"remio-trace/1","vms":[{}],"timed":true}', /is no trace/],
  ])('is not made of %s', (_, text, message) => {
    expect(readTrace('x.rec', text)).toMatchObject({ ok: false, error: expect.stringMatching(message) });
  });
});

describe('a replay', () => {
  it('makes the accesses at their times, again and again', async () => {
    const outcome = await run('workload: { type: replay, recording: small.rec }');
    // Three in 0.5 ms, for 10 ms.
    expect(outcome.operations).toBeGreaterThan(50);
    expect(outcome.operations).toBeLessThan(61);
    expect(outcome).toMatchObject({ errors: 0, faults: 0, perOperation: { interrupts: 0 } });
  });

  it('makes them one after the other, where that is wanted', async () => {
    const outcome = await run('workload: { type: replay, recording: small.rec, pace: asap }');
    expect(outcome.throughput).toBeGreaterThan(10_000);
  });

  it.each([
    [
      'without times, at their times',
      'workload: { type: replay, recording: small.rec }',
      recording(READ(0)),
      /write `pace: asap`/,
    ],
    [
      'of another topology',
      'workload: { type: replay, recording: small.rec }',
      THREE.replace('0xa003e70', '0xa004000'),
      /has an access to 0xa004000 in this VM; its devices in virtual time are at 0xa003e00/,
    ],
    [
      'of VMs that accessed nothing',
      'workload: { type: replay, recording: small.rec }',
      THREE.replaceAll('"do":"mmio","cpu":1', '"do":"mmio","cpu":0'),
      /small\.rec has no register accesses of guest; it has some of backend/,
    ],
    [
      'where nobody uses a device',
      'workload: { type: replay, recording: small.rec, vms: [backend] }',
      THREE,
      /uses a device/,
    ],
    ['on the wall clock', 'clock: wall\nworkload: { type: replay, recording: small.rec }', THREE, /for virtual time/],
    ['without a recording', 'workload: { type: replay }', THREE, /names its recording/],
    ['as noise', 'workload: {}\nnoisy: { type: replay, vms: [guest] }', THREE, /only what is measured/],
  ])('is refused %s', (_, lines, text, message) => {
    expect(planOf(lines, text).text).toMatch(message);
    expect(planOf(lines, text).text).toMatch(/--> replay\.yaml:\d+/);
  });
});
