import type { MmioAccess } from '@remio/arch';
import { bindKey, cpuId, guestAddress, irqId, type RequestId, requestId, vmId } from '@remio/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseVector, runVector } from '../conformance/index.js';
import { type CoreInput, type Profile, type RemioConfig, RemioCore } from '../remio/index.js';
import { Recorder } from './recorder.js';

const SHMEM = { base: 0xd000_0000n, size: 0x1000n, id: 0 };

/** Backend on CPUs 0 and 1, its two frontends on 2, 3 and 4. */
const CONFIG: RemioConfig = {
  cpus: 6,
  slots: 4,
  queue: 3,
  vms: [
    {
      cpus: [cpuId(0), cpuId(1)],
      devices: [40, 41].map((irq, n) => ({
        type: 'backend',
        bindKey: bindKey(BigInt(n)),
        va: 0n,
        size: 0n,
        interrupt: irqId(irq),
        shmem: { ...SHMEM, id: n },
      })),
    },
    ...[0, 1].map((n) => ({
      cpus: n === 0 ? [cpuId(2), cpuId(3)] : [cpuId(4)],
      devices: [
        {
          type: 'frontend' as const,
          bindKey: bindKey(BigInt(n)),
          va: 0xa00_3000n,
          size: 0x200n,
          interrupt: irqId(79),
          shmem: { ...SHMEM, id: n },
          deadline: 40,
        },
      ],
    })),
  ],
};

/** The same machine, whose first two VMs also talk over memory 1. */
const TALKING: RemioConfig = {
  ...CONFIG,
  shmems: [0x1000n, 0x2000n],
  vms: CONFIG.vms.map((vm, n) =>
    n === 2 ? vm : { ...vm, ipcs: [{ shmem: 1, size: 0x2000n, interrupts: [irqId(60), irqId(61 + n)] }] },
  ),
};

const access: fc.Arbitrary<MmioAccess> = fc
  .record({
    address: fc.constantFrom(0xa00_3000n, 0xa00_31f8n, 0x10n).map(guestAddress),
    width: fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const),
    write: fc.boolean(),
    register: fc.nat(31),
    value: fc.bigInt(0n, 2n ** 64n - 1n),
    signExtend: fc.boolean(),
    registerWidth: fc.constantFrom(4 as const, 8 as const),
  })
  .map((each) => ({
    ...each,
    // The zero registers read 0.
    value: each.write && each.register !== 0 && each.register !== 31 ? each.value : 0n,
    signExtend: each.signExtend && !each.write,
  }));

/** Ids below this are positions among the request slots: the slot's present id is put in their place. */
const SLOT_IDS = 4n;
const id = fc.oneof(
  { weight: 6, arbitrary: fc.bigInt(0n, SLOT_IDS - 1n) },
  { weight: 1, arbitrary: fc.bigInt(SLOT_IDS, 40n) },
  { weight: 1, arbitrary: fc.constant(2n ** 64n - 1n) },
);
const input: fc.Arbitrary<CoreInput> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('mmio' as const),
      cpu: fc.integer({ min: 2, max: 4 }).map(cpuId),
      access,
      now: fc.nat(100),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('hypercall' as const),
      cpu: fc.nat(4).map(cpuId),
      call: fc.record({
        nr: fc.constantFrom(2n, 2n, 2n, 2n, 1n, 7n),
        dm: fc.bigInt(0n, 2n),
        addr: fc.constantFrom(0n, 0n, 0n, 1n),
        op: fc.bigInt(0n, 4n),
        value: fc.constantFrom(0n, 0n, 0xffff_ffff_8080_8080n),
        id,
      }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('leased-ask' as const),
      cpu: fc.nat(1).map(cpuId),
      id: id.map(requestId),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('deliver' as const), cpu: fc.nat(4).map(cpuId) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('deliver' as const), cpu: fc.nat(4).map(cpuId), max: fc.nat(2) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('tick' as const), now: fc.nat(150) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('vm-lost' as const, 'vm-attached' as const),
      vm: fc.nat(2).map(vmId),
      incarnation: fc.nat(3),
    }),
  },
);

