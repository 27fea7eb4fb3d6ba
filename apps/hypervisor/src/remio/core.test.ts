import type { MmioAccess } from '@remio/arch';
import { bindKey, cpuId, guestAddress, irqId, requestId, vmId } from '@remio/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type CoreEffect,
  type CoreInput,
  type Profile,
  type RemioConfig,
  RemioCore,
  type RemioDevConfig,
  type RuleId,
} from './index.js';

const SHMEM = { base: 0xd000_0000n, size: 0x1000n, id: 0 };
const end = (type: 'frontend' | 'backend', key: bigint, more: Partial<RemioDevConfig> = {}): RemioDevConfig => ({
  type,
  bindKey: bindKey(key),
  va: type === 'frontend' ? 0xa003000n : 0n,
  size: type === 'frontend' ? 0x200n : 0n,
  interrupt: irqId(type === 'frontend' ? 79 : 40),
  shmem: SHMEM,
  ...more,
});

/** Backend on CPU 0; a frontend with CPUs 1 and 2. */
const pair = (front: Partial<RemioDevConfig> = {}, more: Partial<RemioConfig> = {}, key = 7n): RemioConfig => ({
  cpus: 3,
  slots: 3,
  queue: 253,
  vms: [
    { cpus: [cpuId(0)], devices: [end('backend', key)] },
    { cpus: [cpuId(1), cpuId(2)], devices: [end('frontend', key, front)] },
  ],
  ...more,
});

const read: MmioAccess = {
  address: guestAddress(0xa003000n),
  width: 4,
  write: false,
  register: 3,
  value: 0n,
  signExtend: false,
  registerWidth: 4,
};

/** A core that is up, with shorthands; every step's effects are kept. */
class Machine {
  readonly core: RemioCore;
  effects: readonly CoreEffect[] = [];

  constructor(profile: Profile, config = pair(), start = true) {
    const core = RemioCore.create(config, profile);
    if (!core.ok) throw new Error(core.error.code);
    this.core = core.value;
    if (start) config.vms.forEach((vm) => this.step({ kind: 'start', cpu: vm.cpus[0] ?? cpuId(0) }));
  }

  step(input: CoreInput): readonly CoreEffect[] {
    this.effects = [...this.core.step(input)];
    return this.effects;
  }

  mmio(cpu: number, access: Partial<MmioAccess> = {}, now = 0): this {
    this.step({ kind: 'mmio', cpu: cpuId(cpu), access: { ...read, ...access }, now });
    return this;
  }

  call(cpu: number, op: bigint, id = 0n, value = 0n): bigint | undefined {
    this.step({ kind: 'hypercall', cpu: cpuId(cpu), call: { nr: 2n, dm: 0n, addr: 0n, op, value, id } });
    return this.effects.find((effect) => effect.kind === 'return')?.ret;
  }

  /** ASKs; the id that came. */
  ask(): bigint {
    this.call(0, 2n);
    return this.effects.find((effect) => effect.kind === 'return')?.out?.[4] ?? -1n;
  }

  deliver(cpu: number): readonly CoreEffect[] {
    return this.step({ kind: 'deliver', cpu: cpuId(cpu) });
  }

  get rules(): readonly RuleId[] {
    return this.effects.flatMap((effect) => (effect.kind === 'rule' ? [effect.rule] : []));
  }

  active(cpu: number): boolean {
    return this.core.data.cpus[cpu]?.active === true;
  }
}

const READ = 1n;
const WRITE = 0n;

