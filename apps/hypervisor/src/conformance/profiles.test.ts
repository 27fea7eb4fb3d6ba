import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Outcome, parseVector, type RunMode, runVector } from './index.js';
import { VectorMachine } from './vector-machine.js';

/** A step as a vector has it, without what it is expected to do. */
type Step = Readonly<Record<string, unknown>>;

const SHMEM = { base: '0x0', size: '0x0', id: 0 };
const backend = (key: string, irq: number): object => ({
  type: 'backend',
  key,
  va: '0x0',
  size: '0x0',
  irq,
  shmem: SHMEM,
});
const frontend = (key: string, va: string, irq: number): object => ({
  type: 'frontend',
  key,
  va,
  size: '0x200',
  irq,
  shmem: SHMEM,
});

/** One backend on CPU 0; a frontend with two vCPUs; another backend for its second device, whose window touches the first. */
const machine = (queue: number): object => ({
  cpus: 4,
  slots: 4,
  queue,
  vms: [
    { cpus: [0], devices: [backend('0x1', 52)] },
    { cpus: [1, 2], devices: [frontend('0x1', '0x1000', 47), frontend('0x2', '0x1200', 48)] },
    { cpus: [3], devices: [backend('0x2', 53)] },
  ],
});

const EXPECT = { sent: [], irqs: [], regs: {}, active: [], events: [] };
const OUTPUTS: Readonly<Record<string, object>> = {
  start: { resumed: [] },
  mmio: { result: 'paused' },
  hvc: { ret: 0, out: Array.from({ length: 6 }, () => '0x0') },
  deliver: { handled: 0 },
};

/** A vector of these steps, with what the reference does in each. */
function recorded(queue: number, steps: readonly Step[]): Parameters<typeof runVector>[0] {
  const head = {
    format: 'remio-vectors/1',
    name: 'made',
    class: 'hostile',
    quirks: [],
    description: '',
    arch: 'riscv64',
  };
  const text = (rest: object): string =>
    JSON.stringify({ ...head, topology: machine(queue), init: { events: [] }, ...rest });
  const blank = parseVector(
    text({ steps: steps.map((step) => ({ ...step, expect: { ...EXPECT, ...OUTPUTS[String(step['do'])] } })) }),
  );
  if (!blank.ok) throw new Error(blank.error);
  const made = VectorMachine.create(blank.value, { profile: 'reference', abi: false, lease: false });
  if (!made.ok) throw new Error(made.error.code);
  const { cpus } = made.value.core.data;
  const done = blank.value.steps.flatMap((step, n) => {
    // A vCPU that is paused or stopped makes no access and no call.
    const state = 'cpu' in step ? cpus[step.cpu] : undefined;
    const runs = state?.active === true && !state.halted && state.waiting === undefined;
    if ((step.do === 'mmio' || step.do === 'hvc') && !runs) return [];
    const { faults: _, rules: __, ...observed } = made.value.step(step);
    return [{ ...steps[n], expect: observed }];
  });
  const vector = parseVector(text({ steps: done, end: made.value.end() }));
  if (!vector.ok) throw new Error(vector.error);
  return vector.value;
}

const run = (queue: number, steps: readonly Step[], mode: Partial<RunMode>): Outcome =>
  runVector(recorded(queue, steps), { profile: 'reference', abi: true, lease: false, ...mode });

const start = (cpu: number): Step => ({ do: 'start', cpu });
const read = (cpu: number, addr: string): Step => ({ do: 'mmio', cpu, addr, width: 4, dir: 'r', reg: 7 });
const call = (cpu: number, op: number, { dm = 0, value = '0x0', id = '0x0' } = {}): Step => ({
  do: 'hvc',
  cpu,
  nr: '0x2',
  dm: `0x${dm}`,
  addr: '0x0',
  op: `0x${op}`,
  value,
  id,
});
const [WRITE, READ, ASK, NOTIFY] = [0, 1, 2, 3];
const UP = [start(0), start(1), start(3)];
const PASSED = { status: 'passed' };

describe('a request that its own frontend completes (D-02)', () => {
  const steps = [
    ...UP,
    read(2, '0x1000'),
    call(0, ASK),
    call(1, READ, { value: '0x5' }),
    call(0, READ, { value: '0x6' }),
  ];

  it('is over for the backend as well, which is told so with leases too', () => {
    expect(recorded(9, steps).steps.at(-1)?.expect).toMatchObject({ ret: -1 });
    expect(run(9, steps, {})).toEqual(PASSED);
    expect(run(9, steps, { lease: true })).toEqual(PASSED);
  });
});

describe('what hardened refuses does not warn of a full queue', () => {
  const full = [...UP, read(1, '0x1000'), { do: 'deliver', cpu: 0 }, call(0, ASK), call(0, NOTIFY)];

  it.each([
    ['H-ROLE', call(2, READ, { value: '0x5' })],
    ['H-OP', call(0, WRITE, { value: '0x5' })],
  ])('%s', (rule, last) => {
    const steps = [...full, last];
    expect(recorded(1, steps).steps.at(-1)?.expect).toMatchObject({ events: [{ code: 'queue-full' }] });
    expect(run(1, steps, { profile: 'hardened' })).toMatchObject({
      status: 'deviates',
      rules: expect.arrayContaining([rule]),
    });
  });
});

describe('an access to the first byte behind a window (D-05)', () => {
  it('waits for the device that the address belongs to', () => {
    const steps = [start(1), read(1, '0x1200'), start(3), start(0)];
    expect(run(9, steps, { profile: 'hardened' })).toEqual({ status: 'deviates', rules: ['H-ROUTE'] });
  });
});

const cpu = fc.nat(3);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 1, arbitrary: cpu.map(start) },
  {
    weight: 5,
    arbitrary: fc
      .record({ cpu: fc.constantFrom(1, 2), at: fc.constantFrom('0x1000', '0x11fc', '0x1200', '0x1300', '0x1400') })
      .map(({ cpu: by, at }) => read(by, at)),
  },
  {
    weight: 5,
    arbitrary: fc
      .record({
        cpu,
        dm: fc.nat(2),
        op: fc.nat(4),
        value: fc.constantFrom('0x0', '0x5', '0x1ffffffff'),
        id: fc.constantFrom('0x0', '0x1', '0x2', '0x4', '0x100', '0xffffffffffffffff'),
      })
      .map(({ cpu: by, op, ...rest }) => call(by, op, rest)),
  },
  { weight: 4, arbitrary: cpu.map((by) => call(by, ASK)) },
  { weight: 4, arbitrary: cpu.map((by): Step => ({ do: 'deliver', cpu: by })) },
);

describe('whatever guests do', () => {
  const any = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }));

  it('leases give what the reference gives', () => {
    fc.assert(
      fc.property(any, ([queue, steps]) => {
        expect(run(queue, [...UP, ...steps], { lease: true })).toEqual(PASSED);
      }),
    );
  });

  it.each([false, true])('hardened differs by rules that say so, with leases: %s', (lease) => {
    fc.assert(
      fc.property(any, ([queue, steps]) => {
        expect(run(queue, steps, { profile: 'hardened', lease })).not.toMatchObject({ status: 'failed' });
      }),
    );
  });
});
