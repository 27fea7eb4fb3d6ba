import type { MmioAccess } from '@remio/arch';
import type { BindKey, CpuId, Fifo, RequestId, VmId } from '@remio/base';
import type { CpuMessage, IpcConfig, Profile, RemioConfig, RemioDevConfig, ShmemConfig } from './types.js';

/** REMIO_STATE. */
export type RequestState = 'free' | 'pending' | 'processing' | 'complete';

/** A request slot (`struct remio_request`). Its fields but `slot` and `generation` mean nothing while it is free. */
export interface Request {
  readonly slot: number;
  /** How often the slot was used before; `hardened` makes it part of the id. */
  generation: number;
  /** The id that guests see. */
  id: RequestId;
  state: RequestState;
  device: number;
  key: BindKey;
  cpu: CpuId;
  /** 0 write, 1 read. */
  op: number;
  addr: bigint;
  value: bigint;
  access: MmioAccess;
  /** When the access was made, counted over the platform: the order in which requests go back after a loss. */
  order: number;
  /** Nanoseconds on the engine's clock; Infinity: never. */
  deadline: number;
}

/** One side of a device. */
export interface Side {
  readonly vm: VmId;
  /** Position in the VM's list. */
  readonly dm: number;
  readonly end: RemioDevConfig;
  /** The notified CPU; -1 before bring-up. */
  cpu: number;
  ready: boolean;
  /** A notification found the CPU's queue full (`hardened`). */
  notifyPending: boolean;
}

/** A device (`struct remio_device`): two ends under one bind key. */
export interface Device {
  readonly index: number;
  readonly key: BindKey;
  readonly backend: Side | undefined;
  readonly frontend: Side | undefined;
  ready: boolean;
  /** Slots not yet asked for, oldest first. */
  readonly pending: Fifo<number>;
}

export interface CpuState {
  /** -1: the CPU belongs to no VM. */
  readonly vm: number;
  active: boolean;
  halted: boolean;
  /** The access that waits inside the hypervisor for its device, which is `device`. */
  waiting: { readonly access: MmioAccess; readonly device: number; readonly now: number } | undefined;
  readonly queue: Fifo<CpuMessage>;
}

/** An IPC object of a VM (`struct ipc`). */
export interface IpcState {
  readonly config: IpcConfig;
  /** By CPU: events whose doorbell found its queue full (`hardened`). */
  readonly pending: Map<number, Set<number>>;
}

/** The range of an end's window; a backend's is empty, at 0. */
export interface EndWindow {
  readonly frontend: boolean;
  readonly from: bigint;
  /** `va + size`, modulo 2^64. */
  readonly to: bigint;
}

/** What the rest of the state implies, kept so that no step has to look through all requests or all devices. */
export interface Shortcuts {
  /** No slot below is free. */
  free: number;
  /** No deadline is earlier; Infinity: there is none. */
  deadline: number;
  /** Sides with {@link Side.notifyPending} set. */
  notifyPending: number;
}

/** All of the core's state. */
export interface CoreData {
  readonly profile: Profile;
  readonly config: RemioConfig;
  readonly cpus: readonly CpuState[];
  readonly devices: readonly Device[];
  /** [VM][dm]: index of the device. */
  readonly ends: readonly (readonly number[])[];
  /** [VM][dm]: where the end's window lies. */
  readonly windows: readonly (readonly EndWindow[])[];
  readonly requests: readonly Request[];
  /** [VM][position]: its IPC objects. */
  readonly ipcs: readonly (readonly IpcState[])[];
  /** By shared memory: CPUs on which VMs mapped it (`shmem.cpu_masters`), ascending. */
  readonly masters: readonly CpuId[][];
  /** Incarnation of each VM's process; 0 before the first. */
  readonly incarnations: number[];
  /** Accesses made so far. */
  order: number;
  readonly shortcuts: Shortcuts;
}

/** No address at all: what the reference compares when a side has no end. */
export const NO_SHMEM: ShmemConfig = { base: 0n, size: 0n, id: 0 };
