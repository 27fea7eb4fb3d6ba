import type { HypercallFrame, MmioTrap } from '@remio/arch';
import type { CpuId, IrqId, RequestId, VmId } from '@remio/base';

/** What a VM process sends to the hypervisor on the hot path. */
export type VmRecord =
  /** A load or store trapped; answered by `resume` or `fault`. */
  | { readonly kind: 'trap'; readonly vm: VmId; readonly cpu: CpuId; readonly trap: MmioTrap }
  /** A hypercall; answered by `result`. */
  | { readonly kind: 'hypercall'; readonly vm: VmId; readonly cpu: CpuId; readonly frame: HypercallFrame }
  /** A hypercall whose result the VM's runtime knew from a lease (completion, NOTIFY): executed in order, not answered. */
  | { readonly kind: 'posted'; readonly vm: VmId; readonly cpu: CpuId; readonly frame: HypercallFrame }
  /** An ASK that the VM's runtime answered from a lease. */
  | { readonly kind: 'asked'; readonly vm: VmId; readonly cpu: CpuId; readonly id: RequestId }
  /** A vCPU's program ended or failed; the hypervisor marks it off. */
  | { readonly kind: 'off'; readonly vm: VmId; readonly cpu: CpuId }
  /**
   * Where this process has the memory of a device end: another that names the same place shares it; the empty text: nobody
   * else can. Said before anything that concerns the device.
   */
  | { readonly kind: 'memory-place'; readonly vm: VmId; readonly dm: number; readonly place: string }
  | MemoryRecord;

/** A message of the memory service, from one end of a device to the other; the hypervisor passes it on. */
export interface MemoryRecord {
  readonly kind: 'memory';
  readonly vm: VmId;
  readonly dm: number;
  /** What `memory-link` gave: a message of an earlier pair of processes is dropped. */
  readonly epoch: number;
  readonly bytes: Uint8Array;
}

/** What the hypervisor sends to a VM process on the hot path. */
export type HypervisorRecord =
  /** The access is done: `register` (255: none, it was a store) gets `value`, then the PC becomes `pc`. */
  | {
      readonly kind: 'resume';
      readonly vm: VmId;
      readonly cpu: CpuId;
      readonly register: number;
      readonly value: bigint;
      readonly pc: bigint;
    }
  | {
      readonly kind: 'fault';
      readonly vm: VmId;
      readonly cpu: CpuId;
      /** ESR_EL1 or scause. */
      readonly cause: bigint;
      /** FAR_EL1 or stval. */
      readonly address: bigint;
    }
  /** The answer to `hypercall`: x0..x6 or a0..a7 as they stand now. */
  | {
      readonly kind: 'result';
      readonly vm: VmId;
      readonly cpu: CpuId;
      readonly pc: bigint;
      readonly registers: readonly bigint[];
    }
  | { readonly kind: 'irq'; readonly vm: VmId; readonly cpu: CpuId; readonly irq: IrqId }
  /** A pending request, sent ahead: the runtime may answer the next ASK on `dm` from it. */
  | {
      readonly kind: 'lease';
      readonly vm: VmId;
      readonly dm: number;
      readonly id: RequestId;
      readonly addr: bigint;
      readonly op: number;
      readonly value: bigint;
      readonly width: number;
    }
  /** The lease of this request is void. */
  | { readonly kind: 'revoke'; readonly vm: VmId; readonly dm: number; readonly id: RequestId }
  /** Starts a vCPU (PSCI CPU_ON, SBI hart_start, or the VM's first vCPU). */
  | {
      readonly kind: 'cpu-on';
      readonly vm: VmId;
      readonly cpu: CpuId;
      readonly entry: bigint;
      readonly argument: bigint;
      /** How many processes the VM has had, this one included: whoever comes later may find others at work. */
      readonly incarnation: number;
    }
  /** Stops a vCPU for good (a fatal event of the `reference` profile) or until `cpu-on`. */
  | { readonly kind: 'cpu-off'; readonly vm: VmId; readonly cpu: CpuId; readonly reason: string }
  /**
   * The memory of a backend's device end is reached through the service from now on, under this number; 0: the process that
   * has it is gone.
   */
  | { readonly kind: 'memory-link'; readonly vm: VmId; readonly dm: number; readonly epoch: number }
  | MemoryRecord
  /** SBI set_timer: arms the vCPU's one-shot timer at this value of its counter (2^64-1: never). */
  | { readonly kind: 'timer'; readonly vm: VmId; readonly cpu: CpuId; readonly deadline: bigint };
