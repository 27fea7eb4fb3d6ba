import { type GuestProgram, standBy } from '@remio/guest';
import { hostileDriver } from '@remio/hostile';
import { blkRead } from './blk-read.js';
import { blkVerify } from './blk-verify.js';
import { drive, drivers, isDriven } from './drivers/index.js';
import { loadProgram } from './load/index.js';
import { mmioPing } from './mmio-ping.js';

export type { DriverProgram } from './drivers/index.js';
export { nbd } from './drivers/nbd.js';
export * from './load/index.js';
export { blkRead, blkVerify, drive, isDriven, mmioPing };

/** A VM that does nothing: it stands by, as its board can, until an interrupt comes, and then again. */
const idle = (): GuestProgram => async (cpu, vm) => {
  for (;;) await standBy(cpu, vm);
};

/** Programs of frontend VMs, by the name that a topology gives; each takes `program.options`. */
export const frontendPrograms: Readonly<Record<string, (options: object) => GuestProgram>> = {
  'blk-read': blkRead,
  'blk-verify': blkVerify,
  drivers,
  hostile: hostileDriver,
  load: loadProgram,
  'mmio-ping': mmioPing,
  idle,
};
