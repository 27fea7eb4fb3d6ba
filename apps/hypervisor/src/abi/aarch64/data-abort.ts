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
import { type AccessWidth, err, guestAddress, low32, ok, type Result } from '@remio/base';
import type { DecodedTrap, DecodeError } from '../decode-error.js';

/** DFSC with the level cut off: translation and permission faults are emulated, all others are not. */
const DFSC_TYPE_MASK = 0x3c;
const DFSC_TRANSLATION = 0x04;
const DFSC_PERMISSION = 0x0c;

const WIDTHS: readonly AccessWidth[] = [1, 2, 4, 8];

/** Syndrome fields as numbers: a trap is decoded for every access, and bigints are objects. */
const EC_SHIFT = Number(ESR_EC_SHIFT);
const EC = Number(EC_DATA_ABORT_LOWER);
const IL = Number(ESR_IL);
const ISV = Number(ISS_ISV);
const SSE = Number(ISS_SSE);
const SF = Number(ISS_SF);
const FNV = Number(ISS_FNV);
const WNR = Number(ISS_WNR);

/**
 * Decodes a stage-2 data abort from its syndrome alone (reference: `arch/armv8/aborts.c`).
 * Refuses what the syndrome does not describe (ISV 0: pairs, exclusives, SIMD, writeback), an invalid FAR, and faults
 * other than translation and permission.
 */
export function decodeDataAbort(trap: Aarch64Trap): Result<DecodedTrap<MmioAccess>, DecodeError> {
  const esr = trap.esr;
  // ESR_EL2 bits 31..0 hold everything of interest; ISS2 (bits 36..32) describes accesses that are refused anyway.
  const iss = low32(esr);
  const write = (iss & WNR) !== 0;
  if (iss >>> EC_SHIFT !== EC) return err({ reason: 'not a data abort', write });
  if ((iss & ISV) === 0) return err({ reason: 'no instruction syndrome (ISV 0)', write });
  if ((iss & FNV) !== 0) return err({ reason: 'the fault address is not valid (FnV)', write });
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
      signExtend: (iss & SSE) !== 0,
      registerWidth: (iss & SF) !== 0 ? 8 : 4,
    },
    step: (iss & IL) !== 0 ? 4 : 2,
  });
}
