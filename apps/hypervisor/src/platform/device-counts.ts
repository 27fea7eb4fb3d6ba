import { type BaoCall, HC_REMIO, REMIO_HYP_ASK, REMIO_HYP_NOTIFY } from '@remio/arch';
import { numberOf, type VmId } from '@remio/base';
import type { Topology } from '@remio/topology';
import { type DeviceStats, newDeviceStats } from './stats.js';

/** What devices did: both ends of a device share one record. */
export class DeviceCounts {
  /** [VM][dm] */
  readonly #devices: readonly (readonly DeviceStats[])[];

  constructor(topology: Topology) {
    const byKey = new Map<bigint, DeviceStats>();
    this.#devices = topology.vms.map((vm) =>
      vm.remioDevs.map((end) => {
        const stats = byKey.get(end.bindKey) ?? newDeviceStats();
        byKey.set(end.bindKey, stats);
        return stats;
      }),
    );
  }

  /** Those of a VM, by dm_id. */
  of(vm: VmId): readonly Readonly<DeviceStats>[] {
    return this.#devices[vm] ?? [];
  }

  /** An access of a frontend became a request. */
  access(backend: VmId, dm: number): void {
    const stats = this.#devices[backend]?.[dm];
    if (stats !== undefined) stats.accesses += 1;
  }

  /** A Bao hypercall of a VM succeeded. */
  called(vm: VmId, call: BaoCall): void {
    const stats = call.nr === HC_REMIO ? this.#devices[vm]?.[numberOf(call.dm)] : undefined;
    if (stats === undefined) return;
    if (call.op === REMIO_HYP_NOTIFY) stats.notifications += 1;
    else if (call.op !== REMIO_HYP_ASK) stats.completions += 1;
  }
}