describe('what the reference does, and hardened does otherwise', () => {
  it('H-NEXT-ID: completion with id 2^64-1', () => {
    for (const profile of ['reference', 'hardened'] as const) {
      const machine = new Machine(profile).mmio(1);
      expect(machine.call(0, READ, 2n ** 64n - 1n)).toBe(-1n);
      expect(machine.rules).toEqual(profile === 'hardened' ? ['H-NEXT-ID'] : []);
      expect(machine.core.pendingOf(vmId(0), 0)).toHaveLength(profile === 'hardened' ? 1 : 0);
    }
  });

  it('H-ROLE: a frontend asks on its own device', () => {
    const steal = (profile: Profile): bigint | undefined => new Machine(profile).mmio(1).call(2, 2n);
    expect(steal('reference')).toBe(0n);
    expect(steal('hardened')).toBe(-1n);
  });

  it('H-OP: a write completed as a read overwrites the source register', () => {
    for (const profile of ['reference', 'hardened'] as const) {
      const machine = new Machine(profile).mmio(1, { write: true, value: 5n });
      const id = machine.ask();
      expect(machine.call(0, READ, id, 0xbadn)).toBe(profile === 'reference' ? 0n : -1n);
      expect(machine.rules).toEqual(profile === 'hardened' ? ['H-OP'] : []);
      const wrote = machine.deliver(1).some((effect) => effect.kind === 'register');
      expect(wrote).toBe(profile === 'reference');
      if (profile === 'hardened') expect(machine.call(0, WRITE, id)).toBe(0n);
    }
  });

  it('H-ROUTE: the first byte of a window behind another', () => {
    const config: RemioConfig = {
      ...pair(),
      vms: [
        { cpus: [cpuId(0)], devices: [end('backend', 7n), end('backend', 8n, { shmem: { ...SHMEM, id: 1 } })] },
        {
          cpus: [cpuId(1)],
          devices: [end('frontend', 7n), end('frontend', 8n, { va: 0xa003200n, shmem: { ...SHMEM, id: 1 } })],
        },
      ],
    };
    const target = (profile: Profile): number[] => {
      const machine = new Machine(profile, config).mmio(1, { address: guestAddress(0xa003200n) });
      return [0, 1].map((dm) => machine.core.pendingOf(vmId(0), dm).length);
    };
    expect(target('reference')).toEqual([1, 0]);
    expect(target('hardened')).toEqual([0, 1]);
  });

  it('H-REQUEST-ID: an old id completes the slot\u2019s next request', () => {
    for (const profile of ['reference', 'hardened'] as const) {
      const machine = new Machine(profile).mmio(1);
      const old = machine.ask();
      machine.call(0, READ, old, 1n);
      machine.deliver(1);
      machine.mmio(2).ask();
      expect(machine.call(0, READ, old, 2n)).toBe(profile === 'reference' ? 0n : -1n);
      expect(machine.rules).toEqual(profile === 'hardened' ? ['H-REQUEST-ID'] : []);
    }
  });

  it('H-BOTH-ENDS: a VM with both ends of a device', () => {
    const config: RemioConfig = {
      ...pair(),
      vms: [{ cpus: [cpuId(0), cpuId(1)], devices: [end('backend', 7n), end('frontend', 7n)] }],
    };
    expect(new Machine('reference', config).core.data.devices[0]?.ready).toBe(false);
    expect(new Machine('hardened', config).core.data.devices[0]?.ready).toBe(true);
  });

  it.each([
    ['lb', { width: 1, signExtend: true, registerWidth: 8 }, 0x1_80n, 0xffff_ffff_ffff_ff80n],
    ['lbu', { width: 1, signExtend: false, registerWidth: 8 }, 0x1_80n, 0x80n],
    ['lw', { width: 4, signExtend: true, registerWidth: 8 }, 0x8000_0000n, 0xffff_ffff_8000_0000n],
    ['ldrsb w', { width: 1, signExtend: true, registerWidth: 4 }, 0x80n, 0xffff_ff80n],
    ['ldr w', { width: 4, signExtend: false, registerWidth: 4 }, 0xffff_ffff_0000_0001n, 1n],
  ] as const)('H-READ-WIDTH: %s', (_, access, answer, expected) => {
    for (const profile of ['reference', 'hardened'] as const) {
      const machine = new Machine(profile).mmio(1, access);
      machine.call(0, READ, machine.ask(), answer);
      expect(machine.deliver(1)).toContainEqual({
        kind: 'register',
        cpu: 1,
        register: 3,
        value: profile === 'reference' ? answer : expected,
      });
    }
  });

  it('H-WRITE-WIDTH: a byte store shows the backend the whole register', () => {
    const shown = (profile: Profile): bigint | undefined => {
      const machine = new Machine(profile).mmio(1, { write: true, width: 1, value: 0x1234n });
      machine.ask();
      return machine.effects.find((effect) => effect.kind === 'return')?.out?.[2];
    };
    expect(shown('reference')).toBe(0x1234n);
    expect(shown('hardened')).toBe(0x34n);
  });

  it('H-WIDE: interrupt 300 arrives as 44, and bind key 256 stops the CPU', () => {
    const notified = (profile: Profile): readonly CoreEffect[] => {
      const machine = new Machine(profile, pair({ interrupt: irqId(300) }));
      machine.call(0, 3n);
      return machine.deliver(1);
    };
    expect(notified('reference')).toContainEqual({ kind: 'irq', cpu: 1, irq: 44 });
    expect(notified('hardened')).toContainEqual({ kind: 'irq', cpu: 1, irq: 300 });
    for (const profile of ['reference', 'hardened'] as const) {
      const machine = new Machine(profile, pair({}, {}, 256n)).mmio(1);
      machine.call(0, READ, machine.ask(), 1n);
      machine.deliver(1);
      expect(machine.core.data.cpus[1]?.halted).toBe(profile === 'reference');
    }
  });

  it('H-QUEUE: a completion finds the queue full, and notifications merge only then', () => {
    for (const profile of ['reference', 'hardened'] as const) {
      const machine = new Machine(profile, pair({}, { queue: 2 })).mmio(1);
      const id = machine.ask();
      for (let n = 0; n < 5; n += 1) expect(machine.call(0, 3n)).toBe(0n);
      expect(machine.call(0, READ, id, 1n)).toBe(0n);
      const effects = machine.deliver(1);
      expect(effects.filter((effect) => effect.kind === 'irq')).toHaveLength(profile === 'reference' ? 2 : 3);
      expect(machine.active(1)).toBe(profile === 'hardened');
    }
  });

  it('H-FAULT: an access that no window claims, or that finds no slot', () => {
    for (const profile of ['reference', 'hardened'] as const) {
      const stray = new Machine(profile).mmio(1, { address: guestAddress(0x1000n) });
      expect(stray.core.data.cpus[1]?.halted).toBe(profile === 'reference');
      expect(stray.effects.some((effect) => effect.kind === 'fault')).toBe(profile === 'hardened');
      const crowded = new Machine(profile, pair({}, { slots: 1 })).mmio(1).mmio(2);
      expect(crowded.core.data.cpus[2]?.halted).toBe(profile === 'reference');
    }
  });

  it('H-DEADLINE: an unanswered access ends as a fault, and a late completion answers -1', () => {
    const machine = new Machine('hardened', pair({ deadline: 100 })).mmio(1, {}, 50);
    const id = machine.ask();
    expect(machine.core.nextDeadline()).toBe(150);
    expect(machine.step({ kind: 'tick', now: 149 })).toEqual([]);
    expect(machine.step({ kind: 'tick', now: 150 })).toContainEqual({ kind: 'fault', cpu: 1, reason: 'deadline' });
    expect(machine.active(1)).toBe(true);
    expect(machine.call(0, READ, id, 1n)).toBe(-1n);
    expect(machine.core.nextDeadline()).toBeUndefined();
    const waits = new Machine('reference', pair({ deadline: 100 })).mmio(1, {}, 50);
    expect(waits.step({ kind: 'tick', now: 1000 })).toEqual([]);
  });

  it('H-DEADLINE: each access has its own, and the later one is not forgotten when the earlier one ends', () => {
    const machine = new Machine('hardened', pair({ deadline: 100 })).mmio(1, {}, 0).mmio(2, {}, 30);
    expect(machine.core.nextDeadline()).toBe(100);
    expect(machine.step({ kind: 'tick', now: 100 })).toContainEqual({ kind: 'fault', cpu: 1, reason: 'deadline' });
    expect(machine.core.nextDeadline()).toBe(130);
    expect(machine.step({ kind: 'tick', now: 130 })).toContainEqual({ kind: 'fault', cpu: 2, reason: 'deadline' });
    expect(machine.core.nextDeadline()).toBeUndefined();
  });

  it('H-LOSS: requests of a lost backend are pending again, oldest first, under new ids', () => {
    const machine = new Machine('hardened');
    machine.step({ kind: 'vm-attached', vm: vmId(0), incarnation: 1 });
    machine.mmio(1);
    const first = machine.ask();
    machine.mmio(2);
    machine.step({ kind: 'vm-lost', vm: vmId(0), incarnation: 0 });
    expect(machine.effects).toEqual([]);
    machine.step({ kind: 'vm-lost', vm: vmId(0), incarnation: 1 });
    expect(machine.core.pendingOf(vmId(0), 0).map((request) => request.cpu)).toEqual([1, 2]);
    expect(machine.call(0, READ, first, 1n)).toBe(-1n);
    expect(machine.call(0, READ, machine.ask(), 1n)).toBe(0n);
    machine.deliver(1);
    expect(machine.active(1)).toBe(true);
  });

  it('H-LOSS: a lease that was used out of turn goes back to its place', () => {
    const machine = new Machine('hardened');
    machine.step({ kind: 'vm-attached', vm: vmId(0), incarnation: 1 });
    machine.mmio(1).mmio(2);
    const [, second] = machine.core.pendingOf(vmId(0), 0);
    machine.step({ kind: 'leased-ask', cpu: cpuId(0), id: second?.id ?? requestId(0n) });
    expect(machine.core.pendingOf(vmId(0), 0).map((request) => request.cpu)).toEqual([1]);
    machine.step({ kind: 'vm-lost', vm: vmId(0), incarnation: 1 });
    expect(machine.core.pendingOf(vmId(0), 0).map((request) => request.cpu)).toEqual([1, 2]);
  });

  it('H-PAIRS: two keys with one end each', () => {
    const config: RemioConfig = {
      ...pair(),
      vms: [
        { cpus: [cpuId(0)], devices: [end('backend', 1n, { shmem: { base: 0n, size: 0n, id: 0 } })] },
        {
          cpus: [cpuId(1)],
          devices: [
            end('frontend', 1n, { shmem: { base: 0n, size: 0n, id: 0 } }),
            end('backend', 3n, { shmem: { base: 0n, size: 0n, id: 0 } }),
          ],
        },
        { cpus: [cpuId(2)], devices: [end('frontend', 2n, { shmem: { base: 0n, size: 0n, id: 0 } })] },
      ],
    };
    expect(RemioCore.create(config, 'hardened')).toMatchObject({ error: { code: 'config-unpaired-device' } });
  });

  it('D-09: NOTIFY before the frontend is up answers -1 in both', () => {
    for (const profile of ['reference', 'hardened'] as const) {
      const machine = new Machine(profile, pair(), false);
      machine.step({ kind: 'start', cpu: cpuId(0) });
      expect(machine.call(0, 3n)).toBe(-1n);
    }
  });
});

