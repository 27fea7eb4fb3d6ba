import type { LoadStore } from './guest-page-fault.js';

/** `reference`: C.LW and C.SW only. `all`: every integer load and store of the C and Zcb extensions. */
export type CompressedForms = 'reference' | 'all';

/** x8..x15: the registers of a three-bit field. */
const low = (field: number): number => (field & 7) + 8;

/**
 * Decodes a 16-bit integer load or store (RV64C; Zcb's byte and halfword forms); undefined for everything else,
 * floating point included.
 */
export function decodeCompressed(instruction: number, forms: CompressedForms): LoadStore | undefined {
  const register = low(instruction >>> 2);
  switch (instruction & 0xe003) {
    case 0x4000: // C.LW
      return { width: 4, write: false, register, signExtend: true };
    case 0xc000: // C.SW
      return { width: 4, write: true, register, signExtend: true };
  }
  if (forms === 'reference') return undefined;
  switch (instruction & 0xe003) {
    case 0x6000: // C.LD
      return { width: 8, write: false, register, signExtend: true };
    case 0xe000: // C.SD
      return { width: 8, write: true, register, signExtend: true };
    case 0x4002: // C.LWSP; rd 0 is reserved
      return spLoad(instruction, 4);
    case 0x6002: // C.LDSP; rd 0 is reserved
      return spLoad(instruction, 8);
    case 0xc002: // C.SWSP
      return { width: 4, write: true, register: (instruction >>> 2) & 31, signExtend: true };
    case 0xe002: // C.SDSP
      return { width: 8, write: true, register: (instruction >>> 2) & 31, signExtend: true };
    case 0x8000:
      return zcb(instruction, register);
    default:
      return undefined;
  }
}

const spLoad = (instruction: number, width: 4 | 8): LoadStore | undefined => {
  const register = (instruction >>> 7) & 31;
  return register === 0 ? undefined : { width, write: false, register, signExtend: true };
};

/** Zcb: funct6 100000..100011 in bits 15..10, quadrant 0. */
function zcb(instruction: number, register: number): LoadStore | undefined {
  switch ((instruction >>> 10) & 7) {
    case 0: // C.LBU
      return { width: 1, write: false, register, signExtend: false };
    case 1: // C.LHU (bit 6 clear), C.LH (bit 6 set)
      return { width: 2, write: false, register, signExtend: (instruction & 0x40) !== 0 };
    case 2: // C.SB
      return { width: 1, write: true, register, signExtend: true };
    case 3: // C.SH; bit 6 set is reserved
      return (instruction & 0x40) !== 0 ? undefined : { width: 2, write: true, register, signExtend: true };
    default:
      return undefined;
  }
}
