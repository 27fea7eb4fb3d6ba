import { readFileSync } from 'node:fs';
import { deviceMaker, dispatcher } from '@remio/backend-vm';
import { assert } from '@remio/base';
import { chargedRegisters, virtualMisfits } from '@remio/experiments';
import type { GuestDeviceEnd, GuestProgram } from '@remio/guest';
import { renderTable, showDuration } from '@remio/telemetry';
import type { DeviceRef, Topology } from '@remio/topology';
import { BlockDevice, type VirtioDevice } from '@remio/virtio-device';
import { type Bytes, HOP_TEXT, HOPS, MEDIUM, Medium, ModelStorage, World, type WorldOptions } from '@remio/world';
import { CommandError, EXIT } from './exit-codes.js';

/** A disk image in memory: what guests write to it is gone at the end. */
class ImageCopy implements Bytes {
  readonly #bytes: Uint8Array;

  constructor(path: string) {
    this.#bytes = readFileSync(path);
  }

  get length(): number {
    return this.#bytes.length;
  }

  read(position: number, into: Uint8Array): void {
    into.set(this.#bytes.subarray(position, position + into.length));
  }

  write(position: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, position);
  }
}

/**
 * A topology in virtual time. Devices that talk to the host, and memory on another one, cannot be there.
 * @throws CommandError that names them
 */
export function virtualWorld(
  topology: Topology,
  programs: ReadonlyMap<string, GuestProgram>,
  events: Pick<WorldOptions, 'report' | 'log'>,
): World {
  const [misfit] = virtualMisfits(topology);
  if (misfit !== undefined)
    throw new CommandError(`${misfit.message}; or use --engine inproc or processes`, EXIT.USAGE);
  return World.create({
    topology,
    ...events,
    program: (vm, world) => {
      const serves = vm.program.kind === 'builtin' && vm.program.name === 'dispatcher';
      const program = serves ? dispatcher(makerIn(world), chargedRegisters(world)) : programs.get(vm.name);
      assert(program !== undefined, 'every VM has a program');
      return program;
    },
  });
}

/** Makes devices whose disks are images in memory, each on a medium of its own. */
function makerIn(world: World): (end: GuestDeviceEnd) => Promise<VirtioDevice> {
  const others = deviceMaker();
  return (end) => {
    // The runtime hands over the topology's own record, which was checked when the topology was read.
    const device = end.options as DeviceRef | undefined;
    if (device?.kind !== 'builtin' || device.choice.type !== 'block') return others(end);
    const { options } = device.choice;
    const medium = new Medium(world, MEDIUM, Number(end.bindKey) + 1);
    const storage = new ModelStorage(world, new ImageCopy(options.image), medium, true, options.readOnly);
    return Promise.resolve(new BlockDevice(storage, options));
  };
}

/** What the CPUs did, and where the time of accesses went. */
export function renderWorld(world: World): string {
  const share = (ns: number, cpus: number): string => `${((100 * ns) / Math.max(1, world.now * cpus)).toFixed(1)}%`;
  const use = world
    .use()
    .map(({ vm, cpus, guest, hypervisor, paused }) => [
      vm,
      String(cpus),
      share(guest, cpus),
      share(hypervisor, cpus),
      share(paused, cpus),
    ]);
  const { count, total } = world.hops;
  const hops = HOPS.map((hop) => [HOP_TEXT[hop], showDuration(count === 0 ? 0 : total[hop] / count)]);
  return [
    `${showDuration(world.now)} of virtual time, ${world.happened.toLocaleString('en')} events; costs are estimates (docs/experiments.md)`,
    renderTable([['VM', 'CPUs', 'guest', 'hypervisor', 'paused'], ...use]),
    renderTable([[`one of ${count.toLocaleString('en')} remote accesses, on average`, 'takes'], ...hops]),
  ].join('\n\n');
}
