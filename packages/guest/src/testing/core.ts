import type { HypercallFrame, MmioTrap } from '@remio/arch';
import type { SavedValue } from '@remio/base';

/** What one instruction came to. */
export type Step =
  /** It was executed, or ended as an exception of the guest's own. */
  | { readonly kind: 'next' }
  | { readonly kind: 'wfi' }
  /** A load or store that no memory backs; the PC stays at it. */
  | { readonly kind: 'mmio'; readonly trap: MmioTrap }
  /** HVC, SMC or ECALL; the PC stays at it. */
  | { readonly kind: 'hypercall'; readonly frame: HypercallFrame }
  /** There is nothing to execute where the PC is. */
  | { readonly kind: 'stop'; readonly reason: string };

export const NEXT: Step = { kind: 'next' };
export const WFI: Step = { kind: 'wfi' };

/** An architecture's registers and instructions, as the interpreter's seat runs them. */
export interface Core {
  pc: bigint;
  /** As after reset, about to execute at `entry` with the arguments that the architecture's boot protocol gives. */
  reset(entry: bigint, argument: bigint): void;
  step(): Step;
  /** The register of a load, as its syndrome names it: writing the zero register does nothing. */
  write(register: number, value: bigint): void;
  /** The instruction at the PC ends as an exception of the guest. */
  exception(cause: bigint, address: bigint): void;
  raise(irq: number): void;
  /** Takes an interrupt that is pending and unmasked. */
  takeInterrupt(): void;
  /** Whether an interrupt is pending that ends WFI, masked or not. */
  wakes(): boolean;
  /** The timer was armed anew: its interrupt is pending no more. */
  timerArmed(): void;
  /** Registers and controls as plain data. */
  save(): object;
  restore(saved: SavedValue): void;
}

/** What a core needs from its seat. */
export interface CoreHost {
  /** Position of the vCPU in its VM. */
  readonly index: number;
  /** The counter, nanoseconds. */
  counter(): bigint;
  /** The guest set its timer; undefined disarms. */
  setTimer(deadline: bigint | undefined): void;
}
