declare const brand: unique symbol;

/** A value of type `T` that only its own constructor makes. */
export type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** Position of a VM in the platform's list, from 0. */
export type VmId = Branded<number, 'VmId'>;

/** Number of a physical CPU, from 0. A CPU runs exactly one vCPU, so it names that vCPU too. */
export type CpuId = Branded<number, 'CpuId'>;

/** Number of an interrupt as the VM's interrupt controller counts it (Arm: INTID, so an SPI is 32 and up). */
export type IrqId = Branded<number, 'IrqId'>;

/** Pairs the frontend end and the backend end of a Remote I/O device; 64 bits. */
export type BindKey = Branded<bigint, 'BindKey'>;

/** Names a request in flight; 64 bits, opaque to guests. */
export type RequestId = Branded<bigint, 'RequestId'>;

/** A guest-physical address; 64 bits. */
export type GuestAddress = Branded<bigint, 'GuestAddress'>;

export const vmId = (value: number): VmId => value as VmId;
export const cpuId = (value: number): CpuId => value as CpuId;
export const irqId = (value: number): IrqId => value as IrqId;
export const bindKey = (value: bigint): BindKey => value as BindKey;
export const requestId = (value: bigint): RequestId => value as RequestId;
export const guestAddress = (value: bigint): GuestAddress => value as GuestAddress;
