import type { BaoCall, MmioAccess } from '@remio/arch';
import type { BindKey, CpuId, IrqId, RequestId, VmId } from '@remio/base';
import type { RuleId } from './rules.js';

/** Which behaviour the core has: the reference's, bit by bit, or the same ABI without its hazards. */
export type Profile = 'reference' | 'hardened';

/** The memory that the two ends of a device share, as configured at one end. */
export interface ShmemConfig {
  readonly base: bigint;
  readonly size: bigint;
  readonly id: number;
}

/** One end of a device, in the order of its VM's list; the position is the hypercalls' `dm_id`. */
export interface RemioDevConfig {
  /** REMIO_DEV_FRONTEND, REMIO_DEV_BACKEND, or a number that the reference refuses. */
  readonly type: 'frontend' | 'backend' | number;
  readonly bindKey: BindKey;
  /** The frontend's window; ignored at a backend. */
  readonly va: bigint;
  readonly size: bigint;
  readonly interrupt: IrqId;
  readonly shmem: ShmemConfig;
  /** Nanoseconds after which an unanswered access of this frontend becomes a fault (`hardened` only); absent: never. */
  readonly deadline?: number;
}

/** An IPC object of a VM (`struct ipc`); the position in its VM's list is the hypercall's first argument. */
export interface IpcConfig {
  /** Id of the shared memory behind it. */
  readonly shmem: number;
  /** Bytes that the VM maps; what the memory does not have is cut off. */
  readonly size: bigint;
  /** Interrupt of each event, raised in this VM when another one rings. */
  readonly interrupts: readonly IrqId[];
}

export interface VmConfig {
  readonly cpus: readonly CpuId[];
  readonly devices: readonly RemioDevConfig[];
  /** Absent: none. */
  readonly ipcs?: readonly IpcConfig[];
}

/** The machine that the core manages. */
export interface RemioConfig {
  readonly cpus: number;
  /** Request slots; one per physical CPU on a real platform. */
  readonly slots: number;
  /** Messages that a CPU's queue holds (reference: 253). */
  readonly queue: number;
  /** Sizes of the shared memories by id, for IPC; absent: there is none. */
  readonly shmems?: readonly bigint[];
  readonly vms: readonly VmConfig[];
}

/** A note from one CPU to another, with the values as carried. */
export type CpuMessage =
  | { readonly kind: 'notify'; readonly irq: number }
  | { readonly kind: 'read-done' | 'write-done'; readonly key: bigint; readonly id: bigint }
  /** A doorbell of a shared memory. */
  | { readonly kind: 'ipc'; readonly shmem: number; readonly event: bigint };

/** Everything that can happen to the core. `now` is nanoseconds on the engine's clock. */
export type CoreInput =
  /** The VM that owns this CPU brings up its ends (vm_init, on one of its CPUs). */
  | { readonly kind: 'start'; readonly cpu: CpuId }
  | { readonly kind: 'mmio'; readonly cpu: CpuId; readonly access: MmioAccess; readonly now: number }
  | { readonly kind: 'hypercall'; readonly cpu: CpuId; readonly call: BaoCall }
  /** The CPU handles its queued messages, oldest first, at most `max`. */
  | { readonly kind: 'deliver'; readonly cpu: CpuId; readonly max?: number }
  /**
   * An ASK that the backend's runtime answered from a lease: takes this request off the pending list.
   * A request that is no longer pending (its deadline passed, its VM was lost) is left alone.
   */
  | { readonly kind: 'leased-ask'; readonly cpu: CpuId; readonly id: RequestId }
  /** The process that ran this VM is gone; what belongs to `incarnation` and later comes from nowhere. */
  | { readonly kind: 'vm-lost'; readonly vm: VmId; readonly incarnation: number }
  | { readonly kind: 'vm-attached'; readonly vm: VmId; readonly incarnation: number }
  /** Time passed; deadlines that are over end their accesses as faults (`hardened`). */
  | { readonly kind: 'tick'; readonly now: number };

/** What became of a trapped access. */
export type AccessResult = 'paused' | 'waiting' | 'unclaimed' | 'refused';

/** Codes of configuration checks, first problem first; always fatal. */
export type ConfigEventCode =
  | 'config-duplicate-endpoint'
  | 'config-unpaired-device'
  | 'config-unknown-type'
  | 'config-unbalanced'
  | 'config-shmem-mismatch';

export type EventCode =
  | ConfigEventCode
  | 'access-unclaimed'
  | 'access-refused'
  | 'completion-rejected'
  | 'queue-full'
  | 'unknown-hypercall'
  | 'ipc-unknown-shmem'
  | 'ipc-truncated';

export type CoreEvent = { readonly level: 'fatal' | 'warning'; readonly cpu: CpuId; readonly code: EventCode };

/** Why an access ends as a fault (`hardened`). */
export type FaultReason = 'unclaimed' | 'no-slot' | 'deadline' | 'vm-lost';

/** Everything that leaves the core, in order. */
export type CoreEffect =
  /** A message was queued on CPU `to`: interrupt that CPU, so that it delivers. */
  | { readonly kind: 'message'; readonly to: CpuId; readonly message: CpuMessage }
  /** An interrupt is raised in the vCPU of this CPU. */
  | { readonly kind: 'irq'; readonly cpu: CpuId; readonly irq: number }
  /** A hypercall's result code and, after a successful ASK, its six outputs. */
  | { readonly kind: 'return'; readonly cpu: CpuId; readonly ret: bigint; readonly out: readonly bigint[] | undefined }
  /** A register of a vCPU gets a value (before it resumes). */
  | { readonly kind: 'register'; readonly cpu: CpuId; readonly register: number; readonly value: bigint }
  /** The result of a `mmio` input, or of an access that waited. */
  | { readonly kind: 'access'; readonly cpu: CpuId; readonly result: AccessResult }
  /** A request joined a device's pending list: it may be leased to the backend's runtime. */
  | {
      readonly kind: 'pending';
      readonly id: RequestId;
      readonly backend: VmId;
      readonly dm: number;
      readonly addr: bigint;
      readonly op: number;
      readonly value: bigint;
      readonly width: number;
    }
  /** A request left a pending list otherwise than by `leased-ask`: its lease, if any, is void. */
  | { readonly kind: 'revoked'; readonly id: RequestId; readonly backend: VmId; readonly dm: number }
  /**
   * `leased-ask` took a request off the list of this device end of the caller. `first`: an ASK would have got the same.
   */
  | { readonly kind: 'taken'; readonly id: RequestId; readonly dm: number; readonly first: boolean }
  | { readonly kind: 'pause'; readonly cpu: CpuId }
  | { readonly kind: 'resume'; readonly cpu: CpuId }
  /** The open access of this CPU ends as a fault at its PC. */
  | { readonly kind: 'fault'; readonly cpu: CpuId; readonly reason: FaultReason }
  | { readonly kind: 'event'; readonly event: CoreEvent }
  /** `hardened` did otherwise than the reference would have, for this reason (docs/hardening.md). */
  | { readonly kind: 'rule'; readonly rule: RuleId; readonly cpu: CpuId };
