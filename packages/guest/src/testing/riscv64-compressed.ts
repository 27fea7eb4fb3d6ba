/**
 * The 32-bit instruction that a 16-bit one stands for (RISC-V C extension, RV64, integer part); undefined for reserved
 * encodings and for floating point.
 */
export function expandCompressed(half: number): number | undefined {
  switch (((half & 3) << 3) | (half >>> 13)) {
    case 0o00: {
      // C.ADDI4SPN; an immediate of 0 is the all-zero illegal instruction or reserved.
      const imm = (bits(half, 12, 11) << 4) | (bits(half, 10, 7) << 6) | (bit(half, 6) << 2) | (bit(half, 5) << 3);
      return imm === 0 ? undefined : iType(imm, SP, 0, low(half >>> 2), OP_IMM);
    }
    case 0o02: // C.LW
      return iType(offsetW(half), low(half >>> 7), 2, low(half >>> 2), LOAD);
    case 0o03: // C.LD
      return iType(offsetD(half), low(half >>> 7), 3, low(half >>> 2), LOAD);
    case 0o06: // C.SW
      return sType(offsetW(half), low(half >>> 2), low(half >>> 7), 2);
    case 0o07: // C.SD
      return sType(offsetD(half), low(half >>> 2), low(half >>> 7), 3);
    case 0o10: // C.ADDI, C.NOP
      return iType(imm6(half), rd(half), 0, rd(half), OP_IMM);
    case 0o11: // C.ADDIW
      return rd(half) === 0 ? undefined : iType(imm6(half), rd(half), 0, rd(half), OP_IMM_32);
    case 0o12: // C.LI
      return iType(imm6(half), 0, 0, rd(half), OP_IMM);
    case 0o13:
      return addi16spOrLui(half);
    case 0o14:
      return arithmetic(half);
    case 0o15: // C.J
      return jType(offsetJ(half), 0);
    case 0o16: // C.BEQZ
      return bType(offsetB(half), low(half >>> 7), 0);
    case 0o17: // C.BNEZ
      return bType(offsetB(half), low(half >>> 7), 1);
    case 0o20: // C.SLLI
      return iType(shamt(half), rd(half), 1, rd(half), OP_IMM);
    case 0o22: {
      // C.LWSP
      const imm = (bit(half, 12) << 5) | (bits(half, 6, 4) << 2) | (bits(half, 3, 2) << 6);
      return rd(half) === 0 ? undefined : iType(imm, SP, 2, rd(half), LOAD);
    }
    case 0o23: {
      // C.LDSP
      const imm = (bit(half, 12) << 5) | (bits(half, 6, 5) << 3) | (bits(half, 4, 2) << 6);
      return rd(half) === 0 ? undefined : iType(imm, SP, 3, rd(half), LOAD);
    }
    case 0o24:
      return jumpOrMove(half);
    case 0o26: // C.SWSP
      return sType((bits(half, 12, 9) << 2) | (bits(half, 8, 7) << 6), bits(half, 6, 2), SP, 2);
    case 0o27: // C.SDSP
      return sType((bits(half, 12, 10) << 3) | (bits(half, 9, 7) << 6), bits(half, 6, 2), SP, 3);
    default:
      return undefined;
  }
}

const LOAD = 0x03;
const OP_IMM = 0x13;
const OP_IMM_32 = 0x1b;
const OP = 0x33;
const OP_32 = 0x3b;
const SP = 2;

const bits = (word: number, high: number, first: number): number => (word >>> first) & ((1 << (high - first + 1)) - 1);
const bit = (word: number, n: number): number => (word >>> n) & 1;
/** x8..x15: the registers of a three-bit field. */
const low = (field: number): number => 8 + (field & 7);
const rd = (half: number): number => bits(half, 11, 7);

const shamt = (half: number): number => (bit(half, 12) << 5) | bits(half, 6, 2);
const imm6 = (half: number): number => (shamt(half) << 26) >> 26;
const offsetW = (half: number): number => (bits(half, 12, 10) << 3) | (bit(half, 6) << 2) | (bit(half, 5) << 6);
const offsetD = (half: number): number => (bits(half, 12, 10) << 3) | (bits(half, 6, 5) << 6);

