import { err, ok, type Result, type VmId } from '@remio/base';
import type { HypervisorRecord, MemoryRecord, VmRecord } from '@remio/protocol';
import type { RemioDev, Topology } from '@remio/topology';
import type { Violation } from './host.js';

/** One end of a device. */
interface End {
  readonly vm: VmId;
  readonly dm: number;
}

/** The memory of a device, between the processes of its two ends. */
interface MemoryLink {
  readonly frontend: End;
  readonly backend: End;
  /** Where each end's process has it; undefined: no process has said so. */
  places: { frontend: string | undefined; backend: string | undefined };
  /** Counts pairs of processes: what one pair left behind is not for the next. */
  epoch: number;
  /** Whether the backend reaches it through the service. */
  linked: boolean;
}

/**
 * Which processes share the memory of a device, and for which it goes through the memory service: messages between a
 * backend and the process of its frontend, which has the memory. They take the way of everything else between the two, so
 * nothing overtakes what was written: no interrupt, and no answer to an access.
 */
export class MemoryLinks {
  readonly #send: (record: HypervisorRecord) => void;
  /** [VM][dm] */
  readonly #ends: readonly (readonly (MemoryLink | undefined)[])[];

  constructor(topology: Topology, send: (record: HypervisorRecord) => void) {
    this.#send = send;
    const all = topology.vms.flatMap((vm) => vm.remioDevs.map((end) => ({ vm: vm.id, end })));
    const other = (type: RemioDev['type'], key: bigint): End | undefined => {
      const found = all.find(({ end }) => end.type === type && end.bindKey === key);
      return found === undefined ? undefined : { vm: found.vm, dm: found.end.dm };
    };
    const links = new Map<bigint, MemoryLink>();
    for (const { end } of all) {
      const frontend = other('frontend', end.bindKey);
      const backend = other('backend', end.bindKey);
      if (links.has(end.bindKey) || frontend === undefined || backend === undefined) continue;
      const places = { frontend: undefined, backend: undefined };
      links.set(end.bindKey, { frontend, backend, places, epoch: 0, linked: false });
    }
    this.#ends = topology.vms.map((vm) => vm.remioDevs.map((end) => links.get(end.bindKey)));
  }

  /** Takes what a VM's process says of its memories, or to the process at the other end. */
  handle(record: MemoryRecord | Extract<VmRecord, { kind: 'memory-place' }>): Result<void, Violation> {
    const { vm, dm } = record;
    const link = this.#ends[vm]?.[dm];
    if (link === undefined) return err({ vm, detail: `${record.kind} of device ${dm}, which the VM does not have` });
    const side = link.frontend.vm === vm && link.frontend.dm === dm ? 'frontend' : 'backend';
    if (record.kind === 'memory-place') {
      link.places[side] = record.place;
      this.#connect(link);
      return DONE;
    }
    // What was on its way between processes of which one is gone is for nobody.
    if (!link.linked || record.epoch !== link.epoch) return DONE;
    const to = side === 'frontend' ? link.backend : link.frontend;
    this.#send({ kind: 'memory', vm: to.vm, dm: to.dm, epoch: link.epoch, bytes: record.bytes });
    return DONE;
  }

  /** The process of a VM is gone, and its memory with it. */
  lost(vm: VmId): void {
    for (const link of this.#ends[vm] ?? []) {
      if (link === undefined) continue;
      if (link.frontend.vm === vm) link.places.frontend = undefined;
      if (link.backend.vm === vm) link.places.backend = undefined;
      if (!link.linked) continue;
      link.linked = false;
      if (link.backend.vm !== vm) this.#send({ kind: 'memory-link', ...link.backend, epoch: 0 });
    }
  }

  /** Both processes have said where their memory is: if that is not the same, the service takes its place. */
  #connect(link: MemoryLink): void {
    const { frontend, backend } = link.places;
    if (frontend === undefined || backend === undefined) return;
    link.linked = frontend === '' || frontend !== backend;
    link.epoch = (link.epoch + 1) >>> 0 || 1;
    if (link.linked) this.#send({ kind: 'memory-link', ...link.backend, epoch: link.epoch });
  }
}

const DONE = ok(undefined);
