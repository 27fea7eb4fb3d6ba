import { type AccessWidth, numberOf } from '@remio/base';
import type { GuestFault } from './program.js';

/** What an operation gives to its program: a load a number or, of 64 bits, a bigint; a hypercall its registers. */
export type Outcome = number | bigint | readonly bigint[] | undefined;

/** Something that a program waits for. */
export interface Operation {
  /** `yield`: gives way to others. */
  readonly kind: 'mmio' | 'hypercall' | 'yield';
  /** Of a load or store. */
  readonly address: bigint;
  readonly width: AccessWidth;
  readonly write: boolean;
  /** What a store writes; 0 for a load. */
  readonly value: bigint;
  /** Of a hypercall. */
  readonly registers: readonly bigint[];
  /** It has ended, though nobody was told yet: with a fault, or an outcome. */
  ended: boolean;
  outcome: Outcome;
  fault: GuestFault | undefined;
  /** Who waits for it. */
  resolve: ((outcome: Outcome) => void) | undefined;
  reject: ((fault: GuestFault) => void) | undefined;
}

const operation = (
  kind: Operation['kind'],
  address: bigint,
  width: AccessWidth,
  write: boolean,
  value: bigint,
  registers: readonly bigint[],
): Operation => ({
  kind,
  address,
  width,
  write,
  value,
  registers,
  ended: false,
  outcome: undefined,
  fault: undefined,
  resolve: undefined,
  reject: undefined,
});

const NONE: readonly bigint[] = [];

export const access = (address: bigint, width: AccessWidth, write: boolean, value: bigint): Operation =>
  operation('mmio', address, width, write, value, NONE);

export const hypercall = (registers: readonly bigint[]): Operation =>
  operation('hypercall', 0n, 8, false, 0n, registers);

export const giveWay = (): Operation => operation('yield', 0n, 8, false, 0n, NONE);

/**
 * What the program awaits; asked for once. A promise is made here, not before: an operation that has ended by then (a
 * hypercall does, where the hypervisor is in the same process) needs none that somebody resolves, and those cost several
 * times as much.
 */
export function promiseOf(operation: Operation): Promise<Outcome> {
  if (operation.ended) {
    return operation.fault === undefined ? Promise.resolve(operation.outcome) : Promise.reject(operation.fault);
  }
  return new Promise((resolve, reject) => {
    operation.resolve = resolve;
    operation.reject = reject;
  });
}

export function end(operation: Operation, outcome: Outcome): void {
  if (operation.resolve !== undefined) {
    operation.resolve(outcome);
    return;
  }
  operation.ended = true;
  operation.outcome = outcome;
}

/** @param value what a load's destination register holds now */
export function endAccess(operation: Operation, value: bigint): void {
  end(operation, operation.write ? undefined : operation.width === 8 ? value : numberOf(value));
}

export function fail(operation: Operation, fault: GuestFault): void {
  if (operation.reject !== undefined) {
    operation.reject(fault);
    return;
  }
  operation.ended = true;
  operation.fault = fault;
}
