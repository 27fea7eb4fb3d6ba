import {
  type Arch,
  HC_E_FAILURE,
  HC_IPC,
  HC_REMIO,
  HYPERCALL_LAYOUT,
  hypercallRegisters,
  hypercallResult,
  REMIO_HYP_ASK,
  REMIO_HYP_NOTIFY,
  REMIO_HYP_READ,
  REMIO_HYP_WRITE,
} from '@remio/arch';
import { numberOf, type RequestId, requestId } from '@remio/base';
import type { GuestCpu } from './program.js';

/** A request as a backend gets it. */
export interface RemioRequest {
  readonly kind: 'request';
  readonly dm: number;
  /** Guest-physical address in the frontend. */
  readonly addr: bigint;
  readonly write: boolean;
  /** The value written; 0 for a read. */
  readonly value: bigint;
  /** Bytes. */
  readonly width: number;
  readonly id: RequestId;
  /** Whether more requests were pending. */
  readonly more: boolean;
}

export type AskResult =
  | RemioRequest
  | { readonly kind: 'empty' }
  /** A negative result code. */
  | { readonly kind: 'error'; readonly code: bigint };

const EMPTY: AskResult = { kind: 'empty' };

const registersOf = (arch: Arch, dm: number, op: bigint, addr: bigint, value: bigint, id: bigint): readonly bigint[] =>
  hypercallRegisters(arch, { nr: HC_REMIO, dm: DMS[dm] ?? BigInt(dm), addr, op, value, id });

/** Device numbers as registers hold them. */
const DMS: readonly bigint[] = Array.from({ length: 256 }, (_, dm) => BigInt(dm));

/** Registers of ASK: the oldest request that is pending on a device. They are the same for every ASK. */
export const askRegisters = (arch: Arch, dm: number): readonly bigint[] =>
  registersOf(arch, dm, REMIO_HYP_ASK, 0n, 0n, 0n);

/** What the registers say after an ASK. A failed one answers +1, so the code is tested for not 0. */
export function askResult(arch: Arch, dm: number, registers: readonly bigint[]): AskResult {
  const code = registers[HYPERCALL_LAYOUT[arch].result] ?? 0n;
  if (code === HC_E_FAILURE) return EMPTY;
  if (code !== 0n) return { kind: 'error', code: BigInt.asIntN(64, code) };
  const { outputs } = HYPERCALL_LAYOUT[arch];
  return {
    kind: 'request',
    dm,
    addr: registers[outputs] ?? 0n,
    write: registers[outputs + 1] !== REMIO_HYP_READ,
    value: registers[outputs + 2] ?? 0n,
    width: numberOf(registers[outputs + 3] ?? 0n),
    id: requestId(registers[outputs + 4] ?? 0n),
    more: registers[outputs + 5] !== 0n,
  };
}

/**
 * Registers of READ or WRITE, which complete a request.
 * @param value what a read gives
 */
export const completionRegisters = (arch: Arch, request: RemioRequest, value: bigint): readonly bigint[] =>
  registersOf(arch, request.dm, request.write ? REMIO_HYP_WRITE : REMIO_HYP_READ, request.addr, value, request.id);

/** Registers of NOTIFY, which raises the frontend's interrupt. */
export const notifyRegisters = (arch: Arch, dm: number): readonly bigint[] =>
  registersOf(arch, dm, REMIO_HYP_NOTIFY, 0n, 0n, 0n);

/** Registers of the IPC call: the object in argument 0, the event in argument 1. */
export const ipcRegisters = (arch: Arch, index: number, event: number): readonly bigint[] =>
  hypercallRegisters(arch, { nr: HC_IPC, dm: BigInt(index), addr: BigInt(event), op: 0n, value: 0n, id: 0n });

/** ASK: the oldest request that is pending on a device. */
export const remioAsk = async (cpu: GuestCpu, dm: number): Promise<AskResult> =>
  askResult(cpu.arch, dm, await cpu.hypercall(askRegisters(cpu.arch, dm)));

/**
 * READ or WRITE: completes a request.
 * @param value what a read gives
 * @returns the result code, 0 on success
 */
export const remioComplete = async (cpu: GuestCpu, request: RemioRequest, value: bigint): Promise<bigint> =>
  hypercallResult(cpu.arch, await cpu.hypercall(completionRegisters(cpu.arch, request, value)));

/** NOTIFY: raises the frontend's interrupt. */
export const remioNotify = async (cpu: GuestCpu, dm: number): Promise<bigint> =>
  hypercallResult(cpu.arch, await cpu.hypercall(notifyRegisters(cpu.arch, dm)));

/**
 * IPC: rings an event of a shared memory in every other VM that has it. Repeats merge while the interrupt is pending.
 * @param index position of the IPC object in the VM's list
 * @returns the result code, 0 on success; it does not tell whether anybody has an interrupt for the event
 */
export const ipcNotify = async (cpu: GuestCpu, index: number, event: number): Promise<bigint> =>
  hypercallResult(cpu.arch, await cpu.hypercall(ipcRegisters(cpu.arch, index, event)));
