import {
  type Arch,
  type Conduit,
  enableInterruptSequence,
  encodeDataAbort,
  encodeGuestPageFault,
  type MmioAccess,
} from '@remio/arch';
import { cpuId, guestAddress, irqId, vmId } from '@remio/base';
import type { HypervisorRecord } from '@remio/protocol';
import { parseTopology } from '@remio/topology';
import { describe, expect, it } from 'vitest';
import type { Profile } from '../remio/index.js';
import { Platform } from './platform.js';

const text = (arch: Arch): string => `
board: synthetic-${arch}
shared_memories: { m0: { size: 64KiB } }
vms:
  back:
    cpus: 2
    memory: [{ base: 0x80000000, size: 64KiB }]
    program: idle
    remio_devs:
      - { name: d, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: m0, base: 0xd0000000 }, device: { type: block, image: a } }
  front:
    cpus: 1
    program: idle
    remio_devs:
      - { name: d, type: frontend, bind_key: 0, window: { base: 0xa003e00 }, interrupt: 79, shmem: { memory: m0, base: 0xd0000000 } }
`;

/** A platform whose VM `back` is attached, and what it was told. */
class Bench {
  readonly records: HypervisorRecord[] = [];
  readonly platform: Platform;
  readonly #arch: Arch;

  constructor(arch: Arch, profile: Profile = 'hardened', topologyText = text(arch)) {
    this.#arch = arch;
    const { topology } = parseTopology(topologyText, 'test.yaml', {
      resolve: (path) => path,
      files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
      programs: ['idle'],
    });
    if (topology === undefined) throw new Error('the topology is good');
    const created = Platform.create({ ...topology, profile }, { send: (record) => this.records.push(record) });
    if (!created.ok) throw new Error(created.error.code);
    this.platform = created.value;
    this.platform.attach(vmId(0), 1);
  }

