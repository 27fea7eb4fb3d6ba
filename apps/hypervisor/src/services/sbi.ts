import {
  type HypercallFrame,
  SBI_BASE_GET_SPEC_VERSION,
  SBI_BASE_PROBE_EXTENSION,
  SBI_EID_BASE,
  SBI_EID_HSM,
  SBI_EID_IPI,
  SBI_EID_RFENCE,
  SBI_EID_TIME,
  SBI_ERR_ALREADY_AVAILABLE,
  SBI_ERR_INVALID_PARAM,
  SBI_ERR_NOT_SUPPORTED,
  SBI_HSM_HART_GET_STATUS,
  SBI_HSM_HART_START,
  SBI_HSM_HART_STOP,
  SBI_HSM_HART_SUSPEND,
  SBI_HSM_START_PENDING,
  SBI_HSM_STARTED,
  SBI_HSM_STOPPED,
  SBI_HSM_SUSPEND_RETENTIVE,
  SBI_SPEC_VERSION,
  SBI_SUCCESS,
} from '@remio/arch';
import { U64_MAX } from '@remio/base';
import type { PowerEffect, PowerState, VmPower } from './vm-power.js';

/** a0 and a1 after the call. */
export interface SbiOutcome {
  readonly error: bigint;
  readonly value: bigint;
  readonly effects: readonly PowerEffect[];
}

const PROBED: ReadonlySet<bigint> = new Set([SBI_EID_BASE, SBI_EID_TIME, SBI_EID_IPI, SBI_EID_RFENCE, SBI_EID_HSM]);

const HART_STATE: Readonly<Record<PowerState, bigint>> = {
  on: SBI_HSM_STARTED,
  off: SBI_HSM_STOPPED,
  pending: SBI_HSM_START_PENDING,
};

const done = (error: bigint, value = 0n, ...effects: readonly PowerEffect[]): SbiOutcome => ({ error, value, effects });

/**
 * An SBI call (reference: section B.4). The Bao extension is not in the probe table, as in the reference. An unknown
 * extension answers with a1 0, where the reference leaves what its stack held (D-46).
 */
export function sbi(power: VmPower, vcpu: number, eid: bigint, fid: bigint, frame: HypercallFrame): SbiOutcome {
  const [a0 = 0n, a1 = 0n, a2 = 0n] = frame.registers;
  switch (eid) {
    case SBI_EID_BASE:
      if (fid === SBI_BASE_GET_SPEC_VERSION) return done(SBI_SUCCESS, SBI_SPEC_VERSION);
      if (fid === SBI_BASE_PROBE_EXTENSION) return done(SBI_SUCCESS, PROBED.has(a0) ? a0 : 0n);
      return done(SBI_SUCCESS);
    case SBI_EID_TIME:
      return fid === 0n ? done(SBI_SUCCESS, 0n, { kind: 'timer', vcpu, deadline: a0 }) : done(SBI_ERR_NOT_SUPPORTED);
    case SBI_EID_IPI:
      return fid === 0n ? done(SBI_SUCCESS, 0n, ...ipis(power, a0, a1)) : done(SBI_ERR_NOT_SUPPORTED);
    case SBI_EID_RFENCE:
      // Fences of caches and translations, of which TypeScript guests have none.
      return fid <= 2n ? done(SBI_SUCCESS) : done(SBI_ERR_NOT_SUPPORTED);
    case SBI_EID_HSM:
      return hsm(power, fid, a0, a1, a2);
    default:
      return done(SBI_ERR_NOT_SUPPORTED);
  }
}

/** The harts of a mask that starts at `base`; base -1 means all. */
function ipis(power: VmPower, mask: bigint, base: bigint): readonly PowerEffect[] {
  const harts = Array.from({ length: power.vcpus }, (_, hart) => hart);
  const chosen =
    base === U64_MAX
      ? harts
      : harts.filter((hart) => BigInt(hart) >= base && ((mask >> (BigInt(hart) - base)) & 1n) !== 0n);
  return chosen.map((hart) => ({ kind: 'ipi', vcpu: hart }));
}

function hsm(power: VmPower, fid: bigint, a0: bigint, a1: bigint, a2: bigint): SbiOutcome {
  const hart = a0 < BigInt(power.vcpus) ? Number(a0) : -1;
  switch (fid) {
    case SBI_HSM_HART_START:
      if (hart < 0) return done(SBI_ERR_INVALID_PARAM);
      if (power.state(hart) !== 'off') return done(SBI_ERR_ALREADY_AVAILABLE);
      power.set(hart, 'pending');
      return done(SBI_SUCCESS, 0n, { kind: 'cpu-on', vcpu: hart, entry: a1, argument: a2 });
    case SBI_HSM_HART_GET_STATUS:
      if (hart < 0) return done(SBI_ERR_INVALID_PARAM);
      return done(SBI_SUCCESS, HART_STATE[power.state(hart)]);
    case SBI_HSM_HART_SUSPEND:
      // Retentive suspension is the vCPU's own WFI: the call returns when it would have woken.
      return a0 === SBI_HSM_SUSPEND_RETENTIVE ? done(SBI_SUCCESS) : done(SBI_ERR_NOT_SUPPORTED);
    case SBI_HSM_HART_STOP:
      return done(SBI_ERR_NOT_SUPPORTED);
    default:
      return done(SBI_ERR_NOT_SUPPORTED);
  }
}
