import type { GuestProgram } from './program.js';
import type { MachineContext } from './program-seat.js';
import type { Seat } from './seat.js';

/** Makes the seat of one vCPU of a machine, `index` from 0; asked once for each, in order. */
export type SeatFactory = (machine: MachineContext, index: number) => Seat;

/** What a VM runs: a TypeScript program, or something that brings its own seats, such as machine code. */
export type Guest = GuestProgram | { readonly seat: SeatFactory };
