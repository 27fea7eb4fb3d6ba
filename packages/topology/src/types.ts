import type { Arch } from '@remio/arch';
import type { BindKey, CpuId, GuestAddress, IrqId, VmId } from '@remio/base';
import type { BoardProfile, CostOverrides } from '@remio/board';
import type { DeviceChoice } from './devices/index.js';
import type { DriverChoice } from './drivers/index.js';
import type { IpcDriverChoice } from './ipc-drivers/index.js';

/** A shared memory of the platform; the position in the list is Bao's `shmem_id`. */
export interface SharedMemory {
  readonly id: number;
  readonly name: string;
  /** Bytes, a multiple of the page size. */
  readonly size: number;
  /** Where in the board's RAM it lies (Bao: `place_phys`, `phys`); absent: where the hypervisor finds room. */
  readonly phys?: bigint;
  /**
   * How the processes of its VMs get at it. `mapping`: they map one file. `service`: the frontend's process has it, the
   * backend's reaches it through the hypervisor. Absent: a mapping where they can share one, else the service.
   */
  readonly via?: 'mapping' | 'service';
}

export interface MemoryRegion {
  readonly base: GuestAddress;
  /** Bytes. */
  readonly size: number;
  /** Where in the board's RAM it lies (Bao: `place_phys`, `phys`); absent: where the hypervisor finds room. */
  readonly phys?: bigint;
}

/** A built-in by name, or a user's ES module by path, with what it is given. */
export interface ModuleRef {
  readonly kind: 'builtin' | 'module';
  /** Name of the built-in, or absolute path of the module. */
  readonly name: string;
  readonly options: unknown;
}

/** A device model: one that comes with Remio, or a user's. */
export type DeviceRef =
  | { readonly kind: 'builtin'; readonly choice: DeviceChoice }
  | { readonly kind: 'module'; readonly name: string; readonly options: unknown };

/** One entry of a VM's `remio_devs`; the position is the hypercalls' dm_id. */
export interface RemioDev {
  readonly dm: number;
  /** The device's name, the same at both ends. */
  readonly name: string;
  readonly type: 'frontend' | 'backend';
  readonly bindKey: BindKey;
  /** The frontend's window; at a backend, the window of its frontend. */
  readonly window: { readonly base: GuestAddress; readonly size: number };
  readonly interrupt: IrqId;
  /** Guest-physical range at this end, and which shared memory backs it. */
  readonly shmem: { readonly id: number; readonly base: GuestAddress; readonly size: number };
  /** Ring features that this end offers (backend) or accepts (frontend), as a set. */
  readonly ring: bigint;
  /** vCPU of the VM that takes the interrupt (and, at a frontend, drives the device); absent: the program decides. */
  readonly vcpu?: number;
  /** vCPUs of the VM by queue number; those beyond are the device's own. */
  readonly queueVcpus: readonly number[];
  /** Nanoseconds; frontend only. */
  readonly deadline?: number;
  /** Backend that goes on where a lost one stopped: bytes of memory that outlive its process for that. */
  readonly resume?: number;
  /** Backend: the device model. */
  readonly device?: DeviceRef;
  /** Frontend: what drives it under the program `drivers`; other programs drive their devices themselves. */
  readonly driver?: DriverChoice;
  /** Frontend: the driver begins anew when it has ended or failed; nanoseconds. */
  readonly repeat?: { readonly pause: number; readonly patience?: number };
}

/** One entry of a VM's `ipcs`; the position is the IPC hypercall's first argument. */
export interface Ipc {
  readonly index: number;
  /** Name of the shared memory. */
  readonly name: string;
  /** Bytes that the topology asks for; what the memory does not have is cut off. */
  readonly size: number;
  /** Guest-physical range, and which shared memory backs it. */
  readonly shmem: { readonly id: number; readonly base: GuestAddress; readonly size: number };
  /** Interrupt of each event, raised here when another VM rings. */
  readonly interrupts: readonly IrqId[];
  /** What uses it under the program `drivers`; other programs do so themselves. */
  readonly driver?: IpcDriverChoice;
}

export interface Vm {
  readonly id: VmId;
  readonly name: string;
  /** CPUs of the board, ascending; the position is the vCPU's index. */
  readonly cpus: readonly CpuId[];
  readonly memory: readonly MemoryRegion[];
  readonly remioDevs: readonly RemioDev[];
  readonly ipcs: readonly Ipc[];
  readonly program: ModuleRef;
  /** Public key of CURVE: only who has the secret one may run this VM. There where {@link Topology.keys} are. */
  readonly key?: string;
}

/** A process that runs several VMs; VMs of no host are the command's to place. */
export interface Host {
  readonly name: string;
  readonly vms: readonly VmId[];
}

/** A topology that passed every check. */
export interface Topology {
  readonly name: string;
  /** Absolute path of the file that it came from. */
  readonly file: string;
  readonly arch: Arch;
  readonly board: BoardProfile;
  readonly profile: 'reference' | 'hardened';
  /** Request slots of the core: one per CPU of the board. */
  readonly slots: number;
  /** Messages that a CPU's queue holds. */
  readonly queue: number;
  readonly sharedMemories: readonly SharedMemory[];
  readonly vms: readonly Vm[];
  readonly hosts: readonly Host[];
  /** Public keys of CURVE of those that are no VMs; absent: the topology has no keys. */
  readonly keys?: { readonly hypervisor: string; readonly observer: string };
  /**
   * What processes of VMs do that lose the hypervisor: they end, or wait for another one and boot their VMs anew, and
   * `remio up` starts it.
   */
  readonly onHypervisorLoss: 'stop' | 'reconnect';
  /** Costs that the user measured, for virtual time. */
  readonly costs: CostOverrides;
  /** Whether any frontend has a deadline. */
  readonly hasDeadlines: boolean;
  /** SHA-256 of the canonical form, hexadecimal: both ends of a connection must have the same. */
  readonly digest: string;
}
