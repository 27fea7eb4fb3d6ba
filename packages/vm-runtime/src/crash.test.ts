import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as hostTurn } from 'node:timers/promises';
import { dispatcher } from '@remio/backend-vm';
import { assert } from '@remio/base';
import type { GuestCpu, GuestProgram } from '@remio/guest';
import { BUILTIN_PROGRAMS, loadTopology, type Topology, type Vm } from '@remio/topology';
import { BlockDevice, MemoryStorage } from '@remio/virtio-device';
import { VirtioBlkDriver } from '@remio/virtio-driver';
import { MMIO, STATUS_ACKNOWLEDGE, STATUS_DEVICE_NEEDS_RESET, STATUS_DRIVER } from '@remio/virtio-spec';
import { afterAll, describe, expect, it } from 'vitest';
import { InprocEngine, type VmReport } from './index.js';

const directory = mkdtempSync(join(tmpdir(), 'crash-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** Two disks, each with a backend and a frontend of its own. */
const topology = ((): Topology => {
  const end = (n: number, rest: string): string =>
    `      - { name: disk${n}, bind_key: ${n}, shmem: { memory: disk${n}, base: 0xd0000000 }, ${rest} }\n`;
  const vm = (name: string, program: string, devices: string): string =>
    `  ${name}:\n    cpus: 1\n    program: ${program}\n    remio_devs:\n${devices}`;
  const file = join(directory, 'pairs.yaml');
  writeFileSync(join(directory, 'disk.img'), new Uint8Array(4096));
  writeFileSync(
    file,
    'board: qemu-aarch64-virt\nshared_memories: { disk0: { size: 1MiB }, disk1: { size: 1MiB } }\nvms:\n' +
      [0, 1]
        .map(
          (n) =>
            vm(
              `back${n}`,
              'dispatcher',
              end(n, 'type: backend, interrupt: 40, device: { type: block, read_only: true, image: disk.img }'),
            ) + vm(`front${n}`, 'idle', end(n, 'type: frontend, interrupt: 79, window: { base: 0xa003e00 }')),
        )
        .join(''),
  );
  const { topology: good, text } = loadTopology(file, { programs: BUILTIN_PROGRAMS });
  assert(good !== undefined, text);
  return good;
})();

const serve = dispatcher(() => Promise.resolve(new BlockDevice(new MemoryStorage(new Uint8Array(4096)))));

/** Begins to bring its device up, and tells of every interrupt what Status was. */
const watch: GuestProgram = async (cpu, vm) => {
  const [end] = vm.devices;
  assert(end !== undefined, 'the VM has a device');
  const status = end.window.base + BigInt(MMIO.Status);
  cpu.onInterrupt(end.interrupt, async () => {
    vm.report({ kind: 'interrupted', status: await cpu.load32(status) });
  });
  await cpu.enableInterrupt(end.interrupt);
  await cpu.store32(status, STATUS_ACKNOWLEDGE);
  await cpu.store32(status, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
  vm.report({ kind: 'begun', status: await cpu.load32(status) });
  await cpu.idle();
};

/** Names of what a vCPU does when it accesses a register. */
const ACCESSES: readonly (string | symbol)[] = ['load8', 'load16', 'load32', 'store8', 'store16', 'store32'];

/** Brings its disk up, and does something at the moment of one of the accesses that this takes. */
const bringUp =
  (moment: number, act: () => void): GuestProgram =>
  async (cpu, vm) => {
    let accesses = 0;
    const watched: GuestCpu = new Proxy(cpu, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return (...args: readonly unknown[]): unknown => {
          if (ACCESSES.includes(name)) {
            accesses += 1;
            if (accesses === moment) act();
          }
          return Reflect.apply(value, target, args);
        };
      },
    });
    const [end] = vm.devices;
    assert(end !== undefined, 'the VM has a device');
    const probed = await VirtioBlkDriver.probe(watched, end);
    const problem = probed.ok ? probed.value.broken : probed.error;
    vm.report({ kind: 'probed', accesses, problem: problem?.detail });
    await cpu.idle();
  };

/** What a VM has told, and a wait for it. */
class Told {
  readonly #reports: { readonly vm: string; readonly event: VmReport }[] = [];

  readonly take = (vm: Vm, event: VmReport): void => {
    this.#reports.push({ vm: vm.name, event });
  };

  of(vm: string, kind: string): readonly VmReport[] {
    return this.#reports.flatMap((each) => (each.vm === vm && each.event.kind === kind ? [each.event] : []));
  }

  async one(vm: string, kind: string): Promise<VmReport> {
    for (;;) {
      const [found] = this.of(vm, kind);
      if (found !== undefined) return found;
      await hostTurn();
    }
  }
}

function engineOf(programs: Readonly<Record<string, GuestProgram>>): { readonly engine: InprocEngine; told: Told } {
  const told = new Told();
  const idle: GuestProgram = (cpu) => cpu.idle();
  const made = InprocEngine.create(topology, (vm) => programs[vm.name] ?? idle, { report: told.take, log: () => {} });
  assert(made.ok, made.ok ? '' : made.error);
  return { engine: made.value, told };
}

describe('a VM whose process ends', () => {
  it('does nothing any more that it deferred, not even while what it had is given back', async () => {
    const program: GuestProgram = (cpu, vm) => {
      const { incarnation } = vm;
      const say = (what: string): void => vm.report({ kind: 'said', what, incarnation });
      vm.onStop(async () => {
        if (incarnation === 1) vm.defer(0, () => say('given back'));
      });
      vm.defer(0, () => say('deferred'));
      return cpu.idle();
    };
    const { engine, told } = engineOf({ back0: program });
    engine.start();
    await engine.crash('back0');
    await told.one('back0', 'said');
    for (let turn = 0; turn < 10; turn += 1) await hostTurn();
    expect(told.of('back0', 'said')).toEqual([{ kind: 'said', what: 'deferred', incarnation: 2 }]);
    await engine.stop();
  });

  it('2.1.2: leaves a device that asks its driver to start over, and interrupts it; the driver of another one hears nothing', async () => {
    const { engine, told } = engineOf({ back0: serve, front0: watch, back1: serve, front1: watch });
    engine.start();
    const begun = { status: STATUS_ACKNOWLEDGE | STATUS_DRIVER };
    expect(await told.one('front0', 'begun')).toMatchObject(begun);
    expect(await told.one('front1', 'begun')).toMatchObject(begun);
    await engine.crash('back0');
    expect(await told.one('front0', 'interrupted')).toMatchObject({ status: STATUS_DEVICE_NEEDS_RESET });
    for (let turn = 0; turn < 10; turn += 1) await hostTurn();
    expect(told.of('front0', 'interrupted')).toHaveLength(1);
    expect(told.of('front1', 'interrupted')).toEqual([]);
    await engine.stop();
  });

  it('at whichever access of the bring-up of its device: the driver begins it anew, and has the device', async () => {
    const run = async (moment: number): Promise<VmReport> => {
      let crashed: Promise<void> | undefined;
      const crash = (): void => {
        crashed = engine.crash('back0');
      };
      const { engine, told } = engineOf({ back0: serve, front0: bringUp(moment, crash) });
      engine.start();
      const probed = await told.one('front0', 'probed');
      await crashed;
      await engine.stop();
      return probed;
    };
    const { accesses } = await run(0);
    expect(accesses).toBeGreaterThan(30);
    for (let moment = 1; moment <= Number(accesses); moment += 1) {
      expect(await run(moment), `access ${moment}`).toMatchObject({ problem: undefined });
    }
  });
});
