import { hex, numberOf } from '@remio/base';
import type { Aarch64Trap, MmioAccess } from './traps.js';

/** ESR_ELx fields (Arm ARM D24.2.40). */
export const ESR_EC_SHIFT = 26n;
export const ESR_IL = 1n << 25n;

/** Exception classes (Arm ARM, ESR_ELx.EC). */
export const EC_HVC64 = 0x16n;
export const EC_SMC64 = 0x17n;
/** Data abort taken from a lower Exception level. */
export const EC_DATA_ABORT_LOWER = 0x24n;
/** Data abort taken without a change in Exception level: what EL1 sees of an injected external abort. */
export const EC_DATA_ABORT_SAME = 0x25n;

/** ISS of a data abort (Arm ARM, "ISS encoding for an exception from a Data Abort"). */
export const ISS_ISV = 1n << 24n;
export const ISS_SAS_SHIFT = 22n;
export const ISS_SSE = 1n << 21n;
export const ISS_SRT_SHIFT = 16n;
export const ISS_SF = 1n << 15n;
export const ISS_FNV = 1n << 10n;
export const ISS_WNR = 1n << 6n;
/** Data fault status codes. */
export const DFSC_TRANSLATION_L3 = 0x07n;
export const DFSC_PERMISSION_L3 = 0x0fn;
export const DFSC_SYNC_EXTERNAL = 0x10n;

/** Guest-physical addresses that HPFAR_EL2 can show here: 48 bits. */
export const IPA_LIMIT = 1n << 48n;

/** Bytes of a page: HPFAR_EL2 holds the number of one, from bit 4 on. */
const PAGE = 4096;

/** x0..x30; 31 is the zero register in a load or store. */
export const XZR = 31;

const SAS: Readonly<Record<number, bigint>> = { 1: 0n, 2: 1n, 4: 2n, 8: 3n };

/** ISS of a load or store that the syndrome describes completely (ISV set). */
export const dataAbortIss = (access: Omit<MmioAccess, 'address' | 'value'>): bigint =>
  ISS_ISV |
  ((SAS[access.width] ?? 0n) << ISS_SAS_SHIFT) |
  (access.signExtend ? ISS_SSE : 0n) |
  (BigInt(access.register) << ISS_SRT_SHIFT) |
  (access.registerWidth === 8 ? ISS_SF : 0n) |
  (access.write ? ISS_WNR : 0n) |
  DFSC_TRANSLATION_L3;

/** ESR_EL2 of data aborts, each made when it is first needed: there are 1,024, and vCPUs trap all the time. */
const dataAbortEsrs: (bigint | undefined)[] = Array.from({ length: 1024 }, () => undefined);

/** ESR_EL2 of a load or store that the syndrome describes completely. */
function dataAbortEsr(access: MmioAccess): bigint {
  const size = access.width === 8 ? 3 : access.width >> 1;
  const flags = (access.write ? 4 : 0) | (access.signExtend ? 2 : 0) | (access.registerWidth === 8 ? 1 : 0);
  const index = (access.register << 5) | (flags << 2) | size;
  const known = dataAbortEsrs[index];
  if (known !== undefined) return known;
  const esr = (EC_DATA_ABORT_LOWER << ESR_EC_SHIFT) | ESR_IL | dataAbortIss(access);
  dataAbortEsrs[index] = esr;
  return esr;
}

/**
 * What hardware shows of an access to an unmapped guest-physical address (stage-2 translation fault), with stage 1 off:
 * FAR holds the guest-physical address.
 * @param pc address of the load or store
 * @returns undefined for what hardware cannot show: an address beyond 48 bits, a register above 31, an odd width
 */
export function encodeDataAbort(access: MmioAccess, pc: bigint): Aarch64Trap | undefined {
  if (access.address >= IPA_LIMIT || access.register > XZR || SAS[access.width] === undefined) return undefined;
  return {
    arch: 'aarch64',
    esr: dataAbortEsr(access),
    far: access.address,
    // Exact: the address has 48 bits.
    hpfar: BigInt(Math.floor(numberOf(access.address) / PAGE) * 16),
    pc,
    source: access.write ? access.value : 0n,
  };
}

/** ESR_EL1 of a synchronous external abort on a data access. */
export const externalAbortEsr = (write: boolean): bigint =>
  (EC_DATA_ABORT_SAME << ESR_EC_SHIFT) | ESR_IL | (write ? ISS_WNR : 0n) | DFSC_SYNC_EXTERNAL;

/** SMC Calling Convention (Arm DEN 0028): composition of a function id. */
export const SMCCC_FAST_CALL = 1n << 31n;
export const SMCCC_64BIT = 1n << 30n;
export const SMCCC_OWNER_SHIFT = 24n;
/** Owner 4: standard secure service (PSCI). Owner 6: vendor-specific hypervisor service (Bao). */
export const SMCCC_STD_SRVC32 = 0x8400_0000n;
export const SMCCC_STD_SRVC64 = 0xc400_0000n;
export const SMCCC_VND_HYP_SRVC32 = 0x8600_0000n;
export const SMCCC_VND_HYP_SRVC64 = 0xc600_0000n;
export const SMCCC_FN_NUM_MASK = 0xffffn;
export const SMCCC_VERSION = 0x8000_0000n;
export const SMCCC_E_NOT_SUPPORTED = -1n;

/** PSCI function ids (Arm DEN 0022), 32-bit convention; the 64-bit one adds {@link SMCCC_64BIT}. */
export const PSCI_VERSION = 0x8400_0000n;
export const PSCI_CPU_SUSPEND = 0x8400_0001n;
export const PSCI_CPU_OFF = 0x8400_0002n;
export const PSCI_CPU_ON = 0x8400_0003n;
export const PSCI_AFFINITY_INFO = 0x8400_0004n;
export const PSCI_MIG_INFO_TYPE = 0x8400_0006n;
export const PSCI_FEATURES = 0x8400_000an;

/** What PSCI_VERSION answers: 1.1. */
export const PSCI_VERSION_1_1 = 0x1_0001n;
/** MIGRATE_INFO_TYPE: no trusted OS, or one that needs no migration. */
export const PSCI_TOS_NOT_PRESENT_MP = 2n;

export const PSCI_E_SUCCESS = 0n;
export const PSCI_E_NOT_SUPPORTED = -1n;
export const PSCI_E_INVALID_PARAMS = -2n;
export const PSCI_E_DENIED = -3n;
export const PSCI_E_ALREADY_ON = -4n;
export const PSCI_E_ON_PENDING = -5n;
export const PSCI_E_INVALID_ADDRESS = -9n;

/** AFFINITY_INFO answers. */
export const PSCI_AFFINITY_ON = 0n;
export const PSCI_AFFINITY_OFF = 1n;
export const PSCI_AFFINITY_ON_PENDING = 2n;

/** PPI of the virtual timer (assigned to guests). */
export const VIRTUAL_TIMER_PPI = 27;

/** Virtual MPIDR affinity of a vCPU: its position in its VM. */
export const vcpuMpidr = (index: number): bigint => BigInt(index);

/** A syndrome for people. */
export const describeEsr = (esr: bigint): string => `ESR ${hex(esr)} (EC ${hex(esr >> ESR_EC_SHIFT)})`;
