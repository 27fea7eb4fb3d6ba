import type { AccessWidth } from '@remio/base';
import type { MmioAccess, Riscv64Trap } from './traps.js';

/** scause of the exceptions that concern us (Privileged ISA, table of synchronous exceptions with the H extension). */
export const CAUSE_LOAD_ACCESS = 5n;
export const CAUSE_STORE_ACCESS = 7n;
export const CAUSE_ECALL_VS = 10n;
export const CAUSE_LOAD_GUEST_PAGE_FAULT = 21n;
export const CAUSE_STORE_GUEST_PAGE_FAULT = 23n;

/** Guest-physical addresses of Sv48x4: 50 bits. */
export const GPA_LIMIT = 1n << 50n;

/** Major opcodes of the loads and stores that a hypervisor emulates. */
export const OPCODE_LOAD = 0x03;
export const OPCODE_STORE = 0x23;

/** htinst values of implicit accesses for VS-stage translation: no instruction to emulate. */
export const HTINST_PSEUDO_LOAD = 0x3000n;
export const HTINST_PSEUDO_STORE = 0x3020n;

const FUNCT3: Readonly<Record<AccessWidth, number>> = { 1: 0, 2: 1, 4: 2, 8: 3 };
/** funct3 bit that makes a load zero-extend (LBU, LHU, LWU). */
export const FUNCT3_UNSIGNED = 4;

/** The load (`rd`) or store (`rs2`) instruction of an access, with base register and offset 0: also its transformed form. */
export function loadStoreInstruction(access: Omit<MmioAccess, 'address' | 'value'>): number {
  const width = FUNCT3[access.width];
  if (access.write) return ((access.register << 20) | (width << 12) | OPCODE_STORE) >>> 0;
  // LD has no unsigned form: there is nothing to extend.
  const funct3 = access.signExtend || access.width === 8 ? width : width | FUNCT3_UNSIGNED;
  return ((funct3 << 12) | (access.register << 7) | OPCODE_LOAD) >>> 0;
}

/** Base register that TypeScript guests' instructions name: a0. */
const BASE_REGISTER = 10;

/**
 * What hardware shows of an access to an unmapped guest-physical address, with VS-stage translation off.
 * @param sepc address of the load or store
 * @param form whether hardware supplies the transformed instruction in htinst, or leaves it 0
 * @returns undefined for what hardware cannot show: an address beyond 50 bits, a register above 31, an odd width
 */
export function encodeGuestPageFault(
  access: MmioAccess,
  sepc: bigint,
  form: 'htinst' | 'instruction',
): Riscv64Trap | undefined {
  if (access.address >= GPA_LIMIT || access.register > 31 || FUNCT3[access.width] === undefined) return undefined;
  const transformed = loadStoreInstruction(access);
  return {
    arch: 'riscv64',
    scause: access.write ? CAUSE_STORE_GUEST_PAGE_FAULT : CAUSE_LOAD_GUEST_PAGE_FAULT,
    stval: access.address,
    htval: access.address >> 2n,
    htinst: form === 'htinst' ? BigInt(transformed) : 0n,
    sepc,
    instruction: form === 'htinst' ? 0 : (transformed | (BASE_REGISTER << 15)) >>> 0,
    source: access.write ? access.value : 0n,
  };
}

/** SBI extension ids (SBI 2.0). */
export const SBI_EID_BASE = 0x10n;
export const SBI_EID_TIME = 0x5449_4d45n;
export const SBI_EID_IPI = 0x73_5049n;
export const SBI_EID_RFENCE = 0x5246_4e43n;
export const SBI_EID_HSM = 0x48_534dn;
/** Bao's own extension. */
export const SBI_EID_BAO = 0x0800_0ba0n;

export const SBI_SUCCESS = 0n;
export const SBI_ERR_NOT_SUPPORTED = -2n;
export const SBI_ERR_INVALID_PARAM = -3n;
export const SBI_ERR_ALREADY_AVAILABLE = -6n;

/** BASE functions. */
export const SBI_BASE_GET_SPEC_VERSION = 0n;
export const SBI_BASE_PROBE_EXTENSION = 3n;
/** What the reference answers for the version of the specification: 0.2. */
export const SBI_SPEC_VERSION = 2n;

/** HSM functions and states. */
export const SBI_HSM_HART_START = 0n;
export const SBI_HSM_HART_STOP = 1n;
export const SBI_HSM_HART_GET_STATUS = 2n;
export const SBI_HSM_HART_SUSPEND = 3n;
export const SBI_HSM_STARTED = 0n;
export const SBI_HSM_STOPPED = 1n;
export const SBI_HSM_START_PENDING = 2n;
/** Default retentive suspend, the only type served. */
export const SBI_HSM_SUSPEND_RETENTIVE = 0n;

/** Local interrupts of a hart (scause of interrupts): supervisor software, timer. */
export const SUPERVISOR_SOFTWARE_INTERRUPT = 1;
export const SUPERVISOR_TIMER_INTERRUPT = 5;
