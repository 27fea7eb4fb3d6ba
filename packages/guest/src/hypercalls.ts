import {
  HC_E_FAILURE,
  HC_REMIO,
  hypercallOutput,
  hypercallRegisters,
  hypercallResult,
  REMIO_HYP_ASK,
  REMIO_HYP_NOTIFY,
  REMIO_HYP_READ,
  REMIO_HYP_WRITE,
  REQUEST_READ,
} from '@remio/arch';
import { type RequestId, requestId } from '@remio/base';
import type { GuestCpu } from './program.js';

/** A request as a backend gets it. */
export interface RemioRequest {
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
  | { readonly kind: 'request'; readonly request: RemioRequest }
  | { readonly kind: 'empty' }
  /** A negative result code. */
  | { readonly kind: 'error'; readonly code: bigint };

const EMPTY: AskResult = { kind: 'empty' };

const call = (
  cpu: GuestCpu,
  dm: number,
  op: bigint,
  addr: bigint,
  value: bigint,
  id: bigint,
): Promise<readonly bigint[]> =>
  cpu.hypercall(hypercallRegisters(cpu.arch, { nr: HC_REMIO, dm: BigInt(dm), addr, op, value, id }));

/** ASK: the oldest request that is pending on a device. A failed ASK answers +1, so the code is tested for not 0. */
export async function remioAsk(cpu: GuestCpu, dm: number): Promise<AskResult> {
  const registers = await call(cpu, dm, REMIO_HYP_ASK, 0n, 0n, 0n);
  const code = hypercallResult(cpu.arch, registers);
  if (code === HC_E_FAILURE) return EMPTY;
  if (code !== 0n) return { kind: 'error', code };
  const out = (n: number): bigint => hypercallOutput(cpu.arch, registers, n);
  return {
    kind: 'request',
    request: {
      dm,
      addr: out(0),
      write: Number(out(1)) !== REQUEST_READ,
      value: out(2),
      width: Number(out(3)),
      id: requestId(out(4)),
      more: out(5) !== 0n,
    },
  };
}

/**
 * READ or WRITE: completes a request.
 * @param value what a read gives
 * @returns the result code, 0 on success
 */
export async function remioComplete(cpu: GuestCpu, request: RemioRequest, value: bigint): Promise<bigint> {
  const op = request.write ? REMIO_HYP_WRITE : REMIO_HYP_READ;
  const registers = await call(cpu, request.dm, op, request.addr, value, request.id);
  return hypercallResult(cpu.arch, registers);
}

/** NOTIFY: raises the frontend's interrupt. */
export async function remioNotify(cpu: GuestCpu, dm: number): Promise<bigint> {
  return hypercallResult(cpu.arch, await call(cpu, dm, REMIO_HYP_NOTIFY, 0n, 0n, 0n));
}