/**
 * Three VMs on CPUs 0; 1 and 2; 3. All have an IPC object on memory 1, whose events differ; VM 0 has one on memory 0 too,
 * and VM 2 has memory 0 as that of its device with VM 1 only.
 */
const partitions = (more: Partial<RemioConfig> = {}): RemioConfig => ({
  cpus: 4,
  slots: 4,
  queue: 253,
  shmems: [0x1000n, 0x2000n],
  vms: [
    {
      cpus: [cpuId(0)],
      devices: [],
      ipcs: [
        { shmem: 1, size: 0x2000n, interrupts: [irqId(50), irqId(51)] },
        { shmem: 0, size: 0x1000n, interrupts: [irqId(52)] },
      ],
    },
    {
      cpus: [cpuId(1), cpuId(2)],
      devices: [end('frontend', 7n)],
      ipcs: [
        { shmem: 1, size: 0x1000n, interrupts: [irqId(60)] },
        { shmem: 1, size: 0x1000n, interrupts: [irqId(61)] },
      ],
    },
    {
      cpus: [cpuId(3)],
      devices: [end('backend', 7n)],
      ipcs: [{ shmem: 1, size: 0x2000n, interrupts: [irqId(70), irqId(71)] }],
    },
  ],
  ...more,
});

/** Rings a doorbell; the result, and to which CPUs it went. */
function ringing(machine: Machine, cpu: number, ipc: bigint, event: bigint): readonly [bigint | undefined, number[]] {
  const call = { nr: 1n, dm: ipc, addr: event, op: 0n, value: 0n, id: 0n };
  machine.step({ kind: 'hypercall', cpu: cpuId(cpu), call });
  const to = machine.effects.flatMap((effect) => (effect.kind === 'message' ? [effect.to as number] : []));
  return [machine.effects.find((effect) => effect.kind === 'return')?.ret, to];
}

