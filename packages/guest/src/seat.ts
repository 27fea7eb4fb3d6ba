import type { HypercallFrame, MmioTrap } from '@remio/arch';
import type { IrqId } from '@remio/base';

/** Why a vCPU stopped running. */
export type Exit =
  /** A load or store that no memory backs; goes on with {@link Completion} `load`, `store` or `fault`. */
  | { readonly kind: 'mmio'; readonly trap: MmioTrap }
  /** HVC, SMC or ECALL; goes on with `hypercall`. */
  | { readonly kind: 'hypercall'; readonly frame: HypercallFrame }
  /** Waits for an interrupt; goes on by itself once {@link Seat.raise} or its timer brings one. */
  | { readonly kind: 'wfi' }
  /** Its budget ended; run it again. */
  | { readonly kind: 'budget' }
  /** A TypeScript program waits for its host (a promise that is not the vCPU's); {@link Seat.onRunnable} tells when to run it again. */
  | { readonly kind: 'host' }
  /** Off: never started, switched off, or its program ended (`reason` set if it failed). */
  | { readonly kind: 'off'; readonly reason?: string };

/** What lets a stopped vCPU go on. */
export type Completion =
  /** The access is done. `register` gets `value` if the access was a load (`undefined` for a store); then the PC becomes `pc`. */
  | { readonly kind: 'access'; readonly register: number | undefined; readonly value: bigint; readonly pc: bigint }
  /** The hypercall is done: x0..x6 or a0..a7 as they stand now; then the PC becomes `pc`. */
  | { readonly kind: 'hypercall'; readonly registers: readonly bigint[]; readonly pc: bigint }
  /**
   * The access ends as a fault at its own PC: on AArch64 a synchronous external abort (`cause` is ESR_EL1),
   * on RV64 a load or store access fault (`cause` 5 or 7, scause). `address` is FAR_EL1 or stval.
   */
  | { readonly kind: 'fault'; readonly cause: bigint; readonly address: bigint };

/**
 * The seat of a vCPU: what the rest of the platform knows of whatever executes there, be it a TypeScript program
 * or an instruction-set core. Deterministic: the same calls in the same order give the same exits.
 */
export interface Seat {
  /**
   * Runs the vCPU until something needs the outside.
   * @param budget instructions (or operations of a TypeScript program) it may use, at least 1
   */
  run(budget: number): Exit;
  /**
   * Ends the `mmio` or `hypercall` exit that is open.
   * @returns whether the vCPU can run at once; a TypeScript program first has to hear of it, and {@link onRunnable} follows
   */
  complete(completion: Completion): boolean;
  /**
   * Makes an interrupt pending at this vCPU; merged while it already is. It is taken before the next load, store,
   * hypercall or WFI, if the vCPU is on and its program has interrupts unmasked.
   */
  raise(irq: IrqId): void;
  /** Starts the vCPU at `entry` with `argument` in x0, or with its hart id in a0 and `argument` in a1. */
  start(entry: bigint, argument: bigint): void;
  /** Stops the vCPU; the open exit, if any, is dropped. */
  stop(): void;
  /** Called when a vCPU that exited `wfi` or `host` wants to be run again. Set by the engine. */
  onRunnable: () => void;
  /**
   * Makes a hypercall without leaving {@link run}: {@link complete} is called for it before this returns, or later, as if
   * `run` had exited for it. A seat need not use it. Set by the engine; absent where every hypercall is an exit.
   */
  onHypercall?: (frame: HypercallFrame) => void;
  /** The interrupt of the vCPU's one-shot timer: PPI 27; the supervisor timer (local interrupt 5) on RV64. */
  readonly timerIrq: IrqId;
  /** When the timer fires, on the vCPU's counter; undefined: never. The engine disarms it then and raises {@link timerIrq}. */
  readonly timer: bigint | undefined;
  /** Arms the timer, as the hypervisor does for SBI set_timer; 2^64-1 disarms. */
  armTimer(deadline: bigint): void;
  /** Called when the guest armed the timer without the hypervisor, so that the engine looks at {@link timer}. Set by the engine. */
  onTimer: () => void;
}
