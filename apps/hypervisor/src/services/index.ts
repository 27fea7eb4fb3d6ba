import { type HypercallFrame, SMCCC_E_NOT_SUPPORTED } from '@remio/arch';
import { encodeSbiResult, encodeSmcccResult, type Hypercall, type HypercallOutcome } from '../abi/index.js';
import type { Profile, RuleId } from '../remio/index.js';
import { psci } from './psci.js';
import { sbi } from './sbi.js';
import type { PowerEffect, VmPower } from './vm-power.js';

export { type PowerEffect, type PowerState, VmPower } from './vm-power.js';

/** Registers and PC for the caller (none if it went off), and what else happens. */
export interface ServiceOutcome {
  readonly outcome: HypercallOutcome | undefined;
  readonly effects: readonly PowerEffect[];
  /** `hardened` answered otherwise than the reference would have, for this reason. */
  readonly rule?: RuleId;
}

/** Serves a call that is not Bao's. */
export function serviceCall(
  power: VmPower,
  profile: Profile,
  vcpu: number,
  call: Exclude<Hypercall, { service: 'bao' }>,
  frame: HypercallFrame,
): ServiceOutcome {
  switch (call.service) {
    case 'psci': {
      const { result, ...rest } = psci(power, profile, vcpu, call.fid, frame);
      return { outcome: result === undefined ? undefined : encodeSmcccResult(frame, result), ...rest };
    }
    case 'sbi': {
      const { error, value, effects } = sbi(power, vcpu, call.eid, call.fid, frame);
      return { outcome: encodeSbiResult(frame, error, value), effects };
    }
    case 'unknown':
      return { outcome: encodeSmcccResult(frame, SMCCC_E_NOT_SUPPORTED), effects: [] };
  }
}