const irqsOf = (effects: readonly CoreEffect[]): readonly number[] =>
  effects.flatMap((effect) => (effect.kind === 'irq' ? [effect.irq] : []));

describe.each(['reference', 'hardened'] as const)('IPC, profile %s', (profile) => {
  it('rings at the master CPU of every other VM that mapped the memory, in the order of CPU numbers', () => {
    const machine = new Machine(profile, partitions());
    expect(ringing(machine, 0, 0n, 1n)).toEqual([0n, [1, 3]]);
    expect(ringing(machine, 2, 0n, 0n)).toEqual([0n, [0, 3]]);
    // Any CPU of a VM may have been its master; its own CPUs are never rung.
    const other = new Machine(profile, partitions(), false);
    for (const cpu of [3, 2, 0]) other.step({ kind: 'start', cpu: cpuId(cpu) });
    expect(ringing(other, 0, 0n, 1n)).toEqual([0n, [2, 3]]);
    expect(ringing(other, 1, 0n, 1n)).toEqual([0n, [0, 3]]);
  });

  it('raises the interrupt of the event there; an event without one, in silence, none', () => {
    const machine = new Machine(profile, partitions());
    ringing(machine, 0, 0n, 1n);
    expect(machine.deliver(1)).toEqual([]);
    expect(machine.core.handled).toBe(1);
    expect(machine.deliver(3)).toEqual([{ kind: 'irq', cpu: 3, irq: 71 }]);
    expect(ringing(machine, 0, 0n, 99n)).toEqual([0n, [1, 3]]);
    expect([...machine.deliver(1), ...machine.deliver(3)]).toEqual([]);
  });

  it('notifies the first of two objects on one memory only', () => {
    const machine = new Machine(profile, partitions());
    expect(ringing(machine, 3, 0n, 0n)).toEqual([0n, [0, 1]]);
    expect(irqsOf(machine.deliver(1))).toEqual([60]);
    // Both may call.
    expect(ringing(machine, 1, 1n, 0n)).toEqual([0n, [0, 3]]);
  });

  it('reaches a VM that mapped the memory for a device alone, which ignores it', () => {
    const machine = new Machine(profile, partitions());
    expect(ringing(machine, 0, 1n, 0n)).toEqual([0n, [1, 3]]);
    expect([...machine.deliver(1), ...machine.deliver(3)]).toEqual([]);
  });

  it('reaches nobody before the others are up, and says 0 all the same', () => {
    const machine = new Machine(profile, partitions(), false);
    machine.step({ kind: 'start', cpu: cpuId(0) });
    expect(ringing(machine, 0, 0n, 0n)).toEqual([0n, []]);
  });

  it('answers -3 where there is no such object, or no memory behind it', () => {
    const [first, ...rest] = partitions().vms;
    const lost = { shmem: 2, size: 0x1000n, interrupts: [irqId(54)] };
    const kept = { shmem: 1, size: 0x2001n, interrupts: [irqId(50)] };
    const vms = [{ cpus: first?.cpus ?? [], devices: [], ipcs: [lost, kept] }, ...rest];
    const machine = new Machine(profile, partitions({ vms }), false);
    expect(machine.step({ kind: 'start', cpu: cpuId(0) })).toEqual([
      { kind: 'event', event: { level: 'warning', cpu: 0, code: 'ipc-unknown-shmem' } },
      { kind: 'event', event: { level: 'warning', cpu: 0, code: 'ipc-truncated' } },
    ]);
    for (const cpu of [1, 3]) machine.step({ kind: 'start', cpu: cpuId(cpu) });
    expect(ringing(machine, 0, 0n, 0n)).toEqual([-3n, []]);
    expect(ringing(machine, 0, 2n, 0n)).toEqual([-3n, []]);
    expect(ringing(machine, 0, 2n ** 64n - 1n, 0n)).toEqual([-3n, []]);
    expect(ringing(machine, 0, 1n, 0n)).toEqual([0n, [1, 3]]);
    expect(irqsOf(machine.deliver(1))).toEqual([60]);
  });
});