/** Whether the platform would give the core this input now. */
function possible(core: RemioCore, each: CoreInput): boolean {
  if (!('cpu' in each)) return true;
  const state = core.data.cpus[each.cpu];
  if (state === undefined || state.halted || state.waiting !== undefined) return false;
  return each.kind === 'deliver' || state.active;
}

/** What a guest would say who knows which ids were given out. */
function informed(core: RemioCore, each: CoreInput): CoreInput {
  const known = (guess: bigint): RequestId =>
    guess < SLOT_IDS ? (core.data.requests[Number(guess)]?.id ?? requestId(guess)) : requestId(guess);
  if (each.kind === 'leased-ask') return { ...each, id: known(each.id) };
  return each.kind === 'hypercall' ? { ...each, call: { ...each.call, id: known(each.call.id) } } : each;
}

/** Runs inputs, and records them. */
function record(
  profile: Profile,
  arch: 'aarch64' | 'riscv64',
  inputs: readonly CoreInput[],
  config: RemioConfig = CONFIG,
): string {
  const core = RemioCore.create(config, profile);
  if (!core.ok) throw new Error(core.error.code);
  const recorder = new Recorder({ name: 'test', arch, profile, config });
  let text = recorder.head();
  const starts = config.vms.map((vm): CoreInput => ({ kind: 'start', cpu: vm.cpus[0] ?? cpuId(0) }));
  for (const guess of [...starts, ...inputs]) {
    const each = informed(core.value, guess);
    if (possible(core.value, each)) text += recorder.step(each, core.value.step(each), core.value);
  }
  return text + recorder.end(core.value.data);
}

