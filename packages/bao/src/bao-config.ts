import type { At } from './c-value.js';

/** What Bao's configuration says, as its structures have it; where it said so goes with what may be wrong. */
export interface BaoConfig {
  readonly shmemlist: readonly BaoShmem[];
  readonly vmlist: readonly BaoVm[];
}

export interface BaoShmem {
  readonly size: bigint;
  readonly phys?: bigint;
  readonly at: At;
}

export interface BaoRegion {
  readonly base: bigint;
  readonly size: bigint;
  readonly phys?: bigint;
  readonly at: At;
}

export interface BaoDev {
  readonly pa: bigint;
  readonly va: bigint;
  readonly size: bigint;
  readonly interrupts: readonly number[];
  readonly at: At;
}

/** Shared memory as an end or IPC object maps it. */
export interface BaoShmemRef {
  readonly base: bigint;
  readonly size: bigint;
  readonly id: bigint;
  readonly at: At;
}

export interface BaoIpc extends BaoShmemRef {
  readonly interrupts: readonly number[];
}

export interface BaoRemioDev {
  readonly type: 'frontend' | 'backend';
  readonly va: bigint;
  readonly size: bigint;
  readonly interrupt: number;
  readonly bindKey: bigint;
  readonly shmem: BaoShmemRef;
  readonly at: At;
}

export interface BaoVm {
  /** Name of its image in C; undefined where a boot loader brings it. */
  readonly image: string | undefined;
  readonly imageBase: bigint;
  readonly entry: bigint;
  /** Bits of the CPUs that it prefers; 0: any. */
  readonly affinity: bigint;
  readonly cpuNum: number;
  readonly regions: readonly BaoRegion[];
  readonly devs: readonly BaoDev[];
  readonly ipcs: readonly BaoIpc[];
  readonly remioDevs: readonly BaoRemioDev[];
  readonly irqc: BaoIrqc | undefined;
  readonly at: At;
}

/** Where the guest sees its interrupt controller. */
export type BaoIrqc =
  | { readonly kind: 'gic'; readonly gicd: bigint; readonly gicc: bigint; readonly gicr: bigint }
  | { readonly kind: 'plic'; readonly base: bigint }
  | { readonly kind: 'aia'; readonly aplic: bigint; readonly imsic: bigint };
