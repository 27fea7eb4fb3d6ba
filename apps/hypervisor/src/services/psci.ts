import {
  type HypercallFrame,
  PSCI_AFFINITY_INFO,
  PSCI_AFFINITY_OFF,
  PSCI_AFFINITY_ON,
  PSCI_AFFINITY_ON_PENDING,
  PSCI_CPU_OFF,
  PSCI_CPU_ON,
  PSCI_CPU_SUSPEND,
  PSCI_E_ALREADY_ON,
  PSCI_E_INVALID_PARAMS,
  PSCI_E_NOT_SUPPORTED,
  PSCI_E_ON_PENDING,
  PSCI_E_SUCCESS,
  PSCI_FEATURES,
  PSCI_MIG_INFO_TYPE,
  PSCI_TOS_NOT_PRESENT_MP,
  PSCI_VERSION,
  PSCI_VERSION_1_1,
  SMCCC_64BIT,
} from '@remio/arch';
import type { Profile, RuleId } from '../remio/index.js';
import type { PowerEffect, PowerState, VmPower } from './vm-power.js';

/** x0 after the call; undefined: the vCPU is off and does not return. */
export interface PsciOutcome {
  readonly result: bigint | undefined;
  readonly effects: readonly PowerEffect[];
  /** `hardened` answered otherwise than the reference would have, for this reason. */
  readonly rule?: RuleId;
}

const SUPPORTED: ReadonlySet<bigint> = new Set([
  PSCI_VERSION,
  PSCI_CPU_OFF,
  PSCI_CPU_SUSPEND,
  PSCI_CPU_SUSPEND | SMCCC_64BIT,
  PSCI_CPU_ON,
  PSCI_CPU_ON | SMCCC_64BIT,
  PSCI_AFFINITY_INFO,
  PSCI_AFFINITY_INFO | SMCCC_64BIT,
  PSCI_FEATURES,
]);

const AFFINITY: Readonly<Record<PowerState, bigint>> = {
  on: PSCI_AFFINITY_ON,
  off: PSCI_AFFINITY_OFF,
  pending: PSCI_AFFINITY_ON_PENDING,
};

const done = (result: bigint, ...effects: readonly PowerEffect[]): PsciOutcome => ({ result, effects });

/** An answer by rule H-POWER. */
const power = (result: bigint): PsciOutcome => ({ result, effects: [], rule: 'H-POWER' });

/**
 * A PSCI call (Arm DEN 0022; reference: section B.2). CPU_SUSPEND stands by and returns at once: the vCPU's own WFI
 * waits. The reference answers AFFINITY_INFO with ON whatever the vCPU is (D-48), and CPU_ON with ALREADY_ON while an
 * earlier one is under way.
 */
export function psci(vm: VmPower, profile: Profile, vcpu: number, fid: bigint, frame: HypercallFrame): PsciOutcome {
  const [, x1 = 0n, x2 = 0n, x3 = 0n] = frame.registers;
  // The 32-bit convention passes the low halves only.
  const narrow = (value: bigint): bigint => ((fid & SMCCC_64BIT) === 0n ? value & 0xffff_ffffn : value);
  const target = (mpidr: bigint): number => (mpidr < BigInt(vm.vcpus) ? Number(mpidr) : -1);
  switch (fid) {
    case PSCI_VERSION:
      return done(PSCI_VERSION_1_1);
    case PSCI_CPU_SUSPEND:
    case PSCI_CPU_SUSPEND | SMCCC_64BIT:
      return done(PSCI_E_SUCCESS);
    case PSCI_CPU_OFF:
      vm.set(vcpu, 'off');
      return { result: undefined, effects: [{ kind: 'cpu-off', vcpu }] };
    case PSCI_CPU_ON:
    case PSCI_CPU_ON | SMCCC_64BIT: {
      const sibling = target(narrow(x1));
      if (sibling < 0) return done(PSCI_E_INVALID_PARAMS);
      const state = vm.state(sibling);
      if (state === 'pending' && profile === 'hardened') return power(PSCI_E_ON_PENDING);
      if (state !== 'off') return done(PSCI_E_ALREADY_ON);
      vm.set(sibling, 'pending');
      return done(PSCI_E_SUCCESS, { kind: 'cpu-on', vcpu: sibling, entry: narrow(x2), argument: narrow(x3) });
    }
    case PSCI_AFFINITY_INFO:
    case PSCI_AFFINITY_INFO | SMCCC_64BIT: {
      const sibling = target(narrow(x1));
      if (profile === 'reference') return done(PSCI_AFFINITY_ON);
      if (sibling < 0 || narrow(x2) !== 0n) return power(PSCI_E_INVALID_PARAMS);
      const state = AFFINITY[vm.state(sibling)];
      return state === PSCI_AFFINITY_ON ? done(state) : power(state);
    }
    case PSCI_MIG_INFO_TYPE:
      return done(PSCI_TOS_NOT_PRESENT_MP);
    case PSCI_FEATURES:
      return done(SUPPORTED.has(x1 & 0xffff_ffffn) ? PSCI_E_SUCCESS : PSCI_E_NOT_SUPPORTED);
    default:
      return done(PSCI_E_NOT_SUPPORTED);
  }
}
