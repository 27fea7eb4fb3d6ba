import { CAUSE_LOAD_ACCESS, CAUSE_STORE_ACCESS, externalAbortEsr, type MmioAccess, type MmioTrap } from '@remio/arch';
import { type Result, signExtend, truncate } from '@remio/base';
import { decodeDataAbort } from './aarch64/data-abort.js';
import type { DecodedTrap, DecodeError } from './decode-error.js';
import { decodeGuestPageFault } from './riscv64/guest-page-fault.js';

/**
 * Decodes a trapped load or store from what hardware shows.
 * @param profile `reference` accepts exactly the forms that the reference does; `hardened` every integer load and store
 */
export const decodeTrap = (
  trap: MmioTrap,
  profile: 'reference' | 'hardened',
): Result<DecodedTrap<MmioAccess>, DecodeError> =>
  trap.arch === 'aarch64'
    ? decodeDataAbort(trap)
    : decodeGuestPageFault(trap, profile === 'reference' ? 'reference' : 'all');

/** Address of the trapping instruction. */
export const trapPc = (trap: MmioTrap): bigint => (trap.arch === 'aarch64' ? trap.pc : trap.sepc);

/**
 * What a guest gets to see of an access that cannot be served: a synchronous external abort (AArch64: ESR_EL1 and
 * FAR_EL1), or a load or store access fault (RV64: scause and stval).
 */
export const accessFault = (trap: MmioTrap, write: boolean): { readonly cause: bigint; readonly address: bigint } =>
  trap.arch === 'aarch64'
    ? { cause: externalAbortEsr(write), address: trap.far }
    : { cause: write ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS, address: trap.stval };

/** What a load leaves in its register, by architecture: cut to the width, extended as decoded; A64 W clears the rest. */
export const extendRead = (value: bigint, access: MmioAccess): bigint =>
  access.signExtend ? signExtend(value, access.width, access.registerWidth) : truncate(value, access.width);