describe('IPC, what the reference does, and hardened does otherwise', () => {
  it('H-WIDE: event 2^32 rings as event 0', () => {
    for (const profile of ['reference', 'hardened'] as const) {
      const machine = new Machine(profile, partitions());
      expect(ringing(machine, 0, 0n, 2n ** 32n)).toEqual([0n, [1, 3]]);
      expect(machine.rules).toEqual(profile === 'hardened' ? ['H-WIDE'] : []);
      expect(irqsOf(machine.deliver(3))).toEqual(profile === 'reference' ? [70] : []);
    }
  });

  it('H-QUEUE: a doorbell that finds the queue full is rung once, later', () => {
    for (const profile of ['reference', 'hardened'] as const) {
      const machine = new Machine(profile, partitions({ queue: 2 }));
      for (const event of [0n, 0n]) ringing(machine, 0, 0n, event);
      expect(ringing(machine, 0, 0n, 1n)).toEqual([0n, profile === 'hardened' ? [3] : []]);
      expect(machine.rules).toEqual(profile === 'hardened' ? ['H-QUEUE', 'H-QUEUE'] : []);
      expect(machine.effects.filter(({ kind }) => kind === 'event')).toHaveLength(profile === 'hardened' ? 0 : 2);
      // It merges with the one that waits, and an event that nobody heeds leaves nothing behind.
      for (const event of [1n, 1n, 9n]) expect(ringing(machine, 0, 0n, event)).toEqual([0n, []]);
      expect(irqsOf(machine.deliver(3))).toEqual(profile === 'hardened' ? [70, 70, 71] : [70, 70]);
      expect(irqsOf(machine.deliver(3))).toEqual([]);
      expect(ringing(machine, 0, 0n, 1n)[1]).toContain(3);
    }
  });

  it('a VM that is lost leaves no doorbell behind', () => {
    const machine = new Machine('hardened', partitions({ queue: 1 }));
    machine.step({ kind: 'vm-attached', vm: vmId(2), incarnation: 1 });
    for (const event of [0n, 1n]) ringing(machine, 0, 0n, event);
    machine.step({ kind: 'vm-lost', vm: vmId(2), incarnation: 1 });
    expect(machine.deliver(3)).toEqual([]);
    // Its memory stays mapped: who comes back is rung as before.
    expect(ringing(machine, 0, 0n, 1n)[1]).toEqual([3]);
    expect(irqsOf(machine.deliver(3))).toEqual([71]);
  });
});

