import {
  type Aarch64Trap,
  EC_DATA_ABORT_LOWER,
  ESR_EC_SHIFT,
  ESR_IL,
  ISS_FNV,
  ISS_ISV,
  ISS_SF,
  ISS_SSE,
  ISS_WNR,
  type MmioAccess,
} from '@remio/arch';
import { type AccessWidth, err, guestAddress, ok, type Result } from '@remio/base';
import type { DecodedTrap, DecodeError } from '../decode-error.js';

/** DFSC with the level cut off: translation and permission faults are emulated, all others are not. */
const DFSC_TYPE_MASK = 0x3c;
const DFSC_TRANSLATION = 0x04;
const DFSC_PERMISSION = 0x0c;

const WIDTHS: readonly AccessWidth[] = [1, 2, 4, 8];

/**
 * Decodes a stage-2 data abort from its syndrome alone (reference: `arch/armv8/aborts.c`).
 * Refuses what the syndrome does not describe (ISV 0: pairs, exclusives, SIMD, writeback), an invalid FAR, and faults
 * other than translation and permission.
 */
export function decodeDataAbort(trap: Aarch64Trap): Result<DecodedTrap<MmioAccess>, DecodeError> {
  const esr = trap.esr;
  // ESR_EL2 bits 31..0 hold everything of interest; ISS2 (bits 36..32) describes accesses that are refused anyway.
  const iss = Number(esr & 0xffff_ffffn);
  const write = (iss & Number(ISS_WNR)) !== 0;
  if (((esr >> ESR_EC_SHIFT) & 0x3fn) !== EC_DATA_ABORT_LOWER) return err({ reason: 'not a data abort', write });
  if ((iss & Number(ISS_ISV)) === 0) return err({ reason: 'no instruction syndrome (ISV 0)', write });
  if ((iss & Number(ISS_FNV)) !== 0) return err({ reason: 'the fault address is not valid (FnV)', write });
  const type = iss & DFSC_TYPE_MASK;
  if (type !== DFSC_TRANSLATION && type !== DFSC_PERMISSION) {
    return err({ reason: `data fault status 0x${(iss & 0x3f).toString(16)}`, write });
  }
  return ok({
    access: {
      address: guestAddress((trap.far & 0xfffn) | BigInt.asUintN(64, trap.hpfar << 8n)),
      width: WIDTHS[(iss >>> 22) & 3] ?? 1,
      write,
      register: (iss >>> 16) & 31,
      value: write ? trap.source : 0n,
      signExtend: (iss & Number(ISS_SSE)) !== 0,
      registerWidth: (iss & Number(ISS_SF)) !== 0 ? 8 : 4,
    },
    step: (iss & Number(ESR_IL)) !== 0 ? 4 : 2,
  });
}
