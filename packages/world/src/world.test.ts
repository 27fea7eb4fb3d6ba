import { dispatcher } from '@remio/backend-vm';
import { assert } from '@remio/base';
import { costModel, nanosecondsOf } from '@remio/board';
import { blkVerify, mmioPing } from '@remio/frontend-vm';
import type { GuestProgram } from '@remio/guest';
import { BUILTIN_PROGRAMS, parseTopology, type Topology } from '@remio/topology';
import { BlockDevice } from '@remio/virtio-device';
import type { VmReport } from '@remio/vm-runtime';
import { describe, expect, it } from 'vitest';
import { type Ending, MEDIUM, Medium, ModelStorage, SparseBytes, World } from './index.js';

const topologyOf = (arch: string, extra = ''): Topology => {
  const text = `board: { name: synthetic-${arch}, cpus: 6 }
${extra}
shared_memories:
  disk0: { size: 4MiB }
vms:
  backend:
    cpus: 1
    remio_devs:
      - { name: disk0, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: disk0, base: 0xd0000000 }, device: { type: block, image: none, queues: 2 } }
  guest:
    cpus: 2
    program: idle
    remio_devs:
      - { name: disk0, type: frontend, bind_key: 0, window: { base: 0xa003e00 }, interrupt: 79, shmem: { memory: disk0, base: 0xd0000000 } }
`;
  const { topology, diagnostics } = parseTopology(text, 'test.yaml', {
    resolve: (path) => path,
    programs: BUILTIN_PROGRAMS,
    files: { exists: () => true, imageProblem: () => undefined, directoryProblem: () => undefined },
  });
  assert(topology !== undefined, JSON.stringify(diagnostics));
  return topology;
};

interface Outcome {
  readonly ending: Ending;
  readonly world: World;
  readonly reports: readonly (VmReport & { readonly at: number })[];
}

/** Runs a guest against a disk in virtual time. */
async function run(topology: Topology, guest: GuestProgram, until?: number): Promise<Outcome> {
  const reports: (VmReport & { readonly at: number })[] = [];
  const world = World.create({
    topology,
    program: (vm, world) => {
      if (vm.name !== 'backend') return guest;
      const storage = new ModelStorage(world, new SparseBytes(1 << 20), new Medium(world, MEDIUM, 1));
      return dispatcher(() => Promise.resolve(new BlockDevice(storage, { queues: 2 })));
    },
    report: (vm, event, at) => {
      reports.push({ ...event, at });
      if (vm.name === 'guest' && event.kind === 'vcpu-off') world.stop();
    },
    log: () => {},
    ...(until === undefined ? {} : { until }),
  });
  return { ending: await world.run(), world, reports };
}

describe.each(['aarch64', 'riscv64'])('virtual time on %s', (arch) => {
  it('a register access costs the sum of its steps, each time', async () => {
    const topology = topologyOf(arch);
    const { ending, reports, world } = await run(topology, mmioPing({ count: 100, warmUp: 1 }));
    expect(ending).toBe('stopped');
    const model = costModel(topology.board);
    const ns = (name: Parameters<typeof nanosecondsOf>[1]): number => nanosecondsOf(model, name);
    const there =
      ns('trap_entry') +
      ns('core_step') +
      ns('ipi_send') +
      ns('ipi_latency') +
      ns('wake_wfi') +
      ns('ipi_handler') +
      ns('inject') +
      ns('guest_interrupt') +
      ns('backend_interrupt');
    const service = ns('hypercall') + ns('core_step') + ns('hypercall') + ns('core_step');
    // The paused vCPU's CPU stands by in firmware on this board.
    const back = ns('ipi_send') + ns('ipi_latency') + ns('wake_firmware') + ns('ipi_handler') + ns('trap_exit');
    const ping = reports.find(({ kind }) => kind === 'mmio-ping');
    expect(ping).toMatchObject({ count: 100, p50Ns: there + service + back, p99Ns: there + service + back });
    const { count, total } = world.hops;
    // Only the first access found the backend at work: it was booting.
    expect(total.queue).toBeLessThan(1000);
    expect(Object.values(total).reduce((a, b) => a + b, 0) - total.queue).toBe(count * (there + service + back));
  });

  it('moves real data: what two vCPUs wrote to a disk they read back', async () => {
    const { ending, reports } = await run(topologyOf(arch), blkVerify({ writes: 32, readSize: 64 * 1024 }));
    expect(ending).toBe('stopped');
    expect(reports.filter(({ kind }) => kind === 'vcpu-off')).toEqual([
      expect.not.objectContaining({ reason: expect.anything() }),
    ]);
  });

  it('gives the same times and reports whenever it runs', async () => {
    const once = async (): Promise<string> => {
      const { reports, world } = await run(topologyOf(arch), blkVerify({ writes: 16, readSize: 64 * 1024 }));
      return JSON.stringify([reports, world.use(), world.hops.total, world.happened], (_, value: unknown) =>
        typeof value === 'bigint' ? String(value) : value,
      );
    };
    expect(await once()).toBe(await once());
  });

  it('takes the costs that the topology has', async () => {
    const [before, after] = await Promise.all(
      ['', 'costs: { backend_interrupt: 24000 }'].map(async (costs) => {
        const { reports } = await run(topologyOf(arch, costs), mmioPing({ count: 10, warmUp: 0 }));
        return Number(reports.find(({ kind }) => kind === 'mmio-ping')?.['p50Ns']);
      }),
    );
    const clock = costModel(topologyOf(arch).board).clock.value;
    expect((after ?? 0) - (before ?? 0)).toBe((12_000 * 1e9) / clock);
  });

  it('lets vCPUs sleep by their timers', async () => {
    const sleeper: GuestProgram = async (cpu, vm) => {
      cpu.onInterrupt(cpu.timerIrq, () => {});
      const start = cpu.counter();
      await cpu.setTimer(start + 1_000_000n);
      await cpu.waitForInterrupt();
      vm.report({ kind: 'slept', ns: Number(cpu.counter() - start) });
    };
    const { reports } = await run(topologyOf(arch), sleeper);
    const slept = Number(reports.find(({ kind }) => kind === 'slept')?.['ns']);
    expect(slept).toBeGreaterThanOrEqual(1_000_000);
    expect(slept).toBeLessThan(1_010_000);
  });

  it('ends when nobody can do anything any more, and when its time is over', async () => {
    const waiter: GuestProgram = (cpu) => cpu.waitForInterrupt();
    expect((await run(topologyOf(arch), waiter)).ending).toBe('idle');
    const poller: GuestProgram = async (cpu, vm) => {
      const base = vm.devices[0]?.shmem.base ?? 0n;
      for (;;) await cpu.load32(base);
    };
    const { ending, world } = await run(topologyOf(arch), poller, 2_000_000);
    expect(ending).toBe('time-limit');
    // The program never trapped: its vCPU computed all the time.
    const guest = world.use().find(({ vm }) => vm === 'guest');
    expect(guest?.guest).toBeGreaterThan(1_900_000);
  });
});