/** imm[11|4|9:8|10|6|7|3:1|5] */
const offsetJ = (half: number): number =>
  (((bit(half, 12) << 11) |
    (bit(half, 11) << 4) |
    (bits(half, 10, 9) << 8) |
    (bit(half, 8) << 10) |
    (bit(half, 7) << 6) |
    (bit(half, 6) << 7) |
    (bits(half, 5, 3) << 1) |
    (bit(half, 2) << 5)) <<
    20) >>
  20;

/** imm[8|4:3] and imm[7:6|2:1|5] */
const offsetB = (half: number): number =>
  (((bit(half, 12) << 8) |
    (bits(half, 11, 10) << 3) |
    (bits(half, 6, 5) << 6) |
    (bits(half, 4, 3) << 1) |
    (bit(half, 2) << 5)) <<
    23) >>
  23;

const iType = (imm: number, rs1: number, funct3: number, to: number, opcode: number): number =>
  (((imm & 0xfff) << 20) | (rs1 << 15) | (funct3 << 12) | (to << 7) | opcode) >>> 0;
const rType = (funct7: number, rs2: number, rs1: number, funct3: number, to: number, opcode: number): number =>
  ((funct7 << 25) | (rs2 << 20) | (rs1 << 15) | (funct3 << 12) | (to << 7) | opcode) >>> 0;
const sType = (imm: number, rs2: number, rs1: number, funct3: number): number =>
  ((bits(imm, 11, 5) << 25) | (rs2 << 20) | (rs1 << 15) | (funct3 << 12) | (bits(imm, 4, 0) << 7) | 0x23) >>> 0;
const bType = (imm: number, rs1: number, funct3: number): number =>
  ((bit(imm, 12) << 31) |
    (bits(imm, 10, 5) << 25) |
    (rs1 << 15) |
    (funct3 << 12) |
    (bits(imm, 4, 1) << 8) |
    (bit(imm, 11) << 7) |
    0x63) >>>
  0;
const jType = (imm: number, to: number): number =>
  ((bit(imm, 20) << 31) |
    (bits(imm, 10, 1) << 21) |
    (bit(imm, 11) << 20) |
    (bits(imm, 19, 12) << 12) |
    (to << 7) |
    0x6f) >>>
  0;

function addi16spOrLui(half: number): number | undefined {
  const imm = imm6(half);
  if (rd(half) !== SP) return imm === 0 ? undefined : ((imm << 12) | (rd(half) << 7) | 0x37) >>> 0;
  const offset =
    (bit(half, 12) << 9) | (bit(half, 6) << 4) | (bit(half, 5) << 6) | (bits(half, 4, 3) << 7) | (bit(half, 2) << 5);
  return offset === 0 ? undefined : iType((offset << 22) >> 22, SP, 0, SP, OP_IMM);
}

/** C.SRLI, C.SRAI, C.ANDI, and the operations of two registers. */
function arithmetic(half: number): number | undefined {
  const to = low(half >>> 7);
  const from = low(half >>> 2);
  switch (bits(half, 11, 10)) {
    case 0:
      return iType(shamt(half), to, 5, to, OP_IMM);
    case 1:
      return iType(shamt(half) | 0x400, to, 5, to, OP_IMM);
    case 2:
      return iType(imm6(half), to, 7, to, OP_IMM);
  }
  switch ((bit(half, 12) << 2) | bits(half, 6, 5)) {
    case 0: // C.SUB
      return rType(0x20, from, to, 0, to, OP);
    case 1: // C.XOR
      return rType(0, from, to, 4, to, OP);
    case 2: // C.OR
      return rType(0, from, to, 6, to, OP);
    case 3: // C.AND
      return rType(0, from, to, 7, to, OP);
    case 4: // C.SUBW
      return rType(0x20, from, to, 0, to, OP_32);
    case 5: // C.ADDW
      return rType(0, from, to, 0, to, OP_32);
    default:
      return undefined;
  }
}

/** C.JR, C.MV, C.EBREAK, C.JALR, C.ADD. */
function jumpOrMove(half: number): number | undefined {
  const to = rd(half);
  const from = bits(half, 6, 2);
  if (bit(half, 12) === 0) {
    if (from !== 0) return rType(0, from, 0, 0, to, OP);
    return to === 0 ? undefined : iType(0, to, 0, 0, 0x67);
  }
  if (from !== 0) return rType(0, from, to, 0, to, OP);
  return to === 0 ? 0x0010_0073 : iType(0, to, 0, 1, 0x67);
}