  /** A call by CPU 0 at PC 0x1000 or, for an HVC, just before it; what the hypervisor says. */
  call(conduit: Conduit, registers: readonly bigint[], cpu = 0): readonly HypervisorRecord[] {
    this.records.length = 0;
    const frame = { arch: this.#arch, conduit, pc: 0x1000n, registers };
    const handled = this.platform.handle({ kind: 'hypercall', vm: vmId(0), cpu: cpuId(cpu), frame }, 0);
    expect(handled).toEqual({ ok: true, value: undefined });
    return [...this.records];
  }
}

const MINUS_ONE = 2n ** 64n - 1n;
const MINUS_TWO = 2n ** 64n - 2n;

/** x0..x6 with a function id, and other registers that tell whether they were touched. */
const x = (x0: bigint, x1 = 0x11n): readonly bigint[] => [x0, x1, 0x22n, 0x33n, 0x44n, 0x55n, 0x66n];
/** a0..a7. */
const a = (eid: bigint, fid: bigint, a0 = 0x10n): readonly bigint[] => [
  a0,
  0x11n,
  0x12n,
  0x13n,
  0x14n,
  0x15n,
  fid,
  eid,
];

const talking = (arch: Arch): string =>
  text(arch)
    .replace('shared_memories: {', 'shared_memories: { mail: { size: 64KiB },')
    .replace('  front:', '    ipcs: [{ memory: mail, base: 0xf0000000, interrupts: [52, 53] }]\n  front:')
    .concat('    ipcs: [{ memory: mail, base: 0xe0000000, interrupts: [60] }]\n');

/** The front enables its interrupt 60, as a guest does. */
function enable(bench: Bench, arch: Arch): void {
  for (const { address, width, value } of enableInterruptSequence(bench.platform.topology.board.irqc, irqId(60), 0)) {
    const access = { address: guestAddress(address), width, write: true, register: 5, value };
    const plain: MmioAccess = { ...access, signExtend: false, registerWidth: arch === 'riscv64' ? 8 : 4 };
    const trap = arch === 'aarch64' ? encodeDataAbort(plain, 0n) : encodeGuestPageFault(plain, 0n, 'htinst');
    if (trap === undefined) throw new Error('a store that a guest makes');
    bench.platform.handle({ kind: 'trap', vm: vmId(1), cpu: cpuId(2), trap }, 0);
  }
}

describe.each(['aarch64', 'riscv64'] as const)('IPC on %s (H.2, B.1)', (arch) => {
  /** The call's registers before and after. */
  const call = (index: bigint, event: bigint, result = 0n): readonly [readonly bigint[], readonly bigint[]] =>
    arch === 'aarch64'
      ? [
          [0x8600_0001n, index, event, 0x33n, 0x44n, 0x55n, 0x66n],
          [result, index, event, 0x33n, 0x44n, 0x55n, 0x66n],
        ]
      : [
          [index, event, 0x12n, 0x13n, 0x14n, 0x15n, 1n, 0x0800_0ba0n],
          [0n, result, 0x12n, 0x13n, 0x14n, 0x15n, 1n, 0x0800_0ba0n],
        ];

  it('rings: the caller gets 0 and goes on, the other VM its interrupt, as soon as it is enabled', () => {
    for (const profile of ['reference', 'hardened'] as const) {
      const bench = new Bench(arch, profile, talking(arch));
      bench.platform.attach(vmId(1), 1);
      enable(bench, arch);
      const [before, after] = call(0n, 0n);
      const rung = bench.call(arch === 'aarch64' ? 'hvc' : 'ecall', before);
      const pc = arch === 'aarch64' ? 0x1000n : 0x1004n;
      expect(rung[0]).toEqual({ kind: 'result', vm: 0, cpu: 0, pc, registers: after });
      expect(rung.slice(1)).toEqual([{ kind: 'irq', vm: 1, cpu: 2, irq: 60 }]);
      expect(bench.platform.vmStats(vmId(0))).toMatchObject({ hypercalls: 1, doorbells: 1 });
      // Nobody there has an interrupt for event 1.
      const [unheard] = call(0n, 1n);
      expect(bench.call(arch === 'aarch64' ? 'hvc' : 'ecall', unheard)).toHaveLength(1);
    }
  });

  it('keeps a doorbell for a VM that no process runs yet, and answers -3 for an object that there is not', () => {
    const bench = new Bench(arch, 'hardened', talking(arch));
    const [before] = call(0n, 0n);
    expect(bench.call(arch === 'aarch64' ? 'hvc' : 'ecall', before)).toHaveLength(1);
    const [wrong, refused] = call(1n, 0n, 2n ** 64n - 3n);
    expect(bench.call(arch === 'aarch64' ? 'hvc' : 'ecall', wrong)).toMatchObject([{ registers: refused }]);
    bench.platform.attach(vmId(1), 1);
    bench.records.length = 0;
    enable(bench, arch);
    expect(bench.records.filter(({ kind }) => kind === 'irq')).toEqual([{ kind: 'irq', vm: 1, cpu: 2, irq: 60 }]);
  });
});

describe('calls on AArch64 (B.2, B.8)', () => {
  /** What x0 becomes, by function id. */
  const CASES: readonly (readonly [what: string, fid: bigint, x0: bigint])[] = [
    ['an unknown Bao function', 0xc600_0007n, MINUS_TWO],
    ['an unknown Bao function, 32-bit', 0x8600_ffffn, MINUS_TWO],
    ['Bao\u2019s owner with a number beyond 16 bits', 0xc601_0002n, MINUS_ONE],
    ['an Arm architecture call: SMCCC_VERSION', 0x8000_0000n, MINUS_ONE],
    ['an Arm architecture call: SMCCC_ARCH_FEATURES', 0x8000_0001n, MINUS_ONE],
    ['a standard hypervisor service', 0x8500_0000n, MINUS_ONE],
    ['a standard secure service beyond PSCI', 0x8400_0050n, MINUS_ONE],
    ['a PSCI id that is not served', 0x8400_0013n, MINUS_ONE],
    ['a yielding call', 0x0600_0002n, MINUS_ONE],
    ['no function id at all', 0n, MINUS_ONE],
    ['PSCI_VERSION', 0x8400_0000n, 0x1_0001n],
    ['PSCI_VERSION with an upper half, which does not count', 0xdead_beef_8400_0000n, 0x1_0001n],
  ];

  it.each(CASES)('%s: x0 only, and the next instruction', (_, fid, x0) => {
    for (const profile of ['reference', 'hardened'] as const) {
      const registers = [x0, ...x(fid).slice(1)];
      const owner = { kind: 'result', vm: 0, cpu: 0 } as const;
      // An HVC has the PC past itself already; an SMC is stepped over once.
      expect(new Bench('aarch64', profile).call('hvc', x(fid))).toEqual([{ ...owner, pc: 0x1000n, registers }]);
      expect(new Bench('aarch64', profile).call('smc', x(fid))).toEqual([{ ...owner, pc: 0x1004n, registers }]);
    }
  });

  it('an upper half of the function id does not make Bao\u2019s call another one', () => {
    const bench = new Bench('aarch64');
    // ASK with value 0x44: answered +1, nothing else touched.
    expect(bench.call('hvc', [0x1_c600_0002n, 0n, 0n, 2n, 0x44n, 0n, 0x66n])).toMatchObject([
      { kind: 'result', registers: [1n, 0n, 0n, 2n, 0x44n, 0n, 0x66n] },
    ]);
  });

  it('CPU_OFF does not return: the vCPU is off, and what it says next ends its process', () => {
    const bench = new Bench('aarch64');
    expect(bench.call('hvc', x(0x8400_0002n))).toEqual([{ kind: 'cpu-off', vm: 0, cpu: 0, reason: '' }]);
    const frame = { arch: 'aarch64', conduit: 'hvc', pc: 0n, registers: x(0x8400_0000n) } as const;
    const handled = bench.platform.handle({ kind: 'hypercall', vm: vmId(0), cpu: cpuId(0), frame }, 0);
    expect(handled).toMatchObject({ ok: false, error: { vm: 0, detail: expect.stringContaining('off') } });
  });

  it('CPU_ON answers and starts the sibling; a second time it is ALREADY_ON', () => {
    const bench = new Bench('aarch64');
    expect(bench.call('smc', [0xc400_0003n, 1n, 0x9000n, 7n, 0n, 0n, 0n])).toEqual([
      { kind: 'result', vm: 0, cpu: 0, pc: 0x1004n, registers: [0n, 1n, 0x9000n, 7n, 0n, 0n, 0n] },
      { kind: 'cpu-on', vm: 0, cpu: 1, entry: 0x9000n, argument: 7n, incarnation: 1 },
    ]);
    expect(bench.call('hvc', [0xc400_0003n, 1n, 0x9000n, 7n, 0n, 0n, 0n])).toMatchObject([
      { kind: 'result', registers: [2n ** 64n - 4n, 1n, 0x9000n, 7n, 0n, 0n, 0n] },
    ]);
    expect(bench.call('hvc', x(0x8400_0002n), 1)).toMatchObject([{ kind: 'cpu-off', cpu: 1 }]);
    expect(bench.call('hvc', [0xc400_0003n, 1n, 0x9000n, 8n, 0n, 0n, 0n])).toContainEqual({
      kind: 'cpu-on',
      vm: 0,
      cpu: 1,
      entry: 0x9000n,
      argument: 8n,
      incarnation: 1,
    });
  });
});

describe('calls on RV64 (B.4, B.8)', () => {
  const CASES: readonly (readonly [what: string, eid: bigint, fid: bigint, a0: bigint, a1: bigint])[] = [
    ['an unknown extension', 0x0900_0000n, 0n, MINUS_TWO, 0n],
    ['the legacy extension 0', 0n, 0n, MINUS_TWO, 0n],
    ['Bao\u2019s id with an upper half', 0x1_0800_0ba0n, 2n, MINUS_TWO, 0n],
    ['an unknown Bao function', 0x0800_0ba0n, 7n, 0n, MINUS_TWO],
    ['a Bao function beyond 16 bits: all 64 count', 0x0800_0ba0n, 0x1_0002n, 0n, MINUS_TWO],
    ['Bao\u2019s function 0', 0x0800_0ba0n, 0n, 0n, MINUS_TWO],
    ['IPC, of which none is configured', 0x0800_0ba0n, 1n, 0n, 2n ** 64n - 3n],
    ['BASE, spec version', 0x10n, 0n, 0n, 2n],
    ['HSM, hart_stop', 0x48_534dn, 1n, MINUS_TWO, 0n],
  ];

  it.each(CASES)('%s: a0 and a1 only, and the next instruction', (_, eid, fid, a0, a1) => {
    for (const profile of ['reference', 'hardened'] as const) {
      const registers = [a0, a1, ...a(eid, fid).slice(2)];
      expect(new Bench('riscv64', profile).call('ecall', a(eid, fid))).toEqual([
        { kind: 'result', vm: 0, cpu: 0, pc: 0x1004n, registers },
      ]);
    }
  });

  it('hart_start starts the sibling; its siblings\u2019 interrupts reach it', () => {
    const bench = new Bench('riscv64');
    expect(bench.call('ecall', [1n, 0x9000n, 7n, 0n, 0n, 0n, 0n, 0x48_534dn])).toContainEqual({
      kind: 'cpu-on',
      vm: 0,
      cpu: 1,
      entry: 0x9000n,
      argument: 7n,
      incarnation: 1,
    });
    expect(bench.call('ecall', a(0x48_534dn, 2n, 1n))).toMatchObject([
      { registers: [0n, 0n, 0x12n, 0x13n, 0x14n, 0x15n, 2n, 0x48_534dn] },
    ]);
    // Supervisor software interrupt.
    expect(bench.call('ecall', [2n, 0n, 0n, 0n, 0n, 0n, 0n, 0x73_5049n])).toContainEqual({
      kind: 'irq',
      vm: 0,
      cpu: 1,
      irq: 1,
    });
  });

  it('set_timer arms the caller\u2019s timer', () => {
    expect(new Bench('riscv64').call('ecall', a(0x5449_4d45n, 0n, 99n))).toEqual([
      { kind: 'result', vm: 0, cpu: 0, pc: 0x1004n, registers: [0n, 0n, ...a(0x5449_4d45n, 0n).slice(2)] },
      { kind: 'timer', vm: 0, cpu: 0, deadline: 99n },
    ]);
  });

  it('a call that was posted is executed and not answered', () => {
    const bench = new Bench('riscv64');
    bench.records.length = 0;
    const frame = { arch: 'riscv64', conduit: 'ecall', pc: 0n, registers: a(0x5449_4d45n, 0n, 99n) } as const;
    bench.platform.handle({ kind: 'posted', vm: vmId(0), cpu: cpuId(0), frame }, 0);
    expect(bench.records).toEqual([{ kind: 'timer', vm: 0, cpu: 0, deadline: 99n }]);
  });
});
