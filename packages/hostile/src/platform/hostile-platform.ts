import type { GuestProgram } from '@remio/guest';
import type { RemioDev, Topology, Vm } from '@remio/topology';
import { featureSet, hasFeature, VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED } from '@remio/virtio-spec';
import { fasterLoop, InprocEngine, type VmReport } from '@remio/vm-runtime';
import type { Layout, Outcome } from '../catalogue.js';
import type { DeviceMaker, Dispatcher } from '../driver-cases/lying-backend.js';

/** A topology whose devices or drivers are tried, and what its VMs run. */
export interface HostilePlatform {
  readonly topology: Topology;
  /** The program of a VM, anew. */
  program(vm: Vm): Promise<GuestProgram>;
  /** The program of backends, and what makes their devices: they are bent when a device is to lie. */
  readonly dispatcher: Dispatcher;
  deviceMaker(): DeviceMaker;
}

/** A device of a topology, with both of its ends. */
export interface DevicePlace {
  readonly frontend: Vm;
  readonly end: RemioDev;
  readonly backend: Vm;
  readonly backendEnd: RemioDev;
}

/** Every device of a topology. */
export const placesOf = ({ vms }: Topology): readonly DevicePlace[] =>
  vms.flatMap((frontend) =>
    frontend.remioDevs.flatMap((end) => {
      if (end.type !== 'frontend') return [];
      for (const backend of vms) {
        const other = backend.remioDevs.find(({ type, bindKey }) => type === 'backend' && bindKey === end.bindKey);
        if (other !== undefined) return [{ frontend, end, backend, backendEnd: other }];
      }
      return [];
    }),
  );

/** Name of a device for tables. */
export const placeName = ({ frontend, end }: DevicePlace): string => `${frontend.name}/${end.name}`;

/** Ring features that both ends of a device have. */
export const ringOf = ({ end, backendEnd }: DevicePlace): bigint => end.ring & backendEnd.ring;

/** Whether the ends of a device can have queues of a layout, with these features beside. */
export const hasLayout = (place: DevicePlace, layout: Layout, ring: bigint): boolean => {
  const both = ringOf(place);
  return (layout === 'split' || hasFeature(both, VIRTIO_F_RING_PACKED)) && (ring & ~both) === 0n;
};

/** The topology with queues of one layout at a device; IN_ORDER, which rules out much, only where it is wanted. */
export function withLayout(topology: Topology, place: DevicePlace, layout: Layout, ring: bigint): Topology {
  const without = featureSet(VIRTIO_F_IN_ORDER, ...(layout === 'split' ? [VIRTIO_F_RING_PACKED] : [])) & ~ring;
  const change = (dev: RemioDev): RemioDev =>
    dev === place.end || dev === place.backendEnd ? { ...dev, ring: dev.ring & ~without } : dev;
  return { ...topology, vms: topology.vms.map((vm) => ({ ...vm, remioDevs: vm.remioDevs.map(change) })) };
}

/** What is watched of a platform that runs. */
export interface Watcher {
  /** Returns an outcome when the case has come to its end. */
  report(vm: Vm, event: VmReport): Outcome | undefined;
}

/** How long a platform runs, and how fast its clock goes. */
export interface RunOptions {
  /** Milliseconds of the host after which whoever has not come to an end hangs. */
  readonly bound: number;
  /** Nanoseconds that pass for the VMs in one of the host's: how much less whoever waits for a time-out waits. */
  readonly rate: number;
}

/** Milliseconds that a platform has to give back what it has of the host. */
const STOP_MS = 1000;

/**
 * Runs a platform of its own for one case, in this process: what a case does to a device poisons no other.
 * @param engineMade gets the engine before anything runs
 */
export async function runPlatform(
  topology: Topology,
  programs: ReadonlyMap<string, GuestProgram>,
  watcher: Watcher,
  { bound, rate }: RunOptions,
  engineMade: (engine: InprocEngine) => void = () => {},
): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  let engine: InprocEngine | undefined;
  try {
    return await new Promise<Outcome>((resolve, reject) => {
      const created = InprocEngine.create(
        topology,
        (vm) => programs.get(vm.name) ?? ((cpu) => cpu.idle()),
        {
          report: (vm, event) => {
            const outcome = watcher.report(vm, event);
            if (outcome !== undefined) resolve(outcome);
          },
          log: () => {},
        },
        { loop: fasterLoop(rate) },
      );
      if (!created.ok) {
        reject(new Error(`the core refuses the topology: ${created.error}`));
        return;
      }
      engine = created.value;
      engineMade(engine);
      timer = setTimeout(() => resolve({ seen: 'W', detail: `no end within ${bound / 1000} s` }), bound);
      engine.start();
    });
  } finally {
    clearTimeout(timer);
    // Whatever a device holds back when it is to close must hold up nobody.
    await Promise.race([engine?.stop(), new Promise((resolve) => setTimeout(resolve, STOP_MS))]);
  }
}
