import type { Arch } from '@remio/arch';
import type { BindKey, GuestAddress, IrqId } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import type { Standby } from './standby.js';

/** What may be there at once, or come later. */
export type Answer<T> = T | Promise<T>;

/**
 * A vCPU as a TypeScript guest program sees it. Every operation is an instruction that the hypervisor sees as hardware
 * would show it: loads and stores outside memory trap with a real encoding, hypercalls go through registers.
 *
 * A program may have several tasks, as a kernel has: their operations are carried out one at a time, in the order in
 * which they were asked for, and the vCPU waits for interrupts when every task does.
 */
export interface GuestCpu {
  readonly arch: Arch;
  /** Position of this vCPU in its VM, from 0. */
  readonly index: number;
  load8(address: bigint): Promise<number>;
  load16(address: bigint): Promise<number>;
  load32(address: bigint): Promise<number>;
  load64(address: bigint): Promise<bigint>;
  store8(address: bigint, value: number): Promise<void>;
  store16(address: bigint, value: number): Promise<void>;
  store32(address: bigint, value: number): Promise<void>;
  store64(address: bigint, value: bigint): Promise<void>;
  /**
   * HVC (AArch64) or ECALL (RV64) with these registers (x0.. or a0..; missing ones are 0).
   * @returns x0..x6 or a0..a7 afterwards; valid until this vCPU's next operation. At once if an interrupt handler makes the
   * call before it awaited anything, and the hypervisor answers without a message: what is on every access's path need not
   * wait for a promise. Others just await it.
   */
  hypercall(registers: readonly bigint[]): Answer<readonly bigint[]>;
  /**
   * WFI: goes on when an interrupt was taken, after its handler ran, whichever interrupt it was. So look for what you
   * wait for in a loop.
   */
  waitForInterrupt(): Promise<void>;
  /** WFI for ever: whatever else this task's vCPU does, its interrupt handlers and other tasks do. Never settles. */
  idle(): Promise<never>;
  /** Registers the handler of an interrupt. Handlers run before the vCPU's next operation, one at a time. */
  onInterrupt(irq: IrqId, handler: (irq: IrqId) => Answer<void>): void;
  /** Sends an inter-processor interrupt to another vCPU of this VM; {@link ipiIrq} there. Delivered without a trap. */
  sendIpi(index: number): void;
  /** SGI 0 on AArch64, the supervisor software interrupt on RV64. */
  readonly ipiIrq: IrqId;
  /**
   * Raises {@link hostIrq} here: the interrupt of a device that the VM owns by itself, which is how host I/O (files,
   * sockets) reaches a program that waits in WFI. May be called at any time.
   */
  hostEvent(): void;
  readonly hostIrq: IrqId;
  /** Programs the VM's interrupt controller so that `irq` is enabled and goes to this vCPU. */
  enableInterrupt(irq: IrqId): Promise<void>;
  /** The vCPU's counter (CNTVCT_EL0, time), in nanoseconds. */
  counter(): bigint;
  /** Arms the vCPU's one-shot timer at this counter value; undefined disarms. Its interrupt is {@link timerIrq}. */
  setTimer(deadline: bigint | undefined): Promise<void>;
  /** PPI 27 on AArch64; the supervisor timer (local interrupt 5) on RV64. */
  readonly timerIrq: IrqId;
  /**
   * Starts another vCPU of this VM through PSCI CPU_ON or SBI hart_start, with `program` as its entry point.
   * @returns the service's error code, 0 on success
   */
  startCpu(index: number, program: (cpu: GuestCpu) => Promise<void>): Promise<bigint>;
}

/** A load or store ended as a synchronous external abort or an access fault; thrown out of the awaited access. */
export class GuestFault extends Error {
  override readonly name = 'GuestFault';
  /**
   * @param syndrome ESR_EL1 or scause
   * @param address FAR_EL1 or stval
   */
  constructor(
    readonly syndrome: bigint,
    readonly address: bigint,
  ) {
    super(`access to 0x${address.toString(16)} ended as a fault (syndrome 0x${syndrome.toString(16)})`);
  }
}