/** Random inputs, sensible and not. */
const input: fc.Arbitrary<CoreInput> = fc.oneof(
  fc.record({ kind: fc.constant('start' as const), cpu: fc.nat(2).map(cpuId) }),
  fc.record({
    kind: fc.constant('mmio' as const),
    cpu: fc.nat(2).map(cpuId),
    access: fc.constantFrom(read, { ...read, write: true, value: 0xabcdn }, { ...read, address: guestAddress(0x10n) }),
    now: fc.nat(50),
  }),
  fc.record({
    kind: fc.constant('hypercall' as const),
    cpu: fc.nat(2).map(cpuId),
    call: fc.record({
      nr: fc.constantFrom(2n, 2n, 1n),
      dm: fc.bigInt(0n, 1n),
      addr: fc.constantFrom(0n, 0n, 0n, 1n, 2n ** 32n),
      op: fc.bigInt(0n, 4n),
      value: fc.constant(0n),
      id: fc.oneof(fc.bigInt(0n, 12n), fc.constant(2n ** 64n - 1n)),
    }),
  }),
  fc.record({ kind: fc.constant('deliver' as const), cpu: fc.nat(2).map(cpuId) }),
  fc.record({
    kind: fc.constant('leased-ask' as const),
    cpu: fc.nat(2).map(cpuId),
    id: fc.bigInt(0n, 12n).map(requestId),
  }),
  fc.record({ kind: fc.constant('tick' as const), now: fc.nat(200) }),
  fc.record({
    kind: fc.constantFrom('vm-lost' as const, 'vm-attached' as const),
    vm: fc.nat(1).map(vmId),
    incarnation: fc.nat(3),
  }),
);

/** The pair, whose ends have an IPC object each besides. */
const talking: RemioConfig = (({ vms, ...rest }) => ({
  ...rest,
  shmems: [0x1000n],
  vms: vms.map((vm) => ({ ...vm, ipcs: [{ shmem: 0, size: 0x1000n, interrupts: [irqId(90), irqId(91)] }] })),
}))(pair({ deadline: 40 }, { queue: 3 }));