describe.each(['aarch64', 'riscv64'] as const)('a recording, %s', (arch) => {
  it.each([
    ['reference', 'no IPC', CONFIG],
    ['hardened', 'no IPC', CONFIG],
    ['reference', 'IPC', TALKING],
    ['hardened', 'IPC', TALKING],
  ] as const)('of profile %s, %s, is a vector that passes', (profile, _, config) => {
    fc.assert(
      fc.property(fc.array(input, { maxLength: 80 }), (inputs) => {
        const vector = parseVector(record(profile, arch, inputs, config));
        if (!vector.ok) throw new Error(vector.error);
        expect(runVector(vector.value, { profile, abi: false, lease: false })).toEqual({ status: 'passed' });
      }),
      { numRuns: 150 },
    );
  });

  it('tells a doorbell from an ASK, whose numbers may be the same', () => {
    const bell = {
      kind: 'hypercall',
      cpu: cpuId(0),
      call: { nr: 1n, dm: 0n, addr: 0n, op: 2n, value: 0n, id: 4n },
    } as const;
    const vector = parseVector(record('reference', arch, [bell], TALKING));
    if (!vector.ok) throw new Error(vector.error);
    expect(runVector(vector.value, { profile: 'reference', abi: false, lease: false })).toEqual({ status: 'passed' });
  });

  it('of the reference has the format\u2019s own steps only, and passes through the ABI and with leases', () => {
    fc.assert(
      fc.property(fc.array(input, { maxLength: 80 }), (inputs) => {
        const vector = parseVector(record('reference', arch, inputs));
        if (!vector.ok) throw new Error(vector.error);
        // An out-of-turn lease is no ASK of the format.
        fc.pre(vector.value.steps.every((step) => step.do !== 'leased-ask'));
        const kinds = new Set(vector.value.steps.map((step) => step.do));
        for (const kind of kinds) expect(['start', 'mmio', 'hvc', 'deliver']).toContain(kind);
        for (const lease of [false, true]) {
          expect(runVector(vector.value, { profile: 'reference', abi: true, lease })).toEqual({ status: 'passed' });
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('a recording', () => {
  const mmio: CoreInput = {
    kind: 'mmio',
    cpu: cpuId(2),
    access: {
      address: guestAddress(0xa00_3000n),
      width: 4,
      write: false,
      register: 3,
      value: 0n,
      signExtend: true,
      registerWidth: 8,
    },
    now: 7,
  };
  const steps = (profile: Profile, ...inputs: readonly CoreInput[]) => {
    const vector = parseVector(record(profile, 'riscv64', inputs));
    if (!vector.ok) throw new Error(vector.error);
    return vector.value.steps.slice(CONFIG.vms.length);
  };

  it('carries what the format lacks in fields of its own', () => {
    expect(steps('hardened', mmio)).toMatchObject([{ do: 'mmio', signed: true, now: 7 }]);
    expect(steps('hardened', mmio, { kind: 'tick', now: 1000 })[1]).toMatchObject({
      do: 'tick',
      now: 1000,
      expect: { faults: [[2, 'deadline']], rules: [[2, 'H-DEADLINE']] },
    });
  });

  it('names doorbells and the objects behind them', () => {
    const ring = { nr: 1n, dm: 0n, addr: 1n, op: 0n, value: 0n, id: 0n };
    const inputs: readonly CoreInput[] = [
      { kind: 'hypercall', cpu: cpuId(0), call: ring },
      { kind: 'deliver', cpu: cpuId(2) },
    ];
    const vector = parseVector(record('reference', 'riscv64', inputs, TALKING));
    if (!vector.ok) throw new Error(vector.error);
    expect(vector.value.topology).toMatchObject({
      shmems: [0x1000n, 0x2000n],
      vms: [{ ipcs: [{ shmem: 1, size: 0x2000n, irqs: [60, 61] }] }, { ipcs: [{ irqs: [60, 62] }] }, {}],
    });
    // The third VM has the memory for its device: it is rung, and has no interrupt for it.
    expect(vector.value.steps.slice(-2)).toMatchObject([
      {
        do: 'hvc',
        nr: 1n,
        expect: {
          ret: 0,
          sent: [
            { to: 2, kind: 'ipc', shmem: 1, event: '0x1' },
            { to: 4, kind: 'ipc', shmem: 1, event: '0x1' },
          ],
        },
      },
      { do: 'deliver', expect: { handled: 1, irqs: [[2, 62]] } },
    ]);
  });

  it('lets inputs without effects ride along with the next step', () => {
    const attached: CoreInput = { kind: 'vm-attached', vm: vmId(0), incarnation: 1 };
    expect(steps('hardened', attached, { kind: 'tick', now: 1 }, mmio)).toMatchObject([
      {
        do: 'mmio',
        before: [
          { do: 'vm-attached', vm: 0, incarnation: 1 },
          { do: 'tick', now: 1 },
        ],
      },
    ]);
  });

  it('ends with what had no step to ride along with: a loss empties queues, and nothing else tells of it', () => {
    const lost: readonly CoreInput[] = [
      { kind: 'vm-attached', vm: vmId(0), incarnation: 1 },
      mmio,
      { kind: 'tick', now: 8 },
      { kind: 'vm-lost', vm: vmId(0), incarnation: 1 },
    ];
    expect(steps('hardened', ...lost).at(-1)).toMatchObject({
      do: 'vm-lost',
      vm: 0,
      before: [{ do: 'tick', now: 8 }],
    });
    expect(steps('reference', ...lost).at(-1)).toMatchObject({ do: 'mmio' });
    const vector = parseVector(record('hardened', 'riscv64', lost));
    if (!vector.ok) throw new Error(vector.error);
    expect(runVector(vector.value, { profile: 'hardened', abi: false, lease: false })).toEqual({ status: 'passed' });
  });

  it('writes an ASK from a lease as the ASK that it stands for, unless it was out of turn', () => {
    const take = (lease: bigint): CoreInput => ({ kind: 'leased-ask', cpu: cpuId(0), id: requestId(lease) });
    const second: CoreInput = { ...mmio, cpu: cpuId(3) };
    expect(steps('reference', mmio, take(0n))[1]).toMatchObject({
      do: 'hvc',
      op: 2n,
      leased: true,
      expect: { ret: 0, out: ['0xa003000', '0x1', '0x0', '0x4', '0x0', '0x0'] },
    });
    expect(steps('hardened', mmio, second, take(1n))[2]).toMatchObject({ do: 'leased-ask', cpu: 0, id: 1n });
  });
});