/** One end of a Remote I/O device as its own VM sees it. */
export interface GuestDeviceEnd {
  /** Position in the VM's list: the hypercalls' dm_id. */
  readonly dm: number;
  readonly name: string;
  readonly type: 'frontend' | 'backend';
  readonly bindKey: BindKey;
  /** The frontend's register window; at a backend, the window of its frontend. */
  readonly window: { readonly base: GuestAddress; readonly size: number };
  readonly interrupt: IrqId;
  /** The memory shared with the other end. */
  readonly shmem: GuestMemory;
  /** Bao's shmem_id of that memory. */
  readonly shmemId: number;
  /** Ring features that this end offers (backend) or accepts (frontend), as a set. */
  readonly ring: bigint;
  /** vCPU of this VM that takes the end's interrupt, if the topology says so; at a frontend, it drives the device. */
  readonly vcpu?: number;
  /** vCPUs of this VM by queue number; queues beyond are served where the device is. */
  readonly queueVcpus: readonly number[];
  /** What the topology says of the device model (backend) or driver (frontend). */
  readonly options: unknown;
  /** The driver is to begin anew when it has ended or failed, or when a run lasts too long; nanoseconds. */
  readonly repeat?: { readonly pause: number; readonly patience?: number };
  /**
   * Backend that goes on where a lost one stopped: memory that outlives the process of this VM, as long as the hypervisor
   * lives; zeros at first. Absent: there is none, and the device starts over.
   */
  readonly kept?: ArrayBuffer | SharedArrayBuffer;
}

/** An IPC object of a VM: memory that it shares with other VMs, and the doorbells of that memory. */
export interface GuestIpc {
  /** Position in the VM's list: the IPC hypercall's first argument. */
  readonly index: number;
  /** Name of the shared memory. */
  readonly name: string;
  readonly shmem: GuestMemory;
  /** Interrupt of each event, raised here when another VM rings it. */
  readonly interrupts: readonly IrqId[];
  /** What the topology says of the driver. */
  readonly options: unknown;
}

/**
 * What a VM's software does between the operations that the platform sees. Where time is a model's, each has its price;
 * on a host's clock it takes the time that it takes.
 */
export type Work =
  /** The backend's device model serves one register access. */
  | 'register-access'
  /** A notification of a queue reaches the backend's device model. */
  | 'queue-notify'
  /** The backend's device model handles one request of a virtqueue. */
  | 'device-request'
  /** A driver makes one request and takes its answer. */
  | 'driver-request'
  /** One byte is copied. */
  | 'copied-byte';

/** A VM as its program sees it. */
export interface GuestVm {
  readonly name: string;
  readonly arch: Arch;
  readonly cpus: number;
  readonly devices: readonly GuestDeviceEnd[];
  readonly ipcs: readonly GuestIpc[];
  /** `program.options` of the topology. */
  readonly options: unknown;
  /** How vCPUs stand by on this board; absent: by WFI. */
  readonly standby?: Standby;
  /** How many processes the VM has had, this one included; 2 and up: drivers of its devices may be at work. From 1. */
  readonly incarnation: number;
  /** Host time, for throughput figures; nanoseconds. */
  hostTime(): bigint;
  /** Tells whoever watches the platform: progress, results. Plain data only. */
  report(event: { readonly kind: string; readonly [field: string]: unknown }): void;
  /** A line for the VM's console. */
  log(line: string): void;
  /**
   * Runs `work` on a vCPU soon, after what its host has to do meanwhile.
   * @param cpu index of the vCPU
   * @param idle whether it only looks if there is something to do: whoever else wants the host's CPU goes first
   */
  defer(cpu: number, work: () => void, idle?: boolean): void;
  /** The vCPU that runs now has done such work, `amount` times. */
  spent(work: Work, amount?: number): void;
  /**
   * Lets the program tell what only observers want to know, by {@link report}: called once a second at most, and when the
   * VM is taken out of its process or engine.
   */
  onObserve(tell: () => void): void;
  /**
   * What gives back the host's files and sockets when the VM is taken out of its process or engine. `again`: the same process
   * boots it anew; what nobody else may get meanwhile is kept for it.
   */
  onStop(release: (again: boolean) => Promise<void>): void;
}

/** What runs on a VM: entered on its first vCPU; the VM has ended its work when the promise settles. */
export type GuestProgram = (cpu: GuestCpu, vm: GuestVm) => Promise<void>;

/** What a user's module exports as `default`: makes the program of one VM from the topology's `options`. */
export type ProgramFactory = (options: unknown) => GuestProgram | Promise<GuestProgram>;