/** D.7, for hardened: what always holds. */
function checkInvariants(core: RemioCore): void {
  const { cpus, requests, devices } = core.data;
  const open = requests.filter((request) => request.state !== 'free');
  cpus.forEach((cpu, index) => {
    if (cpu.vm >= 0) expect(open.filter((request) => request.cpu === index)).toHaveLength(cpu.active ? 0 : 1);
  });
  for (const device of devices) {
    expect(new Set(device.pending).size).toBe(device.pending.length);
    for (const slot of device.pending) expect(requests[slot]).toMatchObject({ state: 'pending', key: device.key });
  }
  const listed = devices.reduce((sum, device) => sum + device.pending.length, 0);
  expect(open.filter((request) => request.state === 'pending')).toHaveLength(listed);
  for (const request of open) {
    if (request.state !== 'complete') continue;
    const queue = [...(cpus[request.cpu]?.queue ?? [])];
    expect(queue.filter((message) => 'id' in message && message.id === request.id)).toHaveLength(1);
  }
  const { shortcuts } = core.data;
  expect(requests.slice(0, shortcuts.free).filter((request) => request.state === 'free')).toEqual([]);
  const waiting = open.filter((request) => request.state !== 'complete').map((request) => request.deadline);
  for (const deadline of waiting) expect(deadline).toBeGreaterThanOrEqual(shortcuts.deadline);
  const bits = devices.flatMap(({ backend, frontend }) => [backend, frontend]).filter((side) => side?.notifyPending);
  expect(bits).toHaveLength(shortcuts.notifyPending);
}

describe('hardened, whatever guests do', () => {
  it('keeps its invariants', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(input, { maxLength: 120 }), (up, inputs) => {
        const machine = new Machine('hardened', talking, up);
        for (const each of inputs) {
          machine.step(each);
          checkInvariants(machine.core);
        }
      }),
      { numRuns: 400 },
    );
  });

  it.each(['reference', 'hardened'] as const)(
    '%s: saved and restored, it goes on as if nothing had been',
    (profile) => {
      fc.assert(
        fc.property(fc.array(input, { maxLength: 60 }), fc.array(input, { maxLength: 60 }), (before, after) => {
          const machine = new Machine(profile, talking, false);
          for (const each of before) machine.step(each);
          const restored = RemioCore.restore(talking, profile, JSON.parse(JSON.stringify(machine.core.save())));
          if (!restored.ok) throw new Error(restored.error);
          for (const each of after) expect([...restored.value.step(each)]).toEqual([...machine.step(each)]);
        }),
        { numRuns: 200 },
      );
    },
  );

  it('refuses a state that it cannot be in', () => {
    const machine = new Machine('hardened').mmio(1);
    const good = machine.core.save();
    const refused = (change: object): string => {
      const result = RemioCore.restore(pair(), 'hardened', { ...good, ...change });
      return result.ok ? '' : result.error;
    };
    expect(refused({})).toBe('');
    expect(refused({ format: 'other' })).toContain('format');
    expect(refused({ cpus: [] })).toContain('cpus');
    expect(refused({ devices: good.devices.map((device) => ({ ...device, pending: [] })) })).toContain('pending');
    expect(refused({ devices: good.devices.map((device) => ({ ...device, pending: [0, 0] })) })).toContain('once');
    expect(refused({ devices: good.devices.map((device) => ({ ...device, pending: [2] })) })).toContain('pending');
    expect(refused({ cpus: good.cpus.map((cpu) => ({ ...cpu, active: true })) })).toContain('paused');
    expect(refused({ order: -1 })).toContain('order');
    expect(refused({ masters: [[0]] })).toContain('masters');
    const rung = new Machine('hardened', talking);
    for (const event of [0n, 0n, 0n, 1n]) ringing(rung, 0, 0n, event);
    const state = rung.core.save();
    expect(state.doorbells).toEqual([{ vm: 1, ipc: 0, cpu: 1, event: 1 }]);
    for (const change of [{ vm: 2 }, { ipc: 1 }, { cpu: 0 }, { event: 2 }]) {
      const doorbells = [{ ...state.doorbells[0], ...change }];
      expect(RemioCore.restore(talking, 'hardened', { ...state, doorbells })).toMatchObject({ ok: false });
    }
  });
});
