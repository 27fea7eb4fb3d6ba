import {
  CAUSE_LOAD_GUEST_PAGE_FAULT,
  CAUSE_STORE_GUEST_PAGE_FAULT,
  FUNCT3_UNSIGNED,
  HTINST_PSEUDO_LOAD,
  HTINST_PSEUDO_STORE,
  type MmioAccess,
  OPCODE_LOAD,
  OPCODE_STORE,
  type Riscv64Trap,
} from '@remio/arch';
import { type AccessWidth, err, guestAddress, ok, type Result } from '@remio/base';
import type { DecodedTrap, DecodeError } from '../decode-error.js';
import { type CompressedForms, decodeCompressed } from './compressed.js';

/** What an instruction says of its access. */
export interface LoadStore {
  readonly width: AccessWidth;
  readonly write: boolean;
  readonly register: number;
  readonly signExtend: boolean;
}

const WIDTHS: readonly AccessWidth[] = [1, 2, 4, 8];

/** Decodes a 32-bit integer load or store; undefined for everything else. */
export function decodeLoadStore(instruction: number): LoadStore | undefined {
  const opcode = instruction & 0x7f;
  const funct3 = (instruction >>> 12) & 7;
  const width = WIDTHS[funct3 & 3] ?? 1;
  const unsigned = (funct3 & FUNCT3_UNSIGNED) !== 0;
  if (opcode === OPCODE_LOAD) {
    // funct3 7 is no instruction: there is no unsigned form of the widest load.
    if (unsigned && width === 8) return undefined;
    return { width, write: false, register: (instruction >>> 7) & 31, signExtend: !unsigned };
  }
  if (opcode === OPCODE_STORE && !unsigned) {
    return { width, write: true, register: (instruction >>> 20) & 31, signExtend: true };
  }
  return undefined;
}

/**
 * Decodes a guest-page fault from the transformed instruction in htinst or, when that is 0, from the instruction
 * itself (reference: `arch/riscv/sync_exceptions.c`).
 * @param forms which compressed instructions are accepted: the reference knows C.LW and C.SW
 */
export function decodeGuestPageFault(
  trap: Riscv64Trap,
  forms: CompressedForms,
): Result<DecodedTrap<MmioAccess>, DecodeError> {
  const write = trap.scause === CAUSE_STORE_GUEST_PAGE_FAULT;
  if (!write && trap.scause !== CAUSE_LOAD_GUEST_PAGE_FAULT) {
    return err({ reason: `scause ${trap.scause} is no guest-page fault of a load or store`, write });
  }
  if (trap.htinst === HTINST_PSEUDO_LOAD || trap.htinst === HTINST_PSEUDO_STORE) {
    return err({ reason: 'an implicit access of the page-table walk', write });
  }
  let step: 2 | 4;
  let decoded: LoadStore | undefined;
  if (trap.htinst !== 0n) {
    const transformed = Number(trap.htinst & 0xffff_ffffn);
    // Bit 1 clear: hardware expanded a compressed instruction. Set, the word decodes as the 32-bit form.
    step = (transformed & 2) === 0 ? 2 : 4;
    decoded = decodeLoadStore(transformed | 2);
  } else if ((trap.instruction & 3) === 3) {
    step = 4;
    decoded = decodeLoadStore(trap.instruction);
  } else {
    step = 2;
    decoded = decodeCompressed(trap.instruction & 0xffff, forms);
  }
  if (decoded === undefined || decoded.write !== write) {
    const word = trap.htinst !== 0n ? trap.htinst : BigInt(trap.instruction);
    return err({ reason: `instruction 0x${word.toString(16)} is no load or store that can be emulated`, write });
  }
  return ok({
    access: {
      address: guestAddress(BigInt.asUintN(64, (trap.htval << 2n) | (trap.stval & 3n))),
      width: decoded.width,
      write,
      register: decoded.register,
      value: write ? trap.source : 0n,
      signExtend: decoded.signExtend,
      registerWidth: 8,
    },
    step,
  });
}
