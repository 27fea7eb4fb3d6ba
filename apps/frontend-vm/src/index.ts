import type { GuestProgram } from '@remio/guest';
import { blkVerify } from './blk-verify.js';
import { mmioPing } from './mmio-ping.js';

export { blkVerify, mmioPing };

/** Programs of frontend VMs, by the name that a topology gives; each takes `program.options`. */
export const frontendPrograms: Readonly<Record<string, (options: object) => GuestProgram>> = {
  'blk-verify': blkVerify,
  'mmio-ping': mmioPing,
};
